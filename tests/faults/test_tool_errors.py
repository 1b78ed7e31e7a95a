"""The disk fails under every tool, at every operation: the inputs stay, nothing is lost, and called again it is whole.

inputs, destination ── tool ── operation k fails, once or from then on ── OSError, or it did not matter
destination: a state that is allowed ── the disk works again ── the same tool ──> as if nothing had failed

A sync that has failed is not tried again: the kernel may have forgotten what it could not write.
"""

from __future__ import annotations

import errno
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from splitdata import DatasetNotFoundError, SplitDataError, SplitDataLoader, diff, repair, verify
from tests.dataset.merging.two_datasets import Content, contents_of
from tests.dataset.record_kinds import tree_of
from tests.faults.file_faults import CHANGING, READING, fast_folder, intercepted
from tests.faults.power_loss import inode_of
from tests.faults.test_io_errors import open_descriptors
from tests.faults.test_tool_kill import INPUTS, TOOLS, Tool, found_in, is_allowed, prepare, small_commits

FAULTS = [(code, sticky) for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR) for sticky in (False, True)]
# Operations of each tool that fail in an ordinary run, spread evenly over all of them.
POINTS = 4


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


class FailingDisk:
    """A handler that lets operation `number` fail, and with `sticky` all that follow.

    Attributes:
        count: Operations so far.
        failed: Names of those that failed.
        synced_again: Files and folders whose sync was tried again after it had failed.
    """

    def __init__(self, number: int, code: int = errno.EIO, *, sticky: bool = False) -> None:
        self.count = 0
        self.failed: list[str] = []
        self.synced_again: list[int] = []
        self._number, self._code, self._sticky = number, code, sticky
        self._lock = threading.Lock()
        self._unsynced: set[int] = set()

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        """Fail, or do the operation; a sync takes no time here."""
        is_sync = name.startswith("sync_")
        with self._lock:
            number, self.count = self.count, self.count + 1
            at = keywords.get("at")
            inode = inode_of(arguments[0] if at is None else at) if is_sync else -1
            if inode in self._unsynced:
                self.synced_again.append(inode)
            if number == self._number or (self._sticky and number > self._number):
                self.failed.append(name)
                if is_sync:
                    self._unsynced.add(inode)
                raise OSError(self._code, os.strerror(self._code))
        return None if is_sync else real(*arguments, **keywords)


def run_with_faults(tool: Tool, folder: Path, disk: FailingDisk) -> BaseException | None:
    """Run a tool on a failing disk; returns what it raised."""
    with pytest.MonkeyPatch.context() as patch:
        small_commits(patch)
        with intercepted(disk, (*CHANGING, *READING)):
            try:
                tool.run(folder)
            except BaseException as error:
                return error
    return None


