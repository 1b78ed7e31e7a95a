"""JSON by orjson and by json: the same values of the same types, or the same errors.

text ─┬─ json_value_of_line, orjson ──> value or error ─┐
      └─ json_value_of_line, json ────> value or error ─┴─ equal
"""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import convert, open_source
from splitdata.conversion.sources.text import json_text
from splitdata.conversion.sources.text.json_text import json_value_of_line
from splitdata.errors import SourceError
from tests.dataset.record_kinds import tree_of

pytest.importorskip("orjson")

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
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "[1" + "0" * 5000 + "]",
    "1e19",
    "-9.1e18",
    "2.2250738585072011e-308",
    "[" * 900 + "]" * 900,
    '{"a" : {"b"\t:{"c":1}}}',
    r'{"a: b": "c : d", "e\":": ":"}',
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
    '{"a": 1, "a" : 2}',
    '{"a":1,"a"\t:2}',
    '[{"a": 1}, {"a": 1, "b": {"c": 1, "c": 1}}]',
    '{"a": ": ", "a": 2}',
    '{"b": {"a": 1, "b": 2, "a": 2}}',
    "{1: 2}",
    "'a'",
    "\ufeff1",
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


def said_of(line: bytes, *, by_orjson: bool) -> str:
    """Return the value of a text as Python writes it, which tells types and -0.0 apart, or the error."""
    with pytest.MonkeyPatch.context() as patch:
        if not by_orjson:
            patch.setattr(json_text, "_orjson", lambda: None)
        try:
            return repr(json_value_of_line(line))
        except ValueError as error:
            return f"{type(error).__name__}: {error}"


def check_same(line: bytes) -> str:
    """Hold both libraries against each other; returns what they say."""
    found = said_of(line, by_orjson=True)
    assert found == said_of(line, by_orjson=False), line
    return found


@pytest.mark.parametrize("line", [text.encode() for text in (*USUAL, *UNUSUAL)])
def test_text_says_the_same_by_either_library(line: bytes) -> None:
    assert "Error: " not in check_same(line) or len(line) > 4000


@pytest.mark.parametrize("line", [text.encode() for text in WRONG] + BAD_BYTES)
def test_what_is_no_json_is_the_same_error_by_either_library(line: bytes) -> None:
    assert "Error: " in check_same(line)


def test_changed_texts_say_the_same_by_either_library() -> None:
    source = random.Random(1)
    seeds = [text.encode() for text in (*USUAL * 4, *UNUSUAL, *WRONG) if len(text) < 800]
    signs = [*map(bytes, zip(range(256))), rb"\u", rb"\ud83d", rb"\ude00", b'","', b'":', b'"a":1,', b"[", b"]", b"1e3"]
    signs += [b"12345678901234567890", b"-0", b"NaN"]
    num_values = 0
    for _ in range(8_000):
        line = bytearray(source.choice(seeds))
        for _ in range(source.randrange(1, 3)):
            start = source.randrange(len(line) + 1)
            line[start : start + source.randrange(3)] = source.choice((b"", source.choice(signs)))
        num_values += "Error: " not in check_same(bytes(line))
    assert num_values > 1_000


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


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_value_written_as_json_is_read_the_same(value: Any) -> None:
    assert check_same(json.dumps(value).encode()) == repr(value)


def test_floats_are_read_the_same_to_the_last_bit() -> None:
    source = random.Random(3)
    for _ in range(3_000):
        (number,) = struct.unpack("<d", source.randbytes(8))
        line = source.choice(("%r", "%.17g", "%.25e", "%.3f")) % number
        check_same(line.encode())


def test_conversion_writes_the_same_files_by_either_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(4)
    lines = [json.dumps(_value(source, 0)) for _ in range(400)]
    (tmp_path / "a.jsonl").write_bytes("\ufeff".encode() + "\r\n\n".join(lines).encode())
    files = []
    for name, library in (("orjson", json_text._orjson), ("json", lambda: None)):
        monkeypatch.setattr(json_text, "_orjson", library)
        convert(open_source(tmp_path / "a.jsonl", typed=True), tmp_path / name, reproducible=True)
        made = tree_of(tmp_path / name)
        files.append({key: data for key, data in made.items() if "segments" in key})

    assert files[0] == files[1]


def test_field_that_comes_twice_is_the_error_that_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n' * 50 + b'{"a": 1, "a": 2}\n{"a": 1}\n')

    with pytest.raises(SourceError, match=r"record 50 of a\.jsonl cannot be made a sample: it has the field 'a' twice"):
        convert(open_source(tmp_path / "a.jsonl", typed=True), tmp_path / "data")
    assert not (tmp_path / "data").exists()
