"""Which records have moved: as few as can be, so that all others stand in one order.

    order in A    0 1 2 3 4 5 6 7           runs: stretches that follow each other in both
    place in B    0 1 2 7 3 4 5 6           [0 1 2] [7] [3 4 5 6]   the longest row of runs that ascends stays:
                                                     └ moved         0 1 2  3 4 5 6

Memory follows the number of runs: it is small unless one dataset was shuffled.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Runs", "moved_runs"]

# Beyond, all runs are taken for moved that do not stand at one place in both: who has shuffled knows it.
_MOST_RUNS: Final = 1 << 20


class Runs:
    """Stretches of records that follow each other in both orders.

    Attributes:
        starts: Place of the first record of each in the first order, ascending, int64.
        others: Its place in the second order, int64.
        lengths: Records of each, int64.
    """

    def __init__(self, others: Iterable[NDArray[np.int64]]) -> None:
        """Take the places in the second order, of all records in the first order, in parts."""
        starts, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        total, expected = 0, -1
        for part in others:
            is_first = np.diff(part, prepend=expected - 1) != 1
            begins = np.flatnonzero(is_first)
            starts.append(begins + total)
            places.append(part[begins])
            total += len(part)
            if len(part):
                expected = int(part[-1]) + 1
        self.starts, self.others = np.concatenate(starts), np.concatenate(places)
        self.lengths = np.diff(self.starts, append=total)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.starts)

    def of(self, places: NDArray[np.int64]) -> NDArray[np.intp]:
        """Return the number of the run of each place in the first order."""
        return np.searchsorted(self.starts, places, "right") - 1


def moved_runs(runs: Runs) -> NDArray[np.bool_]:
    """Say of each run whether it has moved; those that have not ascend, and hold as many records as can be."""
    if len(runs) > _MOST_RUNS:
        is_elsewhere: NDArray[np.bool_] = runs.starts != runs.others - runs.others.min()
        return is_elsewhere
    # Of rows of runs that end with some place: the place, ascending, and how many records they hold, ascending too;
    # a row that ends later and holds less is never gone on with.
    ends: list[int] = []
    weights: list[int] = []
    lasts: list[int] = []
    before: list[int] = []
    for number, (place, length) in enumerate(zip(runs.others.tolist(), runs.lengths.tolist(), strict=True)):
        slot = bisect_left(ends, place)
        before.append(lasts[slot - 1] if slot else -1)
        weight = length + (weights[slot - 1] if slot else 0)
        stop = slot
        while stop < len(ends) and weights[stop] <= weight:
            stop += 1
        ends[slot:stop], weights[slot:stop], lasts[slot:stop] = [place], [weight], [number]
    has_moved = np.ones(len(runs), np.bool_)
    last = lasts[-1] if lasts else -1
    while last >= 0:
        has_moved[last] = False
        last = before[last]
    return has_moved
