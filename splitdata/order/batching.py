"""Batches by length: inside windows of the order samples of like length stand together, and nothing is left over.

    order       ... | a window of M samples          | ...          the order itself is that of the loader's shuffle
                      sorted by length, or by bucket
                      cut where a batch is full        TokenBudget: count * longest, or the sum, within a budget
                                                       Buckets: batch_size samples of one bucket
                                                       Packed: batch_size packs of samples that fit one sequence
                      as many as lanes, or a multiple: the largest are halved
                      groups of `lanes` neighbours in random order

The lanes are the ranks of the first use: in a step all ranks get batches of like length. Everything is a function of
(order, lengths, seed, epoch), so any batch is found from its number and the number of batches in each window.
"""

from __future__ import annotations

import bisect
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, overload

import numpy as np

from splitdata.order.counts import checked_count
from splitdata.order.permutation import Permutation, derive_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batching", "Buckets", "Length", "Packed", "TokenBudget", "WindowedBatches", "in_order_packs"]

Length: TypeAlias = "str | Sequence[int] | NDArray[np.integer] | Callable[..., int] | None"

# Windows whose batches are remembered: steps go through one after the other.
_REMEMBERED: Final = 4


@dataclass(frozen=True, kw_only=True)
class Batching(ABC):
    """What batches by length have in common.

    Attributes:
        window: Samples among which those of like length are looked for: more means less padding and less mixing.
        length: Of each record: None for its bytes as the index says them; the name of a field of samples, which is a
            number, or whose first axis or text is measured; one number for each record of the dataset; or a function
            of a record, which is called for each of them once, when the loader is first used.
    """

    window: int = 8192
    length: Length = None

    def __post_init__(self) -> None:
        """Check the window."""
        object.__setattr__(self, "window", checked_count("window", self.window, 1))

    @abstractmethod
    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Sort the samples of a window, and cut them: return their order, and where each batch ends in it.

        Raises:
            ValueError: If a sample fits into no batch.
        """

    @abstractmethod
    def name(self) -> str:
        """Return text that names all but the lengths, for a state."""


@dataclass(frozen=True, kw_only=True)
class Buckets(Batching):
    """Batches of `batch_size` samples of one bucket of lengths; in each window a bucket's last batch may be smaller.

    Attributes:
        boundaries: Ascending; a sample longer than one, and not longer than the next, is in the bucket between.
    """

    boundaries: tuple[int, ...]

    def __post_init__(self) -> None:
        """Check the boundaries.

        Raises:
            TypeError, ValueError: If they are invalid.
        """
        super().__post_init__()
        boundaries = tuple(checked_count("a boundary of buckets", one, 0) for one in self.boundaries)
        if not boundaries or list(boundaries) != sorted(set(boundaries)):
            raise ValueError(f"boundaries must be one number or more, ascending, got {self.boundaries}")
        object.__setattr__(self, "boundaries", boundaries)

    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Sort by bucket, and cut each bucket every `batch_size` samples."""
        buckets = np.searchsorted(self.boundaries, lengths, "left")
        order = np.argsort(buckets, kind="stable")
        ends: list[int] = []
        begin = 0
        for count in np.bincount(buckets).tolist():
            ends += [*range(begin + batch_size, begin + count, batch_size), begin + count] if count else []
            begin += count
        return order, ends

    def name(self) -> str:
        """Return text that names all but the lengths."""
        return f"buckets of {list(self.boundaries)} in windows of {self.window}"


