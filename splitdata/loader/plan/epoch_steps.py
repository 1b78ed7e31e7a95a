"""The steps of one rank: what is left of one epoch from a position on.

It is computed from the plan alone, so that any rank can begin at any step without those before it.

    step of the run ──partition──> positions of passes through the data ──order──> samples ──selection──> records

    PassRun      one pass, cut into steps; the tail as chosen
    EndlessRun   a fixed number of steps, cut from pass after pass
    BatchRun     the user's own batches, dealt out
    LengthRun    batches by length, dealt out in the same way
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import numpy as np

from splitdata.loader.plan.length_batches import LengthBatches
from splitdata.loader.plan.steps import Part, Position, StepFill
from splitdata.order.partition import EndlessPartition, Partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splitdata.loader.plan.plan import Plan
    from splitdata.order.epoch_order import Order

__all__ = [
    "BatchRun",
    "EndlessRun",
    "LengthRun",
    "PassRun",
    "PositionRun",
    "Run",
    "StepPositions",
    "num_records_in",
    "open_run",
    "records_of",
    "seek",
    "skip",
    "whole_epoch",
]

# Positions of one block: from here on the order's own work is most of what they cost.
_BLOCK_POSITIONS: Final = 1 << 13
# Each step is some objects, which wait.
_BLOCK_STEPS: Final = 256


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

    @property
    def block_steps(self) -> int:
        """Steps that are best planned by one call of `parts`: more of them cost each hardly less."""

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

    num_steps: int
    """Steps that are left for this rank."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Samples that are left for this rank, without those that pad."""

    @property
    def block_steps(self) -> int:
        """Steps that are best planned by one call of `parts`: some thousand positions."""
        return max(1, min(_BLOCK_STEPS, _BLOCK_POSITIONS // self._plan.batch_size))

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
            part = self._plan.part(number, self.order(number), positions[here])
            positions[here], records[here] = part.positions, part.records
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
        self.num_steps = self._partition.num_batches(rank)

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
        self.num_steps = max(0, num_steps - self.first_step)
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
    def num_samples(self) -> int:
        """Samples that are left for this rank: all steps are full."""
        return self.num_steps * self._plan.batch_size

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
        num_steps: Steps that are left for this rank.
    """

    def __init__(self, plan: Plan, batches: Sequence[NDArray[np.int64]], position: Position, rank: int) -> None:
        self._plan = plan
        self._batches = batches
        self._epoch = position.epoch
        self._rank = rank
        self.first_step = -(-position.samples // plan.world_size)
        self._partition = Partition(
            len(batches), batch_size=1, world_size=plan.world_size, tail=plan.tail, start=position.samples
        )
        self.num_steps = self._partition.num_batches(rank)

    @property
    def num_samples(self) -> int:
        """Samples of the batches that are left for this rank, without those that pad."""
        return sum(len(self._batches[place]) for place in self._partition.range_of(self._rank))

    @property
    def block_steps(self) -> int:
        """One: each is looked up by itself."""
        return 1

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        """Return what steps `first` to `stop` of the run are made of."""
        places, _ = self._partition.positions_of(first, stop, self._rank)
        return [(self._part(place),) for place in places.tolist()]

    def _part(self, place: int) -> Part:
        records = self._batches[place]
        # Places of samples in the epoch are not known without adding up all batches: number them by batch.
        positions = place * (1 << 32) + np.arange(len(records), dtype=np.int64)
        return Part(self._epoch, positions, records)

    def position_after(self, num_steps: int) -> Position:
        """Return where training stands after so many steps of the run."""
        if num_steps >= self.num_steps:
            return Position(self._epoch + 1)
        return Position(self._epoch, self._partition.consumed(num_steps))


class LengthRun(BatchRun):
    """Batches by length: of positions in the order, which stay those of the samples."""

    def __init__(self, plan: Plan, batches: LengthBatches, position: Position, rank: int) -> None:
        cuts = batches.batches(position.epoch)
        super().__init__(plan, cuts, position, rank)
        self._cuts = cuts
        self._batching = batches.batching
        self._order = plan.order(position.epoch)

    def _part(self, place: int) -> Part:
        cut = self._cuts.cut(place)
        fill = StepFill(cut.num_elements, self._batching.room(cut))
        return self._plan.part(self._epoch, self._order, cut.positions)._replace(fill=fill, span=cut.span)


def open_run(plan: Plan, position: Position, rank: int | None = None) -> Run:
    """Return the rest of the epoch from a position on; of another rank, if one is given."""
    rank = plan.rank if rank is None else rank
    if isinstance(plan.batches, LengthBatches):
        return LengthRun(plan, plan.batches, position, rank)
    if plan.batches is not None:
        return BatchRun(plan, plan.batches.batches(position.epoch), position, rank)
    if plan.num_steps is not None:
        return EndlessRun(plan, plan.num_steps, position, rank)
    return PassRun(plan, position, rank)


def whole_epoch(plan: Plan, position: Position) -> Run:
    """Return all of the epoch that a position lies in."""
    return open_run(plan, Position(position.epoch, 0, max(0, position.origin)))


def num_records_in(plan: Plan, position: Position) -> int:
    """Return how many records this rank has in the whole epoch that a position lies in; with rotation makes."""
    return whole_epoch(plan, position).num_samples // (1 if plan.rotation is None else plan.rotation[0])


def records_of(plan: Plan, epoch: int, step: int, rank: int | None) -> NDArray[np.int64]:
    """Return the records of a batch, int64[n], in its order; of this rank, if none is given.

    Raises:
        IndexError: There is no such step or rank.
    """
    rank = plan.rank if rank is None else rank
    if not 0 <= rank < plan.world_size:
        raise IndexError(f"there is no rank {rank} in a world of {plan.world_size}")
    run = open_run(plan, plan.start_of(epoch), rank)
    if not 0 <= step < run.num_steps:
        raise IndexError(f"epoch {epoch} has {run.num_steps} steps on rank {rank}, there is no step {step}")
    return np.concatenate([part.records for part in run.parts(step, step + 1)[0]])


def skip(plan: Plan, position: Position, num_steps: int) -> Position:
    """Return the position so many steps further on, across epochs.

    Raises:
        ValueError: No epoch has any steps.
    """
    while True:
        run = open_run(plan, position)
        if num_steps < run.num_steps:
            return run.position_after(num_steps)
        if not run.num_steps and not position.samples:
            raise ValueError("there is nothing to skip: the epochs of this loader have no steps")
        epochs = 1
        if not position.samples and plan.sampling is None and plan.batches is None:
            # Whole epochs are all alike.
            epochs = num_steps // run.num_steps
        num_steps -= epochs * run.num_steps
        after = run.position_after(run.num_steps)
        position = Position(position.epoch + epochs, 0, position.origin + epochs * (after.origin - position.origin))


def seek(plan: Plan, position: Position, step: int) -> Position:
    """Return the beginning of a step of the epoch that a position lies in.

    Raises:
        IndexError: The epoch has fewer steps, or was begun in smaller ones before the first sample.
    """
    if position.origin < 0:
        raise IndexError(
            f"epoch {position.epoch} was begun in smaller steps: counted in the present ones its first lie before "
            "the first sample; skip() goes forward, set_epoch() to another epoch"
        )
    run = open_run(plan, Position(position.epoch, 0, position.origin))
    if not 0 <= step < run.num_steps:
        raise IndexError(f"epoch {position.epoch} has {run.num_steps} steps, there is no step {step}")
    return run.position_after(step) if step else Position(position.epoch, 0, position.origin)
