"""FORMAT.md as data: its sections, tables, constants, and the fields of bytes that a table describes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = (ROOT / "FORMAT.md").read_text("utf-8")
SAMPLES_DOCUMENT: Final = (ROOT / "docs" / "format" / "samples.md").read_text("utf-8")


def section(heading: str, document: str = DOCUMENT) -> str:
    """Return the text below one heading, up to the next one of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\.? [^\n]*\n(.*?)(?=^#+ |\Z)", document, re.M | re.S)
    assert found, f"{document.partition(chr(10))[0]} has no section {heading}"
    return found[1]


def table(heading: str, first_column: str, number: int = 0, document: str = DOCUMENT) -> list[list[str]]:
    """Return the rows of a section's `number`-th table whose head begins with a word."""
    blocks = re.findall(r"(?:^\|.*\n)+", section(heading, document), re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    starts = [place for place, row in enumerate(rows) if row[0] == first_column]
    assert len(starts) > number, f"section {heading} has {len(starts)} tables that begin with {first_column!r}"
    body = rows[starts[number] + 2 :]
    stop = next((place for place, row in enumerate(body) if set(row[0]) == {"-"}), len(body) + 1)
    return body[: stop - 1]


def code_words(cell: str) -> list[str]:
    """Return what stands between backticks."""
    return re.findall(r"`([^`]*)`", cell)


def records_of(cell: str) -> list[bytes]:
    """Return the records that a cell lists as quoted words."""
    return [word.strip('"').encode() for word in code_words(cell)]


def constant_of(cell: str) -> object:
    """Return the value that a cell of the table of constants states."""
    if re.fullmatch(r"`(?:[0-9a-f]{2} ?)+`", cell):
        return bytes.fromhex(cell.strip("`"))
    if cell.startswith("`"):
        return cell.strip("`")
    numbers = tuple(int(part, 0) for part in cell.split(", "))
    return numbers if len(numbers) > 1 else numbers[0]


def fields_of(rows: list[list[str]], data: bytes) -> dict[str, int | bytes]:
    """Cut bytes into the fields that a table of the document describes, which must fill them."""
    fields: dict[str, int | bytes] = {}
    end = int(rows[0][0])
    for offset, size, kind, name, *_ in rows:
        assert int(offset) == end, f"{name} does not begin where the field before it ends"
        piece = data[end : end + int(size)]
        end += int(size)
        if kind.startswith("u8["):
            assert kind == f"u8[{size}]"
            fields[name] = piece
        else:
            assert kind == f"u{8 * int(size)}"
            fields[name] = int.from_bytes(piece, "little")
    assert end == len(data)
    return fields
