"""Lines of text and JSONL: split right wherever the blocks are cut, and refused where they are no lines."""

from __future__ import annotations

import bz2
import gzip
import itertools
import lzma
import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from splitdata.conversion.sources.text.lines import JsonLineSource, LineSource, split_lines, without_returns
from splitdata.errors import RecordTooLargeError, SourceError

# Mostly what matters, so that line endings meet the cuts.
TEXTS = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bc", b"\x00", b"\xff"]), max_size=40).map(b"".join)


def lines_of(data: bytes) -> list[bytes]:
    """The same rule said plainly: what a line ending closes, and then what is left, if anything."""
    closed = re.findall(rb"(.*?)\r?\n", data, re.DOTALL)
    rest = data[data.rfind(b"\n") + 1 :]
    return [*closed, *([rest] if rest else [])]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at some places into blocks, none of them empty."""
    borders = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:stop] for start, stop in itertools.pairwise(borders) if start < stop]


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def split(blocks: Iterable[bytes]) -> list[bytes]:
    """Return the lines of a text in blocks, as `LineSource` gives them."""
    found: list[bytes] = []
    for lines, has_returns, _ in split_lines(blocks, max_bytes=1000, shown="the text"):
        found += without_returns(lines) if has_returns else lines
    return found


@given(TEXTS, st.lists(st.integers(0, 200), max_size=8))
def test_lines_are_the_same_wherever_blocks_are_cut(data: bytes, places: list[int]) -> None:
    assume(b"\n" in data or b"\r" not in data.rstrip(b"\r"))
    found = split(cut(data, places))

    assert found == lines_of(data)


@given(st.binary(max_size=60), st.integers(1, 60))
def test_any_bytes_give_the_lines_of_the_plain_rule(data: bytes, size: int) -> None:
    assume(b"\n" in data or b"\r" not in data.rstrip(b"\r"))
    blocks = [data[start : start + size] for start in range(0, len(data), size)]
    found = split(blocks)

    assert found == lines_of(data)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=6),
    st.integers(1, 40),
    st.integers(0, 30),
)
def test_line_is_refused_exactly_when_longer_than_the_limit(lengths: list[int], size: int, limit: int) -> None:
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    blocks = [data[start : start + size] for start in range(0, len(data), size)]

    def count() -> int:
        return sum(len(lines) for lines, _, _ in split_lines(blocks, max_bytes=limit, shown="the text"))

    if max(lengths) > limit:
        with pytest.raises(RecordTooLargeError, match=f"longer than {limit} bytes"):
            count()
    else:
        assert count() == len(lengths)


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\r\n\r\nb\n", [b"a", b"", b"b"]),
        (b"a\rb\n", [b"a\rb"]),
        (b"\xef\xbb\xbfa\nb", [b"a", b"b"]),
        (b"\xef\xbb\xbf", []),
        (b"a\n\xef\xbb\xbfb\n", [b"a", b"\xef\xbb\xbfb"]),
        (b"\xef\xbb", [b"\xef\xbb"]),
    ],
)
def test_text_gives_a_record_a_line(tmp_path: Path, data: bytes, records: list[bytes]) -> None:
    assert list(LineSource(write(tmp_path / "a.txt", data))) == records


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.txt.zst", "a.txt.bz2", "a.txt.xz", "A.TXT.GZ"])
def test_compressed_text_gives_the_same_lines_as_plain_text(tmp_path: Path, name: str) -> None:
    lines = [b"line %d of many" % number for number in range(100_000)]
    data = b"\n".join(lines)
    compressors: dict[str, Callable[[bytes], bytes]] = {
        ".bz2": bz2.compress,
        ".gz": gzip.compress,
        ".xz": lzma.compress,
        ".zst": zstandard.compress,
    }
    path = write(tmp_path / name, compressors.get(Path(name).suffix.lower(), bytes)(data))
    source = LineSource(path)

    assert list(source) == lines
    assert source.bytes_read == source.num_bytes == Path(path).stat().st_size


def test_source_gives_its_lines_again_from_the_beginning(tmp_path: Path) -> None:
    source = LineSource(write(tmp_path / "a.txt", b"a\nb\n"))

    assert list(source) == list(source) == [b"a", b"b"]
    assert source.bytes_read == 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(b"a\n", mtime=0), "compressed with gzip"),
        (zstandard.compress(b"a\n"), "compressed with zstd"),
        (bz2.compress(b"a\n"), "compressed with bzip2"),
        (lzma.compress(b"a\n"), "compressed with xz"),
        ("a\n".encode("utf-16"), "UTF-16"),
        (b"\xfe\xff\x00a\x00\n", "UTF-16"),
    ],
)
@pytest.mark.parametrize("source_class", [LineSource, JsonLineSource])
def test_file_that_is_no_text_in_bytes_is_refused(
    tmp_path: Path, source_class: type[LineSource], data: bytes, reason: str
) -> None:
    source = source_class(write(tmp_path / "a.txt", data))

    with pytest.raises(SourceError, match=reason):
        list(source)


def test_jsonl_leaves_blank_lines_out_and_counts_them(tmp_path: Path) -> None:
    source = JsonLineSource(write(tmp_path / "a.jsonl", b'\n{"a": 1}\r\n \t\r\n\n  {"b":2} \n'))

    assert list(source) == [b'{"a": 1}', b'  {"b":2} ']
    assert source.skipped == {"blank line": 3}


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"{'a': 1}",
        b"NaN",
        b"[Infinity]",
        b'{"a": 1} x',
        b'"\xff"',
        '"a"'.encode("utf-16-le"),
        pytest.param(b"[" * 100_000, id="nested too deeply"),
    ],
)
def test_line_that_is_not_json_is_refused_by_its_number_where_asked(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path / "a.jsonl", b"1\n\n" + line.replace(b"\n", b"") + b"\n2\n")

    assert len(list(JsonLineSource(path))) == 3
    with pytest.raises(SourceError, match=r"line 3 of .*a\.jsonl is not JSON") as caught:
        list(JsonLineSource(path, validate=True))
    assert caught.value.position == 1


@pytest.mark.parametrize("line", [b"1" * 10_000, b"1e999", b'"\\ud800"', b'{"a": [null, true, -0.5]}'])
def test_any_json_value_passes_validation_as_it_is(tmp_path: Path, line: bytes) -> None:
    source = JsonLineSource(write(tmp_path / "a.jsonl", line), validate=True)

    assert list(source) == [line]


def test_folder_and_missing_file_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="this is a folder"):
        LineSource(str(tmp_path))
    with pytest.raises(FileNotFoundError):
        LineSource(str(tmp_path / "missing.txt"))
    (tmp_path / "a.txt.7z").touch()
    with pytest.raises(SourceError, match="not read here"):
        LineSource(str(tmp_path / "a.txt.7z"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    # Opening a pipe waits for the other end.
    writer = threading.Thread(target=path.write_bytes, args=[b"a\nb"])
    writer.start()
    source = LineSource(str(path))

    assert list(source) == [b"a", b"b"]
    assert source.num_bytes is None
    writer.join()
