"""Batches by length: inside windows of the order samples of like length stand together, and nothing is left over.

    order       ... | a window of M samples          | ...          the order itself is that of the loader's shuffle
                      cut into batches                 batching.py, packs.py
                      as many as lanes, or a multiple: the largest are halved
                      groups of `lanes` neighbours in random order

The lanes are the ranks of the first use: in a step all ranks get batches of like length. Everything is a function of
(order, lengths, seed, epoch), so any batch is found from its number and the number of batches in each window.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, overload

import numpy as np

from splitdata.order.permutation import Permutation, derive_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.order.batching import Batching, Cut

__all__ = ["WindowedBatches"]

# Windows whose batches are remembered: steps go through one after the other.
_REMEMBERED: Final = 4


class WindowedBatches(Sequence["NDArray[np.int64]"]):
    """All batches of an epoch: the positions of each one's samples, int64[n]. Belongs to one thread.

    Making one looks at every sample's length once; then a batch costs the sorting of its window, which is remembered.
    """

    def __init__(
        self,
        batching: Batching,
        num_positions: int,
        length_at: Callable[[NDArray[np.int64]], NDArray[np.int64]],
        *,
        batch_size: int,
        lanes: int,
        key: int | None,
    ) -> None:
        """Count the batches of each window.

        Args:
            batching: How to cut.
            num_positions: Of the epoch.
            length_at: Lengths of the samples at positions.
            batch_size: Samples of a batch.
            lanes: Batches of like length that stay together.
            key: Of the order of batches; None keeps that of their lengths.

        Raises:
            ValueError: If a sample fits into no batch.
        """
        self._batching = batching
        self._num_positions = num_positions
        self._length_at = length_at
        self._batch_size = batch_size
        self._lanes = lanes
        self._key = key
        self._windows: OrderedDict[int, list[Cut]] = OrderedDict()
        num_windows = -(-num_positions // batching.window)
        counts = [len(self._window(number)) for number in range(num_windows)]
        self._stops = np.cumsum(counts, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    @overload
    def __getitem__(self, index: int) -> NDArray[np.int64]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[np.int64]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.int64] | list[NDArray[np.int64]]:
        """Return the positions of a batch."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self.cut(index).positions

    def cut(self, index: int) -> Cut:
        """Return a batch with the lengths of its samples, and which part of them it has.

        Raises:
            IndexError: There is no such batch.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no batch {index}, the epoch has {len(self)}")
        window = int(np.searchsorted(self._stops, index, "right"))
        cuts = self._window(window)
        return cuts[index - int(self._stops[window])]

    def _window(self, number: int) -> list[Cut]:
        cuts = self._windows.get(number)
        if cuts is None:
            begin = number * self._batching.window
            positions = np.arange(begin, min(begin + self._batching.window, self._num_positions), dtype=np.int64)
            lengths = self._length_at(positions)
            order, ends = self._batching.cut(lengths, self._batch_size)
            ends = _as_multiple(ends, self._lanes, self._batching.grain)
            cuts = self._batching.divide(positions[order], lengths[order], ends)
            cuts = [cuts[place] for place in self._shuffled(len(cuts), number)]
            self._windows[number] = cuts
            if len(self._windows) > _REMEMBERED:
                self._windows.popitem(last=False)
        return cuts

    def _shuffled(self, num_batches: int, window: int) -> list[int]:
        """Return the order of the batches of a window: groups of lanes in random order, and batches in each group."""
        if self._key is None:
            return list(range(num_batches))
        num_groups = -(-num_batches // self._lanes)
        groups = Permutation(num_groups, derive_key(self._key, window, "groups"))(np.arange(num_groups))
        found: list[int] = []
        for group in groups.tolist():
            begin = group * self._lanes
            size = min(self._lanes, num_batches - begin)
            within = Permutation(size, derive_key(self._key, window, group, "batches"))(np.arange(size))
            found += (begin + within).tolist()
        return found


def _as_multiple(ends: list[int], lanes: int, grain: int) -> list[int]:
    """Halve the largest batches until there are a multiple of lanes, so that the steps of all ranks stay aligned."""
    missing = -len(ends) % lanes
    if not missing or not ends or ends[-1] < len(ends) + missing:
        return ends
    ends = list(ends)
    for _ in range(missing):
        begins = [0, *ends[:-1]]
        largest = max(range(len(ends)), key=lambda batch: ends[batch] - begins[batch])
        size = ends[largest] - begins[largest]
        half = max(grain, size // 2 // grain * grain) if size > grain else size // 2
        ends.insert(largest, begins[largest] + half)
    return ends
