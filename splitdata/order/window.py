"""Window: a shuffle that moves no record further than asked.

    position     ┆ a b c d ┆ e f g h ┆ i j k l ┆       blocks, each permuted
                 ┆ c a d b ┆ g h e f ┆ l i k j ┆
             ┆ c a ┆ d b g h ┆ e f l i ┆ k j ┆         blocks shifted by half, each permuted
    record   ┆ a c ┆ g d h b ┆ i e f l ┆ k j ┆

After both passes a record may be anywhere in its block and the halves beside it, with equal chances. Where
the first block ends is drawn for each order, so that borders do not lie in the same place in every epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from splitdata.order.blocks import BlockPermutation
from splitdata.order.counts import checked_count
from splitdata.order.permutation import Permutation, derive_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Window", "WindowOrder"]


@dataclass(frozen=True, slots=True)
class Window:
    """A shuffle among neighbours: the record at each position lies at most `size` positions away.

    What is read at one time lies within `2 * size` records on end, so a disk or a page cache that
    holds so much reads sequentially. Records move by a third of `size` on average. A window as large as the
    dataset is a global shuffle.

    Attributes:
        size: The most that a record moves, in positions, 1 or more.

    Raises:
        TypeError, ValueError: If the size is invalid.
    """

    size: int

    def __post_init__(self) -> None:
        """Validate the size."""
        # An int of numpy becomes a plain one: the size goes into states, which are JSON.
        object.__setattr__(self, "size", checked_count("the size of a window", self.size, 1))


class WindowOrder:
    """The order of one epoch, shuffled within a window. Safe to share between threads.

    Attributes:
        num_positions: Records of the epoch.
    """

    def __init__(self, num_positions: int, size: int, key: int) -> None:
        self.num_positions = num_positions
        self._passes: list[Callable[[NDArray[np.int64]], NDArray[np.int64]]]
        if num_positions <= size + 1:
            # Every record may go anywhere: nothing has to be cut.
            self._passes = [Permutation(num_positions, key)]
            return
        # The first pass moves a record by less than a block, the second by up to half of one further; a window
        # of one has room for the first alone.
        num_places = max(2, (size + 1) // 3 * 2)
        offset = derive_key(key, "offset") % num_places
        self._passes = [_BlockPass(num_positions, num_places, offset, derive_key(key, "first"))]
        if size > 1:
            shifted = (offset + num_places // 2) % num_places
            self._passes.append(_BlockPass(num_positions, num_places, shifted, derive_key(key, "second")))

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position; all must lie in range(num_positions)."""
        for one in self._passes:
            positions = one(positions)
        return positions


class _BlockPass:
    """Permutes each block of positions; block 0 ends at position `offset + 1`, the last at the end."""

    def __init__(self, num_positions: int, num_places: int, offset: int, key: int) -> None:
        self._num_places = num_places
        # So many places of block 0 lie before position 0.
        self._missing = num_places - 1 - offset
        last = (num_positions - 1 + self._missing) // num_places
        self._blocks = BlockPermutation(num_places, key)
        # By their number, those that are smaller, for there are never more than two.
        self._cut = {
            block: BlockPermutation(size, key)
            for block in (0, last)
            if 0 < (size := self._stop(block, num_positions) - self._start(block)) < num_places
        }

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        blocks = (positions + self._missing) // self._num_places
        starts = np.maximum(blocks * self._num_places - self._missing, 0)
        places = positions - starts
        whole = np.ones(len(positions), np.bool_)
        images = starts
        for block, permutation in self._cut.items():
            here = np.flatnonzero(blocks == block)
            whole[here] = False
            images[here] += permutation(blocks[here], places[here])
        if len(here := np.flatnonzero(whole)) == len(positions):
            images += self._blocks(blocks, places)
        else:
            images[here] += self._blocks(blocks[here], places[here])
        return images

    def _start(self, block: int) -> int:
        return max(0, block * self._num_places - self._missing)

    def _stop(self, block: int, num_positions: int) -> int:
        return min(num_positions, (block + 1) * self._num_places - self._missing)
