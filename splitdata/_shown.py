r"""Shows foreign text in a message: on one line, and shortened.

Names and values in messages may come from a damaged file or from somebody else, and may be of any length.

    "a" * 1000           -> aaaa...              200 characters
    [[[... ]]]           -> a list too large to show
    a folder "a\nb"       -> a\nb                  in a line of a log, which is text for a terminal
"""

from __future__ import annotations

from typing import Final

__all__ = ["cut", "one_line", "shown"]

_MOST_CHARACTERS: Final = 200


def shown(value: object) -> str:
    """Return a value that may be anything as Python writes it, cut."""
    try:
        # A text may be as large as its source: it is cut first.
        return cut(repr(value[: _MOST_CHARACTERS + 1] if isinstance(value, (str, bytes)) else value))
    except (ValueError, RecursionError):
        # Python writes out neither long ints nor deep lists.
        return f"a {type(value).__name__} too large to show"


def one_line(text: object) -> str:
    r"""Return a name, a path or an error for a line of a log: what does not print in it as `\n`, `\x1b`, `\u202e`."""
    line = str(text)
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in line)


def cut(text: str) -> str:
    """Return a text, or its beginning and three dots."""
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
