"""`splitdata filter DIR DEST --where module:function`: the records that a function says yes to, in a new dataset."""

from __future__ import annotations

import time

import click

from splitdata_cli._derived import show_derived
from splitdata_cli._import import function_named, working_folder_on_path
from splitdata_cli._progress import bytes_progress
from splitdata_cli._store import store_option

__all__ = ["filter_command"]


@click.command("filter", short_help="Write the records that a function says yes to.")
@click.argument("path", metavar="DIR")
@click.argument("dest", metavar="DEST")
@click.option("--where", metavar="MODULE:FUNCTION", required=True, help="Whether to take a record; this is imported.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that read.")
@click.option("--dry-run", is_flag=True, help="Read all, and only tell what would be written.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
@click.pass_context
def filter_command(
    ctx: click.Context, path: str, dest: str, where: str, workers: int, dry_run: bool, as_json: bool
) -> None:
    """Write the records of the dataset in DIR for which a function returns True into the new dataset DEST.

    The function gets the bytes of a record, or the sample. --where imports its module, which runs that. Records are
    stored as they are in DIR. Killed, call it again: it goes on.
    """
    from splitdata import filter_records

    ctx.with_resource(working_folder_on_path())
    function = function_named(where, "--where")
    started = time.monotonic()
    with bytes_progress("filtering") as progress:
        report = filter_records(path, dest, function, workers=workers, dry_run=dry_run, progress=progress)
    show_derived(report, dest, time.monotonic() - started, as_json=as_json)
