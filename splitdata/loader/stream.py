"""The stream of steps: asks workers ahead of time, and hands their batches on with the position behind each.

    follow(position) ──> Run ──> requests, `ahead` of them on their way ──> workers
                                                                              |
    next() <── (batch, position behind it) <──────────────────────────────────┘

With `crosses_epochs` requests of the next epoch follow those of this one, and `follow` finds them on their way.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from splitdata.loader.step import StepReply, StepRequest

if TYPE_CHECKING:
    from splitdata.loader.meter import StatsMeter
    from splitdata.loader.plan import Plan
    from splitdata.loader.runs import Position, Run
    from splitdata.loader.workers import Workers

__all__ = ["Leg", "StepStream", "Stream"]

RunType = TypeVar("RunType", bound="Run")


class Stream(Protocol):
    """Hands on the batches of run after run. Belongs to one thread at a time."""

    @property
    def has_failed(self) -> bool:
        """Whether it met an error that `next` has not raised yet: no further run can be followed."""

    def follow(self, position: Position) -> None:
        """Go on from a position."""

    def next(self) -> tuple[StepReply, Position]:
        """Return the next batch of the run, and where training stands behind it.

        Raises:
            StopIteration: The run is over.
        """

    def next_is_ready(self) -> bool:
        """Tell whether `next` would return without waiting or working."""

    def end_of_run(self) -> Position:
        """Return where training stands behind the present run."""

    def close(self) -> None:
        """Let go of what it keeps."""


class Leg(Generic[RunType]):
    """One run that is being followed.

    Attributes:
        start: Where it began.
        num_asked, num_received: Steps of it.
    """

    def __init__(self, run: RunType, start: Position) -> None:
        self.run = run
        self.start = start
        self.num_steps = run.num_steps
        self.num_asked = 0
        self.num_received = 0


class StepStream:
    """Follows a plan. Belongs to one thread at a time."""

    def __init__(
        self, plan: Plan, workers: Workers, meter: StatsMeter, *, ahead: int, at_once: int, crosses_epochs: bool
    ) -> None:
        self._plan = plan
        self._workers = workers
        self._meter = meter
        self._ahead = ahead
        self._at_once = at_once
        self._crosses_epochs = crosses_epochs
        self._legs: deque[Leg[Run]] = deque()
        self._next_ticket = 0
        self._num_waiting = 0

    @property
    def has_failed(self) -> bool:
        """Never: an error is met where it is raised."""
        return False

    def follow(self, position: Position) -> None:
        """Go on from a position; what was asked for on the way to another one is dropped."""
        if self._legs and not self._legs[0].num_received and self._legs[0].start == position:
            return
        if self._num_waiting:
            self._workers.forget()
        self._num_waiting = 0
        self._legs.clear()
        leg = Leg(self._plan.run(position), position)
        self._legs.append(leg)
        # As many as are made at once; the others are asked for while those are being made.
        self._ask(leg, min(leg.num_steps, self._at_once))

    def next(self) -> tuple[StepReply, Position]:
        """Return the next batch of the run, and where training stands behind it.

        Raises:
            StopIteration: The run is over.
        """
        leg = self._legs[0]
        if leg.num_received >= leg.num_steps:
            if len(self._legs) > 1:
                self._legs.popleft()
            raise StopIteration
        self._ask_ahead()
        worker_id, reply = self._workers.receive()
        self._num_waiting -= 1
        leg.num_received += 1
        self._meter.worker_reply(worker_id, reply.timings)
        return reply, leg.run.position_after(leg.num_received)

    def next_is_ready(self) -> bool:
        """Tell whether `next` would return without waiting or working."""
        return self._workers.next_is_ready()

    def end_of_run(self) -> Position:
        """Return where training stands behind the present run."""
        leg = self._legs[0]
        return leg.run.position_after(leg.num_steps)

    def close(self) -> None:
        """Nothing is kept here."""

    def _ask_ahead(self) -> None:
        """Keep `ahead` requests on their way, in blocks: half of them at a time."""
        while self._num_waiting <= self._ahead // 2:
            leg = self._legs[-1]
            count = min(leg.num_steps - leg.num_asked, self._ahead - self._num_waiting)
            if count:
                self._ask(leg, count)
                continue
            if leg.num_steps == 0 or not self._crosses_epochs or len(self._legs) > 1:
                return
            after = leg.run.position_after(leg.num_steps)
            self._legs.append(Leg(self._plan.run(after), after))

    def _ask(self, leg: Leg[Run], count: int) -> None:
        steps = leg.run.parts(leg.num_asked, leg.num_asked + count)
        first_step = leg.run.first_step + leg.num_asked
        requests = [
            StepRequest(self._next_ticket + number, first_step + number, parts) for number, parts in enumerate(steps)
        ]
        self._workers.ask(*requests)
        self._next_ticket += count
        leg.num_asked += count
        self._num_waiting += count
