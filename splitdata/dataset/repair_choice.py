"""Which of the frames that were found in a bin are its records: those that fit together.

    head | 1 | 3 | 5 | .......... | 9 | 11 |        frames of one bin of two, in ascending order, end to end
                       ^ 7          each begins where the one before it ends, so this is none

Frames that follow each other make a run. Whatever overlaps those that were taken before, or does not fit between
them, is left out, in this order:

    1. a frame that is known, as the old index leads to it or the bin begins with it, and all behind it in its run
    2. others that have one before them; of several runs the one that ends with the bin, then the longer ones; of a
       run in which one does not fit, what stands behind that
    3. the first of each: nothing says that a frame begins there

What the bytes of a record imitate can begin nowhere but in a hole, so it is left out unless several headers in a row
are lost.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.repair_scan import follows_in
from splitdata.format import spec
from splitdata.format.frames import aligned_start, follow

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BinPlan", "chosen_frames"]

_NONE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class BinPlan:
    """How the records of a bin are laid out.

    Attributes:
        bin_index: Its number: the sequence number of its first record.
        num_bins: From one sequence number to the next.
        start: Where what stands before the first record ends.
        is_start_sure: Whether nothing else can stand there.
        size: Of the file.
        alignments: That payloads may have: one, where it is known.
    """

    bin_index: int
    num_bins: int
    start: int
    is_start_sure: bool
    size: int
    alignments: tuple[int, ...]

    def begins_here(self, frames: NDArray[np.void]) -> NDArray[np.bool_]:
        """Say of each frame whether it is the first record, in its place."""
        starts = np.full(len(frames), self.start)
        is_first: NDArray[np.bool_] = frames["sequence"] == self.bin_index
        return is_first & follow(starts, frames["offset"], frames["is_large"], self.alignments)

    def next_offsets(self, stop: int) -> dict[int, bool]:
        """Return where the frame behind one that ends here may begin, and whether that is a large one."""
        offsets: dict[int, bool] = {}
        for alignment in self.alignments:
            ordinary = aligned_start(stop, spec.FRAME_HEADER_BYTES, alignment)
            offsets.setdefault(ordinary, False)
            offsets.setdefault(aligned_start(ordinary, spec.LARGE_FRAME_HEADER_BYTES, alignment), True)
        return offsets


def chosen_frames(frames: NDArray[np.void], plan: BinPlan) -> NDArray[np.void]:
    """Return those of the frames of a bin, by offset, that are records of it."""
    if _fit_together(frames, plan):
        return frames
    return frames[_Choice(frames, plan).run()]


def _fit_together(frames: NDArray[np.void], plan: BinPlan) -> bool:
    """Say whether nothing contradicts anything, which is how nearly every bin is."""
    if not len(frames):
        return True
    before, after = frames[:-1], frames[1:]
    linked = follows_in(before, after, plan.num_bins, plan.alignments)
    distance = after["sequence"] - before["sequence"]
    is_fine = (after["offset"] >= before["stop"]) & ((distance > plan.num_bins) | linked)
    at_start = bool(plan.begins_here(frames[:1])[0])
    is_first_fine = at_start or (plan.is_start_sure <= (int(frames["sequence"][0]) != plan.bin_index))
    # A header alone says little: only what stands beside it can confirm it.
    beside = np.concatenate([[at_start], linked]) | np.concatenate([linked, [False]])
    is_confirmed = frames["is_whole"] | frames["is_listed"] | beside
    return bool(is_fine.all() and is_first_fine and is_confirmed.all())


class _Choice:
    """The choice for one bin, frame by frame; only made where something is contradicted."""

    def __init__(self, frames: NDArray[np.void], plan: BinPlan) -> None:
        self._plan = plan
        self._offsets: list[int] = frames["offset"].tolist()
        self._stops: list[int] = frames["stop"].tolist()
        self._sequences: list[int] = frames["sequence"].tolist()
        self._are_large: list[bool] = frames["is_large"].tolist()
        self._are_whole: list[bool] = frames["is_whole"].tolist()
        self._are_listed: list[bool] = frames["is_listed"].tolist()
        self._at_start: list[bool] = plan.begins_here(frames).tolist()
        self._next = [_NONE] * len(frames)
        # Of several that could stand before one frame, those of which nothing says which it is.
        self._contested: set[int] = set()
        self._taken: list[int] = []
        self._taken_offsets: list[int] = []

    def run(self) -> NDArray[np.int64]:
        """Return the numbers of the frames that are taken, ascending."""
        self._link()
        runs = self._runs()
        firsts = [next((place for place, number in enumerate(run) if self._is_known(number)), len(run)) for run in runs]
        for run, first in zip(runs, firsts, strict=True):
            self._take_all(run[first:], run)
        heads = []
        for run, first in zip(runs, firsts, strict=True):
            others = self._behind_misfits(run[:first])
            self._take_all(others[1:], run)
            heads.append((others[:1], run))
        for head, run in heads:
            self._take_all([number for number in head if number not in self._contested], run)
        return np.array(self._taken, np.int64)

    def _behind_misfits(self, numbers: list[int]) -> list[int]:
        """Return the end of a run all of which fits: what leads to a frame that cannot be true is none of it either."""
        first = next((place for place in range(len(numbers), 0, -1) if not self._fits(numbers[place - 1])), 0)
        return numbers[first:]

    def _take_all(self, numbers: list[int], run: list[int]) -> None:
        """Take frames of a run that fit between those that were taken before."""
        for number in numbers:
            # A header alone says little: only what stands beside it can confirm it.
            is_confirmed = self._are_whole[number] or self._are_listed[number] or self._at_start[number] or len(run) > 1
            if is_confirmed and self._fits(number):
                place = bisect(self._taken_offsets, self._offsets[number])
                self._taken.insert(place, number)
                self._taken_offsets.insert(place, self._offsets[number])

    def _link(self) -> None:
        """Find the next frame of each."""
        numbers = {offset: number for number, offset in enumerate(self._offsets)}
        for number, stop in enumerate(self._stops):
            for offset, is_large in self._plan.next_offsets(stop).items():
                other = numbers.get(offset)
                if other is not None and self._are_large[other] == is_large and self._is_next(number, other):
                    self._next[number] = other
                    break

    def _is_next(self, number: int, other: int) -> bool:
        return self._sequences[other] == self._sequences[number] + self._plan.num_bins

    def _runs(self) -> list[list[int]]:
        """Return frames that follow each other; those that end with the bin first, the longer before the shorter."""
        weights = [0] * len(self._offsets)
        before = [_NONE] * len(self._offsets)
        # By offset, so that all that leads to a frame is known before it.
        for number, other in enumerate(self._next):
            weights[number] += self._weight(number)
            if other == _NONE:
                continue
            rival = before[other]
            if rival != _NONE and weights[rival] == weights[number]:
                self._contested |= {rival, number}
            if rival == _NONE or weights[number] > weights[rival]:
                weights[other] = weights[number]
                before[other] = number
        runs: dict[int, list[int]] = {}
        run_of = [0] * len(self._offsets)
        for number, previous in enumerate(before):
            run_of[number] = number if previous == _NONE else run_of[previous]
            runs.setdefault(run_of[number], []).append(number)
        return sorted(runs.values(), key=lambda run: (not self._ends_bin(run), -sum(map(self._weight, run)), run[0]))

    def _weight(self, number: int) -> int:
        """Return how much a frame counts: one that is known more than any number of others."""
        return len(self._offsets) + 1 if self._is_known(number) else int(self._are_whole[number])

    def _is_known(self, number: int) -> bool:
        return (self._are_listed[number] and self._are_whole[number]) or self._at_start[number]

    def _ends_bin(self, run: list[int]) -> bool:
        last = run[-1]
        return len(run) > 1 and self._are_whole[last] and self._plan.size in self._plan.next_offsets(self._stops[last])

    def _fits(self, number: int) -> bool:
        """Say whether a frame can be true, besides those that were taken."""
        place = bisect(self._taken_offsets, self._offsets[number])
        left = self._taken[place - 1] if place else _NONE
        right = self._taken[place] if place < len(self._taken) else _NONE
        fits_left = self._fits_at_start(number) if left == _NONE else self._fit(left, number)
        return fits_left and (right == _NONE or self._fit(number, right))

    def _fit(self, number: int, other: int) -> bool:
        """Say whether two frames can both be true, the first before the second."""
        if self._stops[number] > self._offsets[other] or self._sequences[number] >= self._sequences[other]:
            return False
        return not self._is_next(number, other) or self._next[number] == other

    def _fits_at_start(self, number: int) -> bool:
        if self._sequences[number] != self._plan.bin_index or not self._plan.is_start_sure:
            return True
        return self._at_start[number]
