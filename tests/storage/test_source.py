"""Sources: a map and pread give the same bytes, and the choice between them."""

from __future__ import annotations

import gc
import mmap
import os
from pathlib import Path
from typing import Literal

import pytest

from splitdata.errors import FormatError
from splitdata.storage import file_source as source_module
from splitdata.storage.file_source import MappedSource, choose_io, descriptor_limit, open_files_limit, open_source

BOTH = pytest.mark.parametrize("io", ["mmap", "pread"])
Io = Literal["mmap", "pread"]
DATA = bytes(range(256)) * 33 + b"tail"


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "file").write_bytes(DATA)
    return str(tmp_path / "file")


@BOTH
@pytest.mark.parametrize(("offset", "length"), [(0, 10), (5, 0), (len(DATA) - 4, 4), (len(DATA) - 4, 99), (9999, 5)])
def test_reads_are_slices(path: str, io: Io, offset: int, length: int) -> None:
    source = open_source(path, io)

    assert source.size == len(DATA)
    assert source.read(offset, length) == DATA[offset : offset + length]
    assert source.view(offset, length) == DATA[offset : offset + length]
    assert source.view(0, 10).readonly


def test_words_are_the_whole_u64_of_the_file(path: str) -> None:
    source = open_source(path, "mmap")

    assert isinstance(source, MappedSource)
    assert source.words[1] == int.from_bytes(DATA[8:16], "little")
    assert len(source.words) == len(DATA) // 8


@BOTH
def test_empty_file_is_a_source(tmp_path: Path, io: Io) -> None:
    (tmp_path / "empty").touch()
    source = open_source(str(tmp_path / "empty"), io)
    source.prefetch(0, 10)

    assert source.size == 0
    assert source.read(0, 10) == b""
    assert bytes(source.view(0, 10)) == b""


def test_view_outlives_its_source(path: str) -> None:
    source = open_source(path, "mmap")
    view = source.view(3, 5)
    del source
    gc.collect()

    assert view == DATA[3:8]


@BOTH
def test_dropped_source_leaves_no_descriptor(path: str, io: Io) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    sources = [open_source(path, io) for _ in range(20)]
    del sources
    gc.collect()

    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)  # noqa: PTH208


@BOTH
def test_link_in_place_of_a_file_is_refused(path: str, tmp_path: Path, io: Io) -> None:
    (tmp_path / "link").symlink_to(path)

    with pytest.raises(FormatError, match="no regular file"):
        open_source(str(tmp_path / "link"), io)


@BOTH
def test_prefetch_anywhere_is_harmless(path: str, io: Io) -> None:
    source = open_source(path, io)
    for offset, length in ((0, 10), (5000, 10**9), (10**12, 5), (len(DATA), 1)):
        source.prefetch(offset, length)

    assert source.read(0, 4) == DATA[:4]


@BOTH
def test_system_without_the_questions_takes_everything_for_resident(
    path: str, io: Io, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "_RWF_NOWAIT", None)
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    monkeypatch.delattr(mmap, "MADV_WILLNEED", raising=False)
    source = open_source(path, io)
    source.prefetch(0, 100)

    assert source.is_resident(0)


MOUNTS = [
    ("/", "ext4"),
    ("/net", "nfs4"),
    ("/net/fast", "xfs"),
    ("/odd name", "fuse.sshfs"),
    ("/over", "xfs"),
    ("/over", "9p"),
]


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/", "mmap"),
        ("/home/data", "mmap"),
        ("/net", "pread"),
        ("/net/data", "pread"),
        ("/network", "mmap"),
        ("/net/fast/data", "mmap"),
        ("/odd name/data", "pread"),
        ("/over/data", "pread"),
    ],
)
def test_file_system_of_a_folder_decides(folder: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_mounts", lambda: MOUNTS)
    source_module._file_system_of.cache_clear()
    try:
        assert choose_io(folder) == expected
    finally:
        source_module._file_system_of.cache_clear()


def test_unknown_file_system_is_read_by_pread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "_mounts", list)
    source_module._file_system_of.cache_clear()
    try:
        assert choose_io(str(tmp_path)) == "pread"
    finally:
        source_module._file_system_of.cache_clear()


def test_mountinfo_is_read_with_its_octal_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "23 22 0:5 / /odd\\040name\\134x rw master:3 - fuse.sshfs host: rw\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda *_arguments, **_options: text)

    assert source_module._mounts() == [("/", "ext4"), ("/odd name\\x", "fuse.sshfs")]


def test_limit_of_descriptors_is_a_part_of_what_the_process_may_open() -> None:
    assert 4 <= descriptor_limit() <= max(4, open_files_limit() // 3)


@pytest.mark.skipif(os.name == "nt", reason="what is open is not cut there")
@pytest.mark.parametrize("length", [0, 3])
def test_file_cut_before_it_is_mapped_is_mapped_as_long_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    def cut_behind(descriptor: int) -> os.stat_result:
        looks.append(real(descriptor))
        # The first look is whether it is a regular file.
        if len(looks) > 1:
            os.truncate(path, length)
        return looks[-1]

    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    looks: list[os.stat_result] = []
    real = os.fstat
    monkeypatch.setattr(os, "fstat", cut_behind)
    source = MappedSource(str(path))

    assert source.size == length
    assert source.read(0, 8) == b"123"[:length]
