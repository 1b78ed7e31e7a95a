"""The plan: which records make a step of a rank, from options alone, without running anything.

shuffle, seed, lanes, bins      epoch ──> order       position  ──> place in the selection
subset                          selection             place     ──> record
batch_size, world, tail         partition             step, rank ──> positions

Run     what is left of one epoch from a Position on, as steps of one rank
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from splitdata.errors import StateMismatchError
from splitdata.loader.plan.epoch_steps import BatchRun, EndlessRun, PassRun, Position, StepShape
from splitdata.loader.plan.selection import Selection
from splitdata.loader.plan.steps import Part
from splitdata.loader.plan.user_samplers import BatchSampling, Sampling, SequenceOrder
from splitdata.order.epoch_order import Shuffle, epoch_order
from splitdata.order.partition import Tail
from splitdata.order.rotation import RotationOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.plan.epoch_steps import Run
    from splitdata.order.bin_layout import BinLayout
    from splitdata.order.epoch_order import Order

__all__ = ["PartitionKind", "Plan"]

PartitionKind: TypeAlias = Literal["strided", "contiguous"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the order, for one rank.

    `bins` is needed for shuffle="bins" alone. With `sampling` or `batches` the selection is the whole dataset.
    `rotation` is how often each sample is used, and the size of the groups; not with `batches`.
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
    rotation: tuple[int, int] | None = None

    @property
    def shape(self) -> StepShape:
        """The steps that all ranks take together."""
        return StepShape(self.batch_size, self.world_size, self.lanes)

    def run(self, position: Position, rank: int | None = None) -> Run:
        """Return the rest of the epoch from a position on; of another rank, if one is given."""
        rank = self.rank if rank is None else rank
        if self.batches is not None:
            return BatchRun(self, self.batches.batches(position.epoch), position, rank)
        if self.num_steps is not None:
            return EndlessRun(self, self.num_steps, position, rank)
        return PassRun(self, position, rank)

    def whole_epoch(self, position: Position) -> Run:
        """Return all of the epoch that a position lies in."""
        return self.run(Position(position.epoch, 0, max(0, position.origin)))

    def num_records_in(self, position: Position) -> int:
        """Return how many records this rank has in the whole epoch that a position lies in; with rotation makes."""
        return self.whole_epoch(position).num_samples // (1 if self.rotation is None else self.rotation[0])

    def records(self, epoch: int, step: int, rank: int | None) -> NDArray[np.int64]:
        """Return the records of a batch, int64[n], in its order; of this rank, if none is given.

        Raises:
            IndexError: There is no such step or rank.
        """
        rank = self.rank if rank is None else rank
        if not 0 <= rank < self.world_size:
            raise IndexError(f"there is no rank {rank} in a world of {self.world_size}")
        run = self.run(self.start_of(epoch), rank)
        if not 0 <= step < run.num_steps:
            raise IndexError(f"epoch {epoch} has {run.num_steps} steps on rank {rank}, there is no step {step}")
        return np.concatenate([part.records for part in run.parts(step, step + 1)[0]])

    def start_of(self, epoch: int) -> Position:
        """Return the beginning of an epoch, as reached with the present batch size and world size."""
        if self.num_steps is None:
            return Position(epoch)
        return Position(epoch, 0, epoch * self.num_steps * self.batch_size * self.world_size)

    def next_epoch(self, position: Position, shape: StepShape) -> Position:
        """Return the beginning of the epoch after the one that a position lies in, which was reached in such steps."""
        if self.num_steps is None:
            return Position(position.epoch + 1)
        begun = self.adopt(position, shape)
        return Position(begun.epoch + 1, 0, begun.origin + self.num_steps * self.shape.samples)

    def adopt(self, position: Position, shape: StepShape) -> Position:
        """Return a position that was reached in other steps as one of ours: at the same sample.

        In epochs of `num_steps` it also is behind as many steps, so that as many are left. Adopting there and back
        changes nothing.

        Raises:
            StateMismatchError: It lies inside of an epoch that another number of ranks had shared in stretches.
        """
        if self.partition == "contiguous" and position.samples and shape.world_size != self.world_size:
            raise StateMismatchError(
                f'with partition="contiguous" the rest of an epoch belongs to as many ranks as began it: epoch '
                f"{position.epoch} was begun by {shape.world_size} and left before its end, and here world_size is "
                f"{self.world_size}. Go on with {shape.world_size}, or leave the rest of that epoch out: "
                f"set_epoch({position.epoch + 1})"
            )
        if self.num_steps is None:
            return position
        samples = position.samples // shape.samples * self.shape.samples
        return Position(position.epoch, samples, position.origin + position.samples - samples)

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
            epochs = 1
            if not position.samples and self.sampling is None and self.batches is None:
                # Whole epochs are all alike.
                epochs = num_steps // run.num_steps
            num_steps -= epochs * run.num_steps
            after = run.position_after(run.num_steps)
            position = Position(position.epoch + epochs, 0, position.origin + epochs * (after.origin - position.origin))

    def seek(self, position: Position, step: int) -> Position:
        """Return the beginning of a step of the epoch that a position lies in.

        Raises:
            IndexError: The epoch has fewer steps, or was begun in smaller ones before the first sample.
        """
        if position.origin < 0:
            raise IndexError(
                f"epoch {position.epoch} was begun in smaller steps: counted in the present ones its first lie before "
                "the first sample; skip() goes forward, set_epoch() to another epoch"
            )
        run = self.run(Position(position.epoch, 0, position.origin))
        if not 0 <= step < run.num_steps:
            raise IndexError(f"epoch {position.epoch} has {run.num_steps} steps, there is no step {step}")
        return run.position_after(step) if step else Position(position.epoch, 0, position.origin)

    def replacements(self) -> Selection:
        """Return the records that may stand in for bad ones: those that take part, with a sampler those of epoch 0.

        Never any other: a sampler may be what keeps a test set out of training.
        """
        if self.sampling is not None:
            given = self.sampling.records(0)
        elif self.batches is not None:
            given = np.concatenate([np.empty(0, np.int64), *self.batches.batches(0)])
        else:
            return self.selection
        return Selection(np.unique(given), len(self.selection))

    def order(self, epoch: int) -> Order:
        """Return the order of one pass through the data, a RotationOrder where samples are used again."""
        order = self._order_below(epoch)
        if self.rotation is None:
            return order
        times, size = self.rotation
        return RotationOrder(order, times=times, size=size, seed=self.seed, epoch=epoch, lanes=self.lanes)

    def _order_below(self, epoch: int) -> Order:
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
        """Return the samples at positions of an order; with rotation, by their positions in the order below."""
        if isinstance(order, RotationOrder):
            positions, order = order.locate(positions)[0], order.order
        places = order(positions)
        return Part(epoch, positions, places if self.sampling is not None else self.selection.records(places))
