"""`splitdata bench DIR`: how fast the dataset is read, and how fast a loader feeds training from it."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final

import click

from splitdata_cli._import import function_named, working_folder_on_path
from splitdata_cli._progress import bench_progress
from splitdata_cli._render import counted, escape, print_json, print_line, size_text
from splitdata_cli._shuffle import shuffle_named
from splitdata_cli._store import store_option
from splitdata_cli.verify import DAMAGED

if TYPE_CHECKING:
    from splitdata import DatasetBenchmark, Measurement

__all__ = ["bench"]

_NO_RATE: Final = "-"


@click.command(short_help="Measure how fast training is fed from a dataset.")
@click.argument("path", metavar="DIR")
@click.option("--workers", type=click.IntRange(min=0), help="The most to measure with. Default: as many as cores.")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True)
@click.option("--shuffle", default="global", show_default=True, help="none, global, bins, or window:SIZE.")
@click.option(
    "--transform", metavar="MODULE:FUNCTION", help="Applied to every record, in the worker. Default: bytes as they are."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=0.5,
    show_default=True,
    help="For each measurement.",
)
@click.option("--json", "as_json", is_flag=True, help="Report as JSON, with all that the loaders counted.")
@store_option
@click.pass_context
def bench(
    ctx: click.Context,
    path: str,
    workers: int | None,
    batch_size: int,
    shuffle: str,
    transform: str | None,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure how fast the dataset in DIR is read, and how fast a loader hands out batches of it.

    First what reading allows: records in order, and in random batches without a loader. Then DistributedLoader
    with 0, 1, 2, 4, ... workers. Each cold, with the dataset dropped from the page cache, and warm, from memory.
    A dataset that cannot be read in the time of one measurement is measured on its beginning. Records that are damaged
    are left out, and the exit code is 1 then.
    """
    from splitdata import measure_dataset

    # Its workers import the function too, from where this process does.
    named = contextlib.nullcontext() if transform is None else working_folder_on_path()
    with named, bench_progress() as progress:
        report = measure_dataset(
            path,
            num_workers=workers,
            batch_size=batch_size,
            shuffle=shuffle_named(shuffle, "--shuffle"),
            transform=None if transform is None else function_named(transform, "--transform"),
            seconds=seconds,
            progress=progress,
        )
    if as_json:
        print_json(_as_dict(report))
    else:
        _show(report, path)
    if report.num_damaged:
        ctx.exit(DAMAGED)


def _show(report: DatasetBenchmark, path: str) -> None:
    mean = size_text(report.mean_record_bytes)
    is_all = report.num_measured + report.num_damaged >= report.num_records
    part = "" if is_all else f", measured on the first {report.num_measured:,}"
    print_line(f"{escape(path)}: {counted(report.num_records, 'record')}{part}, of {mean} each")
    kinds = [True, False] if report.has_cold else [False]
    if report.num_damaged:
        damaged = "is damaged and was" if report.num_damaged == 1 else "are damaged and were"
        print_line(f"{counted(report.num_damaged, 'record')} {damaged} left out; `splitdata verify` tells more")
    heads = [head for is_cold in kinds for head in (f"{'cold' if is_cold else 'warm'} records/s", "")]
    rows = [["", *heads, "first batch"]]
    for task, number in dict.fromkeys((one.task, one.num_workers) for one in report.measurements):
        found = {one.is_cold: one for one in report.measurements if (one.task, one.num_workers) == (task, number)}
        cells = [cell for is_cold in kinds for cell in _rate(found[is_cold], report.mean_record_bytes)]
        first = found[False].first_batch_seconds
        rows.append([_name(found[False], report), *cells, "" if first is None else f"{1000 * first:,.0f} ms"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        line = [name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))]
        print_line("  ".join(line).rstrip())
    if not report.has_cold:
        print_line(
            "Nothing is cold: the dataset stays in memory. This system or file system does not drop files when asked, "
            "or another program has them open."
        )
    workers = counted(report.fastest.num_workers, "worker") if report.fastest.num_workers else "no workers"
    print_line(f"Fastest with {workers}, in a loop that does nothing. {escape(report.verdict)}")


def _name(one: Measurement, report: DatasetBenchmark) -> str:
    if one.task == "in order":
        return "read in order"
    if one.task == "at random":
        return f"read at random, {report.batch_size} at a time"
    return f"loader, {counted(one.num_workers, 'worker')}" if one.num_workers else "loader, in process"


def _rate(one: Measurement, mean_bytes: float) -> tuple[str, str]:
    rate = one.records_per_second
    return (f"{rate:,.0f}", f"{size_text(rate * mean_bytes)}/s") if rate else (_NO_RATE, _NO_RATE)


def _as_dict(report: DatasetBenchmark) -> dict[str, Any]:
    measurements = []
    for one in report.measurements:
        shown = dataclasses.asdict(one) | {"records_per_second": one.records_per_second}
        measurements.append(shown | {"stats": None if one.stats is None else one.stats.as_dict()})
    shuffle = report.shuffle if isinstance(report.shuffle, (str, bool)) else f"window:{report.shuffle.size}"
    return dataclasses.asdict(report) | {
        "shuffle": shuffle,
        "measurements": measurements,
        "verdict": report.verdict,
    }
