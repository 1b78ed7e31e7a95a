"""`splitdata head DIR`: the first records, a line each."""

from __future__ import annotations

import shutil
from typing import Final

import click

from splitdata_cli._render import escape, escape_bytes, print_json, print_line

__all__ = ["head"]

_PREVIEW_BYTES: Final = 256
_MORE: Final = "..."
_WIDEST_KEY: Final = 40


@click.command(short_help="Show the first records.")
@click.argument("path", metavar="DIR")
@click.option("-n", "--number", type=click.IntRange(min=0), default=10, show_default=True, help="How many records.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def head(path: str, number: int, as_json: bool) -> None:
    """Show the first records of the dataset in DIR: position, size in bytes, key, and how each begins."""
    from splitdata import SplitDataLoader

    with SplitDataLoader(path) as loader:
        shown = range(min(number, len(loader)))
        sizes, keys = loader.sizes, map(loader.key, shown)
        rows = [
            (position, int(sizes[position]), key, loader.read_range(position, 0, _PREVIEW_BYTES))
            for position, key in zip(shown, keys, strict=True)
        ]
    if as_json:
        print_json(
            [
                {
                    "position": position,
                    "num_bytes": size,
                    "key": key,
                    "preview": escape_bytes(begin),
                    "is_whole": size == len(begin),
                }
                for position, size, key, begin in rows
            ]
        )
        return
    width_of_position = max((len(str(position)) for position, *_ in rows), default=0)
    width_of_size = max((len(str(size)) for _, size, *_ in rows), default=0)
    escaped = [escape(key or "") for _, _, key, _ in rows]
    width_of_key = min(max(map(len, escaped), default=0), _WIDEST_KEY)
    for (position, size, _, begin), key in zip(rows, escaped, strict=True):
        label = f"{position:>{width_of_position}}  {size:>{width_of_size}}  "
        if width_of_key:
            label += f"{_shortened(key, width_of_key):<{width_of_key}}  "
        print_line(label + _fitted(begin, shutil.get_terminal_size().columns - len(label), is_whole=size == len(begin)))


def _shortened(key: str, width: int) -> str:
    """Return a key with its end, which tells more than its begin, and dots where something is missing."""
    return key if len(key) <= width else _MORE + key[len(key) - width + len(_MORE) :]


def _fitted(begin: bytes, width: int, *, is_whole: bool) -> str:
    """Return a preview that is no wider than that, with dots where something is missing."""
    text = escape_bytes(begin)
    if is_whole and len(text) <= width:
        return text
    return text[: max(width - len(_MORE), 0)] + _MORE
