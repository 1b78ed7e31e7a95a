"""The life of workers: broken epochs, storms of cancels, collected and closed loaders, killed programs, many epochs."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitdata.errors import ClosedError
from splitdata.loader.distributed_loader import DistributedLoader
from tests.command import ROOT
from tests.holdings import Holdings, left_behind
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers, Rows, Stream, is_batch_of, worker_pids
from tests.process.family import environment, members, new_mark, seconds_until_gone
from tests.watchdog import running_ids

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

WAYS: dict[str, dict[str, Any]] = {
    "fork": {"start_method": "fork"},
    "thread": {"kind": "thread"},
}
SIZES = [3, 10_000, 200_000]


@pytest.mark.parametrize("trials", [pytest.param(36, id="few"), pytest.param(2000, id="many", marks=pytest.mark.soak)])
@pytest.mark.parametrize("way", WAYS)
def test_breaks_jumps_and_new_iterators_at_random_give_the_batches_that_are_due(way: str, trials: int) -> None:
    chance = random.Random(f"breaks {way}")
    for size in SIZES:
        with DistributedLoader(
            Numbers(50),
            **grouped(
                batch_size=2,
                shuffle="global",
                num_workers=3,
                transform=Rows(size),
                max_bytes=3 << 20,
                prefetch=chance.choice([1, 2, 5]),
                prefetch_epochs=size == 3,
                **WAYS[way],
            ),
        ) as loader:
            held: list[tuple[Any, list[int]]] = []
            is_given = False
            for _ in range(trials // 3):
                # A new iterator at once, while the workers are at what the last one asked for.
                epoch, samples = loader.position
                if chance.random() < 0.5:
                    batches = loader.resume()
                else:
                    batches = iter(loader)
                    epoch, samples = (epoch, samples) if is_given or not samples else (epoch + 1, 0)
                for _ in range(chance.randrange(6)):
                    batch = next(batches, None)
                    if batch is None:
                        break
                    records = loader.records(epoch, samples // 2).tolist()
                    assert is_batch_of(batch, records)
                    held = [*held[-4:], (batch, records)]
                    if is_given := loader.position[0] == epoch and chance.random() < 0.2:
                        loader.seek(chance.randrange(len(loader)))
                    epoch, samples = loader.position
            # Memory that was handed out is not written again, whatever came after it.
            assert all(is_batch_of(batch, numbers) for batch, numbers in held)


@pytest.mark.parametrize("way", WAYS)
def test_storm_of_cancels_leaves_the_workers_as_they_were(way: str) -> None:
    before = running_ids()
    with DistributedLoader(
        Numbers(400), **grouped(batch_size=4, num_workers=2, transform=Rows(30_000), max_bytes=4 << 20, **WAYS[way])
    ) as loader:
        next(iter(loader))
        workers = worker_pids(before)
        for epoch in range(1, 60):
            assert is_batch_of(next(iter(loader)), loader.records(epoch, 0).tolist())
        for _ in range(200):
            iter(loader)
        assert loader.position == (59, 4)
        assert worker_pids(before) == workers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("prefetch_epochs", [False, True])
def test_collected_loader_ends_its_workers_in_mid_epoch(way: str, prefetch_epochs: bool) -> None:
    before, threads = running_ids(), threading.active_count()
    gc.collect()
    gc.disable()
    try:
        loader = DistributedLoader(
            Numbers(40),
            **grouped(batch_size=2, num_workers=2, transform=Rows(), prefetch_epochs=prefetch_epochs, **WAYS[way]),
        )
        batch = next(iter(loader))
        assert worker_pids(before) or threading.active_count() == threads + 2
        # No cycle keeps it: it goes with its last name, whether or not the garbage collector ever runs.
        del loader
        assert wait_until(lambda: worker_pids(before) == [] and threading.active_count() == threads)
        assert is_batch_of(batch, [0, 1])
    finally:
        gc.enable()


def wait_until(is_so: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("way", WAYS)
def test_iterator_alone_keeps_its_loader_and_goes_with_its_loop(way: str) -> None:
    before, threads = running_ids(), threading.active_count()
    numbers = [
        batch["record"].tolist()
        for batch in DistributedLoader(
            Numbers(6), **grouped(batch_size=2, num_workers=2, transform=Rows(), **WAYS[way])
        )
    ]

    assert numbers == [[0, 1], [2, 3], [4, 5]]
    assert wait_until(lambda: worker_pids(before) == [] and threading.active_count() == threads)


@pytest.mark.parametrize("way", WAYS)
def test_loader_closed_in_mid_epoch_leaves_no_worker_and_its_batches_valid(way: str) -> None:
    before = running_ids()
    loader = DistributedLoader(Numbers(40), **grouped(batch_size=2, num_workers=3, transform=Rows(30_000), **WAYS[way]))
    batches = iter(loader)
    held = [next(batches) for _ in range(3)]
    loader.close()

    assert worker_pids(before) == []
    with pytest.raises(ClosedError, match="iterator over epoch 0 was closed"):
        next(batches)
    assert all(is_batch_of(batch, [2 * number, 2 * number + 1]) for number, batch in enumerate(held))
    assert loader.state_dict()["samples"] == 6


PROGRAM = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
from pathlib import Path
from splitdata import DistributedLoader, WorkerOptions
from tests.loader.workloads import Hangs, Numbers, Rows
method, what, scratch = sys.argv[1:]
if what == "flowing":
    transform = Rows(30_000)
else:
    transform = Hangs(record=20, how=what, switch=Path("/"))
way = WorkerOptions(start_method=method)
loader = DistributedLoader(Numbers(60), batch_size=2, num_workers=2, transform=transform, workers=way)
print("ready", next(iter(loader))["record"].tolist(), flush=True)
while True:
    for _ in loader:
        pass
"""


