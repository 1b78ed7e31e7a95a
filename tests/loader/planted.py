"""A loader with planted bottlenecks, in virtual time: what a StatsMeter would see of it, and how fast it would be.

Plant(num_workers=2, transform=(1.0, 0.9), training=0.2)      (seconds of a batch, how many of them are computed)
    .seconds_per_batch()     in the steady state: the slower of training and workers, who share the cores
    .stats()                 of a meter that was told all of it, with a clock of its own

So a verdict that promises a speed can be held to it: plant what it advises, and compare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from splitdata.loader.option_groups import WorkerKind
from splitdata.loader.plan.steps import CacheStats, WorkerStats
from splitdata.loader.stats.meter import StatsMeter
from splitdata.loader.stats.stats import LoaderStats

__all__ = ["Clock", "Plant"]

Seconds = tuple[float, float]
NUM_BATCHES = 200
BATCH_SIZE = 10


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, kw_only=True)
class Plant:
    """What one batch takes: of each stage the seconds with a core of its own, and how many of them it computes.

    Attributes:
        training: Seconds that the loop uses a batch, without computing: a GPU does.
        transfer, rotation_collate: In the loop's process, a part of its waiting.
        hits: The part of the samples that a cache has; those are neither read nor transformed. None: no cache.
        uses: Of each sample, by rotation; 0 for none.
        interpreter: Threads compute one at a time.
        others: So many other programs take the cores as much as this one.
        shows_starved: The kernel says how long threads wait for a core.
    """

    num_workers: int = 2
    num_cores: int = 8
    worker_kind: WorkerKind = "process"
    read: Seconds = (0.01, 0.005)
    transform: Seconds = (0.01, 0.01)
    cache: Seconds = (0.0, 0.0)
    collate: Seconds = (0.01, 0.01)
    send: float = 0.005
    training: float = 0.1
    transfer: Seconds = (0.0, 0.0)
    rotation_collate: float = 0.0
    hits: float | None = None
    problem: str | None = None
    uses: int = 0
    interpreter: bool = False
    shows_starved: bool = True
    others: int = 0

    def _stages(self) -> list[Seconds]:
        missed = 1 - (self.hits or 0.0)
        made = 1 / self.uses if self.uses else 1.0
        stages = [(wall * missed, processor * missed) for wall, processor in (self.read, self.transform)]
        stages += [self.cache, self.collate, (self.send, self.send)]
        return [(wall * made, processor * made) for wall, processor in stages]

    def _crowding(self) -> float:
        """How much longer computing takes than with a core of its own."""
        blocked = sum(wall - processor for wall, processor in self._stages())
        computed = sum(processor for _, processor in self._stages())
        cores = 1 if self.interpreter else self.num_cores / (1 + self.others)
        # Each worker makes a batch in blocked + crowding * computed, and all together use no more than there is.
        return max(1.0, (max(1, self.num_workers) * computed / cores - blocked) / computed) if computed else 1.0

    def _seconds_of_step(self) -> float:
        crowding = self._crowding()
        return sum(wall + processor * (crowding - 1) for wall, processor in self._stages())

    def _here(self) -> float:
        return self.transfer[0] + self.rotation_collate

    def seconds_per_batch(self) -> float:
        """Return how long the loop takes for a batch in the steady state."""
        if not self.num_workers:
            return self._seconds_of_step() + self._here() + self.training
        return max(self._seconds_of_step() / self.num_workers, self.training + self._here())

    def count(self, meter: StatsMeter, clock: Clock, epoch: int = 0, num_batches: int = NUM_BATCHES) -> None:
        """Tell a meter of one epoch."""
        crowding = self._crowding()
        stages = [(wall + processor * (crowding - 1), processor) for wall, processor in self._stages()]
        starved = sum(processor for _, processor in self._stages()) * (crowding - 1)
        is_shown = self.shows_starved and not self.interpreter
        walls, processors = [wall for wall, _ in stages], [processor for _, processor in stages[:4]]
        timings = WorkerStats._make([1, *walls, *processors, starved if is_shown else 0.0])
        waited = self.seconds_per_batch() - self.training
        num_hits = round(BATCH_SIZE * (self.hits or 0.0))
        meter.begin(epoch)
        for _ in range(num_batches):
            clock.now += self.seconds_per_batch()
            for worker in range(max(1, self.num_workers)):
                # Each its part of a batch, so that all are as busy as each other.
                meter.worker_reply(worker, WorkerStats(1, *(one / max(1, self.num_workers) for one in timings[1:])))
            if self.hits is not None:
                meter.cached(CacheStats(num_hits, BATCH_SIZE - num_hits, 0, 10, 10, self.problem))
            if self.uses:
                meter.made(BATCH_SIZE // self.uses)
                meter.collated(self.rotation_collate)
            meter.transferred(*self.transfer)
            meter.handed_out(BATCH_SIZE, 1000, waited)
        meter.end()

    def stats(self) -> LoaderStats:
        """Return the figures of one epoch of it."""
        clock = Clock()
        meter = StatsMeter(self.num_workers, self.worker_kind, clock)
        self.count(meter, clock)
        return replace(meter.stats(epoch=0), num_cores=self.num_cores)
