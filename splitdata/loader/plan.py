"""The plan: which records make a step of a rank, from options alone, without running anything.

shuffle, seed, lanes, bins      epoch ──> order       position  ──> place in the selection
subset                          selection             place     ──> record
batch_size, world, tail         partition             step, rank ──> positions

Run     what is left of one epoch from a Position on, as steps of one rank
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

from splitdata.loader.sampling import BatchSampling, Sampling, SequenceOrder
from splitdata.loader.step import Part
from splitdata.order.epoch_order import Shuffle, epoch_order
from splitdata.order.partition import EndlessPartition, Partition, Tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.selection import Selection
    from splitdata.order.bin_layout import BinLayout
    from splitdata.order.epoch_order import Order

__all__ = ["PartitionKind", "Plan", "Position", "Run"]

PartitionKind: TypeAlias = Literal["strided", "contiguous"]


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


class Run(Protocol):
    """The rest of one epoch, for one rank."""

    @property
    def first_step(self) -> int:
        """Number in the epoch of the first step that is left; the next one, where the run begins inside a step."""

    @property
    def num_steps(self) -> int:
        """Steps that are left for this rank."""

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        """Return what steps `first` to `stop` of the run are made of."""

    def position_after(self, num_steps: int) -> Position:
        """Return where training stands after so many steps of the run."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the order, for one rank.

    `bins` is needed for shuffle="bins" alone. With `sampling` or `batches` the selection is the whole dataset.
    """

    selection: Selection
    shuffle: Shuffle
    seed: int
    lanes: int
    interleave: int
    bins: BinLayout | None
    batch_size: int
    rank: int
    world_size: int
    tail: Tail
    partition: PartitionKind
    num_steps: int | None
    sampling: Sampling | None
    batches: BatchSampling | None

    def run(self, position: Position, rank: int | None = None) -> Run:
        """Return the rest of the epoch from a position on; of another rank, if one is given."""
        rank = self.rank if rank is None else rank
        if self.batches is not None:
            return _BatchRun(self, self.batches.batches(position.epoch), position, rank)
        if self.num_steps is not None:
            return _EndlessRun(self, self.num_steps, position, rank)
        return _EpochRun(self, position, rank)

    def start_of(self, epoch: int) -> Position:
        """Return the beginning of an epoch, as reached with the present batch size and world size."""
        if self.num_steps is None:
            return Position(epoch)
        return Position(epoch, 0, epoch * self.num_steps * self.batch_size * self.world_size)

    def next_epoch(self, position: Position) -> Position:
        """Return the beginning of the epoch after the one that a position lies in."""
        if self.num_steps is None:
            return Position(position.epoch + 1)
        return Position(position.epoch + 1, 0, position.origin + self.num_steps * self.batch_size * self.world_size)

    def skip(self, position: Position, num_steps: int) -> Position:
        """Return the position so many steps further on, across epochs.

        Raises:
            ValueError: No epoch has any steps.
        """
        while True:
            run = self.run(position)
            if num_steps < run.num_steps:
                return run.position_after(num_steps)
            if not run.num_steps and not position.samples:
                raise ValueError("there is nothing to skip: the epochs of this loader have no steps")
            num_steps -= run.num_steps
            position = run.position_after(run.num_steps)

    def seek(self, position: Position, step: int) -> Position:
        """Return the beginning of a step of the epoch that a position lies in.

        Raises:
            IndexError: The epoch has fewer steps.
        """
        run = self.run(Position(position.epoch, 0, position.origin))
        if not 0 <= step <= run.num_steps:
            raise IndexError(f"epoch {position.epoch} has {run.num_steps} steps, there is no step {step}")
        return run.position_after(step) if step else Position(position.epoch, 0, position.origin)

    def digest(self, epoch: int) -> str | None:
        """Return text that names what the user's own sampler gave for an epoch; None without one."""
        if self.batches is not None:
            return self.batches.digest(epoch)
        return None if self.sampling is None else self.sampling.digest(epoch)

    def order(self, epoch: int) -> Order:
        """Return the order of one pass through the data."""
        if self.sampling is not None:
            return SequenceOrder(self.sampling.records(epoch))
        return epoch_order(
            self.shuffle,
            len(self.selection),
            seed=self.seed,
            epoch=epoch,
            lanes=self.lanes,
            interleave=self.interleave,
            bins=self.bins,
        )

    def part(self, epoch: int, order: Order, positions: NDArray[np.int64]) -> Part:
        """Return the samples at positions of an epoch."""
        places = order(positions)
        return Part(epoch, positions, places if self.sampling is not None else self.selection.records(places))


