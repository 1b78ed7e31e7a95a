"""kill -9 of every tool at every point: what it makes is as before, or whole, or goes on; the inputs never change.

inputs, destination ── tool ── budget spent ── SIGKILL
destination: a state that is allowed ── the same tool, called again ──> as if it had never been killed
inputs: byte by byte as they were, all the time
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from splitdata import (
    CorruptRecordError,
    DatasetNotFoundError,
    ManifestError,
    SplitWriter,
    append,
    commit_parts,
    compact,
    copy,
    delete,
    describe,
    filter_records,
    merge,
    open_part,
    rebin,
    repair,
    sample,
    split,
    verify,
)
from splitdata.conversion import conversion_log
from tests.dataset.merging.two_datasets import Content, contents_of
from tests.dataset.record_kinds import overwrite, place_of, segments_of, tree_of
from tests.faults.file_faults import fast_folder
from tests.faults.small_process import run_until_killed
from tests.faults.test_kill import spread
from tests.faults.test_repair_kill import abandon

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
    pytest.mark.usefixtures("small_process"),
]

POINTS = 5
SOAK_POINTS = 500
INPUTS = ("a", "b")
SHARES = {"train": 0.7, "val": 0.3}


def is_even(record: bytes) -> bool:
    return record[-1] % 2 == 0


def merge_twice(folder: Path) -> object:
    return merge([folder / "a", folder / "b", folder / "a"], folder / "dest", allow_duplicate_keys=True)


def commit_two_parts(folder: Path) -> object:
    descriptors = []
    for number, name in enumerate(INPUTS):
        with open_part(folder / "dest", name, bins=2, group=1 if number else 4) as writer:
            writer.write_many([name.encode() * length for length in range(9)], keys=map(str, range(9)))
        descriptors.append(writer.descriptor)
    return commit_parts(folder / "dest", descriptors)


@dataclass(frozen=True)
class Tool:
    """One tool, as it is called, and what it may leave.

    Attributes:
        name: For test ids.
        run: Calls it, given the folder of all datasets.
        outputs: The datasets that it makes or changes.
        goes_on: What it has made may be a part of all, from the beginning: it commits as it goes.
    """

    name: str
    run: Callable[[Path], object]
    outputs: tuple[str, ...] = ("dest",)
    goes_on: bool = False


TOOLS = (
    Tool("merge", merge_twice),
    Tool("append", lambda folder: append([folder / "a", folder / "b"], folder / "old"), ("old",)),
    Tool("filter", lambda folder: filter_records(folder / "a", folder / "dest", is_even), goes_on=True),
    Tool("sample", lambda folder: sample(folder / "a", folder / "dest", 20), goes_on=True),
    Tool("rebin", lambda folder: rebin(folder / "a", folder / "dest", bins=2, group=4), goes_on=True),
    Tool("split", lambda folder: split(folder / "a", folder / "p", SHARES), ("p/train", "p/val"), goes_on=True),
    Tool("views", lambda folder: split(folder / "a", folder / "p", SHARES, views=True), ("p/train", "p/val")),
    Tool("delete", lambda folder: delete(folder / "old", positions=[2, 5], keys=["old 7"]), ("old",)),
    Tool("compact", lambda folder: compact(folder / "marked", erase=True), ("marked",)),
    Tool("drop", lambda folder: compact(folder / "damaged", drop_damaged=True), ("damaged",)),
    Tool("parts", commit_two_parts),
    Tool("seal", lambda folder: compact(folder / "open"), ("open",)),
    Tool("repair", lambda folder: repair(folder / "broken", adopt=True), ("broken",), goes_on=True),
    Tool("copy", lambda folder: copy(folder / "a", folder / "dest", check=False, num_workers=1)),
    Tool("update", lambda folder: copy(folder / "grown", folder / "older", check=False, num_workers=1), ("older",)),
)


def prepare(folder: Path) -> None:
    """Make two inputs of several segments, with keys and deleted records, and datasets to be changed."""
    for name in (*INPUTS, "old", "marked"):
        for part in range(2):
            with SplitWriter(folder / name, mode="append", bins=2, group=1 if part else 4, durability="none") as writer:
                numbers = range(part * 12, part * 12 + 12)
                writer.write_many(
                    [b"%s record %d" % (name.encode(), number) * 2 for number in numbers],
                    keys=[f"{name} {number}" for number in numbers],
                )
    for name in ("a", "b", "marked"):
        delete(folder / name, positions=[1, 14])
    with SplitWriter(folder / "damaged", bins=2, group=1, durability="none") as writer:
        writer.write_many([b"whole or damaged %d" % number for number in range(9)])
    file, offset = place_of(folder / "damaged", 4)
    overwrite(file, offset + 36, b"\xff")
    writer = SplitWriter(folder / "open", bins=2, group=1, durability="none")
    writer.write_many([b"open %d" % number for number in range(9)])
    writer.commit()
    writer._release()
    broken(folder / "broken")
    with SplitWriter(folder / "grown", bins=2, group=1, durability="none") as writer:
        for part in range(2):
            writer.write_many([b"grown %d" % number for number in range(4)], keys=[f"{part} {n}" for n in range(4)])
            writer.commit()
            if not part:
                # The files of its segment grow, and are sealed, behind this copy.
                copy(folder / "grown", folder / "older", check=False)


def broken(path: Path) -> None:
    """Make a dataset that repair has much to do in: entries and headers damaged, and what killed writers left."""
    abandon(path, [b"first %d" % number for number in range(6)], [b"pending", b"pending too"])
    abandon(path, [b"second %d" % number for number in range(4)], [b"more that is pending"])
    index = segments_of(path)[0][1].index
    overwrite(Path(index), 128 + 16, b"\xff" * 16)
    overwrite(Path(index), 20, b"\xff")
    overwrite(sorted(path.rglob("*.bin"))[0], 24, b"\xff")


def small_commits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(conversion_log, "_COMMIT_BYTES", 400)


def called(tool: Tool, folder: Path) -> Iterator[None]:
    tool.run(folder)
    yield


def found_in(folder: Path, tool: Tool) -> list[list[Content] | None]:
    """Return what each output holds, None where there is none."""
    found: list[list[Content] | None] = []
    for name in tool.outputs:
        try:
            found.append(contents_of(folder / name))
        except (DatasetNotFoundError, ManifestError):
            # Copied, but for the manifest.
            found.append(None)
        except CorruptRecordError:
            # Not dropped yet.
            found.append([])
    return found


def is_allowed(found: list[Content] | None, before: list[Content] | None, after: list[Content], tool: Tool) -> bool:
    if found in (before, after):
        return True
    return tool.goes_on and found is not None and found == after[: len(found)]


def kill_at(tool: Tool, folder: Path, count: int) -> int:
    """Kill the tool at so many points, and call it again each time; returns how often it was killed."""
    original = folder / "original"
    prepare(original)
    before = found_in(original, tool)
    inputs = [tree_of(original / name) for name in INPUTS]

    whole = folder / "whole"
    shutil.copytree(original, whole)
    ending = run_until_killed(partial(called, tool, whole), None, patch=small_commits)
    assert ending.exit_code == 0
    after = found_in(whole, tool)
    assert None not in after

    points = spread(ending.spent, count)
    for point in points:
        work = folder / "work"
        shutil.copytree(original, work)
        ending = run_until_killed(partial(called, tool, work), point, patch=small_commits)
        assert ending.exit_code == -signal.SIGKILL, point
        for found, old, new in zip(found_in(work, tool), before, after, strict=True):
            assert new is not None
            assert is_allowed(found, old, new, tool), f"{tool.name} killed at {point}"
        with pytest.MonkeyPatch.context() as patch:
            small_commits(patch)
            tool.run(work)
        assert found_in(work, tool) == after, f"{tool.name} killed at {point}, and called again"
        assert [tree_of(work / name) for name in INPUTS] == inputs, point
        for name in tool.outputs:
            assert verify(work / name, num_workers=1).is_intact, point
            # Nothing is left that a repair would bring back.
            assert repair(work / name, dry_run=True).num_adoptable == 0, point
            assert describe(work / name).num_records == len(contents_of(work / name))
        shutil.rmtree(work)
    return len(points)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_tool_killed_anywhere_and_called_again_is_as_if_it_never_was(tool: Tool, folder: Path) -> None:
    assert kill_at(tool, folder, POINTS) == POINTS


@pytest.mark.soak
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_tool_killed_at_very_many_points_and_called_again_is_as_if_it_never_was(tool: Tool, folder: Path) -> None:
    assert kill_at(tool, folder, SOAK_POINTS) > 100
