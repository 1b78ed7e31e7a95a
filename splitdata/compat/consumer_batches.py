"""Which records the batches of one consumer have, in each epoch: equally many batches for all, each record once.

    7 records, 2 consumers, batch_size 2     write order    consumer 0   0 1 | 2 3         consumer 1   4 5 | 6
    5 records, 2 consumers, batch_size 2                    consumer 0   0 1 | 2           consumer 1   3   | 4

A consumer has one stretch of the dataset, as long as that of any other or shorter by one record. With shuffle it is
the next one in each epoch, mixed. Stretches do not depend on the seed: consumers in several processes, each of which
took the time for its seed, share the records out all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from splitdata.order.epoch_order import epoch_order
from splitdata.order.permutation import derive_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.order.epoch_order import Shuffle

__all__ = ["ConsumerBatches"]


@dataclass(frozen=True, kw_only=True)
class ConsumerBatches:
    """A batch sampler of DistributedLoader: called with the epoch, it returns the batches of one consumer.

    Attributes:
        num_records: Of the dataset.
        batch_size: Records of a batch, at most. Where a stretch would fill one batch fewer than others, its last
            ones are smaller.
        consumer, num_consumers: Whose. Where records do not suffice, as with batches of one, a consumer takes a record
            that another one has too.
        shuffle: Inside the stretch.
        seed: An int of 0 or more.
    """

    num_records: int
    batch_size: int
    consumer: int
    num_consumers: int
    shuffle: Shuffle
    seed: int

    def __call__(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the records of each batch, int64; costs 8 bytes a record of the stretch."""
        if not self.num_records:
            return []
        place = self.consumer if self.shuffle is False else (self.consumer + epoch) % self.num_consumers
        least, longer = divmod(self.num_records, self.num_consumers)
        first, length = place * least + min(place, longer), least + (place < longer)
        num_batches = -(-(least + (longer > 0)) // self.batch_size)
        # A stretch that is too short for so many batches takes the next record too.
        length = max(length, num_batches)
        order = epoch_order(self.shuffle, length, seed=derive_key(self.seed, place), epoch=epoch)
        records = (first + order(np.arange(length, dtype=np.int64))) % self.num_records
        # Each batch leaves one record for every batch behind it.
        ends = np.arange(1, num_batches + 1) * self.batch_size
        ends = np.minimum(ends, length - np.arange(num_batches)[::-1])
        return np.split(records, ends[:-1])