@dataclass(frozen=True)
class Prepared:
    """A tool, what it is given, and what comes of it."""

    tool: Tool
    folder: Path
    before: list[list[Content] | None]
    after: list[list[Content] | None]
    inputs: list[dict[str, bytes]]
    num_operations: int

    @classmethod
    def of(cls, tool: Tool, folder: Path) -> Prepared:
        """Prepare the inputs, and run the tool once on a disk that works."""
        original = folder / "original"
        prepare(original)
        shutil.copytree(original, folder / "whole")
        disk = FailingDisk(1 << 40)
        assert run_with_faults(tool, folder / "whole", disk) is None
        inputs = [tree_of(original / name) for name in INPUTS]
        return cls(tool, original, found_in(original, tool), found_in(folder / "whole", tool), inputs, disk.count)

    def check(self, work: Path, number: int, code: int, *, sticky: bool) -> None:
        """Let one operation fail, and look at what is left."""
        shutil.copytree(self.folder, work)
        before = open_descriptors()
        disk = FailingDisk(number, code, sticky=sticky)
        error = run_with_faults(self.tool, work, disk)
        where = f"{self.tool.name}, operation {number}, {disk.failed[:1]}: {error!r}"
        assert error is None or isinstance(error, (OSError, SplitDataError)), where
        assert disk.synced_again == [], where
        error = None
        # What a generator held that was under way is let go when it has been closed by the first.
        for _ in range(3):
            gc.collect()
        assert open_descriptors() <= before, where
        for found, old, new in zip(found_in(work, self.tool), self.before, self.after, strict=True):
            assert new is not None
            assert is_allowed(found, old, new, self.tool), where
        with pytest.MonkeyPatch.context() as patch:
            small_commits(patch)
            self.tool.run(work)
        assert found_in(work, self.tool) == self.after, f"{where}, and called again"
        assert [tree_of(work / name) for name in INPUTS] == self.inputs, where
        assert all(verify(work / name, num_workers=1).is_intact for name in self.tool.outputs), where
        shutil.rmtree(work)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_tool_whose_disk_fails_loses_nothing_and_is_whole_when_called_again(tool: Tool, folder: Path) -> None:
    prepared = Prepared.of(tool, folder)
    assert prepared.num_operations > 40
    for place in range(POINTS):
        code, sticky = FAULTS[(3 * place + len(tool.name)) % len(FAULTS)]
        prepared.check(folder / "work", place * prepared.num_operations // POINTS, code, sticky=sticky)


@pytest.mark.soak
@pytest.mark.time_limit(3000)
@pytest.mark.parametrize(("code", "sticky"), FAULTS, ids=lambda one: str(one))
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_tool_whose_disk_fails_at_any_operation_loses_nothing(
    tool: Tool, code: int, sticky: bool, folder: Path
) -> None:
    prepared = Prepared.of(tool, folder)
    for number in range(prepared.num_operations):
        prepared.check(folder / "work", number, code, sticky=sticky)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_tool_finishes_what_the_system_does_by_halves(
    tool: Tool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = Prepared.of(tool, folder)
    pread, pwrite, pwritev = os.pread, os.pwrite, os.pwritev
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: pread(descriptor, min(length, 900), offset))
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: pwrite(descriptor, data[:70], offset))
    monkeypatch.setattr(os, "pwritev", lambda descriptor, pieces, offset: pwritev(descriptor, pieces[:1], offset))
    small_commits(monkeypatch)

    tool.run(folder / "original")

    assert found_in(folder / "original", tool) == prepared.after
    assert all(verify(folder / "original" / name, num_workers=1).is_intact for name in tool.outputs)


# -- what reads --------------------------------------------------------------------------------------


def read_all(folder: Path) -> object:
    return contents_of(folder / "a")


def read_in_order(folder: Path) -> object:
    with SplitDataLoader(folder / "open", io="pread") as loader:
        return [list(loader), sorted(loader.iterate_binwise(shuffle=True, seed=1))]


def verify_whole(folder: Path) -> object:
    return verify(folder / "a", num_workers=1).findings


def compare(folder: Path) -> object:
    return diff(folder / "a", folder / "b").differences


def repair_nothing(folder: Path) -> object:
    return repair(folder / "a").actions


@pytest.mark.parametrize("read", [read_all, read_in_order, verify_whole, compare, repair_nothing])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "for ever"])
def test_what_reads_from_a_failing_disk_fails_or_is_right_and_changes_nothing(
    read: Callable[[Path], object], sticky: bool, folder: Path
) -> None:
    prepare(folder / "data")
    right = read(folder / "data")
    before, contents = tree_of(folder / "data"), contents_of(folder / "data" / "a")
    disk = FailingDisk(1 << 40)
    with intercepted(disk, (*CHANGING, *READING)):
        read(folder / "data")
    stride = max(1, disk.count // 8)
    num_failed = 0
    for number in range(disk.count % stride, disk.count, stride):
        failing = FailingDisk(number, errno.EIO, sticky=sticky)
        found: object = None
        with intercepted(failing, (*CHANGING, *READING)), suppress(OSError, SplitDataError, DatasetNotFoundError):
            found = read(folder / "data")
        num_failed += found is None
        # A verification reports what it could not read, and a repair makes again what cannot be read: no worse.
        assert found in (None, right) or read in (verify_whole, repair_nothing), (number, failing.failed[:1])
        assert tree_of(folder / "data") == before or read is repair_nothing
        assert read(folder / "data") == right
        assert contents_of(folder / "data" / "a") == contents, (number, failing.failed[:1])
    assert num_failed or read is verify_whole
