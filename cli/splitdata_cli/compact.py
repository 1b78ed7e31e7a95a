"""`splitdata compact DIR`: the bytes of deleted records are erased; exit code 1 if some are left."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import click

from splitdata_cli._progress import bytes_progress
from splitdata_cli._render import counted, escape, print_json, print_line, size_text

if TYPE_CHECKING:
    from splitdata import CompactReport

__all__ = ["compact"]

_LEFT: Final = 1


@click.command(short_help="Erase the bytes of deleted records.")
@click.argument("path", metavar="DIR")
@click.option("--erase", is_flag=True, help="Remove older states at once, so that no file holds a deleted record.")
@click.option("--drop-damaged", is_flag=True, help="Leave out records that no repair can mend: others move forward.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.pass_context
def compact(ctx: click.Context, path: str, erase: bool, drop_damaged: bool, dry_run: bool, as_json: bool) -> None:
    """Write the parts of the dataset in DIR that hold deleted records anew, without these; no other record moves.

    So it is done with a part that a killed writer has left open; it is sealed as far as it was committed.

    The old parts stay for an hour, for jobs that read an older state. With --erase they go at once, and so does what
    killed writers have left uncommitted; what a reader has open is named, and goes with another call.

    With --drop-damaged records that are damaged, and that no repair can mend, are left out. Those behind them get other
    positions: it is another dataset then, and whoever has stored positions must forget them.

    The exit code is 1 if, with --erase, some file still holds a deleted record.
    """
    from splitdata import compact as compact_dataset

    with bytes_progress("compacting") as progress:
        report = compact_dataset(path, erase=erase, drop_damaged=drop_damaged, dry_run=dry_run, progress=progress)
    if as_json:
        print_json(dataclasses.asdict(report) | {"is_erased": report.is_erased})
    else:
        _show(report, path)
    if erase and not dry_run and not report.is_erased:
        ctx.exit(_LEFT)


def _show(report: CompactReport, path: str) -> None:
    if report.dropped:
        done = "would be dropped" if report.is_dry_run else "dropped"
        first = report.dropped[0]
        print_line(
            f"{counted(len(report.dropped), 'damaged record')} {done}, the first at position {first}: "
            f"records behind it {'would get' if report.is_dry_run else 'have'} other positions"
        )
    for line in report.left:
        print_line(escape(line))
    done = "would be erased" if report.is_dry_run else "erased"
    of = f" of {counted(report.num_deleted, 'deleted record')}"
    sealed = f", {counted(report.num_sealed, 'open segment')} sealed" if report.num_sealed else ""
    if report.num_reclaimed:
        sealed += f", {counted(report.num_reclaimed, 'segment')} of killed writers removed"
    print_line(f"{escape(path)}: {report.num_erased:,}{of} {done}{sealed}, {size_text(report.num_bytes)} written anew")
