"""Lines of JSON through both paths: the compiled one makes the records that Python makes, or leaves the line to it.

texts ─┬─ json, SchemaTable ──> record, or an error ─┐
       └─ json_records ───────> record, or nothing  ─┴─ equal where there are two
"""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from splitdata import SampleDataset, SplitWriter, convert, open_source
from splitdata._compiled import speedups
from splitdata.conversion.sources.value_types import JsonFields
from splitdata.errors import SourceError
from splitdata.samples.schema_table import SchemaTable
from tests.dataset.record_kinds import tree_of
from tests.paths import PATHS, needs_compiled, take_path

USUAL = [
    '{"id": 7, "text": "some words", "score": 0.5, "tags": ["a", "b"], "n": null, "t": true, "f": false}',
    '  {"a":1}\t\r',
    "[]",
    "{}",
    '""',
    "0",
    "-0",
    "-12",
    "123456789012345678",
    "-1.5e-300",
    "1E5",
    "1e400",
    "0.1",
    "-0.0",
    "3.141592653589793238462643383279",
    "[1, 2, 3]",
    "[1.5, -2.5]",
    "[1, 2.5]",
    "[true, false, null]",
    "[[1, 2], [], [[3]], [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5]]",
    '{"x": [0, 1, 2, 3, 4, 5, 6, 7, 8], "y": [1.0], "z": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "i": 3, "s": "end"}',
    '{"a": {"b": {"c": [{"d": 1}, {"d": 2}]}}, "": ""}',
    r'"\" \\ \/ \b \f \n \r \t \u00e9 \u20ac \ud83d\ude00 \u0000"',
    r'"\ud83d \ude00 \ud83dx \ud83d\u0041 \uDE00\uD83D"',
    '"ü € 😀 \x7f"',
    '{"ü": "ü", "' + "k" * 300 + '": 1}',
    "[" * 64 + "]" * 64,
    json.dumps({f"k{number}": number for number in range(64)}),
]
UNUSUAL = [
    "12345678901234567890",
    "1234567890123456789",
    "NaN",
    "[Infinity, -Infinity]",
    r'{"\u0061": 1}',
    "[" * 64 + "[1]" + "]" * 64,
    json.dumps({f"k{number}": number for number in range(65)}),
    "0." + "1" * 70,
]
WRONG = [
    "",
    "   ",
    "{",
    '{"a"',
    '{"a":',
    '{"a":1',
    '{"a":1,}',
    "[1,]",
    "[1 2]",
    "1 2",
    "1,2",
    "01",
    "1.",
    ".5",
    "1e",
    "-",
    "+1",
    "tru",
    "nul",
    '"a',
    '"\t"',
    r'"\x"',
    r'"\u12"',
    r'"\u12g4"',
    r'"\ud83d\u12"',
    '{"a": 1, "a": 2}',
    '{"b": {"a": 1, "b": 2, "a": 2}}',
    "{1: 2}",
    "'a'",
    "\ufeff1",
    "[" * 65 + "]" * 65,
    '"a" // no comments',
]
BAD_BYTES = [
    b'"\xff"',
    b'"\xc3"',
    b'"\xed\xa0\x80"',
    b'"\xc0\x80"',
    b'"\xf4\x90\x80\x80"',
    b'"\xe2\x82"',
    b"\x00",
    b'"a\x00"',
]


def both(line: bytes) -> tuple[bytes | None, list[bytes]]:
    """Return the record that Python makes of a line, None for an error, and those of the compiled path."""
    compiled = speedups()
    assert compiled is not None
    table = SchemaTable()
    try:
        expected: bytes | None = table.encode(JsonFields({})(line))
    except (ValueError, TypeError):
        expected = None
    return expected, compiled.json_records([line], 0, 1, 1 << 30, table.numbers)


@needs_compiled
@pytest.mark.parametrize("text", USUAL)
def test_usual_text_becomes_the_record_that_python_makes(text: str) -> None:
    expected, found = both(text.encode())

    assert expected is not None
    assert found == [expected]


@needs_compiled
@pytest.mark.parametrize("text", UNUSUAL)
def test_unusual_text_is_left_to_python(text: str) -> None:
    expected, found = both(text.encode())

    assert expected is not None
    assert found == []


@needs_compiled
@pytest.mark.parametrize("line", [text.encode() for text in WRONG] + BAD_BYTES)
def test_what_is_no_json_is_left_to_python(line: bytes) -> None:
    assert both(line) == (None, [])


@needs_compiled
def test_changed_texts_become_what_python_makes_or_are_left_to_it() -> None:
    source = random.Random(1)
    seeds = [text.encode() for text in (*USUAL * 4, *UNUSUAL, *WRONG)]
    signs = [*map(bytes, zip(range(256))), rb"\u", rb"\ud83d", rb"\ude00", b'","', b'":', b"[", b"]", b"1e3", b".5"]
    num_usual = 0
    for _ in range(20_000):
        line = bytearray(source.choice(seeds))
        for _ in range(source.randrange(1, 3)):
            start = source.randrange(len(line) + 1)
            line[start : start + source.randrange(3)] = source.choice((b"", source.choice(signs)))
        expected, found = both(bytes(line))
        num_usual += len(found)
        assert found in ([], [expected]), bytes(line)
    assert num_usual > 3_000


