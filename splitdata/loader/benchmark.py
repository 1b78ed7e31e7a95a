"""Measures how fast a dataset can feed training on this machine: first by reading alone, then through the loader.

Before each cold measurement the page cache of the dataset is dropped. All are made on the records that the first
walk in order reaches in its time, so that a warm one finds them in memory, however large the dataset is. Records that
are damaged are left out, and counted.

                      cold                       warm
    in order          records one by one         the same again      what the medium gives at best
    at random         batches of random records  the same again      what a random order costs
    loader, n workers one epoch                  without end         with workers, transform and collate
"""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from splitdata._place import dataset_place
from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.reading.cold_start import drop_dataset
from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import OrderOptions, RecordOptions
from splitdata.loader.stats.meter import num_cores
from splitdata.loader.stats.stats import LoaderStats
from splitdata.order.counts import checked_count
from splitdata.order.epoch_order import epoch_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.samples.sample_maker import Transform
    from splitdata.order.epoch_order import Shuffle

__all__ = ["DatasetBenchmark", "Measurement", "measure_dataset"]

Task: TypeAlias = Literal["in order", "at random", "loader"]
# Measurements done, how many there are, and the one that comes now.
EpochProgress: TypeAlias = Callable[[int, int, str], None]

# More might not stay in memory, and a warm measurement would not be warm.
_MOST_BYTES: Final = 1 << 30
# Records between two looks at the clock, fewer where they are large.
_STRIDE: Final = 64
_STRIDE_BYTES: Final = 64 << 20
_ORDER_BLOCK: Final = 1 << 14
_ENDLESS: Final = 1 << 40
_UNREADABLE: Final = (FormatError, RecordTooLargeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measurement.

    Attributes:
        task: "in order", "at random" or "loader".
        num_workers: Of the loader; None for the two others, which read in this process.
        is_cold: Whether the page cache was dropped before.
        num_records: Read in `seconds`.
        first_batch_seconds: Of the loader, from `iter()` to the first batch, the start of its workers included;
            this batch and this time are in none of the others.
        stats: Of the loader.
    """

    task: Task
    num_workers: int | None
    is_cold: bool
    num_records: int
    seconds: float
    first_batch_seconds: float | None = None
    stats: LoaderStats | None = None

    @property
    def records_per_second(self) -> float:
        """The rate; 0 where a single batch was all there is."""
        return self.num_records / self.seconds if self.num_records else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetBenchmark:
    """The report of `measure_dataset`.

    Attributes:
        path: The dataset.
        num_records: In it.
        num_measured: Records from its beginning that the measurements were made on.
        num_damaged: Records among these that cannot be read, and were left out; `verify` tells what is wrong.
        mean_record_bytes: Of those, as they were written.
        batch_size, shuffle: Of the loader.
        has_cold: Whether the page cache could be dropped; if not, there are warm measurements only.
        measurements: In the order in which they were made.
    """

    path: str
    num_records: int
    num_measured: int
    mean_record_bytes: float
    batch_size: int
    shuffle: Shuffle
    has_cold: bool
    measurements: tuple[Measurement, ...]
    num_damaged: int = 0

    @property
    def fastest(self) -> Measurement:
        """The fastest warm measurement of the loader."""
        loaders = [one for one in self.measurements if one.task == "loader" and not one.is_cold]
        return max(loaders, key=lambda one: one.records_per_second)

    @property
    def verdict(self) -> str:
        """The bottleneck of the fastest loader, if training itself takes no time; see LoaderStats."""
        fastest = self.fastest
        if not fastest.num_workers and any(one.num_workers for one in self.measurements):
            return (
                "No number of workers was faster than none: either making a batch costs less than moving it over "
                "from another process, or the cores are busy with something else."
            )
        return "" if fastest.stats is None else fastest.stats.verdict


def measure_dataset(
    path: str | os.PathLike[str],
    *,
    num_workers: int | None = None,
    batch_size: int = 64,
    shuffle: Shuffle = "global",
    transform: Transform | None = None,
    seconds: float = 0.5,
    progress: EpochProgress | None = None,
) -> DatasetBenchmark:
    """Measure how fast a dataset is read, and how fast a loader hands out batches of it.

    With 0, 1, 2, 4, ... and `num_workers` workers. Other programs on the machine show in the figures; so does
    this one on the speed of theirs, since it drops the dataset from the page cache. Writes nothing.

    Args:
        path: The dataset.
        num_workers: The most; None: as many as this process may use cores.
        batch_size, shuffle, transform: Of the loader; `transform` must pickle.
        seconds: For each measurement, of which there are 4 more than twice the numbers of workers. Each takes as
            long again, at most, for a start or for a walk that warms up.
        progress: Called before each measurement, with those done, their number, and which comes.

    Raises:
        ValueError: The dataset is empty, has no record that can be read, or an argument is out of range.
        DatasetNotFoundError, ManifestError, UnsupportedVersionError: As for opening.
        Exception: What the transform raises.
    """
    if not seconds > 0:
        raise ValueError(f"seconds must be more than 0, got {seconds!r}")
    most = num_cores() if num_workers is None else checked_count("num_workers", num_workers, 0)
    bench = _Bench(
        dataset_place(path),
        checked_count("batch_size", batch_size, 1),
        shuffle,
        transform,
        seconds,
        _numbers_up_to(most),
    )
    return bench.run(progress or (lambda done, total, name: None))


def _numbers_up_to(most: int) -> list[int]:
    """Return 0, 1, 2, 4, ... and `most`."""
    return sorted({0, most, *(1 << power for power in range(most.bit_length()))})


@dataclass
class _Bench:
    path: str
    batch_size: int
    shuffle: Shuffle
    transform: Transform | None
    seconds: float
    worker_numbers: list[int]
    # Known after the first walk.
    num_measured: int = 0
    damaged: set[int] = field(default_factory=set)

    def run(self, progress: EpochProgress) -> DatasetBenchmark:
        with SplitDataLoader(self.path) as reader:
            num_records = len(reader)
        if not num_records:
            raise ValueError(f"{self.path} has no records to measure")
        loaders: list[tuple[Task, int | None]] = [("loader", number) for number in self.worker_numbers]
        names: list[tuple[Task, int | None]] = [("in order", None), ("at random", None), *loaders]
        has_cold = self._drop()
        todo = [(True, *name) for name in names if has_cold] + [(False, *name) for name in names]
        progress(0, len(todo), _title(*todo[0]))
        self.num_measured, num_bytes, seconds = self._walk(None)
        if not self.num_measured:
            raise ValueError(f"{self.path} has no record that can be read; verify tells what is wrong with it")
        done: list[Measurement] = []
        if has_cold:
            done.append(_measured("in order", True, self.num_measured, seconds))
        for is_cold, task, number in todo[len(done) :]:
            progress(len(done), len(todo), _title(is_cold, task, number))
            if is_cold:
                self._drop()
            elif task == "in order":
                self._walk(self.num_measured)
            done.append(self._measure(is_cold, task, number))
        return DatasetBenchmark(
            path=self.path,
            num_records=num_records,
            num_measured=self.num_measured,
            mean_record_bytes=num_bytes / self.num_measured,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            has_cold=has_cold,
            measurements=tuple(done),
            num_damaged=len(self.damaged),
        )

    def _drop(self) -> bool:
        # Pages that this process still has mapped cannot be dropped.
        gc.collect()
        return drop_dataset(self.path)

    def _walk(self, num_records: int | None) -> tuple[int, int, float]:
        """Read in order, so many records or as many as time allows; return records, bytes and seconds."""
        count = num_bytes = 0
        stride = 1
        begin = time.perf_counter()
        with SplitDataLoader(self.path) as reader:
            records: Iterator[bytes] = itertools.islice(reader, num_records)
            while True:
                try:
                    lengths = list(map(len, itertools.islice(records, stride)))
                except _UNREADABLE:
                    # The chunk is read again, without what cannot be.
                    left = None if num_records is None else num_records - count
                    records = itertools.islice(self._readable(reader, count), left)
                    continue
                if not lengths:
                    break
                count += len(lengths)
                num_bytes += sum(lengths)
                stride = max(1, min(_STRIDE, _STRIDE_BYTES * count // max(1, num_bytes)))
                if num_records is None and (time.perf_counter() - begin >= self.seconds or num_bytes >= _MOST_BYTES):
                    break
        return count, num_bytes, time.perf_counter() - begin

    def _readable(self, reader: SplitDataLoader, first: int) -> Iterator[bytes]:
        """Yield the records from a position on that can be read, and note the others, for as long as time allows."""
        deadline = time.perf_counter() + self.seconds
        for position in range(first, len(reader)):
            try:
                record = reader[position]
            except _UNREADABLE:
                self.damaged.add(position)
                # A manifest may claim billions of records that are not there.
                if time.perf_counter() >= deadline:
                    return
            else:
                yield record

    def _positions(self) -> range | NDArray[np.int64]:
        """Return the records that are measured."""
        if not self.damaged:
            return range(self.num_measured)
        # Behind the last that is measured there may be damaged ones too.
        every = np.arange(self.num_measured + len(self.damaged), dtype=np.int64)
        return np.delete(every, [one for one in self.damaged if one < len(every)])[: self.num_measured]

    def _measure(self, is_cold: bool, task: Task, num_workers: int | None) -> Measurement:
        if task == "loader":
            return self._measure_loader(is_cold, num_workers or 0)
        if task == "at random":
            return _measured(task, is_cold, *self._read_at_random(is_endless=not is_cold))
        count, _, seconds = self._walk(self.num_measured)
        return _measured(task, is_cold, count, seconds)

    def _read_at_random(self, *, is_endless: bool) -> tuple[int, float]:
        count = 0
        with SplitDataLoader(self.path) as reader:
            begin = time.perf_counter()
            for batch in self._random_batches(is_endless):
                count += len(reader.__getitems__(batch))
                if time.perf_counter() - begin >= self.seconds:
                    break
            return count, time.perf_counter() - begin

    def _random_batches(self, is_endless: bool) -> Iterator[NDArray[np.int64]]:
        positions = self._positions() if self.damaged else None
        block = max(1, _ORDER_BLOCK // self.batch_size) * self.batch_size
        for epoch in itertools.count() if is_endless else (0,):
            order = epoch_order("global", self.num_measured, seed=0, epoch=epoch)
            for start in range(0, self.num_measured, block):
                records = order(np.arange(start, min(start + block, self.num_measured), dtype=np.int64))
                records = records if positions is None else np.asarray(positions)[records]
                yield from (records[at : at + self.batch_size] for at in range(0, len(records), self.batch_size))

    def _measure_loader(self, is_cold: bool, num_workers: int) -> Measurement:
        loader = DistributedLoader(
            self.path,
            # An endless epoch would fill a larger batch with the same records again, and they may be large.
            batch_size=min(self.batch_size, self.num_measured),
            shuffle=self.shuffle,
            transform=self.transform,
            num_workers=num_workers,
            records=RecordOptions(subset=self._positions()),
            rank=0,
            world_size=1,
            tail="keep",
            # A second epoch would not be cold.
            order=OrderOptions(num_steps=None if is_cold else _ENDLESS),
        )
        with loader:
            asked = time.perf_counter()
            batches = iter(loader)
            next(batches)
            begin = time.perf_counter()
            num_before = loader.stats().num_samples
            while time.perf_counter() - begin < self.seconds and next(batches, None) is not None:
                pass
            seconds = time.perf_counter() - begin
            stats = loader.stats()
        return Measurement(
            task="loader",
            num_workers=num_workers,
            is_cold=is_cold,
            num_records=stats.num_samples - num_before,
            seconds=seconds,
            first_batch_seconds=begin - asked,
            stats=stats,
        )


def _measured(task: Task, is_cold: bool, num_records: int, seconds: float) -> Measurement:
    return Measurement(task=task, num_workers=None, is_cold=is_cold, num_records=num_records, seconds=seconds)


def _title(is_cold: bool, task: Task, num_workers: int | None) -> str:
    name = task if num_workers is None else f"{task}, {num_workers} workers"
    return f"{name}, {'cold' if is_cold else 'warm'}"
