"""Counts what a loader does while it does it; LoaderStats is what comes out.

launch     workers are started
begin      an iterator is made            ---- time passes ----->   end    it is over or closed
handed_out     for each batch             worker_reply   for each batch that a worker has made
transferred    for each move to the device          skipped        for each record that was replaced
cached         for each batch, with a cache
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from splitdata.loader.stats import CacheStats, LoaderStats, RotationStats, StepTimings, WorkerStats

if TYPE_CHECKING:
    from splitdata.loader.step import CacheCounts

__all__ = ["StatsMeter", "num_cores"]

_log = logging.getLogger("splitdata")


class StatsMeter:
    """Sums, below a microsecond a call.

    One thread at a time counts; any other may call `stats`, and sees at most one batch counted in part.

    Args:
        num_workers: 0 counts one worker, number 0, which is this process.
        clock: Seconds that only grow.
    """

    def __init__(self, num_workers: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._num_workers = num_workers
        self._workers = [[0, 0.0, 0.0, 0.0, 0.0] for _ in range(max(1, num_workers))]
        self._began: float | None = None
        self._is_starting = False
        self._is_launching = False
        self._seconds = self._launch = self._starting = self._waiting = self._transfer = 0.0
        self._num_epochs = self._num_batches = self._num_samples = self._num_bytes = 0
        self._ready_sum = self._num_skipped = 0
        self._cache: CacheStats | None = None
        self._has_warned = False
        self._num_made = self._peak_bytes = 0
        self._collating = 0.0
        self._held = 0, 0

    def begin(self) -> None:
        """Note that an iterator begins: its first batch is waited for longer. One at a time: ends an older one."""
        self.end()
        self._num_epochs += 1
        self._is_starting = True
        self._began = self._clock()

    def launch(self) -> None:
        """Note that workers are started: the next first batch is waited for longer than others."""
        self._is_launching = True

    def end(self) -> None:
        """Note that the iterator is over: time stands still. May be called more than once."""
        if self._began is not None:
            self._seconds += self._clock() - self._began
            self._began = None

    def handed_out(self, num_samples: int, num_bytes: int, waited: float, num_ready: int = 0) -> None:
        """Count a batch that the training loop gets.

        Args:
            num_samples: Its samples.
            num_bytes: Its size, as `collate.nbytes` says.
            waited: Seconds from the moment at which it was asked for, transfer included.
            num_ready: Batches that were ready at that moment.
        """
        self._num_batches += 1
        self._num_samples += num_samples
        self._num_bytes += num_bytes
        self._ready_sum += num_ready
        if self._is_starting:
            self._is_starting = False
            if self._is_launching:
                self._is_launching = False
                self._launch += waited
            else:
                self._starting += waited
        else:
            self._waiting += waited

    def worker_reply(self, worker_id: int, timings: StepTimings) -> None:
        """Count a batch that a worker has made."""
        sums = self._workers[worker_id]
        read, transform, collate, send = timings
        sums[0] += 1
        sums[1] += read
        sums[2] += transform
        sums[3] += collate
        sums[4] += send

    def transferred(self, seconds: float) -> None:
        """Count time spent on the move to the device."""
        self._transfer += seconds

    def skipped(self, num_records: int = 1) -> None:
        """Count records that were replaced because of an error."""
        self._num_skipped += num_records

    def cached(self, counts: CacheCounts) -> None:
        """Count what a worker got from the cache and put there for one batch; of a problem warn once."""
        sums = self._cache or CacheStats()
        self._cache = CacheStats(
            sums.num_hits + counts.hits,
            sums.num_misses + counts.misses,
            sums.num_damaged + counts.damaged,
            sums.bytes_read + counts.bytes_read,
            sums.bytes_written + counts.bytes_written,
        )
        if counts.problem is not None and not self._has_warned:
            self._has_warned = True
            _log.warning("%s", counts.problem)

    def made(self, num_samples: int) -> None:
        """Count samples that a worker has made for rotation."""
        self._num_made += num_samples

    def holds(self, memory_bytes: int, disk_bytes: int) -> None:
        """Note how much the samples take that rotation keeps now."""
        self._held = memory_bytes, disk_bytes
        self._peak_bytes = max(self._peak_bytes, memory_bytes + disk_bytes)

    def collated(self, seconds: float) -> None:
        """Count time that this process spent on a batch of kept samples."""
        self._collating += seconds

    def stats(self, *, num_ready: int = 0, memory_bytes: int = 0) -> LoaderStats:
        """Return the sums so far, with what only the loader knows now."""
        began = self._began
        rotation = RotationStats(self._num_made, *self._held, self._peak_bytes, self._collating)
        return LoaderStats(
            num_batches=self._num_batches,
            num_samples=self._num_samples,
            num_bytes=self._num_bytes,
            seconds=self._seconds + (self._clock() - began if began is not None else 0.0),
            num_epochs=self._num_epochs,
            launch_seconds=self._launch,
            starting_seconds=self._starting,
            waiting_seconds=self._waiting,
            transfer_seconds=self._transfer,
            num_workers=self._num_workers,
            workers=tuple(WorkerStats(int(sums[0]), *sums[1:]) for sums in self._workers),
            num_ready=num_ready,
            mean_ready=self._ready_sum / self._num_batches if self._num_batches else 0.0,
            memory_bytes=memory_bytes,
            num_skipped=self._num_skipped,
            num_cores=num_cores(),
            rotation=rotation if self._num_made else None,
            cache=self._cache,
        )


def num_cores() -> int:
    """Return how many cores this process may use."""
    # os.process_cpu_count, from Python 3.13 on, is the same.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
