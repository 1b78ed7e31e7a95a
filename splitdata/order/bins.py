"""Shuffle by bins: random to the model, sequential to the disk.

    bins, permuted        7 2 9 | 4 0 5 | ...        groups of `interleave` bins
    within a group        all its records in one joint permutation

Only the bins of one group are read at a time, and each of them once, so memory and disk see
a few sequential files. Position -> (bin, ordinal) is a pure function; what it holds is O(bins).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splitdata.order.permutation import Permutation, derive_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BinShuffle"]


class BinShuffle:
    """The order of one epoch of a set of bins.

    Attributes:
        num_records: Records of all bins.
        groups: The bins of each group, in the order in which the groups come.
    """

    def __init__(self, counts: NDArray[np.int64], *, interleave: int, seed: int, epoch: int = 0) -> None:
        """Take the number of records in each bin; `interleave` bins are mixed with each other."""
        if interleave < 1:
            raise ValueError(f"interleave must be 1 or more bins, got {interleave}")
        self._key = derive_key(seed, epoch, "bins")
        self._counts = counts
        order = Permutation(len(counts), self._key)(np.arange(len(counts)))
        self.groups = [order[start : start + interleave] for start in range(0, len(order), interleave)]
        self._ends = np.cumsum([int(counts[group].sum()) for group in self.groups], dtype=np.int64)
        self.num_records = int(counts.sum())

    def group_of(self, position: int) -> int:
        """Return the number of the group that holds a position of the epoch."""
        return int(np.searchsorted(self._ends, position, "right"))

    def group_range(self, group: int) -> tuple[int, int]:
        """Return the positions of a group, as start and stop."""
        return (int(self._ends[group - 1]) if group else 0), int(self._ends[group])

    def group_permutation(self, group: int) -> Permutation:
        """Return the joint permutation of a group's records."""
        start, stop = self.group_range(group)
        return Permutation(stop - start, derive_key(self._key, group))

    def locate(
        self, group: int, permutation: Permutation, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return bin and ordinal in that bin of each position, all of one group."""
        members = self.groups[group]
        places = permutation(positions - self.group_range(group)[0])
        ends = np.cumsum(self._counts[members])
        member = np.searchsorted(ends, places, "right")
        return members[member], places - (ends - self._counts[members])[member]
