"""Ctrl-C in any line, or a failure of any operation, from the first publish on: what was committed stays.

    appends ── one more, whose end folds ── struck at point k ── every committed record is there, in its place
               one more, and all old manifests go ────────────── every committed record is there, in its place

Old manifests go with the segments that only they list: then nothing hides that a newer one was removed.
"""

from __future__ import annotations

import errno
import gc
import linecache
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import pytest

from splitdata import SplitDataError, SplitDataLoader, SplitWriter
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import remove_superseded
from splitdata.dataset.writing import fold
from splitdata.storage.folder import Folder
from splitdata.storage.publish import publish
from tests.command import ROOT
from tests.faults.file_faults import CHANGING, READING, fast_folder, intercepted
from tests.loader.pipeline.test_interrupts import can_be_struck, is_held_back

LIBRARY = str(ROOT / "splitdata")
# So many segments are folded here, rather than 32.
FANOUT = 4
# Points of each workload that a usual run strikes, spread evenly; 12 where it is not said.
POINTS = {"interrupted where it counts": 32}
# All points of one workload take up to an hour: a long run strikes them in so many parts, each with a limit of its own.
PARTS = 8

Run: TypeAlias = Callable[[Path], Iterator[list[bytes]]]
Trace: TypeAlias = Callable[[FrameType, str, Any], Any]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(fold, "_FANOUT", FANOUT)
    with fast_folder(tmp_path) as path:
        yield path


# -- what is struck --------------------------------------------------------------------------------
# Each yields what a commit has acknowledged.


def appending(path: Path) -> Iterator[list[bytes]]:
    """Commit twice; closing folds."""
    with SplitWriter(path, bins=2, mode="append") as writer:
        writer.write_many([b"one", b"two", b"three"])
        writer.commit()
        yield [b"one", b"two", b"three"]
        writer.write(b"four")
        writer.commit()
        yield [b"four"]
        writer.write(b"five")
    yield [b"five"]


def keyed(path: Path) -> Iterator[list[bytes]]:
    """Commit records with keys, whose files change in steps of their own."""
    with SplitWriter(path, bins=1, mode="append") as writer:
        for number in range(3):
            writer.write_many([b"k%d" % number, b"l%d" % number], keys=[f"k{number}", None])
            writer.commit()
            yield [b"k%d" % number, b"l%d" % number]


def rivals(path: Path) -> Iterator[list[bytes]]:
    """Commit behind another writer, so that what is pending moves into a new segment."""
    with SplitWriter(path, bins=2, mode="append") as one, SplitWriter(path, bins=2, mode="append") as other:
        for number, writer in enumerate((one, other, one, other)):
            writer.write_many([b"%d first" % number, b"%d second" % number])
            writer.commit()
            yield [b"%d first" % number, b"%d second" % number]


def sealing(path: Path) -> Iterator[list[bytes]]:
    """Close with nothing pending: a commit that changes only the seal."""
    with SplitWriter(path, bins=2, mode="append") as writer:
        writer.write_many([b"one", b"two"])
        writer.commit()
        yield [b"one", b"two"]


WORKLOADS: dict[str, Run] = {"append": appending, "keys": keyed, "rivals": rivals, "seal": sealing}


def prepare(path: Path) -> list[bytes]:
    """Make a dataset that the next append folds; returns its records."""
    records = [b"before %d" % number for number in range(FANOUT - 1)]
    for record in records:
        with SplitWriter(path, mode="append", durability="none") as writer:
            writer.write(record)
    return records


# -- how it is struck ------------------------------------------------------------------------------


class Armed:
    """Counts points from the first manifest that is published on.

    Attributes:
        is_on: Whether they are counted yet.
        left: Points before the one that is to be struck.
        where: The point that was struck, empty before.
    """

    def __init__(self, number: int) -> None:
        self.is_on = False
        self.left = number
        self.where = ""


# Where it is noted that a commit or a fold has been made.
DELICATE = frozenset(
    ("mark_committed", "_finish", "_publish", "publish", "replace_segments", "_fold_locked", "_move", "_undo_segment")
)


