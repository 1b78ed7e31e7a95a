"""`splitdata append A... DEST`: datasets behind the records of one, by links."""

from __future__ import annotations

import click

from splitdata_cli._progress import bytes_progress
from splitdata_cli.merge import show_merge

__all__ = ["append"]


@click.command(short_help="Put datasets behind the records of another.")
@click.argument("sources", metavar="A...", nargs=-1, required=True)
@click.argument("dest", metavar="DEST")
@click.option("--allow-duplicate-keys", is_flag=True, help="Let records of two datasets have one key.")
@click.option("--dry-run", is_flag=True, help="Only check, and tell what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def append(sources: tuple[str, ...], dest: str, allow_duplicate_keys: bool, dry_run: bool, as_json: bool) -> None:
    """Add all records of the datasets A... behind those of the dataset DEST, as `splitdata merge` does.

    What was added before is not added again: a dataset that has grown since adds what is new. (New records are to be
    made into a dataset first; `splitdata write --append` does both.)
    """
    from splitdata import append as append_datasets

    with bytes_progress("appending") as progress:
        report = append_datasets(
            sources, dest, allow_duplicate_keys=allow_duplicate_keys, dry_run=dry_run, progress=progress
        )
    show_merge(report, as_json=as_json)
