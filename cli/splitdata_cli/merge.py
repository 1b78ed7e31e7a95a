"""`splitdata merge A B... DEST`: datasets end to end in a new one, by links."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from splitdata_cli._progress import bytes_progress
from splitdata_cli._render import counted, escape, print_json, print_line, size_text
from splitdata_cli._store import single_writer_option, store_option

if TYPE_CHECKING:
    from splitdata import MergeReport

__all__ = ["merge", "show_merge"]


@click.command(short_help="Put datasets end to end into a new one.")
@click.argument("sources", metavar="A B...", nargs=-1, required=True)
@click.argument("dest", metavar="DEST")
@click.option("--allow-duplicate-keys", is_flag=True, help="Let records of two datasets have one key.")
@single_writer_option
@click.option("--dry-run", is_flag=True, help="Only check, and tell what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def merge(
    sources: tuple[str, ...], dest: str, allow_duplicate_keys: bool, single_writer: bool, dry_run: bool, as_json: bool
) -> None:
    """Make the dataset DEST of all records of A, then those of B, and so on, with their keys, schemas and metadata.

    Files are linked, or copied where that cannot be done; no record is read. A, B and so on stay as they are, and can
    be changed and removed without DEST. A key that occurs in two of them is an error, unless it is allowed: then it
    leads to the last record that has it. Killed, call it again.

    DEST may be the URL of an object store (s3://, gs://, az://): it is put together in TMPDIR, and sent.
    """
    from splitdata import merge as merge_datasets

    with bytes_progress("merging") as progress:
        report = merge_datasets(
            sources,
            dest,
            allow_duplicate_keys=allow_duplicate_keys,
            dry_run=dry_run,
            progress=progress,
            single_writer=single_writer,
        )
    show_merge(report, as_json=as_json)


def show_merge(report: MergeReport, *, as_json: bool) -> None:
    """Print what was merged, as JSON or in a few lines."""
    if as_json:
        positions = [report.positions.start, report.positions.stop]
        print_json(dataclasses.asdict(report) | {"positions": positions})
        return
    for name in report.metadata_left_out:
        print_line(f"metadata {escape(name)}: only the first value is kept")
    done = "would be added" if report.is_dry_run else "added"
    there = f", {counted(report.num_there, 'segment')} added before" if report.num_there else ""
    files = f"{size_text(report.num_bytes)} in {counted(report.num_linked + report.num_rewritten, 'segment')}"
    rewritten = f", of which {report.num_rewritten:,} written anew" if report.num_rewritten else ""
    print_line(
        f"{escape(report.path)}: {counted(len(report.positions), 'record')} {done} ({files}{rewritten}{there}), "
        f"{report.num_records:,} in all"
    )
