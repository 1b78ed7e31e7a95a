"""Runs: what is left of one epoch from a position on, as the steps of one rank.

step of the run ──partition──> positions of passes through the data ──order──> samples ──selection──> records

PassRun      one pass, cut into steps; the tail as chosen
EndlessRun   a fixed number of steps, cut from pass after pass
BatchRun     the user's own batches, dealt out
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from splitdata.loader.plan.steps import Part
from splitdata.order.partition import EndlessPartition, Partition

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.plan.plan import Plan
    from splitdata.order.epoch_order import Order

__all__ = ["BatchRun", "EndlessRun", "PassRun", "Position", "PositionRun", "Run", "StepPositions", "StepShape"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where training stands, the same on every rank.

    Attributes:
        epoch: 0-based.
        samples: Samples of this epoch that all ranks together have been handed; batches with a batch sampler.
        origin: Samples of earlier epochs, where epochs of `num_steps` cut an endless stream; else 0.
    """

    epoch: int = 0
    samples: int = 0
    origin: int = 0


class StepShape(NamedTuple):
    """In what steps a position was reached; another loader may go on from it in others.

    `lanes` are those of the order, which stay as they were at first.
    """

    batch_size: int
    world_size: int
    lanes: int

    @property
    def samples(self) -> int:
        """Samples of one step, on all ranks together."""
        return self.batch_size * self.world_size


class Run(Protocol):
    """The rest of one epoch, for one rank."""

    @property
    def first_step(self) -> int:
        """Number in the epoch of the first step that is left; the next one, where the run begins inside a step."""

    @property
    def num_steps(self) -> int:
        """Steps that are left for this rank."""

    @property
    def num_samples(self) -> int:
        """Samples that are left for this rank, without those that pad."""

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        """Return what steps `first` to `stop` of the run are made of."""

    def position_after(self, num_steps: int) -> Position:
        """Return where training stands after so many steps of the run."""


class StepPositions(NamedTuple):
    """Positions that some steps on end take.

    `passes` says of which pass through the data each of `positions` is, both int64[n]; steps have `lengths` of them.
    """

    passes: NDArray[np.int64]
    positions: NDArray[np.int64]
    lengths: NDArray[np.int64]


