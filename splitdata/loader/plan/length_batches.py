"""Batches by length of each epoch, for a plan: what a batch sampler of the user's would be, as a function.

They are made when they are asked for, out of the order of the epoch.

    order of an epoch ──> places ──selection──> records ──> lengths          order/batching.py cuts them
    batches(epoch)    ──> [positions of a batch, ...]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from splitdata.order.permutation import derive_key
from splitdata.order.windowed_batches import WindowedBatches

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from splitdata.loader.plan.selection import Selection
    from splitdata.order.batching import Batching
    from splitdata.order.epoch_order import Order

__all__ = ["LengthBatches", "batching_digest"]


class LengthBatches:
    """The batches by length of the epochs of a plan; the last two epochs that were asked for are remembered.

    Attributes:
        batching: How they are cut.
    """

    def __init__(
        self,
        batching: Batching,
        order_of: Callable[[int], Order],
        selection: Selection,
        lengths: NDArray[np.int64],
        *,
        batch_size: int,
        lanes: int,
        seed: int | None,
    ) -> None:
        """Take what they are made of.

        Args:
            batching: How to cut.
            order_of: The order of an epoch.
            selection: The records that its places stand for.
            lengths: Of all records.
            batch_size: As the batching understands it.
            lanes: Batches of like length that stay together.
            seed: Of the order of batches; None for that of their lengths.
        """
        self.batching = batching
        self._order_of = order_of
        self._selection = selection
        self._lengths = lengths
        self._batch_size = batch_size
        self._lanes = lanes
        self._seed = seed
        self._known: dict[int, WindowedBatches] = {}

    def batches(self, epoch: int) -> WindowedBatches:
        """Return the batches of an epoch; the first call for an epoch looks at all lengths.

        Raises:
            ValueError: If a sample fits into no batch.
        """
        if epoch not in self._known:
            order = self._order_of(epoch)
            batches = WindowedBatches(
                self.batching,
                order.num_positions,
                lambda positions: self._lengths[self._selection.records(order(positions))],
                batch_size=self._batch_size,
                lanes=self._lanes,
                key=None if self._seed is None else derive_key(self._seed, epoch, "batches"),
            )
            if len(self._known) > 1:
                del self._known[min(self._known)]
            self._known[epoch] = batches
        return self._known[epoch]


def batching_digest(batching: Batching, batch_size: int, lengths: NDArray[np.int64]) -> str:
    """Return text that names what the batches of all epochs depend on, beside the order."""
    hashed = xxhash.xxh3_64_hexdigest(lengths.astype("<i8").tobytes())
    return f"{batching.name()}, at most {batch_size} samples, lengths {hashed}"
