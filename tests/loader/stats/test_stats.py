"""Counters with a clock of the test's own, and how they look; the verdict has test_verdict.py."""

from __future__ import annotations

import dataclasses
import json
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

from splitdata import Cache
from splitdata.loader.cache.cache_job import cache_job
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.loader.pipeline.worker_job import Job, StepMaker
from splitdata.loader.plan.selection import Selection
from splitdata.loader.plan.steps import CacheStats, Part, StepRequest, WorkerStats
from splitdata.loader.samples.record_source import RecordFetcher
from splitdata.loader.stats.figures import RotationStats
from splitdata.loader.stats.meter import StatsMeter
from splitdata.loader.stats.stage_clock import StageClock
from splitdata.loader.stats.stats import LoaderStats
from tests.loader.planted import Clock


def test_meter_sums_what_it_is_told() -> None:
    clock = Clock()
    meter = StatsMeter(2, clock=clock)
    meter.launch()
    meter.begin(0)
    clock.now += 3
    meter.worker_reply(0, WorkerStats(1, 0.5, 1.0, 0.0, 0.25, 0.125, 0.25, 0.75, 0.0, 0.25, 0.0625))
    meter.worker_reply(1, WorkerStats(1, 0.5, 2.0, 0.0, 0.25, 0.125))
    meter.worker_reply(0, WorkerStats(1, 0.5, 1.0, 0.0, 0.25, 0.125, 0.25, 0.75, 0.0, 0.25, 0.0625))
    meter.handed_out(64, 1000, 3.0)
    meter.handed_out(64, 1000, 0.5)
    meter.handed_out(1, 10, 0.25)
    meter.transferred(0.0625)
    meter.transferred(0.0625)
    meter.skipped()
    clock.now += 2
    stats = meter.stats(num_ready=5, memory_bytes=4096)

    assert (stats.num_batches, stats.num_samples, stats.num_bytes) == (3, 129, 2010)
    assert (stats.seconds, stats.launch_seconds, stats.waiting_seconds) == (5.0, 3.0, 0.75)
    assert stats.starting_seconds == 0
    assert (stats.transfer_seconds, stats.num_skipped, stats.num_epochs) == (0.125, 1, 1)
    assert stats.workers == (
        WorkerStats(2, 1.0, 2.0, 0.0, 0.5, 0.25, 0.5, 1.5, 0.0, 0.5, 0.125),
        WorkerStats(1, 0.5, 2.0, 0.0, 0.25, 0.125),
    )
    assert stats.workers[0].busy_seconds == 3.75
    assert stats.workers[0].processor_seconds == 2.75
    assert (stats.num_ready, stats.memory_bytes) == (5, 4096)
    assert stats.num_cores >= 1
    assert stats.samples_per_second == 129 / 5
    assert stats.waiting_share == 0.75 / 2


def test_time_stands_still_between_iterators_and_each_has_a_first_batch() -> None:
    clock = Clock()
    meter = StatsMeter(0, clock=clock)
    for number in range(4):
        if number in (0, 2):
            meter.launch()
        meter.begin(0)
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
    meter = StatsMeter(1, clock=clock)
    meter.begin(0)
    clock.now += 2
    meter.begin(0)
    clock.now += 3

    assert meter.stats().seconds == 5.0
    assert meter.stats().num_epochs == 2


def test_meter_that_never_began_divides_by_nothing() -> None:
    stats = StatsMeter(2).stats()

    assert (stats.batches_per_second, stats.waiting_share) == (0.0, 0.0)
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
    workers=(WorkerStats(250, 10, 71, 0, 10, 5, 4, 70, 0, 9),) * 2,
    num_ready=3,
    memory_bytes=64 << 20,
    num_skipped=0,
    num_cores=8,
)


