"""FORMAT.md and the pages of docs/format as data: sections, tables, constants, and the fields of bytes of a table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = (ROOT / "FORMAT.md").read_text("utf-8")
PAGES: Final = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "docs" / "format").glob("*.md"))}
EXAMPLE_DOCUMENT: Final = PAGES["example"]
SAMPLES_DOCUMENT: Final = PAGES["samples"]
WRITING_DOCUMENT: Final = PAGES["writing"]


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
    """Return the value that a cell of a table of constants states."""
    if re.fullmatch(r"`(?:[0-9a-f]{2} ?)+`", cell):
        return bytes.fromhex(cell.strip("`"))
    if cell.startswith("`"):
        return cell.strip("`")
    numbers = tuple(int(part, 0) for part in cell.split(", "))
    return numbers if len(numbers) > 1 else numbers[0]


def constants_of(rows: list[list[str]]) -> dict[str, object]:
    """Return the constants that a table states: a row has one, or several and as many values."""
    stated: dict[str, object] = {}
    for names, values, *_ in rows:
        words = code_words(names)
        parts = values.split(", ") if len(words) > 1 else [values]
        stated |= {name: constant_of(value) for name, value in zip(words, parts, strict=True)}
    return stated


def fields_of(rows: list[list[str]], data: bytes) -> dict[str, int | bytes]:
    """Cut bytes into the fields that a table of the document describes, which must fill them.

    A row has offset, types and names of fields that stand end to end; with a size behind the offset, one field.
    """
    fields: dict[str, int | bytes] = {}
    end = int(rows[0][0])
    first = end
    for offset, *cells in rows:
        assert int(offset) == end, f"{cells[1]} does not begin where the field before it ends"
        size = int(cells.pop(0)) if cells[0].isdigit() else None
        begin = end
        for kind, name in zip(cells[0].split(", "), cells[1].split(", "), strict=True):
            found = re.fullmatch(r"u8\[(\d+)\]|u(8|16|32|64)", kind)
            assert found, f"{name} has the type {kind}"
            length = int(found[1]) if found[1] else int(found[2]) // 8
            piece = data[end - first : end - first + length]
            fields[name] = piece if found[1] else int.from_bytes(piece, "little")
            end += length
        assert size in (None, end - begin)
    assert end - first == len(data)
    return fields