@pytest.mark.parametrize(
    ("method", "what", "trials"),
    [
        ("spawn", "flowing", 1),
        ("fork", "holding the GIL", 1),
        *(
            pytest.param(method, what, 60, id=f"{method}-{what}-many", marks=pytest.mark.soak)
            for method in ("spawn", "fork")
            for what in ("flowing", "holding the GIL")
        ),
    ],
)
def test_killed_program_leaves_no_process_no_shared_memory_no_file(
    method: str, what: str, trials: int, tmp_path: Path
) -> None:
    chance = random.Random(f"{method} {what}")
    for _ in range(trials):
        before = Holdings.now()
        mark = new_mark()
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, method, what, ""],
            env=environment(mark) | {"TMPDIR": str(tmp_path)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            start_new_session=True,
        ) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == b"ready [0, 1]\n"
            assert len(members(mark)) >= 3
            time.sleep(chance.uniform(0, 0.1))
            program.kill()
        assert seconds_until_gone(mark, 20.0) < 20.0, members(mark)
        assert list(tmp_path.iterdir()) == []
        assert left_behind(before, 2.0) == []


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def holdings(workers: list[int]) -> tuple[int, ...]:
    """Return what must not grow: threads, and descriptors of this process and of its workers."""
    gc.collect()
    return threading.active_count(), *(len(os.listdir(f"/proc/{pid}/fd")) for pid in [os.getpid(), *workers])  # noqa: PTH208


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="taken from /proc")
@pytest.mark.parametrize("way", ["fork", "thread", "none"])
def test_hundreds_of_epochs_take_no_more_than_ten(way: str) -> None:
    options: dict[str, Any] = {} if way == "none" else {"num_workers": 2, **WAYS[way]}
    before = running_ids()
    with DistributedLoader(
        Numbers(24), **grouped(batch_size=4, shuffle="global", transform=Rows(12_500), max_bytes=4 << 20, **options)
    ) as loader:
        stream = Stream(loader)
        sizes, counts = [], []
        for epochs in (10, 190):
            for _ in range(epochs // 2):
                # One as it is, one broken off and gone on with.
                assert sum(1 for _ in loader) == 6
                stream.epoch += 1
                stream.take(iter(loader), 3)
                stream.take(loader.resume())
            workers = worker_pids(before)
            counts.append((workers, holdings(workers)))
            sizes.append([resident_bytes(pid) for pid in [os.getpid(), *workers]])

        assert stream.epoch == 200
        assert counts[0] == counts[1]
        # A batch has 200 KB: one that stayed behind in each epoch would be 38 MB.
        assert all(late < early + (6 << 20) for early, late in zip(*sizes, strict=True)), sizes
