"""repair after kill -9 of a writer, and kill -9 of repair itself.

writer ── killed ──> repair(adopt) ──> all that was acknowledged, then whole records in order, none twice
damaged dataset ──> repair ── killed at each byte and operation ──> no worse ──> repair ──> as without the kill
"""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from splitdata import FormatError, ManifestError, SplitDataLoader, SplitWriter, repair, verify
from tests.faults.file_faults import fast_folder
from tests.faults.kill_workloads import Workload, fitting, workloads
from tests.faults.small_process import run_until_killed
from tests.faults.test_kill import cost_of_all, read_all, spread, write_until_killed

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL"),
    pytest.mark.usefixtures("small_process"),
]

WRITER_POINTS = 18
REPAIR_POINTS = 24
ADOPTING = ("plain", "zstd", "scratch", "blocks", "schemas", "rivals", "append")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


def kills_of(workload: Workload, folder: Path, count: int | None) -> Iterator[tuple[Path, int, int]]:
    """Kill a writer at many points; gives the dataset, the point, and the commits that were acknowledged."""
    total = cost_of_all(workload, folder)
    for point in spread(total, count or total):
        path = folder / "dataset"
        workload.prepare(path)
        _, acknowledged, _ = write_until_killed(workload, path, point)
        with pytest.MonkeyPatch.context() as patch:
            workload.patch(patch)
            yield path, point, acknowledged
        shutil.rmtree(path, ignore_errors=True)


def check_adoption(workload: Workload, path: Path, point: int) -> None:
    before = read_all(path) or []
    try:
        report = repair(path, adopt=True)
    except FileNotFoundError:
        assert not before
        return
    after = read_all(path)
    written = workload.states[-1]
    assert after is not None
    assert written is not None
    assert after[: len(before)] == before, point
    assert len(after) - len(before) == report.num_adopted, point
    # Some records are equal; none may be there more often than it was written.
    assert Counter(after) <= Counter(written), point
    if workload.name not in ("rivals", "schemas"):
        assert after == written[: len(after)], point
    assert verify(path).findings == (), point
    assert repair(path, adopt=True).actions == (), point
    assert not list(path.glob("*.tmp"))
    added = fitting(path, b"added")
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(added)
    assert read_all(path) == [*after, added]


def check_manifest(workload: Workload, path: Path, point: int) -> None:
    """Damage the newest manifest: what it listed must come back, or nothing be changed."""
    before = read_all(path)
    manifests = sorted(path.glob("manifest.*.json"))
    if not before or not manifests:
        return
    original = manifests[-1].read_bytes()
    manifests[-1].write_bytes(original[:-4])
    try:
        repair(path)
    except ManifestError:
        # Rivals whose claims contradict each other: then nothing may have been changed.
        manifests[-1].write_bytes(original)
        assert read_all(path) == before, point
        assert workload.name in ("rivals", "schemas", "overwrite"), point
        return
    after = read_all(path)
    assert after is not None
    # A commit that was not acknowledged may be in it.
    assert after[: len(before)] == before, point
    assert verify(path).findings == (), point


def adopting_workloads() -> list[Workload]:
    return [workload for workload in workloads() if workload.name in ADOPTING]


@pytest.mark.parametrize("workload", adopting_workloads(), ids=lambda workload: workload.name)
def test_whole_records_of_a_killed_writer_are_adopted_in_order_and_once(workload: Workload, folder: Path) -> None:
    for path, point, _ in kills_of(workload, folder, WRITER_POINTS):
        check_adoption(workload, path, point)


@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.name)
def test_manifest_lost_after_a_kill_is_made_again_with_all_that_it_listed(workload: Workload, folder: Path) -> None:
    for path, point, _ in kills_of(workload, folder, WRITER_POINTS // 2):
        check_manifest(workload, path, point)


@pytest.mark.soak
@pytest.mark.parametrize("workload", adopting_workloads(), ids=lambda workload: workload.name)
def test_whole_records_of_a_writer_killed_anywhere_are_adopted(workload: Workload, folder: Path) -> None:
    for path, point, _ in kills_of(workload, folder, None):
        check_adoption(workload, path, point)


@pytest.mark.soak
@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.name)
def test_manifest_lost_after_any_kill_is_made_again(workload: Workload, folder: Path) -> None:
    for path, point, _ in kills_of(workload, folder, None):
        check_manifest(workload, path, point)


