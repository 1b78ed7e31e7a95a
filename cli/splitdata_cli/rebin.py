"""`splitdata rebin DIR DEST --bins N`: the records of a dataset in a new one that stores them in another way."""

from __future__ import annotations

import time
from typing import Literal

import click

from splitdata_cli._derived import show_derived
from splitdata_cli._progress import bytes_progress
from splitdata_cli._store import store_option

__all__ = ["rebin"]


@click.command(short_help="Store the records of a dataset in another way.")
@click.argument("path", metavar="DIR")
@click.argument("dest", metavar="DEST")
@click.option("--bins", type=click.IntRange(min=1), help="How many. Default: as many as a writer chooses.")
@click.option("--compression", type=click.Choice(["zstd", "none"]), help="Default: as it is.")
@click.option("--level", type=click.IntRange(-100, 22), default=3, show_default=True, help="Of zstd.")
@click.option("--group", type=click.IntRange(min=1), help="Records that are stored together. Default: as it is.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that read.")
@click.option("--dry-run", is_flag=True, help="Read all, and only tell what would be written.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def rebin(
    path: str,
    dest: str,
    bins: int | None,
    compression: Literal["zstd", "none"] | None,
    level: int,
    group: int | None,
    workers: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write all records of the dataset in DIR into the new dataset DEST, in other bins, groups, or compressed anew.

    Deleted records are left out. Killed, call it again: it goes on.
    """
    from splitdata import rebin as rebin_dataset

    started = time.monotonic()
    with bytes_progress("writing") as progress:
        report = rebin_dataset(
            path,
            dest,
            bins=bins,
            compression=compression,
            compression_level=level,
            group=group,
            workers=workers,
            dry_run=dry_run,
            progress=progress,
        )
    show_derived(report, dest, time.monotonic() - started, as_json=as_json)
