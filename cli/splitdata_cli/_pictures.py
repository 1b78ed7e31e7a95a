r"""Pictures on a terminal: two pixels to a character, upper half and lower half, in the colours that they have.

Only a terminal that says so by COLORTERM gets them. What Pillow cannot read, or is large beyond reason, is not drawn.

    record: PNG ──Pillow, made small──> rows of colours ──> "\\x1b[38;2;R;G;B;48;2;R;G;Bm" and an upper half block
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata import SampleDataset, SplitDataLoader

__all__ = ["Pictures", "pictures_option"]

_MOST_BYTES: Final = 64 << 20
_MOST_PIXELS: Final = 64 << 20
_COLUMNS: Final = 48
_ROWS: Final = 12
_STARTS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF")

pictures_option = click.option(
    "--pictures/--no-pictures",
    "wants_pictures",
    default=None,
    help="Draw pictures; without either, on a terminal of true colour, if Pillow is installed.",
)


class Pictures:
    """Draws pictures, or nothing where these are not wanted."""

    def __init__(self, *, is_wanted: bool | None) -> None:
        """Take what the user said; None for nothing.

        Raises:
            ModuleNotFoundError: If pictures are asked for, and Pillow is not installed.
        """
        says_so = os.environ.get("COLORTERM", "") in ("truecolor", "24bit") and sys.stdout.isatty()
        self._image: Any = None
        if is_wanted or (is_wanted is None and says_so):
            try:
                from PIL import Image
            except ModuleNotFoundError as error:
                if is_wanted:
                    raise ModuleNotFoundError(
                        "drawing pictures needs Pillow: pip install 'splitdata[view]'", name="PIL"
                    ) from error
            else:
                self._image = Image

    def of(self, records: SplitDataLoader | SampleDataset, position: int, num_bytes: int) -> Iterator[str]:
        """Yield the lines of each picture in a record of so many bytes; of a sample, of its fields that are bytes."""
        if self._image is None or num_bytes > _MOST_BYTES:
            return
        value = records[position]
        for data in value.values() if isinstance(value, dict) else [value]:
            if isinstance(data, bytes) and data.startswith(_STARTS):
                yield from self._drawn(data)

    def _drawn(self, data: bytes) -> list[str]:
        width, height = min(_COLUMNS, shutil.get_terminal_size().columns), 2 * _ROWS
        try:
            with self._image.open(io.BytesIO(data), formats=("PNG", "JPEG", "GIF", "WEBP")) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    return []
                picture.draft("RGB", (width, height))
                small = picture.convert("RGB")
                small.thumbnail((width, height))
        except Exception:  # of a damaged picture Pillow raises whatever it meets
            return []
        # A last row alone has nothing below it.
        rows = [[small.getpixel((x, y)) for x in range(small.width)] for y in range(small.height)]
        rows += [[(0, 0, 0)] * small.width] * (small.height % 2)
        return [_line(upper, lower) for upper, lower in zip(rows[0::2], rows[1::2], strict=True)]


def _line(upper: list[tuple[int, int, int]], lower: list[tuple[int, int, int]]) -> str:
    cells = (
        f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m\N{UPPER HALF BLOCK}"
        for a, b in zip(upper, lower, strict=True)
    )
    return "".join(cells) + "\x1b[0m"