def test_each_epoch_is_told_apart_and_all_are_added_up() -> None:
    clock = Clock()
    meter = StatsMeter(1, clock=clock)
    # A break in epoch 1, and the rest of it later.
    for epoch, seconds in ((0, 8.0), (1, 1.0), (2, 2.0), (1, 4.0)):
        meter.begin(epoch)
        clock.now += seconds
        meter.worker_reply(0, WorkerStats(1, transform=seconds))
        meter.cached(CacheStats(epoch, 1, 0, 10 * epoch, 5, None))
        meter.handed_out(1, 1, seconds / 2, processor=seconds / 4)
        meter.handed_out(1, 1, seconds / 4, processor=seconds / 8)
        meter.end()

    assert [meter.stats(epoch).seconds for epoch in range(3)] == [8.0, 5.0, 2.0]
    assert [meter.stats(epoch).num_batches for epoch in range(3)] == [2, 4, 2]
    assert [meter.stats(epoch).workers[0].transform for epoch in range(3)] == [8.0, 5.0, 2.0]
    assert [meter.stats(epoch).waiting_seconds for epoch in range(3)] == [2.0, 1.25, 0.5]
    assert [meter.stats(epoch).waiting_processor for epoch in range(3)] == [1.0, 0.625, 0.25]
    assert meter.stats(1).cache == CacheStats(2, 2, 0, 20, 10)
    whole = meter.stats()
    assert (whole.seconds, whole.num_batches, whole.num_epochs, whole.waiting_seconds) == (15.0, 8, 4, 3.75)
    assert whole.cache == CacheStats(4, 4, 0, 40, 20)
    assert (whole.epoch, whole.last_epoch, meter.stats(0).epoch) == (None, 1, 0)
    with pytest.raises(IndexError, match="no figures of epoch 7; there are of: 0, 2, 1 "):
        meter.stats(7)


def test_newest_hundred_epochs_are_told_apart_and_none_is_lost() -> None:
    clock = Clock()
    meter = StatsMeter(0, clock=clock)
    for epoch in range(130):
        meter.begin(epoch)
        clock.now += 1
        meter.handed_out(2, 3, 0.5)

    assert meter.stats(30).num_samples == 2
    with pytest.raises(IndexError, match="epoch 29"):
        meter.stats(29)
    assert (meter.stats().num_samples, meter.stats().seconds, meter.stats().num_epochs) == (260, 130.0, 130)


def test_reset_in_the_midst_of_an_epoch_counts_on_from_there() -> None:
    clock = Clock()
    meter = StatsMeter(0, clock=clock)
    meter.begin(3)
    clock.now += 5
    meter.handed_out(1, 1, 1.0)
    meter.holds(100, 0)
    meter.holds(40, 0)
    meter.reset()
    clock.now += 2
    meter.handed_out(1, 1, 1.0)
    meter.made(1)

    assert (meter.stats().seconds, meter.stats().num_batches, meter.stats().waiting_seconds) == (2.0, 1, 1.0)
    assert meter.stats(3) == dataclasses.replace(meter.stats(), epoch=3)
    assert meter.stats().rotation == RotationStats(1, 40, 0, 40, 0.0)


def test_reset_between_epochs_forgets_all() -> None:
    meter = StatsMeter(1)
    empty = meter.stats()
    meter.begin(0)
    meter.handed_out(1, 1, 1.0)
    meter.end()
    meter.reset()

    assert meter.stats() == empty
    with pytest.raises(IndexError, match="there are of: none so far"):
        meter.stats(0)


def zeros(record: bytes) -> npt.NDArray[np.float32]:
    return np.zeros(10_000, np.float32)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_workers_of_a_loader_tell_all_stages(kind: Literal["process", "thread"]) -> None:
    records = [b"x"] * 40
    with DistributedLoader(
        records, batch_size=4, num_workers=2, workers=WorkerOptions(kind=kind), transform=zeros
    ) as loader:
        assert sum(1 for _ in loader) == 10
        stats = loader.stats()

    assert [worker.num_batches for worker in stats.workers] == [5, 5]
    assert all(worker.read > 0 and worker.transform > 0 and worker.collate > 0 for worker in stats.workers)
    assert [worker.send > 0 for worker in stats.workers] == [kind == "process"] * 2
    assert stats.launch_seconds > 0
    assert stats.starting_seconds == 0


class Times:
    """A wall clock and a processor's, both virtual: `computes` moves both on, `waits` the first."""

    def __init__(self) -> None:
        self.wall = self.processor = self.starved = 0.0

    def computes(self, seconds: float) -> None:
        self.wall += seconds
        self.processor += seconds

    def waits(self, seconds: float) -> None:
        self.wall += seconds

    def starves(self, seconds: float) -> None:
        self.wall += seconds
        self.starved += seconds

    def clock(self) -> StageClock:
        return StageClock(lambda: self.wall, lambda: self.processor, lambda: self.starved)


