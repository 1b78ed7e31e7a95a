"""`splitdata copy A B`: a dataset as it is, between folders and object stores."""

from __future__ import annotations

import dataclasses

import click

from splitdata_cli._progress import bytes_progress
from splitdata_cli._render import counted, escape, print_json, print_line, size_text
from splitdata_cli._store import single_writer_option, store_option

__all__ = ["copy"]


@click.command(short_help="Copy a dataset between folders and object stores.")
@click.argument("source", metavar="A")
@click.argument("dest", metavar="B")
@click.option("--generation", type=click.IntRange(min=0), help="Of the manifest to copy. Default: the newest.")
@click.option("--no-check", is_flag=True, help="Do not read the copy afterwards.")
@single_writer_option
@click.option("--workers", type=click.IntRange(min=1), default=8, show_default=True, help="Files sent at a time.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def copy(
    source: str, dest: str, generation: int | None, no_check: bool, single_writer: bool, workers: int, as_json: bool
) -> None:
    """Copy the dataset A, a folder or a URL (s3://, gs://, az://), to B, byte by byte, and verify the copy.

    Called again after a failure it goes on, and brings what was committed since to an older copy. Keys of stores are
    taken from the environment.
    """
    from splitdata import copy as copy_dataset

    with bytes_progress("copying") as progress:
        report = copy_dataset(
            source,
            dest,
            generation=generation,
            check=not no_check,
            single_writer=single_writer,
            num_workers=workers,
            progress=progress,
        )
    if as_json:
        print_json(dataclasses.asdict(report))
        return
    verified = ", verified" if report.is_verified else ""
    print_line(
        f"{escape(report.dest)}: {counted(report.num_records, 'record')}, {counted(report.num_files, 'file')} of "
        f"{size_text(report.num_bytes)}, {size_text(report.bytes_sent)} of it sent now{verified}"
    )