class _EpochRun:
    """A pass through the data, cut into steps; the tail as chosen."""

    def __init__(self, plan: Plan, position: Position, rank: int) -> None:
        self._plan = plan
        self._epoch = position.epoch
        self._rank = rank
        self.first_step = -(-position.samples // (plan.batch_size * plan.world_size))
        self._order = plan.order(position.epoch)
        self._partition = Partition(
            self._order.num_positions,
            batch_size=plan.batch_size,
            world_size=plan.world_size,
            tail=plan.tail,
            start=position.samples,
            contiguous=plan.partition == "contiguous",
        )

    @property
    def num_steps(self) -> int:
        return self._partition.num_batches(self._rank)

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        positions, lengths = self._partition.positions_of(first, stop, self._rank)
        # One call for all steps of the block: what numpy costs per call is spread over them.
        whole = self._plan.part(self._epoch, self._order, positions)
        ends = np.cumsum(lengths).tolist()
        return [
            (Part(self._epoch, whole.positions[end - length : end], whole.records[end - length : end]),)
            for end, length in zip(ends, lengths.tolist(), strict=True)
        ]

    def position_after(self, num_steps: int) -> Position:
        # By the steps of all ranks: with tail="keep" this rank may have had its last batch before the others.
        if num_steps >= self.num_steps:
            return Position(self._epoch + 1)
        return Position(self._epoch, self._partition.consumed(num_steps))


class _EndlessRun:
    """A fixed number of steps cut from pass after pass through the data, without tails."""

    def __init__(self, plan: Plan, num_steps: int, position: Position, rank: int) -> None:
        self._plan = plan
        self._position = position
        self._rank = rank
        self._step_samples = plan.batch_size * plan.world_size
        self.first_step = -(-position.samples // self._step_samples)
        self.num_steps = max(0, num_steps - self.first_step)
        self._orders: dict[int, Order] = {}
        self._partition = EndlessPartition(
            self._order(0).num_positions,
            batch_size=plan.batch_size,
            world_size=plan.world_size,
            start=position.origin + position.samples,
        )

    def _order(self, epoch: int) -> Order:
        order = self._orders.get(epoch)
        if order is None:
            if len(self._orders) > 2:
                self._orders.clear()
            order = self._orders[epoch] = self._plan.order(epoch)
        return order

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        return [self._parts_of(step) for step in range(first, stop)]

    def _parts_of(self, step: int) -> tuple[Part, ...]:
        epochs, positions = self._partition.positions(step, self._rank)
        return tuple(
            self._plan.part(int(epoch), self._order(int(epoch)), positions[epochs == epoch])
            for epoch in np.unique(epochs)
        )

    def position_after(self, num_steps: int) -> Position:
        start = self._position
        samples = start.samples + num_steps * self._step_samples
        if num_steps >= self.num_steps:
            return Position(start.epoch + 1, 0, start.origin + max(samples, start.samples))
        return Position(start.epoch, samples, start.origin)


class _BatchRun:
    """The user's own batches, dealt out to the ranks one by one."""

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
        return self._partition.num_batches(self._rank)

    def parts(self, first: int, stop: int) -> list[tuple[Part, ...]]:
        places, _ = self._partition.positions_of(first, stop, self._rank)
        found: list[tuple[Part, ...]] = []
        for place in places.tolist():
            records = self._batches[place]
            # Places of samples in the epoch are not known without adding up all batches: number them by batch.
            positions = place * (1 << 32) + np.arange(len(records), dtype=np.int64)
            found.append((Part(self._epoch, positions, records),))
        return found

    def position_after(self, num_steps: int) -> Position:
        if num_steps >= self.num_steps:
            return Position(self._epoch + 1)
        return Position(self._epoch, self._partition.consumed(num_steps))
