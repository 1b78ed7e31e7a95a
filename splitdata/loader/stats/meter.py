"""Counts what a loader does while it does it; makes the LoaderStats of one epoch or of all.

Each iterator counts into the sums of its epoch; those of all epochs are added up when they are asked for.

    launch         workers are started
    begin          an iterator is made     ---- time passes ----->   end    it is over or closed
    handed_out     for each batch             worker_reply   for each batch that a worker has made
    transferred    for each move to the device          skipped        for each record that was replaced
    cached         for each batch, with a cache         filled         for each batch by length
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Final, Literal

from splitdata._shown import one_line
from splitdata.loader.plan.steps import CacheStats, StepFill, WorkerStats
from splitdata.loader.stats.figures import RotationStats
from splitdata.loader.stats.stats import LoaderStats

__all__ = ["StatsMeter", "num_cores"]

_log = logging.getLogger("splitdata")

# So many epochs are told apart, the newest; older ones are counted together.
_MAX_EPOCHS: Final = 100


class _Sums:
    """The counters of one epoch, or of several."""

    def __init__(self, num_workers: int) -> None:
        self.num_epochs = self.num_batches = self.num_samples = self.num_bytes = 0
        self.num_skipped = self.num_made = 0
        self.num_elements = self.num_padded_elements = 0
        self.seconds = self.launch = self.starting = self.waiting = self.transfer = self.collating = 0.0
        self.waiting_processor = self.transfer_processor = 0.0
        self.workers: list[list[float]] = [list(WorkerStats()) for _ in range(max(1, num_workers))]
        self.cache: CacheStats | None = None

    def add(self, other: _Sums) -> None:
        for name, value in vars(other).items():
            if isinstance(value, (int, float)):
                setattr(self, name, getattr(self, name) + value)
        for own, more in zip(self.workers, other.workers, strict=True):
            own[:] = map(sum, zip(own, more, strict=True))
        if other.cache is not None:
            self.cache = _added(self.cache, other.cache)


class StatsMeter:
    """Sums, below two microseconds a call.

    One thread at a time counts; any other may call `stats`, and sees at most one batch counted in part.

    Args:
        num_workers: 0 counts one worker, number 0, which is this process.
        worker_kind: What they are.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        num_workers: int,
        worker_kind: Literal["process", "thread", "ray"] = "process",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        self._num_workers = num_workers
        self._worker_kind = worker_kind
        self._began: float | None = None
        self._is_starting = False
        self._is_launching = False
        self._has_warned = False
        self._held = 0, 0
        self._last_epoch: int | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all that was counted; an iterator that is in use counts on from here."""
        # Also what is counted before the first epoch.
        self._sums = self._older = _Sums(self._num_workers)
        self._epochs: dict[int, _Sums] = {}
        self._peak_bytes = sum(self._held)
        if self._began is None or self._last_epoch is None:
            self._last_epoch = None
        else:
            self._go_to(self._last_epoch)
            self._began = self._clock()

    def begin(self, epoch: int) -> None:
        """Note that an iterator begins: its first batch is waited for longer. One at a time: ends an older one."""
        self.end()
        self._go_to(epoch)
        self._sums.num_epochs += 1
        self._is_starting = True
        self._began = self._clock()

    def _go_to(self, epoch: int) -> None:
        sums = self._epochs.pop(epoch, None)
        # The newest is the last.
        self._epochs[epoch] = self._sums = sums or _Sums(self._num_workers)
        self._last_epoch = epoch
        if len(self._epochs) > _MAX_EPOCHS:
            self._older.add(self._epochs.pop(next(iter(self._epochs))))

    def launch(self) -> None:
        """Note that workers are started: the next first batch is waited for longer than others."""
        self._is_launching = True

    def end(self) -> None:
        """Note that the iterator is over: time stands still. May be called more than once."""
        if self._began is not None:
            self._sums.seconds += self._clock() - self._began
            self._began = None

    def handed_out(self, num_samples: int, num_bytes: int, waited: float, processor: float = 0.0) -> None:
        """Count a batch that the training loop gets.

        Args:
            num_samples: Its samples.
            num_bytes: Its size, as `collate.nbytes` says.
            waited: Seconds from the moment at which it was asked for, transfer included.
            processor: How much of `waited` this thread has computed.
        """
        sums = self._sums
        sums.num_batches += 1
        sums.num_samples += num_samples
        sums.num_bytes += num_bytes
        if self._is_starting:
            self._is_starting = False
            if self._is_launching:
                self._is_launching = False
                sums.launch += waited
            else:
                sums.starting += waited
        else:
            sums.waiting += waited
            sums.waiting_processor += processor

    def worker_reply(self, worker_id: int, made: WorkerStats) -> None:
        """Count a batch that a worker has made."""
        sums = self._sums.workers[worker_id]
        for place, seconds in enumerate(made):
            sums[place] += seconds

    def transferred(self, seconds: float, processor: float = 0.0) -> None:
        """Count time spent on the move to the device, and how much of it this thread has computed."""
        self._sums.transfer += seconds
        self._sums.transfer_processor += processor

    def skipped(self, num_records: int = 1) -> None:
        """Count records that were replaced because of an error."""
        self._sums.num_skipped += num_records

    def cached(self, counts: CacheStats) -> None:
        """Count what a worker got from the cache and put there for one batch; of a problem warn once."""
        self._sums.cache = _added(self._sums.cache, counts)
        if counts.problem is not None and not self._has_warned:
            self._has_warned = True
            _log.warning("%s", one_line(counts.problem))

    def filled(self, fill: StepFill) -> None:
        """Count the elements of a batch by length, without padding and with it."""
        self._sums.num_elements += fill.elements
        self._sums.num_padded_elements += fill.room

    def made(self, num_samples: int) -> None:
        """Count samples that a worker has made for rotation."""
        self._sums.num_made += num_samples

    def holds(self, memory_bytes: int, disk_bytes: int) -> None:
        """Note how much the samples take that rotation keeps now."""
        self._held = memory_bytes, disk_bytes
        self._peak_bytes = max(self._peak_bytes, memory_bytes + disk_bytes)

    def collated(self, seconds: float) -> None:
        """Count time that this process spent on a batch of kept samples."""
        self._sums.collating += seconds

    def stats(self, epoch: int | None = None, *, num_ready: int = 0, memory_bytes: int = 0) -> LoaderStats:
        """Return the sums of one epoch, or of all, with what only the loader knows now.

        Raises:
            IndexError: Nothing was counted in this epoch, or it was too long ago.
        """
        if epoch is not None and epoch not in self._epochs:
            known = ", ".join(map(str, list(self._epochs)[-8:])) or "none so far"
            raise IndexError(f"there are no figures of epoch {epoch}; there are of: {known} (reset_stats forgets all)")
        sums = _Sums(self._num_workers)
        for one in (self._older, *self._epochs.values()) if epoch is None else (self._epochs[epoch],):
            sums.add(one)
        began = self._began
        if began is not None and epoch in (None, self._last_epoch):
            sums.seconds += self._clock() - began
        rotation = RotationStats(sums.num_made, *self._held, self._peak_bytes, sums.collating)
        return LoaderStats(
            num_batches=sums.num_batches,
            num_samples=sums.num_samples,
            num_bytes=sums.num_bytes,
            seconds=sums.seconds,
            num_epochs=sums.num_epochs,
            launch_seconds=sums.launch,
            starting_seconds=sums.starting,
            waiting_seconds=sums.waiting,
            waiting_processor=sums.waiting_processor,
            transfer_seconds=sums.transfer,
            transfer_processor=sums.transfer_processor,
            num_workers=self._num_workers,
            worker_kind=self._worker_kind,
            workers=tuple(WorkerStats(int(one[0]), *one[1:]) for one in sums.workers),
            num_ready=num_ready,
            memory_bytes=memory_bytes,
            num_skipped=sums.num_skipped,
            num_cores=num_cores(),
            rotation=rotation if sums.num_made or sums.collating else None,
            cache=sums.cache,
            num_elements=sums.num_elements,
            num_padded_elements=sums.num_padded_elements,
            epoch=epoch,
            last_epoch=self._last_epoch,
        )


def _added(sums: CacheStats | None, more: CacheStats) -> CacheStats:
    if sums is None:
        return more
    return CacheStats._make([*map(sum, zip(sums[:-1], more[:-1], strict=True)), more.problem])


def num_cores() -> int:
    """Return how many cores this process may use."""
    # os.process_cpu_count, from Python 3.13 on, is the same.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
