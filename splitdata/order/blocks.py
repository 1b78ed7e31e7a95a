"""Permutes the records inside many small blocks at once: what Window (order/window.py) shuffles with.

Each block has a permutation of its own, chosen by its number, and thousands of them are asked for in one call.

    block   7 7 7 3 3 3 9
    place   0 1 2 0 1 2 0
              │
              ├─ small blocks: random bits for each place with its number as the lowest, sorted
              └─ large ones:   a network whose rounds are keyed by the number of the block too
              v
    image   2 0 1 1 2 0 1      the same for a block whatever else is asked for

Nothing is kept from one call to the next.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.permutation import Network, keys_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BlockPermutation"]

# Up to here a block is sorted whole even for one place of it, in 10 us; a network is uneven over few places.
_SORTED_PLACES: Final = 1 << 10
# Asked for, and sorted, at once: enough to spread what numpy costs per call.
_CALL_PLACES: Final = 1 << 15


class BlockPermutation:
    """For each block number a bijection of range(num_places) onto itself. Safe to share between threads."""

    def __init__(self, num_places: int, key: int) -> None:
        if num_places < 1:
            raise ValueError(f"a block of {num_places} places")
        self.num_places = num_places
        self._key = key
        self._network = Network(num_places, key) if num_places > _SORTED_PLACES else None

    def __call__(self, blocks: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the image of each place in its block; blocks are 0 or more, places in range(num_places)."""
        if self._network is not None:
            return self._network(places, keys_of(blocks.astype(np.uint64), self._key))
        images = np.empty(len(places), np.int64)
        for start in range(0, len(places), _CALL_PLACES):
            part = slice(start, start + _CALL_PLACES)
            images[part] = self._look_up(blocks[part], places[part])
        return images

    def _look_up(self, blocks: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return images out of tables that are made for the blocks that are asked for."""
        lowest, num_blocks = int(blocks.min()), int(blocks.max()) - int(blocks.min()) + 1
        if num_blocks * self.num_places <= 4 * _CALL_PLACES:
            # Neighbours, as in every walk: no need to find out which.
            return self._tables(np.arange(lowest, lowest + num_blocks, dtype=np.int64))[blocks - lowest, places]
        distinct, numbers = np.unique(blocks, return_inverse=True)
        order = np.argsort(numbers, kind="stable")
        at_once = max(1, _CALL_PLACES // self.num_places)
        ends = np.searchsorted(numbers[order], np.arange(0, len(distinct) + at_once, at_once))
        images = np.empty(len(places), np.int64)
        for first, (start, stop) in zip(range(0, len(distinct), at_once), pairwise(ends.tolist()), strict=True):
            chosen = order[start:stop]
            tables = self._tables(distinct[first : first + at_once])
            images[chosen] = tables[numbers[chosen] - first, places[chosen]]
        return images

    def _tables(self, blocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images of all places of some blocks, int64[len(blocks), num_places]."""
        places = np.arange(self.num_places, dtype=np.uint64)
        low_bits = np.uint64((1 << self.num_places.bit_length()) - 1)
        streams = keys_of(blocks.astype(np.uint64), self._key)
        draws = keys_of(places, streams[:, np.newaxis])
        # The place in the low bits makes all differ, so every way to sort gives the same.
        draws &= ~low_bits
        draws |= places
        draws.sort(axis=1)
        return (draws & low_bits).astype(np.int64)
