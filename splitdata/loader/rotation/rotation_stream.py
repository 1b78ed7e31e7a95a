"""The stream of steps with rotation: samples are asked for ahead, kept in groups, and made into batches here.

    follow(position) ──> look ahead over the steps to come, as far as two rows of groups reach
                           | samples that were not asked for, in the order of their first use
                           v
                         SamplePrefetcher: workers ──> groups
                                                         |
    next() <── (position, ...), batch <── RotatedBatches <┘       a row goes when its last use has taken place

Every `next` also takes in what the workers have ready, so the next groups grow while the present ones are used.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from splitdata._ownership import OwnerProcess
from splitdata.loader.pipeline.step_stream import ActiveRun
from splitdata.loader.plan.epoch_steps import PositionRun, open_run
from splitdata.loader.plan.steps import BatchInfo, Part, StepRequest
from splitdata.loader.rotation.groups import GroupHolder, Share, Uses, locate, rotation_order
from splitdata.loader.rotation.rotated_batch import RotatedBatches
from splitdata.loader.rotation.sample_prefetcher import SamplePrefetcher
from splitdata.samples.collate import nbytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.pipeline.executors import Executor
    from splitdata.loader.pipeline.worker_job import Job
    from splitdata.loader.plan.plan import Plan
    from splitdata.loader.plan.steps import Position
    from splitdata.loader.rotation.sample_prefetcher import PrefetchLimits
    from splitdata.loader.rotation.sample_store import StoreMaker
    from splitdata.loader.stats.meter import StatsMeter

__all__ = ["RotationStream"]

# Uses that are looked at, at once: enough to spread what numpy costs per call.
_BLOCK_USES = 4096


class RotationStream:
    """Follows a plan with rotation. Belongs to one thread at a time.

    Args:
        plan: With `rotation`.
        workers: Make packed samples.
        job: How samples are collated.
        stores: Where they are kept.
        meter: Counts.
        limits: How far ahead.
        cache: From which workers take samples, and into which they put them.
    """

    def __init__(
        self,
        plan: Plan,
        workers: Executor,
        job: Job,
        stores: StoreMaker,
        meter: StatsMeter,
        limits: PrefetchLimits,
        cache: Cache | None = None,
    ) -> None:
        if plan.rotation is None:
            raise ValueError("a RotationStream needs a plan with rotation")
        self._plan = plan
        self._owner = OwnerProcess()
        self._meter = meter
        self._crosses_epochs = limits.crosses_epochs
        times, size = plan.rotation
        self._block_steps = max(1, min(_BLOCK_USES, times * size) // plan.batch_size)
        self._groups = GroupHolder(stores)
        self._batches = RotatedBatches(job)
        self._prefetcher = SamplePrefetcher(workers, self._groups, self._batches.unpacker, meter, limits, cache)
        self._active_runs: deque[ActiveRun[PositionRun]] = deque()
        self._is_blocked = False
        self._located: tuple[ActiveRun[PositionRun], int, Uses, list[int]] | None = None
        self._present: tuple[ActiveRun[PositionRun], int, Uses, list[Share]] | None = None
        # Whether no interrupt has left things half done.
        self._is_whole = True

    @property
    def has_failed(self) -> bool:
        """Whether a worker has raised what was not needed yet: there will be no more samples."""
        return self._prefetcher.has_failed

    def follow(self, position: Position) -> None:
        """Go on from a position. Samples that were made and are of use from there on are kept.

        Raises:
            Exception: What a worker raised.
        """
        active = self._active_runs[0] if self._active_runs else None
        if self._is_whole and active is not None and active.stands_at(position):
            return
        self._begin_anew(position)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[BatchInfo, Any]:
        """Return the next batch of the run, behind what is known of it.

        Raises:
            StopIteration: The run is over.
            Exception: What the dataset, the transform or the collate function raised; errors of workers and disk.
            ClosedError: If this process was forked from the one that keeps the samples.
        """
        self._owner.check("a rotation")
        active = self._active_runs[0]
        if active.num_received >= active.num_steps:
            if len(self._active_runs) > 1:
                self._active_runs.popleft()
            raise StopIteration
        if not self._is_whole:
            self._begin_anew(active.run.position_after(active.num_received) if active.num_received else active.start)
            active = self._active_runs[0]
        self._is_whole = False
        num_samples, batch = self._next_of(active)
        skipped = self._prefetcher.take_skipped()
        active.num_received += 1
        position = active.positions.popleft()
        self._is_whole = True
        return BatchInfo(position, num_samples, nbytes(batch), skipped), batch

    def end_of_run(self) -> Position:
        """Return where training stands behind the present run."""
        active = self._active_runs[0]
        return active.run.position_after(active.num_steps)

    def next_is_ready(self) -> bool:
        """Tell whether `next` would return without waiting for a worker."""
        if not self._active_runs or not self._is_whole:
            return False
        active = self._active_runs[0]
        if active.num_received >= min(active.num_asked, active.num_steps):
            return False
        return all(share.is_made for share in self._shares_of(active, active.num_received)[1])

    def num_ready(self) -> int:
        """Return 1 if the next batch could be made without waiting, else 0."""
        return int(self.next_is_ready())

    def release(self) -> None:
        """Let go of all samples."""
        self._present = None
        self._groups.close()
        self._meter.holds(0, 0)

    # -- one step ----------------------------------------------------------------------------

    def _next_of(self, active: ActiveRun[PositionRun]) -> tuple[int, Any]:
        """Return the next batch, behind its number of samples."""
        step = active.num_received
        while active.num_asked <= step:
            self._look_at_more()
        uses, shares = self._shares_of(active, step)
        self._look_ahead()
        while not all(share.is_made for share in shares):
            self._prefetcher.take_in()
        self._prefetcher.take_in_ready()
        batch = self._make_batch(active.run.first_step + step, uses, shares)
        for share in shares:
            share.row.num_waiting -= len(share.places)
        if not all(share.row.num_waiting for share in shares):
            last = self._active_runs[-1]
            if self._groups.drop_used_up(*last.run.place(last.num_asked)):
                self._is_blocked = False
                self._meter.holds(*self._groups.bytes_held())
                self._look_ahead()
        return len(uses.sources), batch

    def _shares_of(self, active: ActiveRun[PositionRun], step: int) -> tuple[Uses, list[Share]]:
        """Return what a step uses, and from which groups; they are held from when it was looked at."""
        known = self._present
        if known is None or known[0] is not active or known[1] != step:
            uses = self._uses_of(active, step)
            known = self._present = active, step, uses, self._groups.shares(uses)
        return known[2], known[3]

    def _uses_of(self, active: ActiveRun[PositionRun], step: int) -> Uses:
        known = self._located
        if known is None or known[0] is not active or not known[1] <= step < known[1] + len(known[3]):
            uses, ends = locate(active.run, step, min(active.num_steps, step + self._block_steps))
            known = self._located = active, step, uses, ends.tolist()
        _, first, uses, ends_of_steps = known
        place = step - first
        return uses.part(slice(ends_of_steps[place - 1] if place else 0, ends_of_steps[place]))

    def _make_batch(self, step: int, uses: Uses, shares: list[Share]) -> Any:
        begin = time.perf_counter()
        records = np.empty(len(uses.sources), np.int64)
        for share in shares:
            records[share.places] = share.group.records[share.numbers]
        request = StepRequest(-1, step, _parts(uses, records))
        batch = self._batches.make(shares, request)
        self._meter.collated(time.perf_counter() - begin)
        return batch

    # -- looking ahead -----------------------------------------------------------------------

    def _begin_anew(self, position: Position) -> None:
        if self._prefetcher.has_failed:
            self._prefetcher.raise_failure()
        if not (self._is_whole or self._prefetcher.is_receiving):
            self._groups.close()
        self._is_whole = False
        self._prefetcher.forget()
        run = open_run(self._plan, position)
        if not isinstance(run, PositionRun):
            raise TypeError("rotation goes through positions, not through the user's batches")
        self._active_runs = deque([ActiveRun(run, position)])
        self._located = self._present = None
        self._is_blocked = False
        if run.num_steps:
            self._groups.begin_anew(run, *run.place(0))
        else:
            self._groups.close()
        self._meter.holds(*self._groups.bytes_held())
        self._look_ahead()
        self._is_whole = True

    def _look_ahead(self) -> None:
        """Ask for as much as may be asked for."""
        while self._prefetcher.send() and self._look_at_more():
            pass

    def _look_at_more(self) -> bool:
        """Look at further steps and cut what they need into chunks; return whether that may be repeated."""
        active = self._active_runs[-1]
        if active.num_asked >= active.num_steps:
            if not self._crosses_epochs or len(self._active_runs) > 1 or not active.num_steps:
                return False
            after = active.run.position_after(active.num_steps)
            run: Any = open_run(self._plan, after)
            self._active_runs.append(ActiveRun(run, after))
            return True
        is_needed = active is self._active_runs[0] and active.num_asked <= active.num_received
        if self._is_blocked and not is_needed:
            return False
        stop = active.num_asked + 1 if self._is_blocked else min(active.num_steps, active.num_asked + self._block_steps)
        uses, ends = locate(active.run, active.num_asked, stop)
        num_uses = self._groups.admit(active.run, uses, force=self._is_blocked)
        num_steps = int(np.searchsorted(ends, num_uses, "right"))
        if num_steps:
            self._cut(active, uses.part(slice(int(ends[num_steps - 1]))))
            active.ask(num_steps)
        self._is_blocked = self._is_blocked or num_steps < len(ends)
        return True

    def _cut(self, active: ActiveRun[PositionRun], uses: Uses) -> None:
        """Cut the samples that some steps need, and that were not asked for, into chunks of one row each."""
        for row, new in self._groups.by_row(uses.part(self._groups.take_unasked(uses))):
            order = rotation_order(active.run, row.number)
            # One call for all: what numpy costs per call is spread over them.
            part = self._plan.part(row.number, order.order, new.sources)
            self._prefetcher.add(row, new, part, active.run.first_step + active.num_asked)


def _parts(uses: Uses, records: NDArray[np.int64]) -> tuple[Part, ...]:
    """Return what a step is made of, for messages and for the collate function's."""
    borders = (np.flatnonzero(np.diff(uses.passes)) + 1).tolist()
    return tuple(
        Part(int(uses.passes[begin]), uses.sources[begin:end], records[begin:end])
        for begin, end in pairwise([0, *borders, len(records)])
    )
