"""kill -9 at every point of a write: what was acknowledged is there, whole, and nothing else is.

    child     workload ── budget spent ── SIGKILL          pipe: one byte for each acknowledged commit
    parent    open, compare with the states that are allowed, append, compare again

A write is cut off in the middle; other operations happen or do not.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from splitdata import DatasetNotFoundError, SampleDataset, SplitDataLoader, SplitWriter, verify
from tests.faults.file_faults import fast_folder
from tests.faults.kill_workloads import Records, Workload, fitting, large, workloads
from tests.faults.small_process import Ending, run_until_killed

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
    pytest.mark.usefixtures("small_process"),
]

# Points of each workload in a normal run, spread evenly over its bytes and operations.
POINTS = {
    "plain": 210,
    "zstd": 125,
    "scratch": 175,
    "rename": 170,
    "blocks": 100,
    "blocks-zstd": 100,
    "keys": 105,
    "schemas": 100,
    "rivals": 175,
    "append": 115,
    "overwrite": 150,
}
LARGE_POINTS = 12
ADDED = b"added after the kill"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


def write_until_killed(workload: Workload, path: Path, budget: int | None) -> Ending:
    """Run a workload in a child; each of its items is a commit that it acknowledged."""
    return run_until_killed(partial(workload.run, path), budget, patch=workload.patch)


def read_all(path: Path) -> Records | None:
    """Return the records of a dataset by position, samples with their schemas, None where there is none."""
    try:
        loader = SplitDataLoader(path)
    except DatasetNotFoundError:
        return None
    with loader:
        records = [loader[position] for position in range(len(loader))]
        assert list(loader) == records
        assert loader.sizes[:].tolist() == list(map(len, records))
        keys = [loader.key(position) for position in range(len(loader))]
        assert all(loader.find(key) == position for position, key in enumerate(keys) if key is not None)
        if loader.record_codec == "sample":
            with SampleDataset(path) as samples:
                return [samples.encoded(position) for position in range(len(records))]
    return records


def check_after_kill(workload: Workload, path: Path, acknowledged: int, where: str, *, verified: bool) -> None:
    """Compare what is there with what may be there; then go on writing."""
    found = read_all(path)
    # What was acknowledged, or that and the commit during which the process was killed.
    allowed = workload.states[acknowledged : acknowledged + 2]
    assert found in allowed, f"{where}: {None if found is None else len(found)} records, none of the allowed states"
    left = [unfinished.name for unfinished in path.glob("*.tmp")]
    assert workload.leaves_scratch or not left, f"{where}: {left}"

    added = fitting(path, ADDED)
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(added)
        assert writer.commit() == range(len(found or []), len(found or []) + 1), where
    assert read_all(path) == [*(found or []), added], where
    if verified:
        # What a kill leaves behind is no damage; but the header of an index, which each commit of an open
        # segment writes again, may be torn: nothing reads it, and the next commit of the segment would mend it.
        found_by_verify = verify(path, num_workers=1).findings
        torn = [finding for finding in found_by_verify if finding.problem == "the header of the index is damaged"]
        assert list(found_by_verify) == torn, where
        assert len(torn) <= 1, where


def kill_at(workload: Workload, folder: Path, points: list[int]) -> int:
    """Kill one child at each point and look at what it left; returns how many were killed."""
    killed = 0
    for number, point in enumerate(points):
        path = folder / "dataset"
        workload.prepare(path)
        exit_code, acknowledged, _ = write_until_killed(workload, path, point)
        assert exit_code == -signal.SIGKILL, f"{workload.name} at {point}"
        killed += 1
        with pytest.MonkeyPatch.context() as patch:
            workload.patch(patch)
            where = f"{workload.name} killed at {point}"
            check_after_kill(workload, path, acknowledged, where, verified=number % 5 == 0)
        shutil.rmtree(path, ignore_errors=True)
    return killed


def cost_of_all(workload: Workload, folder: Path) -> int:
    """Return what the whole workload costs, and check that it does what its states say."""
    path = folder / "whole"
    workload.prepare(path)
    exit_code, acknowledged, spent = write_until_killed(workload, path, None)
    assert exit_code == 0
    assert acknowledged == len(workload.states) - 1
    with pytest.MonkeyPatch.context() as patch:
        workload.patch(patch)
        assert read_all(path) == workload.states[-1]
    return spent


def spread(total: int, count: int) -> list[int]:
    """Return up to `count` points from 0 to total - 1, evenly."""
    return (
        sorted({number * (total - 1) // max(1, count - 1) for number in range(count)})
        if count < total
        else [*range(total)]
    )


@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.name)
def test_writer_killed_at_spread_points_leaves_a_committed_state(workload: Workload, folder: Path) -> None:
    points = spread(cost_of_all(workload, folder), POINTS[workload.name])

    assert kill_at(workload, folder, points) == len(points) >= 100


def test_writer_of_a_large_record_killed_at_spread_points_leaves_a_committed_state(folder: Path) -> None:
    workload = large()

    assert kill_at(workload, folder, spread(cost_of_all(workload, folder), LARGE_POINTS)) == LARGE_POINTS


def test_normal_run_kills_at_1500_points() -> None:
    assert sum(POINTS.values()) + LARGE_POINTS >= 1500
    assert set(POINTS) == {workload.name for workload in workloads()}


@pytest.mark.soak
@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.name)
def test_writer_killed_at_every_point_leaves_a_committed_state(workload: Workload, folder: Path) -> None:
    total = cost_of_all(workload, folder)

    assert kill_at(workload, folder, list(range(total))) == total
