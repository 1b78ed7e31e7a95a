"""`splitdata verify DIR`: every byte against its checksums; exit code 1 if anything is damaged."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any, Final

import click

from splitdata_cli._progress import bytes_progress
from splitdata_cli._render import counted, escape, print_json, print_line, size_text
from splitdata_cli._store import store_option

if TYPE_CHECKING:
    from splitdata import Finding, VerifyReport

__all__ = ["DAMAGED", "report_as_dict", "show_report", "verify"]

DAMAGED: Final = 1
"""The exit code that says so."""
# More are of no use to a person; --json has them all.
_MAX_SHOWN: Final = 100


@click.command(short_help="Hold all of a dataset against its checksums.")
@click.argument("path", metavar="DIR")
@click.option("--generation", type=click.IntRange(min=0), help="Of the manifest to verify. Default: the newest.")
@click.option("--workers", type=click.IntRange(min=1), help="To read with. Default: by the number of processors.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON, with every finding.")
@store_option
@click.pass_context
def verify(ctx: click.Context, path: str, generation: int | None, workers: int | None, as_json: bool) -> None:
    """Read all of the dataset in DIR and hold it against its checksums.

    The exit code is 0 if all is intact, 1 if anything is damaged, 2 if it could not be verified.
    """
    from splitdata import verify as verify_dataset

    started = time.monotonic()
    with bytes_progress("verifying") as progress:
        report = verify_dataset(path, generation=generation, num_workers=workers, progress=progress)
    seconds = time.monotonic() - started
    if as_json:
        print_json(report_as_dict(report, seconds))
    else:
        show_report(report, path, seconds)
    if not report.is_intact:
        ctx.exit(DAMAGED)


def report_as_dict(report: VerifyReport, seconds: float) -> dict[str, Any]:
    """Return a report, and how long it took, as JSON has it."""
    computed = {"is_intact": report.is_intact, "num_damaged_records": report.num_damaged_records}
    return dataclasses.asdict(report) | computed | {"seconds": round(seconds, 3)}


def show_report(report: VerifyReport, path: str, seconds: float) -> None:
    """Print what is wrong, a line each, and a line that sums it up."""
    for finding in report.findings[:_MAX_SHOWN]:
        print_line(_line(finding))
    if report.num_findings > _MAX_SHOWN:
        listed = "of which --json lists the first" if report.num_more_findings else "which --json lists"
        print_line(f"... and {report.num_findings - _MAX_SHOWN:,} more, {listed}")
    looked = f"{counted(report.num_records, 'record')}, {size_text(report.num_bytes)} in {seconds:.1f} s"
    if report.is_intact:
        print_line(f"{escape(path)} is intact: {looked}")
    else:
        lost = f"{counted(report.num_damaged_records, 'record')} damaged"
        print_line(f"{escape(path)} is damaged: {counted(report.num_findings, 'finding')}, {lost}, of {looked}")


def _line(finding: Finding) -> str:
    where = "" if finding.position is None else f", record {finding.position}"
    count = f" ({counted(finding.num_records, 'record')} affected)" if finding.num_records > 1 else ""
    return escape(f"{finding.path}{where}: {finding.problem}{count}")
