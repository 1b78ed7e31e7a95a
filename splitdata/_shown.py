"""Shows foreign text in a message: on one line, and shortened.

Names and values in messages may come from a damaged file or from somebody else, and may be of any length.

    "a" * 1000           -> aaaa...              200 characters
    [[[... ]]]           -> a list too large to show
"""

from __future__ import annotations

from typing import Final

__all__ = ["cut", "shown"]

_MOST_CHARACTERS: Final = 200


def shown(value: object) -> str:
    """Return a value that may be anything as Python writes it, cut."""
    try:
        # A text may be as large as its source: it is cut first.
        return cut(repr(value[: _MOST_CHARACTERS + 1] if isinstance(value, (str, bytes)) else value))
    except (ValueError, RecursionError):
        # Python writes out neither long ints nor deep lists.
        return f"a {type(value).__name__} too large to show"


def cut(text: str) -> str:
    """Return a text, or its beginning and three dots."""
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
