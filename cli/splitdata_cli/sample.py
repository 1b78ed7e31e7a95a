"""`splitdata sample DIR DEST -n 1000`: random records of a dataset in a new one."""

from __future__ import annotations

import time

import click

from splitdata_cli._derived import show_derived
from splitdata_cli._progress import bytes_progress
from splitdata_cli._store import store_option

__all__ = ["sample"]


@click.command(short_help="Write random records of a dataset.")
@click.argument("path", metavar="DIR")
@click.argument("dest", metavar="DEST")
@click.option("-n", "count", type=click.IntRange(min=0), required=True, help="How many.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another gives another sample.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that read.")
@click.option("--dry-run", is_flag=True, help="Read all, and only tell what would be written.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def sample(path: str, dest: str, count: int, seed: int, workers: int, dry_run: bool, as_json: bool) -> None:
    """Write so many random records of the dataset in DIR, in their order and each once, into the new dataset DEST.

    A smaller sample of one seed is part of a larger one. Killed, call it again: it goes on.
    """
    from splitdata import sample as sample_records

    started = time.monotonic()
    with bytes_progress("sampling") as progress:
        report = sample_records(path, dest, count, seed=seed, workers=workers, dry_run=dry_run, progress=progress)
    show_derived(report, dest, time.monotonic() - started, as_json=as_json)
