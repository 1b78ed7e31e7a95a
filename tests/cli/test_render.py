"""The escaper: whatever comes in, one line comes out that moves no cursor, and it says what was there."""

from __future__ import annotations

import codecs
import itertools
import unicodedata

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from splitdata_cli._render import BytesEscaper, counted, escape, escape_bytes, size_text
from splitdata_cli.main import cli

ANY_TEXT = st.text(st.characters(exclude_categories=[]))


@given(ANY_TEXT)
def test_escaped_text_has_only_characters_that_print(text: str) -> None:
    escaped = escape(text)

    assert escaped.isprintable()
    assert not any(unicodedata.category(character)[0] in "C" for character in escaped)
    assert not set(escaped) & set("\x00\n\r\t\x1b\x7f\x85\u200b\u200e\u202e\u2028\u2066\ufeff")


@given(st.text(st.characters(categories=["L", "N", "P"])))
def test_text_that_prints_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x07\x7f\x9b", r"\x1b[2J\x07\x7f\x9b"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\u2066\u200b\ufeff\u2028", r"\u2066\u200b\ufeff\u2028"),
        ("\U000e0041", r"\U000e0041"),
        ("caf\udce9", r"caf\xe9"),
        ("\ud800", r"\ud800"),
        ("日本 café", "日本 café"),
        ("C:\\data", "C:\\data"),
    ],
)
def test_character_is_escaped_as_python_writes_it(text: str, escaped: str) -> None:
    assert escape(text) == escaped


@given(st.binary(max_size=200))
def test_escaped_bytes_can_be_read_back(data: bytes) -> None:
    escaped = escape_bytes(data)

    assert escaped.isprintable()
    # Escapes below 256 stand for bytes where they are no UTF-8, for characters elsewhere, so the
    # characters are compared as Latin-1 or as UTF-8.
    decoded = codecs.decode(escaped.encode("latin-1", "backslashreplace"), "unicode_escape")
    shown = data.decode("utf-8", "surrogateescape")
    assert decoded == "".join(chr(ord(c) - 0xDC00) if 0xDC80 <= ord(c) <= 0xDCFF else c for c in shown)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_bytes_given_in_pieces_are_escaped_like_the_whole(data: bytes, places: list[int]) -> None:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    escaper = BytesEscaper()
    pieces = [data[start:stop] for start, stop in itertools.pairwise(borders)]
    text = "".join(escaper.escape(piece, is_last=False) for piece in pieces) + escaper.escape(b"", is_last=True)

    assert text == escape_bytes(data)


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (1_500_000_000, "1.5 GB"),
        (2_345_678_000_000_000, "2,345.7 TB"),
    ],
)
def test_sizes_have_decimal_units(num_bytes: int, text: str) -> None:
    assert size_text(num_bytes) == text


def test_counts_have_a_plural_and_separators() -> None:
    assert [counted(number, "record") for number in (0, 1, 1234)] == ["0 records", "1 record", "1,234 records"]


def test_character_that_the_output_has_no_code_for_is_escaped() -> None:
    result = CliRunner(charset="ascii").invoke(cli, ["info", "/日本"])

    assert result.exit_code == 2
    assert result.stderr == "splitdata: error: /\\u65e5\\u672c does not exist\n"
