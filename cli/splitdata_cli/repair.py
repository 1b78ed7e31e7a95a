"""`splitdata repair DIR`: indexes, headers and manifests made again; exit code 1 if records stay lost."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

import click

from splitdata_cli._progress import bytes_progress
from splitdata_cli._render import counted, escape, print_json, print_line

if TYPE_CHECKING:
    from splitdata import Finding, RepairReport

__all__ = ["repair"]

_LOST: Final = 1
# More are of no use to a person; --json has them all.
_MAX_SHOWN: Final = 100


@click.command(short_help="Make damaged indexes, headers and manifests again.")
@click.argument("path", metavar="DIR")
@click.option("--adopt", is_flag=True, help="Also take in records that no manifest lists any more, or yet.")
@click.option("--discard", is_flag=True, help="Also remove records that killed writers left and never committed.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@click.pass_context
def repair(ctx: click.Context, path: str, adopt: bool, discard: bool, dry_run: bool, as_json: bool) -> None:
    """Make again what is damaged or missing in DIR and can be known from the rest.

    Damage to the bytes of records cannot be mended; their positions are kept, and no other record moves. With
    --adopt, segments whose manifest was deleted come back, and whole records that killed writers have left are added
    at the end; with --discard these are removed.

    The exit code is 0 if every record can be read afterwards, 1 if some cannot, 2 if DIR could not be repaired.
    """
    from splitdata import repair as repair_dataset

    with bytes_progress("repairing") as progress:
        report = repair_dataset(path, adopt=adopt, discard=discard, dry_run=dry_run, progress=progress)
    if as_json:
        computed = {"is_whole": report.is_whole, "num_lost_records": report.num_lost_records}
        print_json(dataclasses.asdict(report) | computed)
    else:
        _show(report, path)
    if not report.is_whole:
        ctx.exit(_LOST)


def _show(report: RepairReport, path: str) -> None:
    prefix = "would be done: " if report.is_dry_run else ""
    _show_lines([prefix + action for action in report.actions])
    _show_lines(list(report.notes))
    _show_lines([_line(finding) for finding in report.findings])
    done = "nothing had to be done" if not report.actions else f"{counted(len(report.actions), 'step')}"
    if report.actions and report.is_dry_run:
        done += " would be done"
    state = "whole" if report.is_whole else f"not whole, {counted(report.num_lost_records, 'record')} cannot be read"
    print_line(f"{escape(path)} is {state}: {counted(report.num_records, 'record')}, {done}")


def _show_lines(lines: list[str]) -> None:
    for line in lines[:_MAX_SHOWN]:
        print_line(escape(line))
    if len(lines) > _MAX_SHOWN:
        print_line(f"... and {len(lines) - _MAX_SHOWN:,} more, which --json lists")


def _line(finding: Finding) -> str:
    where = "" if finding.position is None else f", record {finding.position}"
    count = f" ({counted(finding.num_records, 'record')} affected)" if finding.num_records > 1 else ""
    return f"{finding.path}{where}: {finding.problem}{count}"
