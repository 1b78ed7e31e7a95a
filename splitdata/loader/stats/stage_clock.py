"""Measures how long each stage of a worker takes, and how much of that it computed.

A stage that took long and used little processor time has waited: for a disk, a network, or a free core. The kernel says
how long a thread was ready and no core was free; the rest of what it waited, it waited for something else.

    begin, mark ──> lap("read") ──> lap("transform") ──> lap("cache") ...    wall, and processor time of this thread
    timings() ──> WorkerStats
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Final

from splitdata.loader.plan.steps import WorkerStats

__all__ = ["StageClock"]

# "time on a core, time ready without one, slices", in ns; of the thread that opens it.
_SCHEDULER_FILE: Final = "/proc/thread-self/schedstat"
# Asking costs as much as all laps of a step; what is not asked for now comes with a later step.
_ASK_SECONDS: Final = 0.01
_STAGES: Final = ("read", "transform", "cache", "collate")


class StageClock:
    """Sums of one step. Belongs to one thread, which makes it; a lap costs about a microsecond.

    Args:
        wall: Seconds that only grow.
        processor: Seconds that this thread, or process, has computed.
        starved: Seconds that this thread was ready and no core was free; None: what the kernel says.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.perf_counter,
        processor: Callable[[], float] = time.thread_time,
        starved: Callable[[], float] | None = None,
    ) -> None:
        self._wall = wall
        self._processor = processor
        self._starved = starved or _RunQueue().seconds
        self._starved_before = self._starved()
        self._asked = self._wall()
        self._marks = 0.0, 0.0
        self._sums = {stage: [0.0, 0.0] for stage in _STAGES}
        self.begin()

    def begin(self) -> None:
        """Begin a step: all sums are 0."""
        for sums in self._sums.values():
            sums[0] = sums[1] = 0.0

    def mark(self) -> None:
        """Let the next stage begin now: what was since the last lap belongs to none."""
        self._marks = self._wall(), self._processor()

    def lap(self, stage: str, *, without: float = 0.0) -> None:
        """Count the time since the last lap or mark to a stage, but for so many seconds of waiting."""
        wall, processor = self._wall(), self._processor()
        sums = self._sums[stage]
        sums[0] += wall - self._marks[0] - without
        sums[1] += processor - self._marks[1]
        self._marks = wall, processor

    def timings(self, *, send: float = 0.0) -> WorkerStats:
        """Return what the step took; `send` is what sending the last one has cost."""
        starved = 0.0
        if self._marks[0] >= self._asked + _ASK_SECONDS:
            self._asked = self._marks[0]
            before, self._starved_before = self._starved_before, self._starved()
            starved = self._starved_before - before
        read, transform, cache, collate = self._sums.values()
        return WorkerStats(
            num_batches=1,
            read=read[0],
            transform=transform[0],
            cache=cache[0],
            collate=collate[0],
            send=send,
            read_processor=read[1],
            transform_processor=transform[1],
            cache_processor=cache[1],
            collate_processor=collate[1],
            starved=starved,
        )


class _RunQueue:
    """The time that the thread has waited for a core. 0 where the kernel does not say."""

    def __init__(self) -> None:
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open(_SCHEDULER_FILE, os.O_RDONLY | os.O_CLOEXEC)

    def seconds(self) -> float:
        """Return the sum so far."""
        try:
            return int(os.pread(self._descriptor, 80, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    # Bound here: at exit this module may be empty already.
    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close(descriptor)
