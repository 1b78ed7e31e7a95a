"""The stream of steps: asks workers ahead of time, and hands their batches on with the position behind each.

    follow(position) ──> Run ──> requests, `ahead` of them on their way ──> workers
                                                                              |
    next() <── (position behind it, ...), batch <─────────────────────────────┘

Steps are planned in blocks, beyond those that are asked for: what numpy costs per call is spread over all of them.

With `crosses_epochs` requests of the next epoch follow those of this one, and `follow` finds them on their way.
A barrier may hold them back until nothing of this one is on its way any more.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from splitdata.loader.pipeline.epoch_barrier import EpochBarrier
from splitdata.loader.plan.epoch_steps import open_run
from splitdata.loader.plan.steps import BatchInfo, StepRequest
from splitdata.samples.collate import with_tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.loader.cache.cache_options import Cache
    from splitdata.loader.pipeline.executors import Executor
    from splitdata.loader.plan.epoch_steps import Run
    from splitdata.loader.plan.plan import Plan
    from splitdata.loader.plan.steps import Position
    from splitdata.loader.stats.meter import StatsMeter

__all__ = ["ActiveRun", "StepStream", "Stream"]

RunType = TypeVar("RunType", bound="Run")


class Stream(Protocol):
    """Hands on the batches of run after run. Belongs to one thread at a time.

    No generator: one that Ctrl-C has passed through would be over.
    """

    @property
    def has_failed(self) -> bool:
        """Whether it met an error that `next` has not raised yet: no further run can be followed."""

    def follow(self, position: Position) -> None:
        """Go on from a position."""

    def __iter__(self) -> Iterator[tuple[BatchInfo, Any]]:
        """Return itself."""

    def __next__(self) -> tuple[BatchInfo, Any]:
        """Return the next batch of the run, behind what is known of it.

        Raises:
            StopIteration: The run is over.
        """

    def next_is_ready(self) -> bool:
        """Tell whether `next` would return without waiting or working."""

    def num_ready(self) -> int:
        """Return how many batches are ready, as far as that is known."""

    def end_of_run(self) -> Position:
        """Return where training stands behind the present run."""

    def release(self) -> None:
        """Let go of what it keeps."""


class ActiveRun(Generic[RunType]):
    """One run that is being followed.

    Attributes:
        start: Where it began.
        num_asked, num_received: Steps of it; asked for, or planned to be.
        positions: Behind each step that was asked for and not received: noted for many steps at a time.
    """

    def __init__(self, run: RunType, start: Position) -> None:
        self.run = run
        self.start = start
        self.num_steps = run.num_steps
        self.num_asked = 0
        self.num_received = 0
        self.positions: deque[Position] = deque()

    def ask(self, num_steps: int) -> None:
        """Note that so many more steps are asked for."""
        first = self.num_asked + 1
        self.num_asked += num_steps
        self.positions.extend(map(self.run.position_after, range(first, first + num_steps)))

    def stands_at(self, position: Position) -> bool:
        """Whether a position is that of its next step."""
        if not self.num_received:
            return self.start == position
        return self.num_received < self.num_steps and self.run.position_after(self.num_received) == position


class StepStream:
    """Follows a plan. Belongs to one thread at a time."""

    def __init__(
        self,
        plan: Plan,
        workers: Executor,
        meter: StatsMeter,
        *,
        ahead: int,
        at_once: int,
        crosses_epochs: bool,
        cache: Cache | None = None,
        makes_tensors: bool = False,
    ) -> None:
        self._plan = plan
        self._workers = workers
        self._meter = meter
        self._ahead = ahead
        # Half of them at a time.
        self._refill_at = ahead // 2
        self._at_once = at_once
        self._crosses_epochs = crosses_epochs
        self._makes_tensors = makes_tensors
        self._barrier = None if cache is None else EpochBarrier(cache)
        self._active_runs: deque[ActiveRun[Run]] = deque()
        # Planned, and not asked for yet.
        self._planned: deque[StepRequest] = deque()
        self._next_ticket = 0
        self._num_waiting = 0
        # False where an interrupt would leave things half done.
        self._is_whole = True

    @property
    def has_failed(self) -> bool:
        """Never: an error is met where it is raised."""
        return False

    def follow(self, position: Position) -> None:
        """Go on from a position; what was asked for on the way to another one is dropped."""
        active = self._active_runs[0] if self._active_runs else None
        if self._is_whole and active is not None and active.stands_at(position):
            return
        is_idle = self._is_whole and not self._num_waiting
        self._is_whole = False
        if not is_idle:
            self._workers.forget()
        self._num_waiting = 0
        self._planned.clear()
        self._active_runs.clear()
        self._active_runs.append(ActiveRun(open_run(self._plan, position), position))
        # As many as are made at once; the others are asked for while those are being made.
        if self._plan_steps(self._at_once):
            self._ask_planned(self._at_once)
        self._is_whole = True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[BatchInfo, Any]:
        """Return the next batch of the run, behind what is known of it.

        Raises:
            StopIteration: The run is over.
        """
        active = self._active_runs[0]
        if active.num_received >= active.num_steps:
            if len(self._active_runs) > 1:
                self._is_whole = False
                self._active_runs.popleft()
                self._ask_ahead()
                self._is_whole = True
            raise StopIteration
        self._is_whole = False
        if self._num_waiting <= self._refill_at:
            self._ask_ahead()
        worker_id, reply = self._workers.receive()
        self._num_waiting -= 1
        active.num_received += 1
        position = active.positions.popleft()
        self._is_whole = True
        self._meter.worker_reply(worker_id, reply.timings)
        if reply.cache is not None:
            self._meter.cached(reply.cache)
        if self._barrier is not None:
            self._barrier.note_reply(reply)
        batch = with_tensors(reply.batch) if self._makes_tensors else reply.batch
        return BatchInfo(position, reply.num_samples, reply.num_bytes, reply.skipped, reply.fill), batch

    def next_is_ready(self) -> bool:
        """Tell whether `next` would return without waiting or working."""
        return self._workers.next_is_ready()

    def num_ready(self) -> int:
        """Return how many workers have a batch ready."""
        return self._workers.num_ready()

    def end_of_run(self) -> Position:
        """Return where training stands behind the present run."""
        active = self._active_runs[0]
        return active.run.position_after(active.num_steps)

    def release(self) -> None:
        """Nothing is kept here."""

    def _ask_ahead(self) -> None:
        """Keep `ahead` requests on their way, in blocks."""
        while self._num_waiting <= self._refill_at and (
            self._planned or self._plan_steps(self._ahead - self._num_waiting, in_blocks=True)
        ):
            self._ask_planned(self._ahead - self._num_waiting)
            if self._planned:
                return

    def _ask_planned(self, limit: int) -> None:
        """Ask for what is planned, all together, at most `limit` steps, up to where the barrier holds back."""
        barrier, count = self._barrier, 0
        for request in islice(self._planned, limit):
            if barrier is not None:
                if (self._num_waiting or count) and barrier.holds_back(request.parts):
                    break
                barrier.note_asked(request.parts)
            count += 1
        self._workers.ask(*islice(self._planned, count))
        for _ in range(count):
            self._planned.popleft()
        self._num_waiting += count

    def _plan_steps(self, num_steps: int, *, in_blocks: bool = False) -> bool:
        """Plan so many steps, `in_blocks` more where together each costs less; False if there is nothing to ask for."""
        active = self._active_runs[-1]
        if in_blocks:
            num_steps = max(num_steps, active.run.block_steps)
        count = min(active.num_steps - active.num_asked, num_steps)
        if not count:
            if active.num_steps == 0 or not self._crosses_epochs or len(self._active_runs) > 1:
                return False
            after = active.run.position_after(active.num_steps)
            self._active_runs.append(ActiveRun(open_run(self._plan, after), after))
            return self._plan_steps(num_steps, in_blocks=in_blocks)
        first = active.num_asked
        steps = active.run.parts(first, first + count)
        active.ask(count)
        for step, parts in enumerate(steps, active.run.first_step + first):
            self._planned.append(StepRequest(self._next_ticket, step, parts))
            self._next_ticket += 1
        return True