@dataclass(frozen=True, kw_only=True)
class TokenBudget(Batching):
    """Batches of as many samples as fit a budget; `batch_size`, where it is not 1, is the most of them.

    Attributes:
        max_tokens: The budget of each rank's batch, in the unit of the lengths.
        cost: "padded": samples times the longest of them. "sum": the lengths together.
    """

    max_tokens: int
    cost: Literal["padded", "sum"] = "padded"

    def __post_init__(self) -> None:
        """Check the budget.

        Raises:
            TypeError, ValueError: If it is invalid.
        """
        super().__post_init__()
        object.__setattr__(self, "max_tokens", checked_count("max_tokens", self.max_tokens, 1))
        if self.cost not in ("padded", "sum"):
            raise ValueError(f'cost must be "padded" or "sum", got {self.cost!r}')

    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Sort by length, and fill batches from the shortest on."""
        _check_longest(lengths, self.max_tokens, "max_tokens")
        order = np.argsort(lengths, kind="stable")
        ascending = lengths[order]
        sums = np.concatenate([[0], np.cumsum(ascending)])
        most = len(lengths) if batch_size == 1 else batch_size
        ends: list[int] = []
        begin = 0
        while begin < len(ascending):
            stop = min(len(ascending), begin + most)
            if self.cost == "sum":
                end = int(np.searchsorted(sums, sums[begin] + self.max_tokens, "right")) - 1
            else:
                end = self._last_padded(ascending, begin, stop)
            ends.append(begin := max(begin + 1, min(end, stop)))
        return order, ends

    def _last_padded(self, ascending: NDArray[np.int64], begin: int, stop: int) -> int:
        """Return the largest end so that (end - begin) * ascending[end - 1] is within the budget; both factors grow."""
        low, high = begin + 1, stop
        while low < high:
            middle = (low + high + 1) // 2
            if (middle - begin) * int(ascending[middle - 1]) <= self.max_tokens:
                low = middle
            else:
                high = middle - 1
        return low

    def name(self) -> str:
        """Return text that names all but the lengths."""
        return f"{self.max_tokens} tokens, {self.cost}, in windows of {self.window}"


@dataclass(frozen=True, kw_only=True)
class Packed(Batching):
    """Batches of `batch_size` packs: samples that together fit one sequence. Nothing is dropped or split.

    A batch holds its packs one after the other; `PackedCollate` of the same size makes sequences of them again.

    Attributes:
        size: Length of a sequence, in the unit of the lengths.
        strategy: "best-fit": each sample, from the longest on, goes into the fullest pack of the window that has room.
            "in-order": samples stay in the order of the epoch, and the first that has no room closes a pack.
    """

    size: int
    strategy: Literal["best-fit", "in-order"] = "best-fit"

    def __post_init__(self) -> None:
        """Check the size and the strategy.

        Raises:
            TypeError, ValueError: If they are invalid.
        """
        super().__post_init__()
        object.__setattr__(self, "size", checked_count("the size of packs", self.size, 1))
        if self.strategy not in ("best-fit", "in-order"):
            raise ValueError(f'strategy must be "best-fit" or "in-order", got {self.strategy!r}')

    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Make packs, and batches of them in the order of their first samples."""
        _check_longest(lengths, self.size, "the size of packs")
        packs = in_order_packs(lengths, self.size) if self.strategy == "in-order" else self._best_fit(lengths)
        order = np.concatenate([np.empty(0, np.intp), *packs])
        ends = np.cumsum([len(pack) for pack in packs]).tolist()
        return order, [*ends[batch_size - 1 : -1 : batch_size], *ends[-1:]]

    def _best_fit(self, lengths: NDArray[np.int64]) -> list[NDArray[np.intp]]:
        packs: list[list[int]] = []
        # Room that is left, and the pack that has it; ascending.
        open_packs: list[tuple[int, int]] = []
        for sample in np.argsort(-lengths, kind="stable").tolist():
            length = int(lengths[sample])
            found = bisect.bisect_left(open_packs, (length, -1))
            if found < len(open_packs):
                room, pack = open_packs.pop(found)
            else:
                room, pack = self.size, len(packs)
                packs.append([])
            packs[pack].append(sample)
            bisect.insort(open_packs, (room - length, pack))
        return sorted((np.sort(np.array(pack, np.intp)) for pack in packs), key=lambda pack: int(pack[0]))

    def name(self) -> str:
        """Return text that names all but the lengths."""
        return f"packs of {self.size}, {self.strategy}, in windows of {self.window}"


def in_order_packs(lengths: Sequence[int] | NDArray[np.int64], size: int) -> list[NDArray[np.intp]]:
    """Divide samples that stand in order into packs, as few as can be: return the numbers of the samples of each."""
    borders, room = [0], size
    for sample, length in enumerate(map(int, lengths)):
        if length > room and sample > borders[-1]:
            borders.append(sample)
            room = size
        room -= length
    return [np.arange(begin, end) for begin, end in pairwise([*borders, len(lengths)]) if begin < end]


def _check_longest(lengths: NDArray[np.int64], most: int, name: str) -> None:
    """Refuse samples that fit into no batch.

    Raises:
        ValueError: Saying how many there are.
    """
    if (longest := int(lengths.max(initial=0))) > most:
        raise ValueError(
            f"{int(np.count_nonzero(lengths > most))} samples of a window of {len(lengths)} are longer than {name}, "
            f"{most}; the longest has {longest}: raise it, or leave them out by a subset"
        )


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
        self._windows: OrderedDict[int, list[NDArray[np.int64]]] = OrderedDict()
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
        if not 0 <= index < len(self):
            raise IndexError(f"there is no batch {index}, the epoch has {len(self)}")
        window = int(np.searchsorted(self._stops, index, "right"))
        batches = self._window(window)
        return batches[index - int(self._stops[window])]

    def _window(self, number: int) -> list[NDArray[np.int64]]:
        batches = self._windows.get(number)
        if batches is None:
            begin = number * self._batching.window
            positions = np.arange(begin, min(begin + self._batching.window, self._num_positions), dtype=np.int64)
            order, ends = self._batching.cut(self._length_at(positions), self._batch_size)
            ends = _as_multiple(ends, self._lanes)
            batches = np.split(positions[order], ends[:-1])
            batches = [batches[place] for place in self._shuffled(len(batches), number)]
            self._windows[number] = batches
            if len(self._windows) > _REMEMBERED:
                self._windows.popitem(last=False)
        return batches

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


def _as_multiple(ends: list[int], lanes: int) -> list[int]:
    """Halve the largest batches until there are a multiple of lanes, so that the steps of all ranks stay aligned."""
    missing = -len(ends) % lanes
    if not missing or not ends or ends[-1] < len(ends) + missing:
        return ends
    ends = list(ends)
    for _ in range(missing):
        begins = [0, *ends[:-1]]
        largest = max(range(len(ends)), key=lambda batch: ends[batch] - begins[batch])
        ends.insert(largest, (begins[largest] + ends[largest]) // 2)
    return ends
