"""Workers of a loader that die: an error that names worker and step, never a short epoch; then the loader goes on."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitdata.errors import WorkerCrashedError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.process.wire.channel_options import StartMethod
from tests.loader.workloads import Fails, Hangs, Numbers, Rows, Sample, Stream, end, worker_pids
from tests.watchdog import running_ids

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# Batches of 2 go through the pipe alone, into slots, and past the memory of a worker.
SIZES = [3, 10_000, 200_000]
# Start method, kills in the normal run and in the long one, seconds in which they fall: the start is among them.
KILLS: list[Any] = [
    pytest.param("fork", 9, 0.12, id="fork"),
    pytest.param("spawn", 3, 0.7, id="spawn"),
    *(
        pytest.param(method, 150, delay, id=f"{method}-many", marks=pytest.mark.soak)
        for method, delay in (("fork", 0.12), ("spawn", 0.9))
    ),
]


def kill_soon(
    pids: Callable[[], list[int]], chance: random.Random, delay: float
) -> tuple[threading.Thread, list[float]]:
    """Kill one worker after a random time, from another thread, and note when."""
    killed: list[float] = []
    seconds, choice = chance.uniform(0, delay), chance.random()

    def kill() -> None:
        time.sleep(seconds)
        while not killed:
            time.sleep(0.002)
            alive = pids()
            if alive and end(alive[int(choice * len(alive))]):
                killed.append(time.monotonic())

    thread = threading.Thread(target=kill)
    thread.start()
    return thread, killed


@pytest.mark.parametrize(("method", "trials", "delay"), KILLS)
def test_worker_killed_at_a_random_moment_is_a_crash_and_the_loader_goes_on_exactly(
    method: StartMethod, trials: int, delay: float, report: Callable[[str], None]
) -> None:
    chance = random.Random(f"loader {method}")
    before = running_ids()
    latest = 0.0
    # The same loaders all the time: each is killed again and again, in one endless stream of batches.
    streams = [
        Stream(
            DistributedLoader(
                Numbers(41),
                batch_size=2,
                shuffle="global",
                num_workers=(2, 1, 3)[place],
                transform=Rows(size),
                workers=WorkerOptions(start_method=method, max_bytes=2 << 20, prefetch_epochs=place == 2),
            )
        )
        for place, size in enumerate(SIZES[: trials // 3])
    ]
    for trial in range(trials):
        stream = streams[trial % len(streams)]
        killer, killed = kill_soon(lambda: worker_pids(before), chance, delay)
        with pytest.raises(WorkerCrashedError) as caught:
            stream.follow()
        noticed = time.monotonic()
        killer.join()
        latest = max(latest, noticed - killed[0])
        assert caught.value.exit_code == -signal.SIGKILL
        assert caught.value.worker_id in range(stream.loader._options.num_workers)
        assert f"worker {caught.value.worker_id} (pid {caught.value.pid})" in str(caught.value)
        assert "at step " in str(caught.value)
        stream.check_position()
        # The other workers ended with it.
        assert worker_pids(before) == []
    for stream in streams:
        stream.follow(2 * len(stream.loader))
        stream.loader.close()
    report(f"{method}: {trials} kills, noticed after at most {latest:.3f} s")


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "sys.exit", "os._exit"])
def test_crash_names_the_worker_and_what_it_was_at(how: str, tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    switch.touch()
    loader = DistributedLoader(
        Numbers(40),
        batch_size=2,
        num_workers=2,
        workers=WorkerOptions(start_method="fork"),
        transform=Fails(record=13, how=how, switch=switch),
    )
    stream = Stream(loader)

    with pytest.raises(WorkerCrashedError, match=r"worker 0 .* at step 6 of epoch 0, records 12, 13\.") as caught:
        stream.follow()
    assert caught.value.worker_id == 0
    assert stream.step <= 6
    # The next attempt meets it again; without it, the epoch goes on.
    with pytest.raises(WorkerCrashedError, match="at step 6 of epoch 0, records 12, 13"):
        stream.follow()
    switch.unlink()
    stream.follow(40)
    loader.close()


def test_crash_is_noticed_while_another_worker_is_waited_for(tmp_path: Path) -> None:
    switch = tmp_path / "switch"
    switch.touch()

    def transform(record: int) -> Sample:
        # Worker 0 has the first batch and never gives it; worker 2 has the third.
        if record < 2:
            Hangs(record=record, switch=switch)(record)
        return Fails(record=4, how="SIGKILL", switch=switch)(record)

    loader = DistributedLoader(
        Numbers(40), batch_size=2, num_workers=3, workers=WorkerOptions(start_method="fork"), transform=transform
    )
    with pytest.raises(WorkerCrashedError, match=r"worker 2 .*SIGKILL.* at step 2 of epoch 0, records 4, 5"):
        next(iter(loader))
    assert loader.position == (0, 0)
    loader.close()


def test_all_workers_killed_at_once_and_between_epochs_is_a_crash() -> None:
    before = running_ids()
    loader = DistributedLoader(
        Numbers(12), batch_size=2, num_workers=3, workers=WorkerOptions(start_method="fork"), transform=Rows()
    )
    stream = Stream(loader)
    stream.take(iter(loader))
    for pid in worker_pids(before):
        end(pid)

    # Everything of the epoch had been handed out: the crash belongs to the next one.
    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        stream.take(iter(loader))
    assert loader.position == (1, 0)
    stream.follow(12)
    loader.close()


def test_crash_leaves_batches_that_are_on_their_way_to_the_device(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    switch = tmp_path / "switch"
    switch.touch()
    loader = DistributedLoader(
        Numbers(40),
        batch_size=2,
        num_workers=2,
        workers=WorkerOptions(start_method="fork", device_batches=3),
        transform=Fails(record=20, switch=switch),
        device="cpu",
    )
    stream = Stream(loader)

    for _ in range(2):
        with pytest.raises(WorkerCrashedError, match="SIGKILL"):
            stream.follow()
        # Those that had been taken from the workers came first, whatever became of the workers meanwhile.
        assert loader.position == (0, 2 * stream.num_batches)
    switch.unlink()
    stream.follow(40)
    loader.close()


def test_batches_that_had_arrived_come_before_the_crash() -> None:
    before = running_ids()
    loader = DistributedLoader(
        Numbers(40),
        batch_size=2,
        num_workers=1,
        workers=WorkerOptions(prefetch=4, start_method="fork"),
        transform=Rows(),
    )
    stream = Stream(loader)
    batches = iter(loader)
    stream.take(batches, 1)
    deadline = time.monotonic() + 60
    while loader.stats().num_ready == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    end(worker_pids(before)[0])

    with pytest.raises(WorkerCrashedError):
        stream.take(batches)
    assert stream.num_batches > 1
    assert loader.position == (0, 2 * stream.num_batches)
    stream.follow(20)
    loader.close()