@contextmanager
def line_interrupted(armed: Armed, functions: frozenset[str] = frozenset()) -> Iterator[None]:
    """Raise KeyboardInterrupt in one line of the library, or of some functions of it, as Ctrl-C would there."""

    def trace(frame: FrameType, event: str, argument: object) -> Trace | None:
        name = frame.f_code.co_filename
        if not name.startswith(LIBRARY):
            return None
        if event == "line" and armed.is_on and (not functions or frame.f_code.co_name in functions):
            armed.left -= 1
            if armed.left < 0 and not armed.where:
                text = linecache.getline(name, frame.f_lineno).strip()
                if can_be_struck(text) and not is_held_back(frame):
                    armed.where = f"{Path(name).name}:{frame.f_lineno} {text}"
                    raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def operation_failing(armed: Armed, *, after: bool) -> Iterator[None]:
    """Let one operation on files fail with EIO: not done, or done and its answer lost."""

    def handler(name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> object:
        armed.left -= armed.is_on
        if armed.left >= 0 or armed.where:
            return None if name.startswith("sync_") else real(*arguments, **keywords)
        armed.where = name
        if after and name in CHANGING:
            real(*arguments, **keywords)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with intercepted(handler, (*CHANGING, *READING)):
        yield


WAYS: dict[str, Callable[[Armed], Any]] = {
    "interrupted": line_interrupted,
    "interrupted where it counts": lambda armed: line_interrupted(armed, DELICATE),
    "failing": lambda armed: operation_failing(armed, after=False),
    "done and failing": lambda armed: operation_failing(armed, after=True),
}


def strike(run: Run, path: Path, way: str, number: int) -> tuple[Armed, list[bytes]]:
    """Run a workload that is struck at one point; returns where, and what was acknowledged before."""
    armed = Armed(number)
    acknowledged: list[bytes] = []

    def publish_and_arm(folder: Folder, generation: int, data: bytes, *, durable: bool) -> bool:
        armed.is_on = True
        return publish(folder, generation, data, durable=durable)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("splitdata.dataset.writing.commit.publish", publish_and_arm)
        with WAYS[way](armed):
            try:
                for records in run(path):
                    acknowledged += records
            except (KeyboardInterrupt, OSError, SplitDataError):
                assert armed.where
    return armed, acknowledged


def let_go(path: Path) -> None:
    """Close what an interrupt between opening a file and noting it has left open: the end of the program does."""
    gc.collect()
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 - iterdir would show its own descriptor too
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{entry}").startswith(str(path)):  # noqa: PTH115 - these links lead to no path
                os.close(int(entry))


def read_all(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        records = [loader[position] for position in range(len(loader))]
        assert list(loader) == records
        keys = [loader.key(position) for position in range(len(loader))]
        assert all(loader.find(key) == position for position, key in enumerate(keys) if key is not None)
    return records


def prune(path: Path) -> None:
    """Remove all old manifests, as seven appends more do, and what only they list."""
    directory = DatasetDirectory(path)
    remove_superseded(directory, directory.newest().generation, keep=1, keep_seconds=0)
    assert len(directory.generations()) == 1


def num_points(name: str, way: str, path: Path) -> int:
    prepare(path)
    armed, _ = strike(WORKLOADS[name], path, way, 1 << 40)
    shutil.rmtree(path)
    return (1 << 40) - armed.left


# One that comes in a finalizer is told of by Python, and lost.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "part",
    [
        pytest.param(None, id="some"),
        *(
            pytest.param(part, id=f"all-{part}", marks=[pytest.mark.soak, pytest.mark.time_limit(3600)])
            for part in range(PARTS)
        ),
    ],
)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WORKLOADS)
def test_struck_commit_and_fold_lose_nothing_even_when_old_manifests_go(
    name: str, way: str, part: int | None, folder: Path
) -> None:
    total = num_points(name, way, folder / "counted")
    assert total > 20
    before = prepare(folder / "prepared")
    whole = [record for records in WORKLOADS[name](folder / "whole") for record in records]
    stride = PARTS if part is not None else max(1, total // POINTS.get(way, 12))
    for number in range(total % stride if part is None else part, total, stride):
        path = folder / "data"
        shutil.copytree(folder / "prepared", path)

        armed, acknowledged = strike(WORKLOADS[name], path, way, number)
        if "interrupted" in way:
            let_go(path)

        found = read_all(path)
        assert found[: len(before) + len(acknowledged)] == before + acknowledged, armed.where
        assert found == (before + whole)[: len(found)], armed.where
        with SplitWriter(path, mode="append", durability="none") as writer:
            writer.write(b"after")
        assert read_all(path) == [*found, b"after"], armed.where
        prune(path)
        assert read_all(path) == [*found, b"after"], armed.where
        shutil.rmtree(path)