# -- kill -9 of repair -----------------------------------------------------------------------------


def _write(path: Path, records: list[bytes]) -> None:
    with SplitWriter(path, mode="append", bins=2, durability="none", metadata={"n": len(records)}) as writer:
        writer.write_many(records)


def abandon(path: Path, committed: list[bytes], pending: list[bytes]) -> None:
    """Leave what a killed writer leaves: close its files, and neither commit nor cut anything off."""
    writer = SplitWriter(path, mode="append", bins=2, durability="none")
    writer.write_many(committed)
    writer.commit()
    writer.write_many(pending)
    writer._flush()
    writer._release()


def damaged_everywhere(path: Path) -> None:
    """Make a dataset of which index, headers and manifest are damaged, and no record is."""
    _write(path, [b"a%d" % number * number for number in range(6)])
    _write(path, [b"b%d" % number * number for number in range(5)])
    for number, file in enumerate(sorted(path.rglob("*.bin"))):
        content = bytearray(file.read_bytes())
        # The bin's header, or the check of its first frame.
        content[20 if number % 2 else content.index(b"metadata") if b"metadata" in content else 66] ^= 1
        file.write_bytes(content)
    for number, index in enumerate(sorted(path.rglob("index"))):
        content = bytearray(index.read_bytes())
        content[128 + 20] ^= 3
        index.write_bytes(content if number else content[:200])
    sorted(path.glob("manifest.*.json"))[-1].write_bytes(b"damaged")


def abandoned_everywhere(path: Path) -> None:
    """Make a dataset in which three writers have left records, each in another way."""
    abandon(path, [b"a0", b"a1"], [b"a2", b"a3 pending", b"a4"])
    abandon(path, [b"b0", b"b1"], [b"b2 pending"])
    last = path / "unlisted"
    abandon(path, [b"c0", b"c1", b"c2"], [])
    sorted(path.glob("manifest.*.json"))[-1].unlink()
    assert not last.exists()


def readable(path: Path) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    try:
        loader = SplitDataLoader(path)
    except FormatError:
        return found
    with loader:
        for position in range(len(loader)):
            try:
                found[position] = loader[position]
            except FormatError:
                continue
    return found


def repair_in_child(path: Path, adopt: bool) -> list[object]:
    repair(path, adopt=adopt)
    return []


def kill_repairs(prepare: Callable[[Path], None], folder: Path, count: int | None, *, adopt: bool) -> int:
    """Kill repair at many points and run it again; returns how many were killed."""
    prepare(folder / "damaged")
    before = readable(folder / "damaged")
    whole = folder / "whole"
    shutil.copytree(folder / "damaged", whole)
    exit_code, _, total = run_until_killed(partial(repair_in_child, whole, adopt), None)
    assert exit_code == 0
    expected = readable(whole)
    points = spread(total, count or total)
    for point in points:
        path = folder / "dataset"
        shutil.copytree(folder / "damaged", path)
        assert run_until_killed(partial(repair_in_child, path, adopt), point).exit_code == -signal.SIGKILL, point
        assert before.items() <= readable(path).items() <= expected.items(), point
        assert repair(path, adopt=adopt).is_whole, point
        assert readable(path) == expected, point
        assert verify(path).findings == (), point
        assert not list(path.rglob("*.tmp")), point
        assert repair(path, adopt=adopt).actions == (), point
        shutil.rmtree(path)
    return len(points)


CASES = [(damaged_everywhere, False), (damaged_everywhere, True), (abandoned_everywhere, True)]


@pytest.mark.parametrize(("prepare", "adopt"), CASES)
def test_repair_killed_at_spread_points_is_finished_by_a_second_run(
    prepare: Callable[[Path], None], adopt: bool, folder: Path
) -> None:
    assert kill_repairs(prepare, folder, REPAIR_POINTS, adopt=adopt) == REPAIR_POINTS


@pytest.mark.soak
@pytest.mark.parametrize(("prepare", "adopt"), CASES)
def test_repair_killed_at_every_point_is_finished_by_a_second_run(
    prepare: Callable[[Path], None], adopt: bool, folder: Path
) -> None:
    assert kill_repairs(prepare, folder, None, adopt=adopt) > REPAIR_POINTS