class Records:
    """A dataset on a virtual disk: a second for each read, whatever it reads, and a quarter of it computed."""

    fingerprint = "virtual"

    def __init__(self, times: Times, bad: int | None = None) -> None:
        self._times = times
        self._bad = bad

    def __len__(self) -> int:
        return 8

    def __getitem__(self, record: int) -> int:
        self._times.computes(0.25)
        self._times.waits(0.75)
        if record == self._bad:
            raise ValueError("bad")
        return record

    def __getitems__(self, records: list[int]) -> list[int]:
        self._times.computes(0.25)
        self._times.waits(0.75)
        if self._bad in records:
            raise ValueError("bad")
        return records


def timings_of(times: Times, folder: Path | None = None, bad: int | None = None, num_steps: int = 1) -> WorkerStats:
    """Return the times of the last of some equal steps of records 0 to 3."""

    def transform(record: int) -> int:
        times.computes(2.0)
        times.starves(0.5)
        times.waits(1.0)
        return record

    def collate(samples: list[int]) -> list[int]:
        times.computes(4.0)
        return samples

    source = RecordFetcher(Records(times, bad))
    options = None if folder is None else Cache(folder, version="a")
    job = Job(
        source=source,
        selection=Selection(None, 8),
        transform=transform,
        collate_fn=collate,
        as_tensors=False,
        seed=0,
        on_error="raise" if bad is None else "skip",
        init_fn=None,
        read_ahead=False,
        cache=None
        if options is None
        else replace(cache_job(options, source.facts(), transform, 0, seeds_globals=True), num_needed=8),
    )
    maker = StepMaker(job, 0, clock=times.clock())
    records = np.arange(4)
    for step in range(num_steps):
        reply = maker.make(StepRequest(step, step, (Part(0, records, records),)), is_last=True, send_seconds=0.125)
    maker.close()
    return reply.timings


def test_worker_tells_wall_and_processor_time_of_each_stage() -> None:
    assert timings_of(Times()) == WorkerStats(
        num_batches=1,
        read=1.0,
        transform=4 * 3.5,
        collate=4.0,
        send=0.125,
        read_processor=0.25,
        transform_processor=4 * 2.0,
        collate_processor=4.0,
        starved=4 * 0.5,
    )


def test_records_that_are_read_one_by_one_count_as_reading() -> None:
    timings = timings_of(Times(), bad=6)
    assert (timings.read, timings.transform) == (1.0, 4 * 3.5)

    # Together, one by one, and another one in the place of the bad one.
    timings = timings_of(Times(), bad=2)
    assert (timings.read, timings.read_processor) == (6.0, 1.5)
    assert (timings.transform, timings.transform_processor) == (4 * 3.5, 8.0)


def test_cached_step_is_neither_read_nor_transformed(tmp_path: Path) -> None:
    first = timings_of(Times(), tmp_path / "a")
    again = timings_of(Times(), tmp_path / "b", num_steps=2)

    assert (first.read, first.transform, first.collate) == (1.0, 14.0, 4.0)
    assert (again.read, again.transform, again.collate, again.starved) == (0.0, 0.0, 4.0, 0.0)


def test_real_clock_tells_a_sleep_from_computing() -> None:
    def computes(record: bytes) -> int:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.005:
            pass
        return 1

    def sleeps(record: bytes) -> int:
        time.sleep(0.005)
        return 1

    found = {}
    for transform in (computes, sleeps):
        with DistributedLoader([b"x"] * 8, batch_size=4, transform=transform) as loader:
            list(loader)
            (found[transform.__name__],) = loader.stats().workers
    # A clock may be late, and never early.
    assert found["computes"].transform_processor >= 8 * 0.005
    assert found["sleeps"].transform >= 8 * 0.005
    assert found["sleeps"].transform_processor < found["computes"].transform_processor