def _value(source: random.Random, depth: int) -> Any:
    """Return any value of JSON that is usual."""
    texts = ("", "a", "üñ", "😀", "\ud800", '"\\/', "\0\t\n", "x" * 63, "long " * 40)
    kind = source.randrange(8 if depth < 4 else 5)
    if kind < 5:
        number = source.choice((0, 1, -1, 10**18 - 1, source.randrange(1 << 40)))
        return (None, source.random() < 0.5, number, source.gauss(0, 1e9) ** 5, source.choice(texts))[kind]
    if kind == 5:
        return {source.choice(("", "a", "b", "key", "ü")): _value(source, depth + 1) for _ in range(4)}
    if kind == 6:
        return [_value(source, depth + 1) for _ in range(source.randrange(4))]
    return [source.choice((1, 1.5, number)) for number in range(source.randrange(12))]


@needs_compiled
def test_any_value_written_as_json_becomes_the_record_that_python_makes() -> None:
    source = random.Random(2)
    for number in range(4_000):
        value = _value(source, 0)
        is_plain = number % 2 == 0 and "\\ud800" not in json.dumps(value)
        names_are_plain = '\\u00fc": ' not in json.dumps(value)
        text = json.dumps(value, ensure_ascii=not is_plain, indent=source.choice((None, 1)))
        expected, found = both(text.encode())
        assert found == ([expected] if is_plain or names_are_plain else []), text


@needs_compiled
def test_records_end_at_the_first_text_that_is_not_usual_and_at_what_was_asked_for() -> None:
    compiled = speedups()
    assert compiled is not None
    table = SchemaTable()
    expected = [table.encode(number) for number in range(4)]
    lines = [b"0", b"1", b"2", b"3", b"", b"1"]

    def made(start: int, most: int, most_bytes: int) -> list[bytes]:
        return compiled.json_records(lines, start, most, most_bytes, table.numbers)

    assert made(0, 100, 1 << 20) == expected
    assert made(1, 2, 1 << 20) == expected[1:3]
    assert made(0, 100, 13) == expected[:2]
    assert [made(4, 9, 99), made(6, 9, 99), made(-1, 9, 99), made(0, 0, 99)] == [[], [], [], []]
    assert compiled.json_records([*lines[:2], "2"], 0, 9, 99, table.numbers) == expected[:2]  # type: ignore[list-item]
    assert compiled.json_records(lines, 0, 9, 99, {}) == []


def _lines(count: int) -> list[bytes]:
    """Return lines of several schemas, blank ones, CRLF, and some that are not usual."""
    lines = []
    for number in range(count):
        value = {"id": number, "tags": ["a", "b", "c"][: number % 4], "x": [number / 7] * (number % 11)}
        line = json.dumps(value | ({"big": 1 << 70} if number % 37 == 5 else {})).encode()
        lines += [line + (b"\r" if number % 5 == 0 else b"")] + [b" \t"] * (number % 17 == 3)
    return lines


@needs_compiled
@pytest.mark.parametrize("options", [{}, {"limit": 777}, {"resume": True}], ids=str)
def test_conversion_writes_the_same_files_through_both_paths(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(_lines(2000)))
    found, reports = {}, []
    for name in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            take_path(patch, name)
            reports.append(convert(open_source(path, typed=True), tmp_path / name, reproducible=True, **options))
        found[name] = {key: data for key, data in tree_of(tmp_path / name).items() if not key.startswith("manifest.")}

    assert found["compiled"] == found["python"]
    assert reports[0].skipped == reports[1].skipped
    assert SampleDataset(tmp_path / "compiled")[5]["big"] == 1 << 70


@pytest.mark.parametrize("path_name", PATHS)
def test_line_that_is_wrong_behind_good_ones_is_the_error_that_names_it(
    path_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_path(monkeypatch, path_name)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' * 50 + b'{"a": 1, "a": 2}\n{"a": 1}\n')

    with pytest.raises(SourceError, match=r"record 50 of a\.jsonl cannot be made a sample: it has the field 'a' twice"):
        convert(open_source(path, typed=True), tmp_path / "data")
    assert not (tmp_path / "data").exists()


@needs_compiled
def test_positions_are_those_of_the_lines_that_were_given(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(_lines(300)))
    source: Any = open_source(path, typed=True)
    with SplitWriter(tmp_path / "data", codec="sample") as writer:
        # The schemas have to be known, as they are behind the first lines.
        writer.write_encoded(open_source(path, typed=True))
        assert source.bind_with(writer.encoder)
        records, positions = [], []
        for record in source:
            records.append(record)
            positions.append(source.position())
        for number in (0, 1, 63, 64, 150, 299):
            assert list(islice(source.records_from(positions[number]), 3)) == records[number + 1 : number + 4]
    assert len(records) == 300
