"""The plan: which records make a step of a rank, computed from options alone, without running anything.

A plan is data and the order that follows from it; epoch_steps.py cuts the order into steps.

    shuffle, seed, lanes, bins      epoch ──> order       position  ──> place in the selection
    subset                          selection             place     ──> record
    batch_size, world, tail         partition             step, rank ──> positions
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from splitdata.errors import StateMismatchError
from splitdata.loader.plan.selection import Selection
from splitdata.loader.plan.steps import Part, Position, StepShape
from splitdata.loader.plan.user_samplers import BatchSampling, Sampling, SequenceOrder
from splitdata.order.epoch_order import Shuffle, epoch_order
from splitdata.order.partition import Tail
from splitdata.order.rotation import RotationOrder
from splitdata.order.stream_order import StreamOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.plan.length_batches import LengthBatches
    from splitdata.order.balanced_order import Balance
    from splitdata.order.bin_layout import BinLayout
    from splitdata.order.epoch_order import Order
    from splitdata.order.mixture_order import Mixing
    from splitdata.order.weighted_order import Weighting

__all__ = ["PartitionKind", "Plan"]

PartitionKind: TypeAlias = Literal["strided", "contiguous"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that decides the order, for one rank.

    `bins` is needed for shuffle="bins" alone. With `sampling` or `batches` the selection is the whole dataset.
    `rotation` is how often each sample is used, and the size of the groups; not with `batches`. With `mixing` the
    selection is all records of all sources, and there is none of the others. `drawing` gives the order in the place of
    `shuffle`; not with `sampling`, `batches` of a sampler, or `mixing`.
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
    batches: BatchSampling | LengthBatches | None
    rotation: tuple[int, int] | None = None
    mixing: Mixing | None = None
    drawing: Weighting | Balance | None = None

    @property
    def repeats(self) -> bool:
        """Whether a record may come several times in an epoch, so that its position tells one use from another."""
        return self.mixing is not None or self.drawing is not None

    @property
    def shape(self) -> StepShape:
        """The steps that all ranks take together."""
        return StepShape(self.batch_size, self.world_size, self.lanes)

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

    def replacements(self) -> Selection:
        """Return the records that may stand in for bad ones: those that take part, with a sampler those of epoch 0.

        Never any other: a sampler may be what keeps a test set out of training.
        """
        if self.sampling is not None:
            given = self.sampling.records(0)
        elif isinstance(self.batches, BatchSampling):
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
        if self.drawing is not None:
            return self.drawing.order(epoch)
        if self.mixing is not None:
            return self.mixing.order(self.shuffle, seed=self.seed, epoch=epoch, interleave=self.interleave)
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
        """Return the samples at positions of an order; with rotation, by their positions in the order below.

        Where a record may come several times in an epoch they have their positions in its stream.
        """
        if isinstance(order, RotationOrder):
            positions, order = order.locate(positions)[0], order.order
        places = order(positions)
        if isinstance(order, StreamOrder):
            positions = positions + order.start
        return Part(epoch, positions, places if self.sampling is not None else self.selection.records(places))
