"""`splitdata export DIR DEST --to FORMAT`: a dataset in another format, whole or not at all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, get_args

import click

from splitdata_cli._progress import records_progress
from splitdata_cli._render import counted, escape, print_json, print_line
from splitdata_cli._store import store_option

if TYPE_CHECKING:
    from splitdata import ExportReport

__all__ = ["export", "show_export"]

Format = Literal["files", "jsonl", "csv", "parquet", "arrow", "webdataset", "tfrecord", "mds", "npy", "hf"]


@click.command(short_help="Write a dataset in another format.")
@click.argument("path", metavar="DIR")
@click.argument("dest")
@click.option("--to", type=click.Choice(get_args(Format)), required=True, help="The format.")
@click.option("--column", help="Of samples: take this field of each as the record.")
@click.option("--limit", type=click.IntRange(min=1), help="Take only so many records from the front.")
@click.option("--no-keys", is_flag=True, help="Name files by the positions of records, not by their keys.")
@click.option("--overwrite", is_flag=True, help="Replace what is at DEST, once all is written.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes that write.")
@click.option("--resume", is_flag=True, help="Note what is done, and go on where the same command was interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def export(
    path: str,
    dest: str,
    to: Format,
    column: str | None,
    limit: int | None,
    no_keys: bool,
    overwrite: bool,
    workers: int,
    resume: bool,
    as_json: bool,
) -> None:
    """Write all records of the dataset in DIR to DEST, in another format.

    DEST is a file; a folder for files, hf, mds, and for webdataset unless it ends with .tar. It is there only once it
    is whole. Records come back the same, types included, when `splitdata write` reads it; what a format cannot hold is
    an error that names field and type.

    Several workers write the same; one writes tables, arrays and a single tar, which a --resume begins again.
    """
    from splitdata import export as export_dataset

    started = time.monotonic()
    with records_progress("exporting") as progress:
        report = export_dataset(
            path,
            dest,
            to=to,
            column=column,
            limit=limit,
            keys=not no_keys,
            overwrite=overwrite,
            workers=workers,
            resume=resume,
            progress=progress,
        )
    show_export(report, dest, time.monotonic() - started, as_json=as_json)


def show_export(report: ExportReport, dest: str, seconds: float, *, as_json: bool) -> None:
    """Say what was written."""
    if as_json:
        print_json(
            {
                "path": report.path,
                "num_records": report.num_records,
                "num_deleted": report.num_deleted,
                "seconds": round(seconds, 3),
            }
        )
        return
    text = f"wrote {counted(report.num_records, 'record')} to {escape(dest)} in {seconds:.1f} s"
    print_line(text + (f"; left out: {counted(report.num_deleted, 'deleted record')}" if report.num_deleted else ""))
