"""Memory of a loader: what workers make ahead is bounded in batches and bytes; who keeps every batch keeps it whole."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers, Rows, Sample, Stream, is_batch_of, worker_pids
from tests.watchdog import running_ids

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

WAYS: dict[str, dict[str, Any]] = {"fork": {"start_method": "fork"}, "thread": {"kind": "thread"}}
MEGABYTE = 1 << 20


class Counted(Rows):
    """Rows, and a file that grows by a byte with each."""

    def __init__(self, size: int, path: Path) -> None:
        super().__init__(size)
        object.__setattr__(self, "path", path)

    path: Path

    def __call__(self, record: int) -> Sample:
        with self.path.open("ab", buffering=0) as file:
            file.write(b".")
        return super().__call__(record)


def settled(path: Path) -> int:
    """Return how many samples were made, once no more are."""
    found, since = -1, time.monotonic()
    while time.monotonic() - since < 0.3:
        size = path.stat().st_size if path.exists() else 0
        if size != found:
            found, since = size, time.monotonic()
        time.sleep(0.01)
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("prefetch", "max_bytes", "most"),
    [
        # Each of two workers: as many as asked for, and one more that it may be at.
        (3, None, 2 * (3 + 1)),
        # Half of the memory each, in batches of a megabyte, and one more that finds no room.
        (100, 8 * MEGABYTE, 2 * (4 + 1)),
        # Not even one: it waits for the consumer, or goes through the pipe.
        (100, MEGABYTE, 2 * 2),
    ],
)
def test_batches_ahead_of_a_consumer_that_waits_are_bounded(
    way: str, prefetch: int, max_bytes: int | None, most: int, tmp_path: Path
) -> None:
    path = tmp_path / "made"
    with DistributedLoader(
        Numbers(200),
        **grouped(
            num_workers=2,
            # A little less than a megabyte, with what goes along.
            transform=Counted(MEGABYTE // 4 - 1000, path),
            prefetch=prefetch,
            max_bytes=max_bytes,
            read_ahead=100,
            **WAYS[way],
        ),
    ) as loader:
        stream = Stream(loader)
        batches = iter(loader)
        for taken in (1, 2, 12):
            stream.take(batches, taken)
            ahead = settled(path) - stream.num_batches
            assert 0 < ahead <= most
            # The consumer's notes come in groups: a worker may not know yet of the last ones that were taken.
        stream.take(batches)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("max_bytes", [MEGABYTE, 4 * MEGABYTE, None])
def test_consumer_who_keeps_every_batch_gets_all_of_them(way: str, max_bytes: int | None) -> None:
    with DistributedLoader(
        Numbers(60), **grouped(batch_size=2, num_workers=2, transform=Rows(40_000), max_bytes=max_bytes, **WAYS[way])
    ) as loader:
        kept = [batch for _ in range(2) for batch in loader]

        assert len(kept) == 60
        for number, batch in enumerate(kept):
            assert is_batch_of(batch, [2 * (number % 30), 2 * (number % 30) + 1])
            # They are the consumer's own: written, they change nothing else.
            batch["row"][:] = -1
        assert next(iter(loader))["row"].min() == 0
    assert all((batch["row"] == -1).all() for batch in kept)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="taken from /proc")
def test_large_batches_take_no_more_memory_than_was_allowed() -> None:
    before = running_ids()
    with DistributedLoader(
        Numbers(40),
        num_workers=2,
        workers=WorkerOptions(start_method="fork", prefetch=50, max_bytes=16 * MEGABYTE),
        transform=Rows(MEGABYTE),
    ) as loader:
        largest = 0
        for batch in loader:
            assert batch["row"].nbytes == 4 * MEGABYTE
            largest = max(largest, loader.stats().memory_bytes)
        pids = [os.getpid(), *worker_pids(before)]
        shared = sum(shared_bytes(pid) for pid in pids)

    # Once for each that has it mapped: this process and the worker.
    assert shared <= 2 * 18 * MEGABYTE
    assert 0 < largest <= 18 * MEGABYTE


def shared_bytes(pid: int) -> int:
    """Return the resident bytes of arenas that a process has mapped."""
    found = 0
    is_arena = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            is_arena = "memfd:splitdata" in line
        elif is_arena and line.startswith("Rss:"):
            found += int(line.split()[1]) * 1024
    return found


def test_row_that_is_kept_holds_its_batch_and_stays_as_it_was() -> None:
    with DistributedLoader(
        Numbers(80),
        batch_size=2,
        num_workers=2,
        workers=WorkerOptions(start_method="fork", max_bytes=2 * MEGABYTE),
        transform=Rows(20_000),
    ) as loader:
        rows = [batch["row"][0] for batch in loader]

        assert [int(row[0]) for row in rows] == list(range(0, 80, 2))
        assert all((row == row[0]).all() for row in rows)
        assert all(isinstance(row, np.ndarray) for row in rows)
