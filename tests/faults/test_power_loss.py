"""Power fails at any moment of a run: what was acknowledged is there, whole, and writing goes on.

    run, noted ── power fails behind event k, a part of what was not synced survives ── a folder
                  opened, read, compared, appended to or called again, verified

The harness is tested too: without any one sync of the library it must find a state that is wrong.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pytest

from splitdata import (
    DatasetNotFoundError,
    ManifestError,
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    copy,
    delete,
    merge,
    repair,
    verify,
)
from tests.dataset.disk import read
from tests.dataset.merging.two_datasets import contents_of
from tests.dataset.record_kinds import kill
from tests.faults.file_faults import fast_folder, intercepted
from tests.faults.kill_workloads import Workload, workloads
from tests.faults.power_loss import MOODS, Disk, Trace
from tests.faults.test_kill import check_after_kill
from tests.faults.test_tool_kill import INPUTS, TOOLS, Tool, found_in, is_allowed, prepare, small_commits

pytestmark = pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="notes operations as Linux has them")

STATES = 7
TOOL_STATES = 2
# Together some more than 10,000.
SOAK_STATES = 600
SOAK_TOOL_STATES = 360
# States that are looked at for one sync that is left out.
MOST_TRIED = 200

Check = Callable[[Path, int, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


@dataclass(frozen=True)
class Noted:
    """A run that was noted.

    Attributes:
        name: For messages.
        trace: What it did.
        check: Looks at a folder after the loss, given how many commits were acknowledged before.
    """

    name: str
    trace: Trace
    check: Check

    def lose_power(self, folder: Path, seed: int, *, ignored: str = "") -> None:
        """Look at one state, without the syncs of a site; it raises where that is none of those that are allowed."""
        chance = Random(f"{self.name} {seed}")
        events = self.trace.events
        behind = [place for place, event in enumerate(events) if event.site == ignored] if ignored else [0]
        # Right behind what was acknowledged, soon after a sync that is left out, or at any time.
        told = [place for place, event in enumerate(events) if event.kind == "acknowledge" and place > behind[0]]
        moment = chance.choice(
            (
                chance.choice(told) + chance.randint(1, 3),
                chance.choice(behind) + chance.randint(1, 6),
                *(chance.randint(behind[0], len(events)) for _ in range(1 if ignored else 4)),
            )
        )
        moment = min(moment, len(events))
        mood = MOODS[seed % len(MOODS)]
        found = folder / "found"
        try:
            disk = Disk(self.trace, moment, ignored=ignored)
            disk.write_survivors(found, mood, chance)
            where = f"{self.name}, seed {seed}: power lost behind event {moment}, of the rest survives: {mood}"
            self.check(found, self.trace.acknowledged_before(moment), where)
        finally:
            shutil.rmtree(found, ignore_errors=True)


def noted_workload(workload: Workload, folder: Path) -> Noted:
    """Run a workload of `kill_workloads`."""
    base = folder / workload.name
    base.mkdir()
    workload.prepare(base / "dataset")
    trace = Trace(base)
    with pytest.MonkeyPatch.context() as patch:
        workload.patch(patch)
        with intercepted(trace):
            for _ in workload.run(base / "dataset"):
                trace.acknowledge()

    def check(found: Path, acknowledged: int, where: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            workload.patch(patch)
            check_after_kill(workload, found / "dataset", acknowledged, where, verified=True)

    return Noted(workload.name, trace, check)


def noted_tool(tool: Tool, folder: Path) -> Noted:
    """Run a tool of `test_tool_kill`."""
    base = folder / tool.name
    prepare(base)
    before = found_in(base, tool)
    inputs = [contents_of(base / name) for name in INPUTS]
    trace = Trace(base)
    with pytest.MonkeyPatch.context() as patch:
        small_commits(patch)
        with intercepted(trace):
            tool.run(base)
            trace.acknowledge()
    after = found_in(base, tool)

    def check(found: Path, acknowledged: int, where: str) -> None:
        assert [contents_of(found / name) for name in INPUTS] == inputs, where
        for state, old, new in zip(found_in(found, tool), before, after, strict=True):
            assert new is not None
            assert state == new if acknowledged else is_allowed(state, old, new, tool), where
        if acknowledged:
            assert all(verify(found / name, num_workers=1).is_intact for name in tool.outputs), where
        with pytest.MonkeyPatch.context() as patch:
            small_commits(patch)
            tool.run(found)
        assert found_in(found, tool) == after, f"{where}; called again"
        for name in tool.outputs:
            assert verify(found / name, num_workers=1).is_intact, where
            assert repair(found / name, dry_run=True).num_adoptable == 0, where

    return Noted(tool.name, trace, check)


def noted_adoption(folder: Path, *, commits: bool) -> Noted:
    """Adopt what a killed writer has written and not synced: acknowledged, it must be on the medium."""
    base = folder / f"adoption {commits}"
    base.mkdir()
    path, committed, pending = base / "data", [b"a", b"bc"] * commits, [b"pending %d" % number for number in range(5)]
    trace = Trace(base)
    with intercepted(trace):
        writer = SplitWriter(path, bins=2)
        if commits:
            writer.write_many(committed)
            writer.commit()
        trace.acknowledge()
        writer.write_many(pending)
        kill(writer)
        repair(path, adopt=True)
        trace.acknowledge()

    def check(found: Path, acknowledged: int, where: str) -> None:
        try:
            records = read(found / "data")
        except DatasetNotFoundError:
            records = []
        except ManifestError:
            # The repair was not at its end, and is called again.
            assert acknowledged < 2, where
            repair(found / "data", adopt=True)
            records = read(found / "data")
        assert records == [*committed, *pending][: len(records)], where
        assert len(records) >= (0, len(committed), len(committed) + len(pending))[acknowledged], where

    return Noted(f"adoption, {commits}", trace, check)


def noted_merge_of_unsynced(folder: Path) -> Noted:
    """Merge what was written without waiting for the medium: acknowledged, all of it must be there."""
    base = folder / "unsynced"
    base.mkdir()
    records = [b"record %d" % number for number in range(7)]
    trace = Trace(base)
    with intercepted(trace):
        with SplitWriter(base / "a", bins=2, durability="none") as writer:
            writer.write_many(records, keys=[f"{number}" for number in range(7)])
        merge([base / "a"], base / "data")
        trace.acknowledge()

    def check(found: Path, acknowledged: int, where: str) -> None:
        try:
            assert read(found / "data") == records, where
        except DatasetNotFoundError:
            assert not acknowledged, where

    return Noted("unsynced", trace, check)


def noted_delete(folder: Path) -> Noted:
    """Delete a record: acknowledged, it stays deleted, and the others are there."""
    base = folder / "deleting"
    base.mkdir()
    with SplitWriter(base / "data", bins=1, durability="none") as writer:
        writer.write_many([b"one", b"two", b"three"])
    trace = Trace(base)
    with intercepted(trace):
        delete(base / "data", positions=[1])
        trace.acknowledge()

    def check(found: Path, acknowledged: int, where: str) -> None:
        with SplitDataLoader(found / "data") as loader:
            deleted = loader.deleted.tolist()
            assert deleted == [1] if acknowledged else deleted in ([], [1]), where
            assert (loader[0], loader[2]) == (b"one", b"three"), where

    return Noted("deleting", trace, check)


def noted_copy(folder: Path) -> Noted:
    """Copy a dataset into a new folder: acknowledged, all that leads to it is there; else it can be called again."""
    base = folder / "copying"
    base.mkdir()
    records = [b"record %d" % number for number in range(7)]
    with SplitWriter(base / "a", bins=2, durability="none") as writer:
        writer.write_many(records, keys=[f"{number}" for number in range(7)])
    trace = Trace(base)
    with intercepted(trace):
        copy(base / "a", base / "new" / "data", check=False, num_workers=1)
        trace.acknowledge()

    def check(found: Path, acknowledged: int, where: str) -> None:
        with suppress(*() if acknowledged else (DatasetNotFoundError, ManifestError)):
            assert read(found / "new" / "data") == records, where
        copy(found / "a", found / "new" / "data")
        assert read(found / "new" / "data") == records, where

    return Noted("copying", trace, check)


OTHERS: dict[str, Callable[[Path], Noted]] = {
    "adopted behind a commit": partial(noted_adoption, commits=True),
    "adopted without a commit": partial(noted_adoption, commits=False),
    "merged": noted_merge_of_unsynced,
    "deleted": noted_delete,
    "copied": noted_copy,
}


@pytest.mark.parametrize("name", OTHERS)
def test_power_lost_behind_what_was_not_synced_costs_nothing_that_was_acknowledged(name: str, folder: Path) -> None:
    run = OTHERS[name](folder)
    for seed in range(7 * STATES):
        run.lose_power(folder, seed)


@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.name)
def test_power_lost_while_writing_costs_nothing_that_was_acknowledged(workload: Workload, folder: Path) -> None:
    noted = noted_workload(workload, folder)
    for seed in range(STATES):
        noted.lose_power(folder, seed)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_power_lost_under_a_tool_costs_nothing_and_it_can_be_called_again(tool: Tool, folder: Path) -> None:
    noted = noted_tool(tool, folder)
    for seed in range(TOOL_STATES):
        noted.lose_power(folder, seed)


@pytest.mark.soak
@pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.name)
def test_power_lost_very_often_while_writing_costs_nothing_that_was_acknowledged(
    workload: Workload, folder: Path
) -> None:
    noted = noted_workload(workload, folder)
    for seed in range(SOAK_STATES):
        noted.lose_power(folder, seed)


@pytest.mark.soak
@pytest.mark.time_limit(1200)
@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_power_lost_very_often_under_a_tool_costs_nothing_and_it_can_be_called_again(tool: Tool, folder: Path) -> None:
    noted = noted_tool(tool, folder)
    for seed in range(SOAK_TOOL_STATES):
        noted.lose_power(folder, seed)


# -- the harness itself ----------------------------------------------------------------------------


def is_noticed(noted: Noted, site: str, folder: Path) -> bool:
    """Say whether one of the states shows that the syncs of a site are left out."""
    for seed in range(MOST_TRIED):
        try:
            noted.lose_power(folder, seed, ignored=site)
        except (AssertionError, SplitDataError, OSError):
            return True
    return False


def missed_sites(every: list[Noted], folder: Path) -> list[str]:
    """Return the sites whose syncs can be left out, and no state of any of these runs shows it."""
    sites: dict[str, list[Noted]] = {}
    for noted in every:
        for site in noted.trace.sites():
            sites.setdefault(site, []).append(noted)
    assert len(sites) > 8
    return [site for site, runs in sites.items() if not any(is_noticed(noted, site, folder) for noted in runs)]


def test_each_sync_of_a_writer_that_is_left_out_is_noticed(folder: Path) -> None:
    every = [noted_merge_of_unsynced(folder), *(noted_workload(workload, folder) for workload in workloads())]

    assert missed_sites(every, folder) == []


@pytest.mark.soak
@pytest.mark.time_limit(900)
def test_each_sync_of_a_tool_that_is_left_out_is_noticed(folder: Path) -> None:
    every = [noted(folder) for noted in OTHERS.values()]
    every += [noted_tool(tool, folder) for tool in TOOLS if tool.name in ("delete", "compact", "repair", "update")]

    # A repair syncs the folder of each segment, and has done so before of those in which it has replaced a file.
    assert [site for site in missed_sites(every, folder) if not site.endswith("publish_manifest")] == []
