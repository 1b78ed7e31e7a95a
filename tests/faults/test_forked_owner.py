"""Objects that own files or processes, in a forked child: there they refuse, and leave alone what is the parent's.

    parent   makes the object ── forks ──────────────────────────> goes on, as if there had been no child
    child    uses it: ClosedError; leaves it, drops it, ends: nothing happens to files and processes

A row of OWNERS is a kind of object: `owner_of` makes one of it, and how a child would use it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from splitdata import ClosedError, SplitDataLoader, SplitWriter
from tests.faults.file_faults import CHANGING, fast_folder, intercepted
from tests.forked import answer_of_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


@dataclass
class Owner:
    """One object, and what a test does with it.

    Attributes:
        object: It owns something.
        uses: What raises ClosedError in a child.
        harmless: What does nothing there.
        finish: Goes on with it in the parent, ends it, and says whether all is as it would be without a child.
    """

    object: Any
    uses: dict[str, Callable[[Any], object]]
    harmless: dict[str, Callable[[Any], object]]
    finish: Callable[[Any], bool]
    more: list[Any] = field(default_factory=list)


def leave_by(error: type[BaseException] | None) -> Callable[[Any], object]:
    """Leave a `with` block that was entered in the parent."""
    return lambda owner: owner.__exit__(error, error and error(), None)


def writer_in(folder: Path, *, has_committed: bool) -> Owner:
    path = folder / "data"
    writer = SplitWriter(path, bins=2, durability="none")
    records = [b"one", b"two", b"three"]
    writer.write_many(records)
    if has_committed:
        writer.commit()
        writer.write(b"four")
        records.append(b"four")
    # Some of it is in the files, some waits.
    writer._guarded(writer._flush)
    writer.write(b"waits")

    def finish(writer: SplitWriter) -> bool:
        writer.write(b"last")
        writer.close()
        with SplitDataLoader(path) as loader:
            return list(loader) == [*records, b"waits", b"last"]

    return Owner(
        writer,
        uses={
            "write": lambda writer: writer.write(b"child"),
            "write with key": lambda writer: writer.write(b"child", key="child"),
            "write_many": lambda writer: writer.write_many([b"child"] * 10),
            "write_sample": lambda writer: writer.write_sample({"child": 1}),
            "write_samples": lambda writer: writer.write_samples([{"child": 1}]),
            "commit": lambda writer: writer.commit(),
            "close": lambda writer: writer.close(),
        },
        harmless={
            "abort": lambda writer: writer.abort(),
            "exit": leave_by(None),
            "exit by an error": leave_by(SystemExit),
            "finalizer": lambda writer: writer.__del__(),
            "end of the program": lambda writer: writer._end_with_program(),
            "number": lambda writer: writer.num_written,
        },
        finish=finish,
    )


OWNERS: dict[str, Callable[[Path], Owner]] = {
    "writer": lambda folder: writer_in(folder, has_committed=False),
    "writer that has committed": lambda folder: writer_in(folder, has_committed=True),
}


def refuse_to_change(name: str, *rest: object) -> None:
    raise AssertionError(f"{name} in a child")


@pytest.mark.parametrize("kind", OWNERS)
def test_owner_refuses_each_use_in_a_forked_child_and_the_parent_goes_on(kind: str, folder: Path) -> None:
    owner = OWNERS[kind](folder)

    def ask() -> str:
        with intercepted(refuse_to_change, CHANGING):
            for use in owner.uses.values():
                with pytest.raises(ClosedError, match="belongs to process"):
                    use(owner.object)
        return "refused"

    assert answer_of_child(ask) == "refused"
    assert owner.finish(owner.object)


@pytest.mark.parametrize("kind", OWNERS)
def test_owner_does_nothing_when_it_is_left_or_dropped_in_a_forked_child(kind: str, folder: Path) -> None:
    owner = OWNERS[kind](folder)

    def ask() -> str:
        with intercepted(refuse_to_change, CHANGING):
            for use in owner.harmless.values():
                use(owner.object)
            owner.object = None
            gc.collect()
        return "nothing"

    assert answer_of_child(ask) == "nothing"
    assert owner.finish(owner.object)


@pytest.mark.parametrize("kind", OWNERS)
def test_owner_survives_a_child_that_ends_in_every_way(kind: str, folder: Path) -> None:
    owner = OWNERS[kind](folder)
    for end in (lambda: sys.exit(3), lambda: os._exit(3)):
        child = multiprocessing.get_context("fork").Process(target=end)
        child.start()
        child.join()
        assert child.exitcode == 3

    assert owner.finish(owner.object)


# -- the writer, as programs use it ----------------------------------------------------------------

_global_writer: SplitWriter | None = None


def write_one(number: int) -> int:
    assert _global_writer is not None
    return _global_writer.write(b"%d" % number)


def test_global_writer_in_a_pool_raises_rather_than_losing_what_children_write(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SplitWriter(folder / "data", bins=2) as writer:
        writer.write(b"parent")
        monkeypatch.setattr(sys.modules[__name__], "_global_writer", writer)
        with (
            multiprocessing.get_context("fork").Pool(2) as pool,
            pytest.raises(ClosedError, match="make one of its own in each process"),
        ):
            pool.map(write_one, range(10))

    with SplitDataLoader(folder / "data") as loader:
        assert list(loader) == [b"parent"]


def test_exit_in_the_block_of_a_child_leaves_the_files_of_the_parent(folder: Path) -> None:
    with SplitWriter(folder / "data", bins=2) as writer:
        writer.write_many([b"one", b"two"])
        writer._guarded(writer._flush)
        pid = os.fork()
        if pid == 0:
            try:
                with writer:
                    sys.exit(3)
            finally:
                os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4

    with SplitDataLoader(folder / "data") as loader:
        assert list(loader) == [b"one", b"two"]


def test_lock_of_a_writer_goes_with_its_process_although_a_child_lives_on(folder: Path) -> None:
    path = folder / "data"
    reading, writing = os.pipe()

    owner = os.fork()
    if owner == 0:
        writer = SplitWriter(path, bins=1, mode="resume", durability="none")
        writer.write(b"one")
        writer.commit()
        if os.fork() == 0:
            # Lives until the test closes its end of the pipe.
            os.close(writing)
            os.read(reading, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(owner, 0)[1]) == 0
    try:
        with SplitWriter(path, bins=1, mode="resume") as writer:
            assert writer.num_written == 1
            writer.write(b"two")
        with SplitDataLoader(path) as loader:
            assert list(loader) == [b"one", b"two"]
    finally:
        os.close(writing)
        os.close(reading)