def test_loader_tells_each_epoch_and_forgets_on_request(tmp_path: Path) -> None:
    with DistributedLoader([b"x"] * 40, batch_size=4, cache=Cache(tmp_path / "c", version="1")) as loader:
        for _ in range(3):
            list(loader)
        filling, read = loader.stats(epoch=0).cache, loader.stats(epoch=2).cache
        assert loader.stats().num_batches == 30
        loader.reset_stats()
        assert loader.stats().num_batches == 0
        list(loader)
        assert loader.stats(epoch=3).num_batches == loader.stats().num_batches == 10
    assert filling is not None
    assert read is not None
    assert (filling.num_hits, filling.num_misses) == (0, 40)
    assert (read.num_hits, read.num_misses) == (40, 0)
    assert filling.bytes_written == read.bytes_read > 0


def test_stats_are_json_with_rates_and_verdict() -> None:
    values = json.loads(json.dumps(PLAIN.as_dict()))

    assert values["verdict"] == PLAIN.verdict
    assert values["batches_per_second"] == 500 / 101
    assert values["workers"][1] == {
        "num_batches": 250,
        "read": 10,
        "transform": 71,
        "cache": 0.0,
        "collate": 10,
        "send": 5,
        "read_processor": 4,
        "transform_processor": 70,
        "cache_processor": 0,
        "collate_processor": 9,
        "starved": 0.0,
    }
    assert pickle.loads(pickle.dumps(PLAIN)) == PLAIN


def test_stats_print_as_verdict_and_table() -> None:
    assert str(PLAIN).splitlines() == [
        "The loader is ahead: training waits 0.4 % of the time.",
        "  500 batches, 32000 samples, 3.0 GiB in 101.0 s: 5.0 batches/s, 317 samples/s, 30.4 MiB/s",
        "  waited 0.40 s, 1.00 s for the very first batch, 0.00 s for those of later epochs (1 begun); "
        "0.20 s of transfer",
        "  3 batches ready now, in 64.0 MiB; 0 records skipped",
        "              batches    read s  transform s  collate s   send s",
        "  worker 0        250     10.00        71.00      10.00     5.00",
        "  worker 1        250     10.00        71.00      10.00     5.00",
        "  all             500     20.00       142.00      20.00    10.00",
        "  computed                 8.00       140.00      18.00",
    ]


def test_cache_and_rotation_have_a_line_and_a_column() -> None:
    lines = str(
        dataclasses.replace(
            PLAIN,
            epoch=4,
            workers=(WorkerStats(500, 1, 2, 3, 4, 5, starved=0.25),),
            cache=CacheStats(30, 10, 1, 1 << 20, 1 << 10),
            rotation=RotationStats(40, 1 << 20, 0, 2 << 20, 1.5),
        )
    ).splitlines()

    assert "(epoch 4)" in lines[2]
    assert lines[4:9] == [
        "  cache: 30 samples read (75 %), 10 computed, 1 damaged; 1.0 MiB read, 1.0 KiB written",
        "  rotation: 40 samples made; it holds 1.0 MiB in memory and 0 B on disk, 2.0 MiB at most; 1.50 s of collating "
        "here",
        "  no core was free for 0.25 s of the time in which workers could have computed",
        "              batches    read s  transform s  cache s  collate s   send s",
        "  worker 0        500      1.00         2.00     3.00       4.00     5.00",
    ]


def test_notebook_shows_a_table_in_which_nothing_is_markup() -> None:
    bad = dataclasses.replace(
        PLAIN,
        waiting_seconds=60.0,
        workers=(WorkerStats(500, 1, 70, 3, 4, 5),) * 2,
        cache=CacheStats(1, 99, 0, 0, 0, "no room in <b>/x & y</b>"),
    )
    page = bad._repr_html_()

    root = ElementTree.fromstring(f"<div>{page}</div>")
    assert [cell.text for cell in root.findall(".//thead/tr/th")][1:3] == ["batches", "read s"]
    assert [row[0].text for row in root.findall(".//tbody/tr")] == ["worker 0", "worker 1", "all", "computed"]
    assert [cell.text for cell in root.findall(".//tbody/tr")[2]][1:] == [
        "1000", "2.00", "140.00", "6.00", "8.00", "10.00",
    ]  # fmt: skip
    assert root.findtext("./p/b") == bad.verdict
    assert "<b>/x" not in page
