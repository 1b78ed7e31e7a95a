"""Writers at once, compaction and cleaning, and readers beside them: nothing is lost, no position moves.

8 processes commit ─┐
compact, in a loop ─┼──> one dataset ──> every acknowledged commit at its positions, and nothing else
readers refresh    ─┘
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from splitdata import SplitWriter, compact, verify
from tests.command import ROOT
from tests.faults.file_faults import fast_folder
from tests.faults.test_concurrent import Follower, acknowledged, check_commits, records_of, start_writer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        yield path


class Repeated(threading.Thread):
    """Calls a function until it is told to stop, and keeps what it raises."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self._act = act
        self._failure: BaseException | None = None
        self._done = threading.Event()

    def run(self) -> None:
        """Act."""
        try:
            while not self._done.is_set():
                self._act()
                self.count += 1
        except BaseException as error:
            self._failure = error

    def stop(self) -> None:
        """End the thread, and raise what it has met."""
        self._done.set()
        self.join(60)
        assert not self.is_alive()
        if self._failure is not None:
            raise self._failure


def write_beside_compaction(path: Path, writers: int, commits: int) -> None:
    """Let processes commit while segments are compacted and old ones removed at once, and readers look on."""
    with SplitWriter(path, bins=2) as writer:
        writer.write_many(records_of(99, 0))
    found = {(99, 0): range(len(records_of(99, 0)))}
    # Each run of a writer is a segment, so that there is always something to be folded.
    processes = [start_writer(path, number, commits, 1 + number) for number in range(writers)]
    follower, janitor = Follower(path), Repeated(lambda: compact(path, keep_seconds=0))
    follower.start()
    janitor.start()
    for process in processes:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        found |= acknowledged(output)
    janitor.stop()
    follower.stop()

    # A run may commit more than was asked for.
    assert len(found) >= writers * commits + 1
    check_commits(path, found, complete=True)
    assert janitor.count > 1
    assert follower.refreshed > 1
    assert verify(path, num_workers=1).is_intact


def test_writers_beside_compaction_lose_nothing_and_no_position_moves(folder: Path) -> None:
    write_beside_compaction(folder / "data", 2, 12)


@pytest.mark.soak
@pytest.mark.time_limit(600)
@pytest.mark.parametrize("run", range(20))
def test_eight_writers_of_a_hundred_commits_beside_compaction_lose_nothing(run: int, folder: Path) -> None:
    write_beside_compaction(folder / f"data {run}", 8, 100)


# Commits every millisecond, until it is killed.
STEADY = """
import sys, time
from splitdata import SplitWriter
from tests.faults.test_concurrent import records_of

commit = 0
while True:
    with SplitWriter(sys.argv[1], bins=2, mode="append", durability="none") as writer:
        for _ in range(40):
            writer.write_many(records_of(1, commit))
            positions = writer.commit()
            print(1, commit, positions.start, positions.stop, flush=True)
            commit += 1
            time.sleep(0.001)
"""


@pytest.mark.soak
@pytest.mark.time_limit(300)
def test_readers_beside_a_minute_of_commits_see_whole_commits_and_meet_no_error(folder: Path) -> None:
    path = folder / "data"
    with SplitWriter(path, bins=2) as writer:
        writer.write_many(records_of(99, 0))
    with (folder / "told").open("w+") as told:
        process = subprocess.Popen([sys.executable, "-W", "error", "-c", STEADY, path], stdout=told, cwd=ROOT)
        followers = [Follower(path) for _ in range(2)]
        janitor = Repeated(lambda: compact(path, keep_seconds=0))
        threads: list[Follower | Repeated] = [*followers, janitor]
        for thread in threads:
            thread.start()
        time.sleep(60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for thread in threads:
            thread.stop()
        told.seek(0)
        commits = acknowledged(told.read())

    assert len(commits) > 1000
    check_commits(path, commits, complete=False)
    assert min(follower.refreshed for follower in followers) > 10
