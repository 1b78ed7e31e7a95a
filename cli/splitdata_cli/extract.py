"""`splitdata extract DIR FOLDER I... --key K`: records as files, named by their keys and what they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from splitdata_cli._progress import records_progress
from splitdata_cli._render import escape
from splitdata_cli._store import store_option
from splitdata_cli.export import show_export

if TYPE_CHECKING:
    from splitdata import SplitDataLoader

__all__ = ["extract"]


# An unknown option may be a negative position; if it is not a number, it fails as one.
@click.command(context_settings={"ignore_unknown_options": True}, short_help="Write records as files.")
@click.argument("path", metavar="DIR")
@click.argument("arguments", metavar="I... FOLDER", nargs=-1, required=True)
@click.option("--key", "keys", metavar="K", multiple=True, help="The record with this key; may be given again.")
@click.option("--all", "takes_all", is_flag=True, help="All records.")
@click.option("--column", help="Of samples: take this field of each.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
@store_option
def extract(
    path: str, arguments: tuple[str, ...], keys: tuple[str, ...], takes_all: bool, column: str | None, as_json: bool
) -> None:
    """Write the records at the positions I..., and those with the keys K, as files into FOLDER.

    A key is a path in FOLDER, and never leads out of it; a record without one is named by its position. Where the name
    has no suffix, what the record is tells it: png, jpg, json, txt, ... No file is ever replaced. Negative positions
    count from the end: -1 is the last record.
    """
    from splitdata import SplitDataLoader
    from splitdata import extract as extract_records

    *numbers, folder = arguments
    if takes_all == bool(numbers or keys):
        raise click.UsageError("give positions, --key, or --all, and behind them the folder")
    positions = [_number(text) for text in numbers]
    if keys:
        with SplitDataLoader(path) as loader:
            positions += [_found(loader, key) for key in keys]
    started = time.monotonic()
    with records_progress("extracting") as progress:
        report = extract_records(
            path, folder, positions=None if takes_all else positions, column=column, progress=progress
        )
    show_export(report, folder, time.monotonic() - started, as_json=as_json)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise click.UsageError(f"{escape(text)} is no position; the folder comes last") from None


def _found(loader: SplitDataLoader, key: str) -> int:
    try:
        return loader.find(key)
    except KeyError:
        raise click.UsageError(f"there is no record with the key {escape(key)}") from None
