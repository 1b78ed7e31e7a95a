"""`splitdata delete DIR I... --key K`: records are marked as deleted; their positions stay."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from splitdata_cli._render import counted, escape, print_json, print_line

if TYPE_CHECKING:
    from splitdata import DeleteReport

__all__ = ["delete"]


# An unknown option may be a negative position; if it is not a number, it fails as one.
@click.command(context_settings={"ignore_unknown_options": True}, short_help="Mark records as deleted.")
@click.argument("path", metavar="DIR")
@click.argument("positions", metavar="I...", type=int, nargs=-1)
@click.option("--key", "keys", metavar="K", multiple=True, help="All records with this key; may be given again.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def delete(path: str, positions: tuple[int, ...], keys: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Mark the records of the dataset in DIR at the positions I..., and those with the keys K, as deleted.

    Nobody reads them any more, their keys are not found, and no other record moves. All are deleted in one commit.
    Their bytes are erased by `splitdata compact --erase DIR`. To delete what is deleted already, or a key that no
    record has, is no error.
    """
    from splitdata import delete as delete_records

    if not positions and not keys:
        raise click.UsageError("give positions, or --key")
    try:
        report = delete_records(path, positions=positions, keys=keys, dry_run=dry_run)
    except IndexError as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        print_json(dataclasses.asdict(report) | {"num_deleted": report.num_deleted})
    else:
        _show(report, path)


def _show(report: DeleteReport, path: str) -> None:
    for key in report.missing_keys:
        print_line(f"no record has the key {escape(key)}")
    done = "would be deleted" if report.is_dry_run else "deleted"
    before = f", {report.num_deleted_before:,} were before" if report.num_deleted_before else ""
    print_line(f"{escape(path)}: {counted(report.num_deleted, 'record')} {done}{before}")
    if report.num_deleted and not report.is_dry_run:
        print_line(f"their bytes are there until `splitdata compact --erase {escape(path)}`")
