"""`splitdata head DIR`: the first records, a line each."""

from __future__ import annotations

import shutil
from typing import Final

import click

from splitdata_cli._render import escape_bytes, print_json, print_line

__all__ = ["head"]

_PREVIEW_BYTES: Final = 256
_MORE: Final = "..."


@click.command(short_help="Show the first records.")
@click.argument("path", metavar="DIR")
@click.option("-n", "--number", type=click.IntRange(min=0), default=10, show_default=True, help="How many records.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def head(path: str, number: int, as_json: bool) -> None:
    """Show the first records of the dataset in DIR: position, size in bytes, and how each begins."""
    from splitdata import SplitDataLoader

    with SplitDataLoader(path) as loader:
        shown = range(min(number, len(loader)))
        rows = [
            (position, int(loader.sizes[position]), loader.read_range(position, 0, _PREVIEW_BYTES))
            for position in shown
        ]
    if as_json:
        print_json(
            [
                {
                    "position": position,
                    "num_bytes": size,
                    "preview": escape_bytes(begin),
                    "is_whole": size == len(begin),
                }
                for position, size, begin in rows
            ]
        )
        return
    width_of_position = max((len(str(position)) for position, _, _ in rows), default=0)
    width_of_size = max((len(str(size)) for _, size, _ in rows), default=0)
    for position, size, begin in rows:
        label = f"{position:>{width_of_position}}  {size:>{width_of_size}}  "
        print_line(label + _fitted(begin, shutil.get_terminal_size().columns - len(label), is_whole=size == len(begin)))


def _fitted(begin: bytes, width: int, *, is_whole: bool) -> str:
    """Return a preview that is no wider than that, with dots where something is missing."""
    text = escape_bytes(begin)
    if is_whole and len(text) <= width:
        return text
    return text[: max(width - len(_MORE), 0)] + _MORE
