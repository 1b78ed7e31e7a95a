"""Packs: samples of a window that together fill sequences of one length.

    best-fit    longest first, each into the fullest pack that has room       order lost inside the window, packs full
    first-fit   in order, each into the oldest open pack that has room        order nearly kept, packs nearly full
    in-order    the next sample opens a new pack where it has no room         order kept, packs as full as luck has it
    concat      samples end to end, cut every `size` elements                 order kept, packs full, samples split

Source: D. S. Johnson, Near-Optimal Bin Packing Algorithms, 1973.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

import numpy as np

from splitdata.order.batching import Batching, Cut, check_longest
from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Packed", "Strategy", "in_order_packs"]

Strategy: TypeAlias = Literal["best-fit", "first-fit", "in-order", "concat"]

# Of first fit: more make packs a little fuller, and samples move further.
_OPEN_PACKS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Packed(Batching):
    """Batches of `batch_size` packs: samples that together fit one sequence. Nothing is dropped.

    A batch holds its packs one after the other; `PackedCollate` of the same size makes sequences of them again.

    Attributes:
        size: Length of a sequence, in the unit of the lengths.
        strategy: "best-fit": each sample, from the longest on, goes into the fullest pack of the window that has room.
            "first-fit": in the order of the epoch, each into the oldest of 64 open packs that has room, so that none
            moves far. "in-order": samples stay in that order, and the first that has no room closes a pack.
            "concat": so they stay, and a sample that has no room is split: its rest begins the next pack. Samples may
            be longer than a sequence, and the last pack of a window alone is not full. Needs `PackedCollate`.
    """

    size: int
    strategy: Strategy = "best-fit"

    def __post_init__(self) -> None:
        """Check the size and the strategy.

        Raises:
            TypeError, ValueError: If they are invalid.
        """
        super().__post_init__()
        object.__setattr__(self, "size", checked_count("the size of packs", self.size, 1))
        if self.strategy not in (known := get_args(Strategy)):
            raise ValueError(f"strategy must be {', '.join(map(repr, known))}, got {self.strategy!r}")

    def cut(self, lengths: NDArray[np.int64], batch_size: int) -> tuple[NDArray[np.intp], list[int]]:
        """Make packs, and batches of them in the order of their first samples; with "concat" ends are in elements."""
        if self.splits:
            total, step = int(lengths.sum()), batch_size * self.size
            return np.arange(len(lengths)), [*range(step, total, step), total] if total else []
        check_longest(lengths, self.size, "the size of packs")
        if self.strategy == "in-order":
            packs = in_order_packs(lengths, self.size)
        else:
            packs = self._best_fit(lengths) if self.strategy == "best-fit" else self._first_fit(lengths)
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

    def _first_fit(self, lengths: NDArray[np.int64]) -> list[NDArray[np.intp]]:
        packs: list[list[int]] = []
        # Room that is left, and the pack that has it, from the oldest on.
        open_packs: list[tuple[int, int]] = []
        for sample, length in enumerate(lengths.tolist()):
            place = next((place for place, (room, _) in enumerate(open_packs) if room >= length), None)
            if place is None:
                place = len(open_packs)
                open_packs.append((self.size, len(packs)))
                packs.append([])
            room, pack = open_packs[place]
            packs[pack].append(sample)
            if room > length:
                open_packs[place] = room - length, pack
            else:
                del open_packs[place]
            del open_packs[:-_OPEN_PACKS]
        return [np.array(pack, np.intp) for pack in packs]

    @property
    def splits(self) -> bool:
        """Whether a sample may lie in several packs."""
        return self.strategy == "concat"

    @property
    def grain(self) -> int:
        """What is not divided where that can be avoided: with "concat" a pack, else a sample."""
        return self.size if self.splits else 1

    def divide(self, positions: NDArray[np.int64], lengths: NDArray[np.int64], ends: list[int]) -> list[Cut]:
        """Return the batches; with "concat" a sample may be in more than one."""
        if not self.splits:
            return super().divide(positions, lengths, ends)
        stops = np.cumsum(lengths)
        cuts = []
        for begin, end in pairwise([0, *ends]):
            first = int(np.searchsorted(stops, begin, "right"))
            here = slice(first, int(np.searchsorted(stops, end, "left")) + 1)
            taken = begin - int(stops[first] - lengths[first])
            cuts.append(Cut(positions[here], lengths[here], (taken, end - begin)))
        return cuts

    def room(self, cut: Cut) -> int:
        """Return the elements of the sequences that a batch makes."""
        num_packs = len(in_order_packs(cut.lengths, self.size)) if cut.span is None else -(-cut.span[1] // self.size)
        return num_packs * self.size

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
