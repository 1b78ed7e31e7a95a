r"""Everything that is printed: one escaper for data, names and paths, and one form for each kind of output.

A character is shown as it is if it prints by itself: no control, no line ending, no mark that
changes direction, nothing invisible but the blank.

    b"\x1b[2J\xff caf\xc3\xa9\n"  ──escape_bytes──>  \x1b[2J\xff café\n      one line, nothing that moves a cursor
"""

from __future__ import annotations

import codecs
import json
import sys
from typing import Any

import click

__all__ = ["BytesEscaper", "counted", "escape", "escape_bytes", "print_json", "print_line", "print_table", "size_text"]


def escape(text: str) -> str:
    r"""Return a text on one line with all that does not print in it as `\n`, `\x1b` or `\u202e`.

    Bytes that file names carry as lone surrogates are shown as `\xff`.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def escape_bytes(data: bytes) -> str:
    r"""Return bytes as one line of text: UTF-8 where they are that, `\xff` elsewhere, backslashes doubled."""
    return BytesEscaper().escape(data, is_last=True)


class BytesEscaper:
    """Escapes one long run of bytes given piece by piece, characters cut anywhere."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    def escape(self, piece: bytes, *, is_last: bool) -> str:
        """Return what can be shown by now."""
        return escape(self._decoder.decode(piece, is_last).replace("\\", "\\\\"))


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def print_line(line: str = "", *, to_stderr: bool = False, newline: bool = True) -> None:
    """Print a line that holds nothing unescaped; what the terminal has no letter for is escaped too."""
    stream = sys.stderr if to_stderr else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(line.encode(encoding, "backslashreplace").decode(encoding), err=to_stderr, nl=newline)


def print_table(rows: list[tuple[str, str]]) -> None:
    """Print labels and values in two columns, the values escaped."""
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print_line(f"{label:<{width}}  {escape(value)}")


def print_json(value: Any) -> None:  # whatever JSON can hold
    """Print a value as JSON in ASCII, on several lines."""
    # JSON leaves this one control character as it is.
    print_line(json.dumps(value, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f"))


def counted(number: int, noun: str) -> str:
    """Return "1 record" or "1,234 records"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size_text(num_bytes: float) -> str:
    """Return a number of bytes with a decimal unit: 12 bytes, 3.4 kB, 567.8 MB."""
    if num_bytes < 1000:
        return f"{num_bytes:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        num_bytes /= 1000
        # A number that would be rounded up to 1000.0 belongs to the next unit.
        if num_bytes < 999.95:
            return f"{num_bytes:.1f} {unit}"
    return f"{num_bytes / 1000:,.1f} TB"
