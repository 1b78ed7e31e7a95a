"""Every class as often as any other: a function of (seed, epoch, position), exact in every stretch of C samples.

A block of as many positions as there are classes has each class once, in an order of its own. So a class's samples are
counted by the blocks, and each class goes through all of its records before one of them comes again.

    epoch e, position p ──> q = e * num_positions + p
                            block, place = divmod(q, C)        place, permuted in its block ──> class
                            pass, member = divmod(block, records of the class)
                            member, permuted in (class, pass) ──> record of the class

Classes have different numbers of records, and thousands of them are asked for at once. In small ones a member's image
is its rank among random numbers of all members; the others whose numbers have as many bits share a network
(permutation.py), keyed for each class and pass, which would be uneven over few members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash

from splitdata.order.blocks import BlockPermutation
from splitdata.order.counts import checked_count
from splitdata.order.permutation import Network, derive_key, keys_of
from splitdata.order.stream_order import StreamOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_CLASSES", "Balance", "BalancedOrder"]

MAX_CLASSES: Final = 1 << 20

# Classes of up to 32 members.
_RANKED_BITS: Final = 5


class Balance:
    """Records by class. Never changes; safe to share; pickles; takes 8 bytes a record.

    Attributes:
        length: Samples of an epoch.
        digest: Text that names all that the samples depend on, but seed and epoch.
    """

    def __init__(
        self,
        classes: NDArray[np.int64],
        *,
        num_samples: int | None = None,
        mixes: bool = True,
        seed: int = 0,
    ) -> None:
        """Sort the records by class: O(n log n) once.

        Args:
            classes: Number of the class of each record: 0, 1 and so on, none left out.
            num_samples: Of an epoch; None: as many as there are records.
            mixes: False: classes take turns, and each has its records in ascending order.
            seed: Of the order.

        Raises:
            TypeError, ValueError: If there are no records or too many classes, or `num_samples` is invalid.
        """
        self._counts = np.bincount(classes)
        if not 0 < len(self._counts) <= MAX_CLASSES:
            raise ValueError(f"balanced_by needs 1 to {MAX_CLASSES} classes, got {len(self._counts)}")
        self._members = np.argsort(classes, kind="stable")
        self._first = np.cumsum(self._counts) - self._counts
        self._bits = np.array([int(count - 1).bit_length() for count in self._counts], np.uint8)
        self.length = len(classes) if num_samples is None else checked_count("num_samples", num_samples, 1)
        self._seed = seed
        self._mixes = mixes
        self._blocks = BlockPermutation(len(self._counts), derive_key(seed, "classes")) if mixes else None
        hashed = xxhash.xxh3_64_hexdigest(classes.astype("<i8").tobytes())
        self.digest = f"{self.length} of {len(self._counts)} classes {hashed}"

    def order(self, epoch: int) -> BalancedOrder:
        """Return the order of an epoch."""
        return BalancedOrder(self, epoch)

    def records_at(self, stream_positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position of the stream."""
        blocks, places = np.divmod(stream_positions, len(self._counts))
        classes = places if self._blocks is None else self._blocks(blocks, places)
        passes, members = np.divmod(blocks, self._counts[classes])
        if self._mixes:
            members = self._permuted(members, classes, passes)
        records: NDArray[np.int64] = self._members[self._first[classes] + members]
        return records

    def _permuted(
        self, members: NDArray[np.int64], classes: NDArray[np.int64], passes: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        tweaks = keys_of(passes.astype(np.uint64), keys_of(classes.astype(np.uint64), derive_key(self._seed, "passes")))
        bits, counts = self._bits[classes], self._counts[classes]
        images = np.empty_like(members)
        for number in np.flatnonzero(np.bincount(bits)).tolist():
            here = np.flatnonzero(bits == number)
            if number <= _RANKED_BITS:
                images[here] = _ranks(members[here], tweaks[here], counts[here])
                continue
            network = Network(1 << number, derive_key(self._seed, "members"))
            images[here] = network(members[here], tweaks[here], counts[here])
        return images


def _ranks(members: NDArray[np.int64], tweaks: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rank of each member's random number among those of all members with its tweak; no two are equal."""
    own = keys_of(members.astype(np.uint64), tweaks)
    ranks = np.zeros_like(members)
    for other in range(int(counts.max())):
        ranks += (keys_of(np.array([other], np.uint64), tweaks) < own) & (other < counts)
    return ranks


class BalancedOrder(StreamOrder):
    """The order of one epoch of balanced classes. Safe to share between threads."""

    def __init__(self, balance: Balance, epoch: int) -> None:
        super().__init__(balance.length, epoch)
        self._balance = balance

    def records_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position, all of them in range."""
        return self._balance.records_at(positions + self.start)
