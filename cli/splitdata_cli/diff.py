"""`splitdata diff A B`: records added, removed, changed and moved; exit code 1 if there are any."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import click

from splitdata_cli._progress import records_progress
from splitdata_cli._render import counted, escape, print_json, print_line
from splitdata_cli._store import store_option

if TYPE_CHECKING:
    from splitdata import DiffReport, RecordDifference

__all__ = ["diff"]

_DIFFERENT: Final = 1


@click.command(short_help="Compare the records of two datasets.")
@click.argument("path_a", metavar="A")
@click.argument("path_b", metavar="B")
@click.option(
    "--limit", type=click.IntRange(min=0), default=100, show_default=True, help="So many of each kind are listed."
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
@click.pass_context
def diff(ctx: click.Context, path_a: str, path_b: str, limit: int, as_json: bool) -> None:
    """Tell which records of the dataset B are not in A, or not in B any more, have changed, or stand in another order.

    Records are known by their keys where both datasets have keys, by their content otherwise. They are compared by
    checksums: large ones are hardly read. The exit code is 0 if both are equal, 1 if not, 2 if one cannot be read.
    """
    from splitdata import diff as diff_datasets

    with records_progress("comparing") as progress:
        report = diff_datasets(path_a, path_b, limit=limit, progress=progress)
    if as_json:
        print_json(dataclasses.asdict(report) | {"is_equal": report.is_equal})
    else:
        _show(report)
    if not report.is_equal:
        ctx.exit(_DIFFERENT)


def _show(report: DiffReport) -> None:
    for difference in report.differences:
        print_line(_line(difference))
    counts = (
        f"{report.num_added:,} added, {report.num_removed:,} removed, {report.num_changed:,} changed, "
        f"{report.num_moved:,} moved, {counted(report.num_same, 'record')} the same"
    )
    print_line(f"{escape(report.path_a)} and {escape(report.path_b)}, by {report.by}: {counts}")


def _line(difference: RecordDifference) -> str:
    places = [f"{one:,}" for one in (difference.position_a, difference.position_b) if one is not None]
    key = "" if difference.key is None else f"  {escape(difference.key)}"
    return f"{difference.kind:<8} {' -> '.join(dict.fromkeys(places))}{key}"