class PositionRun(ABC):
    """A run through positions of orders; it remembers the orders of the passes that it is in.

    Attributes:
        first_step: Number in the epoch of the first step that is left.
    """

    def __init__(self, plan: Plan, samples: int) -> None:
        self.first_step = -(-samples // (plan.batch_size * plan.world_size))
        self._plan = plan
        self._orders: dict[int, Order] = {}

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """Steps that are left for this rank."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Samples that are left for this rank, without those that pad."""

    @abstractmethod
    def position_after(self, num_steps: int) -> Position:
        """Return where training stands after so many steps of the run."""

    @abstractmethod
    def positions(self, first: int, stop: int) -> StepPositions:
        """Return the positions of steps `first` to `stop` of the run."""

    @abstractmethod
    def place(self, step: int) -> tuple[int, int]:
        """Return pass and position of the first sample of a step; behind the last step, of what would follow."""

    def order(self, number: int) -> Order:
        """Return the order of a pass."""
        order = self._orders.get(number)
        if order is None:
            if len(self._orders) > 2:
                self._orders.clear()
            order = self._orders[number] = self._plan.order(number)
        return order

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        """Return what steps `first` to `stop` of the run are made of."""
        passes, positions, lengths = self.positions(first, stop)
        records = np.empty_like(positions)
        # Passes follow each other. One call for all steps in each: what numpy costs per call is spread over them.
        for number in np.unique(passes).tolist():
            here = slice(*np.searchsorted(passes, [number, number + 1]).tolist())
            _, positions[here], records[here] = self._plan.part(number, self.order(number), positions[here])
        steps: list[list[Part]] = [[] for _ in lengths]
        step_of = np.repeat(np.arange(len(lengths)), lengths)
        borders = np.union1d(np.cumsum(lengths), np.flatnonzero(np.diff(passes)) + 1).tolist()
        for begin, end in pairwise([0, *borders]):
            steps[step_of[begin]].append(Part(int(passes[begin]), positions[begin:end], records[begin:end]))
        return [tuple(parts) for parts in steps]


class PassRun(PositionRun):
    """A pass through the data, cut into steps; the tail as chosen."""

    def __init__(self, plan: Plan, position: Position, rank: int) -> None:
        super().__init__(plan, position.samples)
        self._epoch = position.epoch
        self._rank = rank
        self._partition = Partition(
            self.order(position.epoch).num_positions,
            batch_size=plan.batch_size,
            world_size=plan.world_size,
            tail=plan.tail,
            start=position.samples,
            contiguous=plan.partition == "contiguous",
        )

    @property
    def num_steps(self) -> int:
        """Steps that are left for this rank."""
        return self._partition.num_batches(self._rank)

    @property
    def num_samples(self) -> int:
        """Samples that are left for this rank, without those that pad."""
        return len(self._partition.range_of(self._rank))

    def positions(self, first: int, stop: int) -> StepPositions:
        """Return the positions of steps `first` to `stop` of the run."""
        positions, lengths = self._partition.positions_of(first, stop, self._rank)
        return StepPositions(np.full(len(positions), self._epoch, np.int64), positions, lengths)

    def place(self, step: int) -> tuple[int, int]:
        """Return pass and position of the first sample of a step; behind the last step, of what would follow."""
        if step >= self.num_steps:
            return self._epoch + 1, 0
        return self._epoch, int(self._partition.positions(step, self._rank)[0])

    def position_after(self, num_steps: int) -> Position:
        """Return where training stands after so many steps of the run."""
        # By the steps of all ranks: with tail="keep" this rank may have had its last batch before the others.
        if num_steps >= self.num_steps:
            return Position(self._epoch + 1)
        return Position(self._epoch, self._partition.consumed(num_steps))


class EndlessRun(PositionRun):
    """A fixed number of steps cut from pass after pass through the data, without tails."""

    def __init__(self, plan: Plan, num_steps: int, position: Position, rank: int) -> None:
        super().__init__(plan, position.samples)
        self._position = position
        self._rank = rank
        self._pass_length = super().order(0).num_positions
        self._step_samples = plan.batch_size * plan.world_size
        self._num_steps = max(0, num_steps - self.first_step)
        self._partition = EndlessPartition(
            self._pass_length,
            batch_size=plan.batch_size,
            world_size=plan.world_size,
            start=position.origin + position.samples,
        )

    def order(self, number: int) -> Order:
        """Return the order of a pass.

        Raises:
            ValueError: A sampler gave another number of records than for the first pass, so that places in the
                stream do not tell the pass.
        """
        order = super().order(number)
        if order.num_positions != self._pass_length:
            raise ValueError(
                f"num_steps needs a sampler that gives as many records in each epoch: it gave {self._pass_length} in "
                f"epoch 0 and {order.num_positions} in epoch {number}"
            )
        return order

    @property
    def num_steps(self) -> int:
        """Steps that are left for this rank."""
        return self._num_steps

    @property
    def num_samples(self) -> int:
        """Samples that are left for this rank: all steps are full."""
        return self._num_steps * self._plan.batch_size

    def positions(self, first: int, stop: int) -> StepPositions:
        """Return the positions of steps `first` to `stop` of the run."""
        return StepPositions(*self._partition.positions_of(first, stop, self._rank))

    def place(self, step: int) -> tuple[int, int]:
        """Return pass and position of the first sample of a step; behind the last step, of what would follow."""
        passes, positions = self._partition.positions(step, self._rank)
        return int(passes[0]), int(positions[0])

    def position_after(self, num_steps: int) -> Position:
        """Return where training stands after so many steps of the run."""
        start = self._position
        samples = start.samples + num_steps * self._step_samples
        if num_steps >= self.num_steps:
            return Position(start.epoch + 1, 0, start.origin + max(samples, start.samples))
        return Position(start.epoch, samples, start.origin)


class BatchRun:
    """The user's own batches, dealt out to the ranks one by one.

    Attributes:
        first_step: Number in the epoch of the first batch that is left for this rank.
    """

    def __init__(self, plan: Plan, batches: list[NDArray[np.int64]], position: Position, rank: int) -> None:
        self._batches = batches
        self._epoch = position.epoch
        self._rank = rank
        self.first_step = -(-position.samples // plan.world_size)
        self._partition = Partition(
            len(batches), batch_size=1, world_size=plan.world_size, tail=plan.tail, start=position.samples
        )

    @property
    def num_steps(self) -> int:
        """Steps that are left for this rank."""
        return self._partition.num_batches(self._rank)

    @property
    def num_samples(self) -> int:
        """Samples of the batches that are left for this rank, without those that pad."""
        return sum(len(self._batches[place]) for place in self._partition.range_of(self._rank))

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        """Return what steps `first` to `stop` of the run are made of."""
        places, _ = self._partition.positions_of(first, stop, self._rank)
        found: list[tuple[Part, ...]] = []
        for place in places.tolist():
            records = self._batches[place]
            # Places of samples in the epoch are not known without adding up all batches: number them by batch.
            positions = place * (1 << 32) + np.arange(len(records), dtype=np.int64)
            found.append((Part(self._epoch, positions, records),))
        return found

    def position_after(self, num_steps: int) -> Position:
        """Return where training stands after so many steps of the run."""
        if num_steps >= self.num_steps:
            return Position(self._epoch + 1)
        return Position(self._epoch, self._partition.consumed(num_steps))
