"""The folder of a dataset is moved away while a writer works, and another takes its path: nothing changes in that one.

Each step of a run through the folder is tried, from when it was opened on: before the first record, at the commit, at
the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitDataError, SplitDataLoader, SplitWriter
from tests.dataset.disk import files_of
from tests.faults.file_faults import CHANGING, READING, fast_folder, intercepted

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a folder with open files cannot be moved there")

MODES = ("create", "append", "overwrite", "resume")


def nothing(writer: SplitWriter) -> None:
    writer.close()


def nothing_aborted(writer: SplitWriter) -> None:
    writer.abort()


def metadata(writer: SplitWriter) -> None:
    writer.commit(metadata={"a": 1})
    writer.abort()


def records(writer: SplitWriter) -> None:
    writer.write_many([b"new", b"newer"])
    writer.commit()
    writer.write(b"newest")
    writer.close()


def records_aborted(writer: SplitWriter) -> None:
    writer.write(b"new")
    writer._guarded(writer._flush)
    writer.abort()


RUNS = (nothing, nothing_aborted, metadata, records, records_aborted)


def another_dataset(other: Path) -> None:
    with SplitWriter(other, durability="none") as writer:
        writer.write_many([b"foreign", b"records"])


def a_folder_that_a_writer_has_begun(other: Path) -> None:
    (other / "segments").mkdir(parents=True)


def moved_there(path: Path, other: Path) -> Path:
    path.rename(path.with_name("aside"))
    other.rename(path)
    return path


def linked_there(path: Path, other: Path) -> Path:
    path.rename(path.with_name("aside"))
    path.symlink_to(other, target_is_directory=True)
    return other


KINDS = ((another_dataset, moved_there), (a_folder_that_a_writer_has_begun, linked_there))


class Swap:
    """A handler that puts another folder in the place of the dataset before the n-th step behind its opening."""

    def __init__(self, path: Path, number: int, swap: Callable[[], Path]) -> None:
        self.foreign: Path | None = None
        self._path = str(path)
        self._left = number
        self._swap = swap
        self._is_open = False

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        if self._is_open and self.foreign is None:
            self._left -= 1
            if self._left < 0:
                self.foreign = self._swap()
        result = real(*arguments, **keywords)
        self._is_open |= name == "open_directory" and arguments[0] == self._path
        return result


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        yield folder


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("mode", MODES)
def test_folder_that_takes_the_path_at_any_step_stays_as_it_is(
    root: Path,
    mode: Any,  # the modes are SplitWriter's
    run: Callable[[SplitWriter], None],
) -> None:
    number = 0
    while True:
        # In turns, so that each step of a run meets both in one mode or another.
        prepare, swap = KINDS[(number + MODES.index(mode)) % 2]
        path, other = root / "data", root / "other"
        prepare(other)
        if mode != "create":
            with SplitWriter(path, durability="none") as writer:
                writer.write(b"old")
        before = files_of(other)
        handler = Swap(path, number, lambda path=path, other=other, swap=swap: swap(path, other))  # type: ignore[misc]
        error: BaseException | None = None
        with intercepted(handler, CHANGING + READING):
            try:
                writer = SplitWriter(path, mode=mode, durability="none")
                try:
                    run(writer)
                finally:
                    writer.abort()
            except SplitDataError as found:
                error = found
        if handler.foreign is None:
            assert error is None
            break
        assert files_of(handler.foreign) == before, (number, error)
        if error is None and run is records:
            with SplitDataLoader(root / "aside") as loader:
                assert list(loader)[-3:] == [b"new", b"newer", b"newest"]
        number += 1
        for entry in root.iterdir():
            entry.unlink() if entry.is_symlink() else shutil.rmtree(entry)
    assert number > 5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("run", [metadata, records])
def test_run_whose_folder_was_moved_before_its_first_commit_ends_with_an_error_that_says_so(
    root: Path,
    mode: Any,  # the modes are SplitWriter's
    run: Callable[[SplitWriter], None],
) -> None:
    path = root / "data"
    another_dataset(root / "other")
    if mode != "create":
        another_dataset(path)
    writer = SplitWriter(path, mode=mode, durability="none")
    moved_there(path, root / "other")

    with pytest.raises(SplitDataError, match=r"moved or replaced .*; write it again"):
        run(writer)
    writer.abort()


def a_link(path: Path, other: Path) -> None:
    other.mkdir()
    path.symlink_to(other, target_is_directory=True)


def a_foreign_folder(path: Path, _: Path) -> None:
    path.mkdir()
    (path / "model.bin").write_bytes(b"model")


def a_dataset(path: Path, _: Path) -> None:
    another_dataset(path)


def a_file(path: Path, _: Path) -> None:
    path.write_bytes(b"file")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("run", [metadata, records])
@pytest.mark.parametrize("replace", [a_link, a_foreign_folder, a_dataset, a_file])
def test_run_whose_empty_folder_was_deleted_does_not_go_on_in_what_is_no_begun_dataset(
    root: Path,
    mode: Any,  # the modes are SplitWriter's
    run: Callable[[SplitWriter], None],
    replace: Callable[[Path, Path], None],
) -> None:
    if replace is a_dataset and mode in ("append", "resume"):
        pytest.skip("a dataset that another program has begun meanwhile is added to")
    path = root / "data"
    writer = SplitWriter(path, mode=mode, durability="none")
    shutil.rmtree(path)
    replace(path, root / "other")
    before = files_of(root)

    with pytest.raises(SplitDataError):
        run(writer)
    writer.abort()
    assert files_of(root) == before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("run", [metadata, records])
def test_run_whose_empty_folder_was_deleted_makes_it_again(
    root: Path,
    mode: Any,  # the modes are SplitWriter's
    run: Callable[[SplitWriter], None],
) -> None:
    path = root / "data"
    writer = SplitWriter(path, mode=mode, durability="none")
    shutil.rmtree(path)
    run(writer)

    with SplitDataLoader(path) as loader:
        assert list(loader) == ([b"new", b"newer", b"newest"] if run is records else [])
