r"""Records as lines for a person: position, size in bytes, key if there is one, and the first bytes.

Bytes that could move the cursor or change the terminal are shown escaped.

    0  56  cat/1.jpg  \xff\xd8\xff\xe0...
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from splitdata_cli._render import escape, print_line

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["print_records"]

_MORE: Final = "..."
_WIDEST_KEY: Final = 40


def print_records(rows: Sequence[tuple[int, int, str | None, str, bool]], drawn: Sequence[Sequence[str]] = ()) -> None:
    """Print records, a line each, no wider than the terminal.

    Args:
        rows: Of each record position, size, key, how it begins with all in it escaped, and whether that is all.
        drawn: Of each the lines of its pictures, if there are any.
    """
    width_of_position = max((len(str(position)) for position, *_ in rows), default=0)
    width_of_size = max((len(str(size)) for _, size, *_ in rows), default=0)
    escaped = [escape(key or "") for _, _, key, *_ in rows]
    width_of_key = min(max(map(len, escaped), default=0), _WIDEST_KEY)
    pictures: Sequence[Sequence[str]] = drawn or [()] * len(rows)
    for (position, size, _, preview, is_whole), key, lines in zip(rows, escaped, pictures, strict=True):
        label = f"{position:>{width_of_position}}  {size:>{width_of_size}}  "
        if width_of_key:
            label += f"{_shortened(key, width_of_key):<{width_of_key}}  "
        print_line(label + _fitted(preview, shutil.get_terminal_size().columns - len(label), is_whole=is_whole))
        for line in lines:
            print_line(line)


def _shortened(key: str, width: int) -> str:
    """Return a key with its end, which tells more than its begin, and dots where something is missing."""
    return key if len(key) <= width else _MORE + key[len(key) - width + len(_MORE) :]


def _fitted(text: str, width: int, *, is_whole: bool) -> str:
    """Return a preview that is no wider than that, with dots where something is missing."""
    if is_whole and len(text) <= width:
        return text
    return text[: max(width - len(_MORE), 0)] + _MORE
