"""Shuffle by bins: random to the model, a few files at a time to the disk.

    bins, permuted, end to end      7 7 7 7 2 2 2 2 9 9 9 9 4 4 4 4 0 0 0 0 5 5 5 5      the line
    cut into lanes, here two        └─────── lane 0 ──────┘ └─────── lane 1 ──────┘
    groups of `interleave` bins     └─── 0 ───────┘ └─ 1 ─┘ └─── 2 ───────┘ └─ 3 ─┘
    within a group                  all its records in one joint permutation

    position p ──> lane p mod lanes, place p div lanes ──> slot of the line ──> permuted in its group ──> bin, ordinal

The lanes take turns, so a rank that takes every n-th position has lanes of its own, and of each reads the
bins of one group at a time. A bin at a cut is read by both sides. What is held is O(bins + lanes).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.counts import checked_count
from splitdata.order.permutation import Permutation, derive_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["BinShuffle"]

# Permutations that are kept, of 128 KiB at most: to make one takes as long as 30,000 positions of it.
_KEPT_GROUPS: Final = 64


class BinShuffle:
    """The order of one epoch of a set of bins. Safe to share between threads.

    Attributes:
        num_records: Records of all bins.
        num_groups: Groups of all lanes; those of lane 0 have the lowest numbers.
    """

    def __init__(
        self, counts: NDArray[np.int64], *, interleave: int, seed: int, epoch: int = 0, lanes: int = 1
    ) -> None:
        """Arrange the bins.

        Args:
            counts: Records of each bin.
            interleave: How many bins of a lane are mixed with each other.
            seed: An int of 0 or more.
            epoch: Another one has another order.
            lanes: How many parts there are.

        Raises:
            TypeError, ValueError: If an argument is invalid.
        """
        # More than there are bins is all of them; an int64 holds that.
        interleave = min(checked_count("interleave", interleave, 1), len(counts) + 1)
        lanes = checked_count("lanes", lanes, 1)
        self._key = derive_key(seed, epoch, "bins")
        self._line = Permutation(len(counts), self._key)(np.arange(len(counts)))
        self._bin_ends = np.cumsum(counts[self._line], dtype=np.int64)
        self._bin_starts = self._bin_ends - counts[self._line]
        self.num_records = int(counts.sum())
        # Lane l is as long as there are positions p with p mod lanes == l. One more start ends the last.
        numbers = np.arange(lanes + 1, dtype=np.int64)
        fewest, more = divmod(self.num_records, lanes)
        self._lane_starts = numbers * fewest + np.minimum(numbers, more)
        self._cut_into_groups(interleave)
        self._permutation = lru_cache(_KEPT_GROUPS)(self._make_permutation)

    def _cut_into_groups(self, interleave: int) -> None:
        """Find where each group begins and ends in the line, as slots and as bins."""
        starts, num_bins = self._lane_starts, len(self._line)
        # The bin that each lane begins with; what is empty at a cut belongs to the lane before it.
        first_bins = np.searchsorted(self._bin_ends, starts, "right")
        first_bins[0], first_bins[-1] = 0, num_bins
        is_cut = np.zeros(len(starts), np.bool_)
        inside = first_bins < num_bins
        is_cut[inside] = starts[inside] > self._bin_starts[first_bins[inside]]
        stop_bins = first_bins[1:] + is_cut[1:]
        num_groups = -(-(stop_bins - first_bins[:-1]) // interleave)
        lanes = np.repeat(np.arange(len(num_groups)), num_groups)
        numbers = np.arange(len(lanes)) - np.repeat(np.cumsum(num_groups) - num_groups, num_groups)
        self._first_bins = first_bins[lanes] + numbers * interleave
        self._stop_bins = np.minimum(self._first_bins + interleave, stop_bins[lanes])
        self._group_ends = np.minimum(self._bin_ends[self._stop_bins - 1], starts[lanes + 1])
        self.num_groups = len(lanes)

    def group_bins(self, group: int) -> NDArray[np.int64]:
        """Return the bins of a group, in the order of the line."""
        return self._line[self._first_bins[group] : self._stop_bins[group]]

    def group_range(self, group: int) -> tuple[int, int]:
        """Return the slots of a group, as start and stop; with one lane they are its positions."""
        return (int(self._group_ends[group - 1]) if group else 0), int(self._group_ends[group])

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return bin and ordinal in that bin of each position of the epoch."""
        num_lanes = len(self._lane_starts) - 1
        places = positions // num_lanes
        slots = self._lane_starts[positions - places * num_lanes] + places
        groups = np.searchsorted(self._group_ends, slots, "right")
        for group, chosen in _by_group(groups):
            start = self.group_range(group)[0]
            slots[chosen] = start + self._permutation(group)(slots[chosen] - start)
        numbers = np.searchsorted(self._bin_ends, slots, "right")
        return self._line[numbers], slots - self._bin_starts[numbers]

    def _make_permutation(self, group: int) -> Permutation:
        start, stop = self.group_range(group)
        return Permutation(stop - start, derive_key(self._key, group))


def _by_group(groups: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64] | slice]]:
    """Yield each group with the places where it stands."""
    if not len(groups):
        return
    if groups.min() == groups.max():
        # The usual call: nothing to sort, and no copies to pick from.
        yield int(groups[0]), slice(None)
        return
    numbers = groups - groups.min()
    # Numbers of 16 bits are sorted several times faster.
    order = np.argsort(numbers.astype(np.uint16) if numbers.max() < 1 << 16 else numbers, kind="stable")
    for chosen in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
        yield int(groups[chosen[0]]), chosen
