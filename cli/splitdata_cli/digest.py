"""`splitdata digest DIR`: the SHA-256 digest of all records."""

from __future__ import annotations

import click

from splitdata_cli._progress import records_progress
from splitdata_cli._render import print_json, print_line
from splitdata_cli._store import store_option

__all__ = ["digest"]


@click.command(short_help="Compute the SHA-256 digest of all records.")
@click.argument("path", metavar="DIR")
@click.option("--generation", type=click.IntRange(min=0), help="Of the manifest to read. Default: the newest.")
@click.option("--workers", type=click.IntRange(min=1), help="To read with. Default: by the number of processors.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def digest(path: str, generation: int | None, workers: int | None, as_json: bool) -> None:
    """Read all records of the dataset in DIR and print their SHA-256 digest.

    Equal for equal records in equal order, however they are stored; and nobody can make other records that have it,
    which cannot be said of the fingerprint. SplitDataLoader(DIR, expect_digest=...) checks it.
    """
    from splitdata import digest as digest_records

    with records_progress("reading") as progress:
        found = digest_records(path, generation=generation, num_workers=workers, progress=progress)
    if as_json:
        print_json({"path": path, "digest": found})
    else:
        print_line(found)
