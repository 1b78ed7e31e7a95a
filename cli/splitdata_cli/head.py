"""`splitdata head DIR`: the first records, a line each."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

import click

from splitdata_cli._render import escape, escape_bytes, print_json, print_line

if TYPE_CHECKING:
    from splitdata import SampleDataset, SplitDataLoader

__all__ = ["head"]

_PREVIEW_BYTES: Final = 256
_PREVIEW_CHARS: Final = 1000
# Records of which the first bytes say nothing to a person.
_SHOWN_AS_VALUES: Final = ("sample", "npy")
_MORE: Final = "..."
_WIDEST_KEY: Final = 40


@click.command(short_help="Show the first records.")
@click.argument("path", metavar="DIR")
@click.option("-n", "--number", type=click.IntRange(min=0), default=10, show_default=True, help="How many records.")
@click.option("--json", "as_json", is_flag=True, help="Report as JSON.")
def head(path: str, number: int, as_json: bool) -> None:
    """Show the first records of the dataset in DIR: position, size in bytes, key, and how each begins.

    Of samples and arrays it shows what they hold.
    """
    from splitdata import SampleDataset, SplitDataLoader

    with SplitDataLoader(path) as loader:
        samples = SampleDataset(path) if loader.record_codec in _SHOWN_AS_VALUES else None
        shown = range(min(number, len(loader)))
        sizes = loader.sizes
        rows = [
            (position, int(sizes[position]), loader.key(position), *_preview(loader, samples, position))
            for position in shown
        ]
    if as_json:
        names = ("position", "num_bytes", "key", "preview", "is_whole")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
        return
    width_of_position = max((len(str(position)) for position, *_ in rows), default=0)
    width_of_size = max((len(str(size)) for _, size, *_ in rows), default=0)
    escaped = [escape(key or "") for _, _, key, *_ in rows]
    width_of_key = min(max(map(len, escaped), default=0), _WIDEST_KEY)
    for (position, size, _, preview, is_whole), key in zip(rows, escaped, strict=True):
        label = f"{position:>{width_of_position}}  {size:>{width_of_size}}  "
        if width_of_key:
            label += f"{_shortened(key, width_of_key):<{width_of_key}}  "
        print_line(label + _fitted(preview, shutil.get_terminal_size().columns - len(label), is_whole=is_whole))


def _shortened(key: str, width: int) -> str:
    """Return a key with its end, which tells more than its begin, and dots where something is missing."""
    return key if len(key) <= width else _MORE + key[len(key) - width + len(_MORE) :]


def _preview(loader: SplitDataLoader, samples: SampleDataset | None, position: int) -> tuple[str, bool]:
    """Return how a record begins, or what its sample is made of, and whether that is all."""
    if samples is not None:
        text = escape(samples.preview(position, _PREVIEW_CHARS))
        return text, not text.endswith(_MORE)
    begin = loader.read_range(position, 0, _PREVIEW_BYTES)
    return escape_bytes(begin), int(loader.sizes[position]) == len(begin)


def _fitted(text: str, width: int, *, is_whole: bool) -> str:
    """Return a preview that is no wider than that, with dots where something is missing."""
    if is_whole and len(text) <= width:
        return text
    return text[: max(width - len(_MORE), 0)] + _MORE
