"""What a folder, a pattern or a list brings along and cannot be read: an error at once, which names it."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from splitdata import SourceError, convert, open_source

NOT_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="has no such files")


@pytest.mark.skipif(sys.platform != "linux", reason="reads a file of Linux that cannot be read")
@pytest.mark.parametrize(
    ("named", "kind"), [("a.*", "files"), ("a.*", "lines"), ("a.*", "csv"), ("@list", "files"), (".", "folder")]
)
def test_file_whose_reading_fails_is_named(
    named: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").symlink_to("/proc/self/mem")
    Path("list").write_text("a.txt\n")
    follow = kind == "folder"

    with pytest.raises(OSError, match="Input/output error") as caught:
        list(open_source(named, kind=kind, follow_links=follow))

    assert caught.value.errno == errno.EIO
    assert str(caught.value.filename).endswith("a.txt")
    assert ("line 1 of list" in str(caught.value)) == (named == "@list")


def test_file_that_has_nothing_now_as_a_pipe_has_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").touch()

    def has_nothing(descriptor: int, size: int) -> bytes:
        raise BlockingIOError(errno.EAGAIN, "nothing now")

    source = open_source(tmp_path / "*.jpg")
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", has_nothing)
        with pytest.raises(SourceError, match=r"a\.jpg has nothing to read at this moment"):
            convert(source, tmp_path / "data")


@NOT_WINDOWS
@pytest.mark.parametrize("named", ["*.txt", "@list", ["a.txt", "?.txt"], ["a.txt", "@list"]])
@pytest.mark.parametrize("kind", ["lines", "jsonl", "csv", "prefixed", "files"])
@pytest.mark.parametrize("what", ["pipe", "device"])
def test_pipe_or_device_that_nobody_named_is_refused_at_once(
    what: str, kind: str, named: str | list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_bytes(b"\1\0\0\0A")
    Path("list").write_text("z.txt\n")
    if what == "pipe":
        os.mkfifo("z.txt")
    else:
        Path("z.txt").symlink_to(os.devnull)

    with pytest.raises(SourceError, match=r"z\.txt.* is no file but a"):
        list(open_source(named, kind=kind))


@pytest.mark.parametrize("named", ["[-]", "@list"])
@pytest.mark.parametrize("kind", ["lines", "files"])
def test_file_named_as_standard_input_is_read_where_a_pattern_or_a_list_names_it(
    named: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").write_bytes(b"A")
    Path("list").write_text("-\n")

    assert list(open_source(named, kind=kind)) == [b"A"]
