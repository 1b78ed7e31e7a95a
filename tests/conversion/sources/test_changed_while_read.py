"""Sources that become shorter or longer while they are read: an error, or as they were when they were opened.

cut    whatever is missing at the end, also where what is left looks whole       SourceError, nothing is committed
grown  what was there at first, and nothing that came later
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from splitdata import SourceError, convert, open_source
from splitdata.conversion.sources.files import input_file

LINES = [b"line %04d" % number for number in range(400)]
TEXT = b"\n".join(LINES) + b"\n"
HALF = TEXT[: len(TEXT) // 2]
PREFIXED = b"".join(len(line).to_bytes(4, "little") + line for line in LINES)


def two_frames(compress: Callable[[bytes], bytes]) -> tuple[bytes, int]:
    """Return a compressed text of two parts, each whole by itself, and where the first ends."""
    first = compress(HALF)
    return first + compress(TEXT[len(HALF) :]), len(first)


# Name, content, where it is cut to, kind.
FILES: dict[str, tuple[str, bytes, int, Any]] = {
    "lines": ("a.txt", TEXT, len(HALF), "lines"),
    "lines, between two": ("a.txt", TEXT, 10 * 200, "lines"),
    "jsonl": ("a.jsonl", TEXT, 10 * 200, "jsonl"),
    "csv": ("a.csv", b"a\n" + TEXT, 2 + 10 * 200, "csv"),
    "prefixed": ("a.bin", PREFIXED, 13 * 200, "prefixed"),
    "gzip": ("a.txt.gz", *two_frames(gzip.compress), "lines"),
    "zstd": ("a.txt.zst", *two_frames(zstandard.compress), "lines"),
    "bzip2": ("a.txt.bz2", *two_frames(bz2.compress), "lines"),
    "xz": ("a.txt.xz", *two_frames(lzma.compress), "lines"),
}


@pytest.fixture(autouse=True)
def _few_bytes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_file, "_BLOCK_BYTES", 50)


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path, name: str) -> None:
    file, data, length, kind = FILES[name]
    (tmp_path / file).write_bytes(data)
    records = iter(open_source(tmp_path / file, kind=kind))
    next(records)

    os.truncate(tmp_path / file, length)

    with pytest.raises(SourceError, match=f"ends .* bytes too early: it had {len(data)} bytes when it was opened"):
        list(records)


@pytest.mark.parametrize("name", FILES)
def test_file_that_grows_while_it_is_read_counts_as_it_was(tmp_path: Path, name: str) -> None:
    file, data, _, kind = FILES[name]
    (tmp_path / file).write_bytes(data)
    records = iter(open_source(tmp_path / file, kind=kind))
    next(records)

    with (tmp_path / file).open("ab") as opened:
        opened.write(data)

    assert len(list(records)) == len(LINES) - 1


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be cut there")
@pytest.mark.parametrize("change", [lambda path: os.truncate(path, 2000), lambda path: path.write_bytes(TEXT * 2)])
def test_file_on_standard_input_is_held_to_its_size_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT)
    with path.open("rb", buffering=0) as opened:
        # As behind a `read` of the shell: a part of it was taken before.
        opened.seek(10 * 100)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(opened, encoding="utf-8"))
        records = iter(open_source("-"))
        next(records)
        change(path)
        if path.stat().st_size < len(TEXT):
            with pytest.raises(SourceError, match="standard input ends 2000 bytes too early"):
                list(records)
        else:
            assert list(records) == LINES[101:]


@pytest.mark.parametrize("size", [5, 1 << 20])
@pytest.mark.parametrize("kind", ["folder", "files"])
def test_file_that_is_a_record_is_whole_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int
) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.bin").write_bytes(b"x" * size)
    path = tmp_path / "source"
    source = open_source(path) if kind == "folder" else open_source(path / "a.bin", kind="files")
    fstat = os.fstat

    def cut_behind(descriptor: int) -> os.stat_result:
        """Look at a file, and cut it before it is read."""
        status = fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            os.truncate(path / "a.bin", size - 1)
        return status

    monkeypatch.setattr("splitdata.conversion.sources.files.file_record.os.fstat", cut_behind)

    with pytest.raises(SourceError, match=f"ends after {size - 1} of the {size} bytes of record 0"):
        convert(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_file_that_the_system_makes_up_is_read_to_its_end(tmp_path: Path) -> None:
    made_up = Path("/proc/self/status")
    if not made_up.exists():
        pytest.skip("this system has none")

    lines: list[Any] = list(open_source(made_up, kind="lines"))
    whole: list[Any] = list(open_source(made_up, kind="files"))

    assert lines[0].startswith(b"Name:")
    assert whole[0].startswith(lines[0])
    assert len(whole[0]) > 100


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no named pipes")
@pytest.mark.parametrize("name", FILES)
def test_pipe_in_place_of_a_file_that_was_found_is_an_error_and_not_waited_for(tmp_path: Path, name: str) -> None:
    file_name, content, _, kind = FILES[name]
    path = tmp_path / file_name
    path.write_bytes(content)
    source = open_source(path, kind=kind)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match="no file"):
        convert(source, tmp_path / "data")
    assert not (tmp_path / "data").exists()
