"""HashSplit: a share of the records that stays the same when records are appended.

Each record is drawn by its own number, so train and validation never exchange records as a dataset grows.

    record i ──> 64 random bits of (seed, i) ──> in [start, stop) of all that 64 bits can be? then i belongs

    HashSplit(0, 0.9)  ████████████████████████████░░░   every record is in one of the two,
    HashSplit(0.9, 1)  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░███   and stays there
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.permutation import derive_key, keys_of, random_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["HashSplit"]

# Hashed at once: enough to spread what numpy costs per call, little enough to stay in a processor's cache.
_BLOCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class HashSplit:
    """The records whose hash lies in a part of its range: about a `stop - start` share of all.

    Whether record i belongs depends on (seed, i) alone. Splits of one seed that do not overlap have no
    record in common, and those that cover 0 to 1 have all. The share is met as by drawing: of n records
    it is off by about sqrt(n * share * (1 - share)).

    Attributes:
        start, stop: Ends of the part, 0 <= start < stop <= 1.
        seed: Another seed divides otherwise.

    Raises:
        TypeError, ValueError: If the range or the seed is invalid.
    """

    start: float
    stop: float
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate the range and the seed."""
        for name, value in (("start", self.start), ("stop", self.stop)):
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise TypeError(f"{name} must be a number from 0 to 1, got {value!r}")
        # Written so that NaN is refused too.
        if not 0 <= self.start < self.stop <= 1:
            raise ValueError(
                f"a split goes from start to stop, 0 <= start < stop <= 1, got {self.start} to {self.stop}"
            )
        derive_key(self.seed)

    def records(self, num_records: int) -> NDArray[np.int64]:
        """Return which of the first `num_records` records belong, int64, ascending. About 10 ns a record."""
        key = derive_key(self.seed, "split")
        found = [np.empty(0, np.int64)]
        for first in range(0, num_records, _BLOCK):
            belongs = self._holds(random_keys(first, min(_BLOCK, num_records - first), key))
            found.append(np.flatnonzero(belongs).astype(np.int64) + first)
        return np.concatenate(found)

    def takes(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Say of things that are known by hashes, such as the keys of records, which belong.

        Whether one belongs depends on (seed, hash) alone, wherever it stands.
        """
        return self._holds(keys_of(hashes, derive_key(self.seed, "split by hash")))

    def _holds(self, bits: NDArray[np.uint64]) -> NDArray[np.bool_]:
        # Exact: a float times a power of two is; the last value of 64 bits stands for `stop == 1`.
        lowest, highest = int(float(self.start) * 2.0**64), int(float(self.stop) * 2.0**64) - 1
        if lowest > highest:
            return np.zeros(len(bits), np.bool_)
        return (bits >= np.uint64(lowest)) & (bits <= np.uint64(highest))
