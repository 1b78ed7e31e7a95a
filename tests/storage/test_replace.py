"""Replacing a file: whole or not at all, beside a second program, after a kill."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from splitdata.storage import files
from splitdata.storage.folder import Folder
from splitdata.storage.replace import place_file, remove_scratch, replace_file


def test_replaced_file_has_the_new_content_and_open_readers_the_old(tmp_path: Path) -> None:
    target, scratch = tmp_path / "target", tmp_path / "scratch"
    target.write_bytes(b"old")
    with target.open("rb") as reader:
        replace_file(Folder.open(str(tmp_path)), "scratch", "target", [b"new ", b"", b"content"])
        assert reader.read() == b"old"
    assert target.read_bytes() == b"new content"
    assert not scratch.exists()


def test_missing_target_is_made_and_what_a_kill_left_is_written_anew(tmp_path: Path) -> None:
    target, scratch = tmp_path / "target", tmp_path / "scratch"
    scratch.write_bytes(b"much longer than what will be there")
    replace_file(Folder.open(str(tmp_path)), "scratch", "target", [b"new"])
    assert target.read_bytes() == b"new"
    assert [file.name for file in tmp_path.iterdir()] == ["target"]


def test_failing_disk_leaves_the_target_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for name in ("write_at", "sync_data", "rename_over"):
        with monkeypatch.context() as patch:
            patch.setattr(files, name, fail)
            with pytest.raises(OSError, match="No space"):
                replace_file(Folder.open(str(tmp_path)), "scratch", "target", [b"new"])
        assert target.read_bytes() == b"old"
    remove_scratch(Folder.open(str(tmp_path)), "scratch")
    assert [file.name for file in tmp_path.iterdir()] == ["target"]


@pytest.mark.skipif(os.name == "nt", reason="an open file has no lock of this kind there")
def test_scratch_file_that_another_program_writes_is_left_to_it(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    descriptor = files.create(str(scratch))
    assert files.lock(descriptor)
    try:
        with pytest.raises(BlockingIOError, match="another program"):
            replace_file(Folder.open(str(tmp_path)), "scratch", "target", [b"new"])
        remove_scratch(Folder.open(str(tmp_path)), "scratch")
        assert scratch.exists()
    finally:
        files.close(descriptor)
    remove_scratch(Folder.open(str(tmp_path)), "scratch")
    remove_scratch(Folder.open(str(tmp_path)), "scratch")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["nothing", "unnamed files", "/proc"])
@pytest.mark.parametrize("old", [b"", b"what was there before"])
def test_placed_file_is_whole_whatever_the_system_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, old: bytes
) -> None:
    def lacks(code: int) -> Callable[..., NoReturn]:
        def fail(*_: object, **__: object) -> NoReturn:
            raise OSError(code, os.strerror(code))

        return fail

    if missing == "unnamed files":
        monkeypatch.setattr(files, "create_unnamed", lacks(errno.EOPNOTSUPP))
    if missing == "/proc":
        monkeypatch.setattr(files, "link_unnamed", lacks(errno.ENOENT))
    if old:
        (tmp_path / "target").write_bytes(old)
    (tmp_path / "scratch").write_bytes(b"what a kill left")
    pieces = [b"new", bytes(100_000), b"content", bytes(70_000)]
    turn = threading.Lock()
    with Folder.open(str(tmp_path)) as folder:
        place_file(folder, "target", pieces, scratch="scratch", scratch_is_free=turn)
        assert (tmp_path / "target").read_bytes() == b"".join(pieces)
        place_file(folder, "target", [b"again"], scratch="scratch", scratch_is_free=turn)
    assert (tmp_path / "target").read_bytes() == b"again"
    assert [file.name for file in tmp_path.iterdir()] == ["target"]


@pytest.mark.skipif(os.name == "nt", reason="an open file has no lock of this kind there")
def test_file_is_not_placed_over_another_while_the_scratch_name_is_another_programs(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    descriptor = files.create(str(tmp_path / "scratch"))
    assert files.lock(descriptor)
    try:
        with Folder.open(str(tmp_path)) as folder, pytest.raises(BlockingIOError, match="another program"):
            place_file(folder, "target", [b"new"], scratch="scratch", scratch_is_free=threading.Lock())
    finally:
        files.close(descriptor)
    assert (tmp_path / "target").read_bytes() == b"old"
    assert (tmp_path / "scratch").read_bytes() == b""
