"""Counters with a clock of the test's own, and the verdict by table."""

from __future__ import annotations

import dataclasses
import json
import pickle
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.meter import StatsMeter
from splitdata.loader.stats import LoaderStats, StepTimings, WorkerStats


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_meter_sums_what_it_is_told() -> None:
    clock = Clock()
    meter = StatsMeter(2, clock)
    meter.launch()
    meter.begin()
    clock.now += 3
    meter.worker_reply(0, StepTimings(0.5, 1.0, 0.25, 0.125))
    meter.worker_reply(1, StepTimings(0.5, 2.0, 0.25, 0.125))
    meter.worker_reply(0, StepTimings(0.5, 1.0, 0.25, 0.125))
    meter.handed_out(64, 1000, 3.0, num_ready=0)
    meter.handed_out(64, 1000, 0.5, num_ready=2)
    meter.handed_out(1, 10, 0.25, num_ready=4)
    meter.transferred(0.0625)
    meter.transferred(0.0625)
    meter.skipped()
    clock.now += 2
    stats = meter.stats(num_ready=5, memory_bytes=4096)

    assert (stats.num_batches, stats.num_samples, stats.num_bytes) == (3, 129, 2010)
    assert (stats.seconds, stats.launch_seconds, stats.waiting_seconds) == (5.0, 3.0, 0.75)
    assert stats.starting_seconds == 0
    assert (stats.transfer_seconds, stats.num_skipped, stats.num_epochs) == (0.125, 1, 1)
    assert stats.workers == (WorkerStats(2, 1.0, 2.0, 0.5, 0.25), WorkerStats(1, 0.5, 2.0, 0.25, 0.125))
    assert stats.workers[0].busy_seconds == 3.75
    assert (stats.num_ready, stats.mean_ready, stats.memory_bytes) == (5, 2.0, 4096)
    assert stats.num_cores >= 1
    assert stats.samples_per_second == 129 / 5
    assert stats.waiting_share == 0.75 / 2


def test_time_stands_still_between_iterators_and_each_has_a_first_batch() -> None:
    clock = Clock()
    meter = StatsMeter(0, clock)
    for number in range(4):
        if number in (0, 2):
            meter.launch()
        meter.begin()
        clock.now += 10
        meter.handed_out(1, 1, 4.0)
        meter.handed_out(1, 1, 1.0)
        meter.end()
        meter.end()
        clock.now += 1000
    stats = meter.stats()

    assert (stats.seconds, stats.waiting_seconds) == (40.0, 4.0)
    assert (stats.launch_seconds, stats.starting_seconds) == (8.0, 8.0)
    assert len(stats.workers) == 1


def test_iterator_that_is_begun_over_another_ends_it() -> None:
    clock = Clock()
    meter = StatsMeter(1, clock)
    meter.begin()
    clock.now += 2
    meter.begin()
    clock.now += 3

    assert meter.stats().seconds == 5.0
    assert meter.stats().num_epochs == 2


def test_meter_that_never_began_divides_by_nothing() -> None:
    stats = StatsMeter(2).stats()

    assert (stats.batches_per_second, stats.waiting_share, stats.mean_ready) == (0.0, 0.0, 0.0)
    assert stats.verdict == "Too early to tell: 0 batches, 10 are needed."
    assert "worker 1" in str(stats)


