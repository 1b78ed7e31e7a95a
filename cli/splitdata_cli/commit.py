"""`splitdata commit DEST`: what the shards of a conversion have written becomes visible, in one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from splitdata_cli._render import counted, escape, print_json, print_line

if TYPE_CHECKING:
    from splitdata import PartsReport

__all__ = ["commit", "show_commit"]


@click.command(short_help="Make visible what the shards of a conversion have written.")
@click.argument("dest", metavar="DEST")
@click.option("--job", metavar="DIGITS", help="Which conversion, where several wait: the first of its 32 digits.")
@click.option("--reproducible", is_flag=True, help="As for splitdata write.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def commit(dest: str, job: str | None, reproducible: bool, as_json: bool) -> None:
    """Make visible, in one commit, what all processes of `splitdata write SOURCE DEST --shard I/N` have written.

    Records come in the order of SOURCE, whoever wrote them, and each counts once. Where units are missing nothing is
    committed, and they are named. Called again, it does nothing.
    """
    from splitdata import commit_shards

    show_commit(commit_shards(dest, job=job, reproducible=reproducible), dest, as_json=as_json)


def show_commit(report: PartsReport, dest: str, *, as_json: bool) -> None:
    """Show what a commit has added."""
    if as_json:
        print_json(
            {
                "path": report.path,
                "generation": report.generation,
                "num_records": report.num_records,
                "positions": [report.positions.start, report.positions.stop],
                "num_committed": report.num_committed,
                "num_there": report.num_there,
                "num_doubles": report.num_doubles,
            }
        )
    elif report.num_committed:
        print_line(
            f"committed {counted(report.num_committed, 'unit')} to {escape(dest)}: "
            f"{counted(len(report.positions), 'record')} as positions {report.positions.start} to "
            f"{max(report.positions.start, report.positions.stop - 1)}"
        )
    else:
        print_line(f"{escape(dest)} has all of it already: {counted(report.num_records, 'record')}, nothing was added")
