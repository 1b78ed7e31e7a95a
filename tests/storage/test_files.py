"""The operations on files: short ones are finished, odd things are refused, fallbacks do the same."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.errors import FormatError
from splitdata.storage import files


@pytest.fixture(params=[True, False], ids=["positional", "seeking"])
def positional(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run with pread and pwrite, and as on a system without them."""
    monkeypatch.setattr(files, "_has_positional", request.param)
    if not request.param:
        for name in ("pread", "pwrite", "pwritev"):
            monkeypatch.delattr(os, name, raising=False)
    return bool(request.param)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = files.create(str(tmp_path / "file"))
    yield opened
    os.close(opened)


@pytest.mark.usefixtures("positional")
def test_written_bytes_are_read_where_they_were_written(descriptor: int) -> None:
    files.write_at(descriptor, b"world", 6)
    files.write_at(descriptor, memoryview(b"hello "), 0)

    assert files.size_of(descriptor) == 11
    assert files.read_at(descriptor, 11, 0) == b"hello world"
    assert files.read_at(descriptor, 100, 6) == b"world"
    assert files.read_at(descriptor, 100, 11) == b""
    assert files.read_at(descriptor, 0, 0) == b""


@pytest.mark.usefixtures("positional")
def test_file_extends_with_zeros_and_is_cut(descriptor: int) -> None:
    files.write_at(descriptor, b"x", 3)
    assert files.read_at(descriptor, 9, 0) == b"\0\0\0x"
    files.truncate(descriptor, 1)

    assert files.read_at(descriptor, 9, 0) == b"\0"


@pytest.mark.usefixtures("positional")
def test_pieces_are_written_one_behind_the_other(descriptor: int) -> None:
    pieces: list[bytes | memoryview] = [b"%04d" % number for number in range(3000)]
    files.write_gathered(descriptor, pieces, 5)

    assert files.read_at(descriptor, 20_000, 5) == b"".join(pieces)


@given(st.binary(max_size=300), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_short_reads_and_writes_are_finished(data: bytes, portions: list[int]) -> None:
    """Each call of the system handles less than it was asked for."""
    turn = iter(portions * 1000)
    with pytest.MonkeyPatch.context() as patch:
        pread, pwrite, pwritev = os.pread, os.pwrite, os.pwritev
        patch.setattr(os, "pread", lambda fd, length, at: pread(fd, min(length, next(turn)), at))
        patch.setattr(os, "pwrite", lambda fd, piece, at: pwrite(fd, piece[: next(turn)], at))
        patch.setattr(os, "pwritev", lambda fd, pieces, at: pwritev(fd, [b"".join(pieces)[: next(turn)]], at))
        descriptor, name = tempfile.mkstemp()
        try:
            files.write_at(descriptor, data, 3)
            assert files.read_at(descriptor, len(data), 3) == data
            files.write_gathered(descriptor, [data, b"-", data], 1000)
            assert files.read_at(descriptor, 1000, 1000) == data + b"-" + data
        finally:
            os.close(descriptor)
            Path(name).unlink()


def test_write_that_makes_no_progress_is_an_error(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)

    with pytest.raises(OSError, match="writes none of 3 bytes"):
        files.write_at(descriptor, b"abc", 0)


def test_creating_a_file_whose_name_is_taken_fails(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"keep")

    with pytest.raises(FileExistsError):
        files.create(str(tmp_path / "taken"))
    assert (tmp_path / "taken").read_bytes() == b"keep"


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket has about a hundred bytes at most.
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def make_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"secret")
    path.symlink_to(target)


ODD: dict[str, Callable[[Path], object]] = {
    "symlink": make_link,
    "dangling symlink": lambda path: path.symlink_to("nowhere"),
    "fifo": os.mkfifo if sys.platform != "win32" else Path.mkdir,
    "directory": Path.mkdir,
    "socket": make_socket,
}


@pytest.mark.skipif(sys.platform == "win32", reason="has none of these")
@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD.keys())
def test_whatever_is_no_regular_file_is_refused_without_waiting(
    tmp_path: Path, make: Callable[[Path], object], writable: bool
) -> None:
    path = tmp_path / "odd"
    make(path)

    with pytest.raises(FormatError, match="no regular file"):
        files.open_existing(str(path), writable=writable)
    assert not files.is_regular(str(path))


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.open_existing(str(tmp_path / "none"))
    assert not files.is_regular(str(tmp_path / "none"))


def test_removing_what_is_gone_is_no_error(tmp_path: Path) -> None:
    files.remove(str(tmp_path / "none"))
    files.remove_directory(str(tmp_path / "none"))


def test_directory_is_made_once(tmp_path: Path) -> None:
    assert files.make_directory(str(tmp_path / "folder"))
    assert not files.make_directory(str(tmp_path / "folder"))


def test_directory_in_place_of_a_file_or_a_link_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(FileExistsError):
            files.make_directory(str(tmp_path / name))


def test_lock_excludes_another_opening_until_it_is_closed(tmp_path: Path) -> None:
    first = files.create(str(tmp_path / "file"))
    second = files.open_existing(str(tmp_path / "file"), writable=True)
    try:
        assert files.lock(first)
        assert not files.lock(second)
        os.close(first)
        first = -1
        assert files.lock(second)
    finally:
        os.close(second)
        if first >= 0:
            os.close(first)


def test_rename_does_not_replace(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")

    with pytest.raises(FileExistsError):
        files.rename_exclusive(str(tmp_path / "a"), str(tmp_path / "b"))
    files.rename_exclusive(str(tmp_path / "a"), str(tmp_path / "c"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"b": b"b", "c": b"a"}


def test_syncing_without_fdatasync_uses_fsync(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.delattr(os, "fdatasync", raising=False)
    monkeypatch.setattr(os, "fsync", synced.append)
    files.sync_data(descriptor)

    assert synced == [descriptor]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("writable", [False, True])
def test_link_is_refused_where_the_system_has_no_flag_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writable: bool
) -> None:
    monkeypatch.setattr(files, "_NO_LINKS", 0)
    make_link(tmp_path / "odd")
    (tmp_path / "plain").write_bytes(b"x")

    with pytest.raises(FormatError, match="no regular file"):
        files.open_existing(str(tmp_path / "odd"), writable=writable)
    files.close(files.open_existing(str(tmp_path / "plain"), writable=writable))