# 101 seconds, one of them for the first batch; two workers on eight cores.
PLAIN = LoaderStats(
    num_batches=500,
    num_samples=32_000,
    num_bytes=3 << 30,
    seconds=101.0,
    num_epochs=1,
    launch_seconds=1.0,
    starting_seconds=0.0,
    waiting_seconds=0.4,
    transfer_seconds=0.2,
    num_workers=2,
    workers=(WorkerStats(250, 10, 71, 10, 5), WorkerStats(250, 10, 71, 10, 5)),
    num_ready=3,
    mean_ready=2.5,
    memory_bytes=64 << 20,
    num_skipped=0,
    num_cores=8,
)
IDLE = WorkerStats(250, 10, 20, 1, 1)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "The loader is ahead: training waits 0.4 % of the time."),
        ({"waiting_seconds": 4.9}, "The loader is ahead: training waits 4.9 % of the time."),
        # Nothing is wrong with a long first start.
        ({"seconds": 200.0, "launch_seconds": 100.0}, "The loader is ahead: training waits 0.4 % of the time."),
        ({"num_batches": 9}, "Too early to tell: 9 batches, 10 are needed."),
        (
            {"waiting_seconds": 62.0},
            "Training waits for data 62 % of the time; workers spend 74 % in transform: add workers (2 of 2 busy) or "
            "make the transform cheaper.",
        ),
        (
            {"waiting_seconds": 62.0, "num_cores": 2},
            "Training waits for data 62 % of the time; workers spend 74 % in transform: make the transform cheaper "
            "(2 of 2 busy, and as many workers as cores).",
        ),
        (
            {"waiting_seconds": 30.0, "workers": (WorkerStats(250, 80, 10, 5, 5), IDLE)},
            "Training waits for data 30 % of the time; workers spend 68 % in read: add workers (1 of 2 busy) or give "
            'the data faster storage or more memory, or read in order of bins (shuffle="bins").',
        ),
        (
            {"waiting_seconds": 30.0, "workers": (WorkerStats(250, 5, 10, 70, 15),) * 2},
            "Training waits for data 30 % of the time; workers spend 70 % in collate: add workers (2 of 2 busy) or let "
            "the transform return smaller samples, or pass a cheaper collate_fn.",
        ),
        (
            {"waiting_seconds": 30.0, "workers": (WorkerStats(250, 5, 10, 5, 80),) * 2},
            "Training waits for data 30 % of the time; workers spend 80 % in send: add workers (2 of 2 busy) or make "
            "batches smaller: uint8 images, for instance, that become float on the device.",
        ),
        (
            {"waiting_seconds": 30.0, "workers": (IDLE, IDLE)},
            "Training waits for data 30 % of the time; 0 of 2 workers are busy, so single batches come late: let more "
            "be made ahead (prefetch, max_bytes), or take them as they come (in_order=False).",
        ),
        (
            {"waiting_seconds": 30.0, "transfer_seconds": 24.0},
            "Training waits for data 30 % of the time; 80 % of that is the transfer to the device: make batches "
            "smaller (uint8 images, for instance, that become float there).",
        ),
        (
            {"waiting_seconds": 55.0, "num_workers": 0, "workers": (WorkerStats(500, 10, 35, 5, 0),)},
            "Training waits for data 55 % of the time; this process spends 70 % of its loading in transform: set "
            "num_workers, or make the transform cheaper.",
        ),
        (
            {"num_epochs": 40, "starting_seconds": 30.0},
            "Training waits 30 % of the time for the first batch of an epoch: make epochs longer, or let workers begin "
            "the next one early (prefetch_epochs=True).",
        ),
    ],
)
def test_verdict_names_what_holds_training_back(change: dict[str, object], verdict: str) -> None:
    assert dataclasses.replace(PLAIN, **change).verdict == verdict  # type: ignore[arg-type]


def test_time_of_the_launch_does_not_make_workers_idle() -> None:
    busy = dataclasses.replace(PLAIN, seconds=200.0, launch_seconds=100.0, waiting_seconds=62.0)

    assert "(2 of 2 busy)" in busy.verdict


def zeros(record: bytes) -> npt.NDArray[np.float32]:
    return np.zeros(10_000, np.float32)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_workers_of_a_loader_tell_all_stages(kind: Literal["process", "thread"]) -> None:
    records = [b"x"] * 40
    with DistributedLoader(records, batch_size=4, num_workers=2, worker_kind=kind, transform=zeros) as loader:
        assert sum(1 for _ in loader) == 10
        stats = loader.stats()

    assert [worker.num_batches for worker in stats.workers] == [5, 5]
    assert all(worker.read > 0 and worker.transform > 0 and worker.collate > 0 for worker in stats.workers)
    assert [worker.send > 0 for worker in stats.workers] == [kind == "process"] * 2
    assert stats.launch_seconds > 0
    assert stats.starting_seconds == 0


def test_stats_are_json_with_rates_and_verdict() -> None:
    values = json.loads(json.dumps(PLAIN.as_dict()))

    assert values["verdict"] == PLAIN.verdict
    assert values["batches_per_second"] == 500 / 101
    assert values["workers"][1] == {"num_batches": 250, "read": 10, "transform": 71, "collate": 10, "send": 5}
    assert pickle.loads(pickle.dumps(PLAIN)) == PLAIN


def test_stats_print_as_verdict_and_table() -> None:
    assert str(PLAIN).splitlines() == [
        "The loader is ahead: training waits 0.4 % of the time.",
        "  500 batches, 32000 samples, 3.0 GiB in 101.0 s: 5.0 batches/s, 317 samples/s, 30.4 MiB/s",
        "  waited 0.40 s, 1.00 s for the very first batch, 0.00 s for those of later epochs (1 begun); "
        "0.20 s of transfer",
        "  3 batches ready now, 2.5 on average, in 64.0 MiB; 0 records skipped",
        "              batches    read s  transform s  collate s   send s",
        "  worker 0        250     10.00        71.00      10.00     5.00",
        "  worker 1        250     10.00        71.00      10.00     5.00",
    ]
