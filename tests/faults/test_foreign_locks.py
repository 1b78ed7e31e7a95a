"""Locks that somebody else holds: who may read a file may lock it, and stops no reader by that.

manifest, locked    readers open it at once, with a warning; nothing is removed meanwhile
index, locked       resume is an error that names the file; append, overwrite and repair go on
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from splitdata import SplitDataLoader, SplitWriter, describe, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.storage import files
from tests.dataset.disk import read
from tests.dataset.record_kinds import kill
from tests.faults.file_faults import fast_folder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="an open file has no lock of this kind there")

BEFORE = [b"one", b"two", b"three"]


@contextmanager
def locked(*paths: Path) -> Iterator[None]:
    """Hold the exclusive lock of files, as one who may only read them can."""
    descriptors = [os.open(path, os.O_RDONLY) for path in paths]
    try:
        assert all(map(files.lock, descriptors))
        yield
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def write(path: Path, mode: str = "append", records: list[bytes] = BEFORE) -> None:
    with SplitWriter(path, mode=mode, durability="none") as writer:  # type: ignore[arg-type]
        writer.write_many(records)


def pickled(path: Path) -> list[bytes]:
    return list(pickle.loads(pickle.dumps(SplitDataLoader(path))))


READERS: dict[str, Callable[[Path], list[bytes]]] = {
    "open": read,
    "older generation": lambda path: list(SplitDataLoader(path, generation=1)),
    "pickled": pickled,
    "verify": lambda path: BEFORE if verify(path).is_intact else [],
    "describe": lambda path: BEFORE[: describe(path).num_records],
}


@pytest.mark.parametrize("reader", READERS)
def test_lock_on_every_manifest_stops_no_reader(tmp_path: Path, caplog: pytest.LogCaptureFixture, reader: str) -> None:
    path = tmp_path / "data"
    write(path)
    if reader == "older generation":
        write(path)
    with caplog.at_level(logging.WARNING, "splitdata"), locked(*path.glob("manifest.*.json")):
        assert READERS[reader](path) == BEFORE

    assert ("holds its lock" in caplog.text) == (reader != "describe")


def test_refresh_sees_what_was_committed_though_its_manifest_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path)
    with SplitDataLoader(path) as loader:
        write(path)
        with locked(path / "manifest.0000000002.json"):
            loader.refresh()
            assert list(loader) == BEFORE * 2


def test_reader_beside_a_lock_keeps_its_files_for_as_long_as_that_is_held(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path)
    with locked(path / "manifest.0000000001.json"):
        loader = SplitDataLoader(path)
        for _ in range(10):
            write(path, "overwrite", [b"other"])
        assert list(loader) == BEFORE
    write(path, "overwrite", [b"other"])
    assert 1 not in DatasetDirectory(path).generations()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs another user")
def test_reader_without_the_right_to_write_reads_and_keeps_its_files(tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder:
        if folder.parent == tmp_path:
            pytest.skip("another user cannot get at the folder of the tests")
        path = folder / "data"
        write(path)
        for one in (folder, path, *path.rglob("*")):
            one.chmod(0o755 if one.is_dir() else 0o444)
        os.seteuid(65534)
        try:
            loader = SplitDataLoader(path)
            assert list(loader) == BEFORE
        finally:
            os.seteuid(0)
        for _ in range(10):
            write(path, "overwrite", [b"other"])
        assert list(loader) == BEFORE


def open_run(path: Path) -> Path:
    writer = SplitWriter(path, bins=1, durability="none")
    writer.write_many(BEFORE)
    writer.commit()
    kill(writer)
    return next(path.glob("segments/*/index"))


def test_resume_beside_a_lock_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "data"
    index = open_run(path)
    with locked(index):
        with pytest.raises(BlockingIOError, match=r"another program is writing .*index: `lsof` names it"):
            SplitWriter(path, bins=1, mode="resume")
        assert read(path) == BEFORE
    with SplitWriter(path, bins=1, mode="resume") as writer:
        writer.write(b"four")
    assert read(path) == [*BEFORE, b"four"]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_locks_on_all_files_stop_no_other_writer(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "data"
    open_run(path)
    with locked(*(file for file in path.rglob("*") if file.is_file())):
        for _ in range(10):
            write(path, mode, [b"new"])
        assert read(path) == (BEFORE + [b"new"] * 10 if mode == "append" else [b"new"])
    assert verify(path).is_intact


def test_repair_beside_a_lock_leaves_the_segment_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "data"
    index = open_run(path)
    whole = shutil.copytree(path, tmp_path / "whole")
    data = bytearray(index.read_bytes())
    data[20] ^= 0xFF
    index.write_bytes(data)
    with locked(index):
        report = repair(path)
    (note,) = report.notes
    assert "another program holds the lock of its index" in note
    repair(path)
    assert verify(path).is_intact
    assert read(path) == read(whole)


@pytest.mark.parametrize("shared", [True, False])
def test_lock_on_what_was_never_committed_is_named_and_costs_nothing(tmp_path: Path, shared: bool) -> None:
    path = tmp_path / "data"
    writer = SplitWriter(path, bins=2, durability="none")
    writer.write_many(BEFORE)
    writer._guarded(writer._flush)
    kill(writer)
    (index,) = path.glob("segments/*/index")
    descriptor = os.open(index, os.O_RDONLY)
    try:
        assert files.lock(descriptor, shared=shared)
        for act in (lambda: repair(path, adopt=True), lambda: SplitWriter(path, mode="resume")):
            with pytest.raises(BlockingIOError, match=str(index)):
                act()
    finally:
        os.close(descriptor)
    repair(path, adopt=True)

    assert read(path) == BEFORE
