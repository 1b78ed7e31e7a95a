"""A failing system call, of every kind: the error names the file, what was to be done, and what to do next."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import pickle
import shutil
import signal
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from splitdata import SplitWriter
from splitdata.storage import files

# What changes a disk.
CALLS = ("open", "pwrite", "pwritev", "ftruncate", "fdatasync", "fsync", "mkdir", "link", "unlink", "rmdir", "listdir")
CODES = {
    errno.EIO: "look at the system's log",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota",
    errno.EROFS: "mounted read-only",
    errno.EACCES: "this user may not",
}


class Failing:
    """Stands in for system calls, and lets the n-th of them fail."""

    def __init__(self, number: int, code: int) -> None:
        self.left = number
        self.code = code
        self.failed = ""

    def instead_of(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **keywords: object) -> object:
            self.left -= 1
            if self.left == -1:
                self.failed = name
                raise OSError(self.code, os.strerror(self.code))
            return real(*arguments, **keywords)

        return call


def write(path: Path) -> None:
    with SplitWriter(path, bins=2) as writer:
        writer.write_many([b"one", b"two"], keys=["1", "2"])
        writer.commit()
        writer.write(b"three")


def check(error: OSError, code: int, folder: Path, failed: str) -> None:
    """Compare what an error says with what it should."""
    assert error.errno == code, failed
    assert str(folder) in str(error.filename), (failed, error)
    assert ": cannot " in str(error.strerror), (failed, error)
    assert CODES[code] in str(error.strerror), (failed, error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_failing_system_call_of_a_writer_names_file_operation_and_way_out(code: int, tmp_path: Path) -> None:
    number = 0
    told: set[str] = set()
    while True:
        path = tmp_path / "data"
        failing = Failing(number, code)
        try:
            with pytest.MonkeyPatch.context() as patch:
                for name in CALLS:
                    patch.setattr(os, name, failing.instead_of(name, getattr(os, name)))
                write(path)
        except OSError as error:
            check(error, code, tmp_path, failing.failed)
            told.add(failing.failed)
        if not failing.failed:
            break
        shutil.rmtree(path, ignore_errors=True)
        # Every one is tried with two kinds of error.
        number += 1 if code in (errno.EIO, errno.ENOSPC) else 9
    assert told >= {"open", "pwrite"} | ({"fdatasync", "fsync", "mkdir"} if code == errno.EIO else set())


def fail(code: int) -> Callable[..., NoReturn]:
    def call(*_: object, **__: object) -> NoReturn:
        raise OSError(code, os.strerror(code))

    return call


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_folder_that_cannot_be_synced_is_one_warning(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "fsync", fail(code))
    monkeypatch.setattr(files, "_warned_of_sync", set())
    with caplog.at_level(logging.WARNING, "splitdata"):
        write(tmp_path / "data")

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cannot sync a folder" in caplog.text


def test_file_that_cannot_be_synced_names_durability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", fail(errno.EINVAL))

    with pytest.raises(OSError, match=r"cannot sync; .*durability='none' does without: '.*000000\.bin'"):
        write(tmp_path / "data")


def test_file_system_without_inodes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)
    # Of its fields the seventh is what we may use.
    values = list(found)
    values[7] = 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
    monkeypatch.setattr(os, "mkdir", fail(errno.ENOSPC))

    with pytest.raises(OSError, match="no more files"):
        files.make_directory(str(tmp_path / "data"))


def test_append_to_a_folder_that_takes_no_files_fails_when_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    write(path)
    for code in (errno.EROFS, errno.EACCES):
        with monkeypatch.context() as patch:
            patch.setattr(files, "create_unnamed", fail(code))
            with pytest.raises(OSError, match=os.strerror(code)):
                SplitWriter(path, mode="append")


class Held:
    """Stands for what a caller holds: a pinned manifest, a lock."""


@pytest.mark.parametrize(
    "operation", [files.open_existing, files.size_of_name, files.link], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("name", ["missing", "n" * 300], ids=["missing", "refused"])
def test_failed_call_keeps_nothing_of_its_caller_alive(
    tmp_path: Path, name: str, operation: Callable[..., object]
) -> None:
    path = str(tmp_path / name)

    def call() -> weakref.ref[Held]:
        held = Held()
        with contextlib.suppress(OSError):
            operation(path, *([path] if operation is files.link else []))
        return weakref.ref(held)

    gc.disable()
    try:
        assert call()() is None
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform != "linux", reason="there are no leases elsewhere")
def test_file_under_a_write_lease_is_an_error_that_says_so(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "leased"
    path.write_bytes(b"a")
    # By which the holder is told; it would end this process.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    holder = os.open(path, os.O_RDWR)
    try:
        try:
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("this file system has no leases")
        with pytest.raises(BlockingIOError, match="cannot open; another program holds a lease") as caught:
            files.open_existing(str(path))
        assert caught.value.filename == str(path)
    finally:
        os.close(holder)
        signal.signal(signal.SIGIO, before)
