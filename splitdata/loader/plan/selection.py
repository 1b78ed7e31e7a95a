"""The records of a dataset that take part: all of them, a slice, an array of numbers, or a share by hash.

The order is over places. A slice costs no memory at any length; an array is kept as int64.

    place in the selection, 0..len-1  ──>  record of the dataset
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash

from splitdata.order.hash_split import HashSplit
from splitdata.order.positions import checked_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Selection", "Subset"]

Subset: TypeAlias = "slice | range | Sequence[int] | Sequence[bool] | NDArray[Any] | HashSplit"


class Selection:
    """A subset of range(num_records), in the order in which it was given. Safe to share; pickles.

    Attributes:
        array: The records, None where `step` and `start` say them.
    """

    def __init__(self, subset: Subset | None, num_records: int, deleted: NDArray[np.int64] | None = None) -> None:
        """Check and resolve a subset.

        Args:
            subset: Slice, range, numbers, mask or HashSplit; None for all.
            num_records: Of the dataset.
            deleted: Records that are left out, ascending.

        Raises:
            IndexError: A record is out of range.
            TypeError: If it is of another kind than those above.
        """
        self.array: NDArray[np.int64] | None = None
        self._range = range(num_records)
        # In a stretch of records: how many take part before each that is left out, ascending.
        self._before: NDArray[np.int64] | None = None
        self._digest: str | None = None
        self._take(subset, num_records)
        if deleted is not None and len(deleted):
            self._leave_out(deleted)

    def _take(self, subset: Subset | None, num_records: int) -> None:
        if subset is None:
            return
        if isinstance(subset, slice):
            self._range = range(num_records)[subset]
        elif isinstance(subset, range):
            self._range = subset
            for end in (subset[0], subset[-1]) if subset else ():
                if not 0 <= end < num_records:
                    raise IndexError(f"subset holds record {end}; the dataset has {num_records} records")
        else:
            self.array = _as_records(subset, num_records)
        self._digest = self._compute_digest(num_records)

    def __len__(self) -> int:
        """Return how many records take part."""
        if self.array is not None:
            return len(self.array)
        return len(self._range) - (0 if self._before is None else len(self._before))

    @property
    def digest(self) -> str | None:
        """Text that names the selection, for a state; None for the whole dataset."""
        return self._digest

    def records(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the records at these places."""
        if self.array is not None:
            return self.array[places]
        if self._before is not None:
            return places + (self._range.start + np.searchsorted(self._before, places, "right"))
        if self._range.step == 1 and self._range.start == 0:
            return places
        return places * self._range.step + self._range.start

    def all_records(self) -> NDArray[np.int64]:
        """Return all of them as an array; 8 bytes each."""
        return self.records(np.arange(len(self), dtype=np.int64))

    def _leave_out(self, deleted: NDArray[np.int64]) -> None:
        """Leave records out; of a stretch only these are kept in memory, 8 bytes each, else all that take part."""
        if self.array is None and self._range.step == 1:
            first, last = np.searchsorted(deleted, (self._range.start, self._range.stop)).tolist()
            gone = deleted[first:last]
            if len(gone):
                self._before = gone - self._range.start - np.arange(len(gone))
        else:
            records = self.all_records()
            is_gone = np.isin(records, deleted)
            gone = np.unique(records[is_gone])
            if len(gone):
                self.array = records[~is_gone]
        if len(gone):
            hashed = xxhash.xxh3_64_hexdigest(gone.astype("<i8").tobytes())
            self._digest = f"{self._digest or 'all records'}, without {len(gone)} deleted {hashed}"

    def _compute_digest(self, num_records: int) -> str | None:
        if self.array is not None:
            return f"{len(self.array)} records {xxhash.xxh3_64_hexdigest(self.array.astype('<i8').tobytes())}"
        if self._range == range(num_records):
            return None
        return f"{len(self._range)} records from {self._range.start} by {self._range.step}"


def _as_records(subset: object, num_records: int) -> NDArray[np.int64]:
    if isinstance(subset, HashSplit):
        return subset.records(num_records)
    return checked_positions(subset, num_records, name="the records of subset")
