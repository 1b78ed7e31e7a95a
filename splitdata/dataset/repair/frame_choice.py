"""Chooses among the frames that were found in a bin: those that cannot be anything else are its records.

    head | 1 | 3 | 5 | . 7' . 9' . | 9 | 11 |      frames of one bin of two; the header of 7 is damaged, it holds 7', 9'
    `---- known -----'             `- hole --'     7 begins where 5 ends, and nowhere else: 7' is no record

A frame is known if the old index leads to it, or if it stands in its place behind a known one or at the bin's begin.
Between known frames lies a hole, which begins with a record that is missing: its length is not known, so anything
behind may lie in it. Frames that fit together are taken. Where others dispute them, and leave not many more records
missing, neither is taken: they stay in the file, and the digest of the segment may say later which of them are true
(digest_choice.py). What was never committed supports nothing.
"""

from __future__ import annotations

from bisect import bisect, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.repair.frame_layouts import sort_out
from splitdata.dataset.repair.frame_scan import follows_in
from splitdata.format.frame_layout import next_start
from splitdata.format.frames import follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["BinPlan", "Choice", "choose"]

_NONE: Final = -1
# So many ways to fill a hole without another one in it are held against the digest.
_MOST_LAYOUTS: Final = 8
_MOST_ROUNDS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class BinPlan:
    """The layout of the records of a bin.

    Attributes:
        bin_index: Its number: the sequence number of its first record.
        num_bins: From one sequence number to the next.
        num_frames: Of the segment, that were committed: records, or groups of them.
        is_sealed: Whether nothing stands behind these.
        start: Where what stands before the first record ends.
        is_start_sure: Whether nothing else can stand there.
        size: Of the file.
        alignments: That payloads may have: one, where it is known.
        read: Reads the bin, by offset and length.
    """

    bin_index: int
    num_bins: int
    num_frames: int
    is_sealed: bool
    start: int
    is_start_sure: bool
    size: int
    alignments: tuple[int, ...]
    read: Callable[[int, int], bytes]

    @property
    def last(self) -> int:
        """Sequence number of the last record that was committed, below that of the first if there is none."""
        return self.bin_index + (self.num_frames - 1 - self.bin_index) // self.num_bins * self.num_bins

    def begins_here(self, frames: NDArray[np.void]) -> NDArray[np.bool_]:
        """Say of each frame whether it is the first record, in its place."""
        starts = np.full(len(frames), self.start)
        is_first: NDArray[np.bool_] = frames["sequence"] == self.bin_index
        return is_first & follow(starts, frames["offset"], frames["is_large"], self.alignments)

    def next_offsets(self, stop: int) -> dict[int, bool]:
        """Return where the frame behind one that ends here may begin, and whether that is a large one."""
        offsets: dict[int, bool] = {}
        for alignment in self.alignments:
            offsets.setdefault(next_start(stop, alignment), False)
            offsets.setdefault(next_start(stop, alignment, is_large=True), True)
        if len(self.alignments) == 1:
            return offsets
        # The bytes before the place of another alignment are not padding: perhaps a frame with a damaged header.
        between = self.read(stop, max(offsets) - stop)
        num_zeros = len(between) - len(between.lstrip(b"\0"))
        return {offset: is_large for offset, is_large in offsets.items() if offset - stop <= num_zeros}

    def ends_here(self, stop: int) -> bool:
        """Say whether a sealed bin whose last frame ends at `stop` ends where this one does."""
        return any(stop <= self.size <= offset for offset, is_large in self.next_offsets(stop).items() if not is_large)


@dataclass(frozen=True, slots=True)
class Choice:
    """The frames of a bin that were taken.

    Attributes:
        frames: Those that are taken, by offset.
        layouts: Which frames may be true instead, where only the digest can say it.
        recovered: Sequence numbers of those of which word 0 is damaged, and nothing else.
        left: Where whole frames begin that may be records as well, and were not taken.
    """

    frames: NDArray[np.void]
    layouts: tuple[NDArray[np.void], ...] = ()
    recovered: tuple[int, ...] = ()
    left: tuple[int, ...] = ()


def choose(
    frames: NDArray[np.void], plan: BinPlan, frame_behind: Callable[[int, int], NDArray[np.void] | None]
) -> Choice:
    """Decide which of the frames of a bin, by offset, are records of it.

    Args:
        frames: That were found.
        plan: Of the bin.
        frame_behind: Returns the frame of a sequence number in its place behind a byte, of which word 0 may be
            damaged, or None.
    """
    if _fit_together(frames, plan, frame_behind):
        return Choice(frames)
    return _Chooser(frames, plan, frame_behind).run()


def _fit_together(
    frames: NDArray[np.void], plan: BinPlan, frame_behind: Callable[[int, int], NDArray[np.void] | None]
) -> bool:
    """Say whether nothing contradicts anything, which is how nearly every bin is."""
    if not len(frames) or len(plan.alignments) > 1:
        return False
    before, after = frames[:-1], frames[1:]
    linked = follows_in(before, after, plan.num_bins, plan.alignments)
    distance = after["sequence"] - before["sequence"]
    is_fine = (after["offset"] >= before["stop"]) & ((distance > plan.num_bins) | linked)
    at_start = bool(plan.begins_here(frames[:1])[0])
    is_first_fine = at_start or int(frames["sequence"][0]) != plan.bin_index
    # A header alone says little: only what stands beside it can confirm it.
    beside = np.concatenate([[at_start], linked]) | np.concatenate([linked, [False]])
    is_confirmed = frames["is_whole"] | frames["is_listed"] | beside
    if not (is_fine.all() and is_first_fine and is_confirmed.all() and _ends_well(frames, linked, plan)):
        return False
    # Where one is missing, its word 0 alone may be damaged: then it is known, and all behind it.
    breaks = frames[np.append(~linked, True)]
    ends = list(zip((breaks["sequence"] + plan.num_bins).tolist(), breaks["stop"].tolist(), strict=True))
    if not at_start:
        ends.append((plan.bin_index, plan.start))
    return all(sequence > plan.last or frame_behind(sequence, stop) is None for sequence, stop in ends)


def _ends_well(frames: NDArray[np.void], linked: NDArray[np.bool_], plan: BinPlan) -> bool:
    """Say whether the last frames of a bin can be that, as far as nothing before them is known."""
    is_behind = frames["sequence"] > plan.last
    if bool(plan.begins_here(frames[:1])[0]) and linked.all():
        return not (plan.is_sealed and is_behind.any())
    if plan.is_sealed:
        last = frames[-1]
        return not is_behind.any() and (int(last["sequence"]) < plan.last or plan.ends_here(int(last["stop"])))
    return not is_behind[0] and bool(linked[is_behind[1:]].all())


class _Chooser:
    """The choice for one bin, frame by frame; only made where something is contradicted, or not known."""

    def __init__(
        self,
        frames: NDArray[np.void],
        plan: BinPlan,
        frame_behind: Callable[[int, int], NDArray[np.void] | None],
    ) -> None:
        self._plan = plan
        self._frame_behind = frame_behind
        self._frames = frames
        self._offsets: list[int] = frames["offset"].tolist()
        self._stops: list[int] = frames["stop"].tolist()
        self._sequences: list[int] = frames["sequence"].tolist()
        self._are_large: list[bool] = frames["is_large"].tolist()
        self._are_whole: list[bool] = frames["is_whole"].tolist()
        self._are_listed: list[bool] = frames["is_listed"].tolist()
        self._numbers = {offset: number for number, offset in enumerate(self._offsets)}
        self._next: list[int] = []
        self._is_linked: list[bool] = []
        self._recovered: list[NDArray[np.void]] = []
        # Those that are taken, by offset.
        self._taken: list[tuple[int, int]] = []
        self._layouts: list[list[int]] = []
        self._hole_of_layouts = (0, 0)
        self._num_doubtful_holes = 0

    def run(self) -> Choice:
        """Return what is taken, and what may be true instead."""
        self._link()
        self._take_known()
        # A frame that is taken may settle a dispute.
        for _ in range(_MOST_ROUNDS):
            num_taken = len(self._taken)
            self._fill_holes()
            if len(self._taken) == num_taken:
                break
        frames = np.concatenate([self._frames, *self._recovered])
        taken = sorted(number for _, number in self._taken)
        chosen = self._in_order(frames, taken)
        return Choice(
            chosen,
            tuple(self._made_layouts(frames)),
            tuple(int(one["sequence"][0]) for one in self._recovered),
            self._left(),
        )

    @staticmethod
    def _in_order(frames: NDArray[np.void], numbers: list[int]) -> NDArray[np.void]:
        chosen = frames[np.array(numbers, np.int64)]
        ordered: NDArray[np.void] = chosen[np.argsort(chosen["offset"])]
        return ordered

    # -- what is known -------------------------------------------------------------------------

    def _link(self) -> None:
        """Find the next frame of each."""
        self._is_linked = [False] * len(self._offsets)
        for number, stop in enumerate(self._stops):
            other = self._behind(self._sequences[number] + self._plan.num_bins, stop)
            self._next.append(other)
            if other != _NONE:
                self._is_linked[other] = True

    def _behind(self, sequence: int, stop: int) -> int:
        """Return the frame of a sequence number that was found in its place behind a byte, -1 if there is none."""
        for offset, is_large in self._plan.next_offsets(stop).items() if stop <= self._plan.size else ():
            other = self._numbers.get(offset, _NONE)
            if other != _NONE and self._are_large[other] == is_large and self._sequences[other] == sequence:
                return other
        return _NONE

    def _take_known(self) -> None:
        """Take what the bin begins with, what the index leads to, and what stands in its place behind these."""
        plan = self._plan
        first = self._behind(plan.bin_index, plan.start)
        self._take_row(first if first != _NONE else self._recover(plan.bin_index, plan.start))
        for number in range(len(self._frames)):
            if self._are_listed[number]:
                self._take_row(number)

    def _take_row(self, number: int) -> None:
        """Take a frame that is known, and all that stand in their places behind it."""
        while number != _NONE and self._take(number):
            sequence = self._sequences[number] + self._plan.num_bins
            following = self._next[number]
            number = following if following != _NONE else self._recover(sequence, self._stops[number])

    def _take(self, number: int) -> bool:
        """Take a frame, if it does not overlap those that were taken before, and stands in order with them."""
        offset, sequence = self._offsets[number], self._sequences[number]
        if self._plan.is_sealed and sequence > self._plan.last:
            return False
        place = bisect(self._taken, (offset, number))
        if place:
            left = self._taken[place - 1][1]
            if left == number or self._stops[left] > offset or self._sequences[left] >= sequence:
                return False
        if place < len(self._taken):
            right = self._taken[place][1]
            if self._offsets[right] < self._stops[number] or self._sequences[right] <= sequence:
                return False
        insort(self._taken, (offset, number))
        return True

    def _recover(self, sequence: int, stop: int) -> int:
        """Look for a record in its place of which word 0 is damaged, so that no search finds it."""
        if sequence > self._plan.last or stop > self._plan.size:
            return _NONE
        found = self._frame_behind(sequence, stop)
        if found is None or int(found["offset"][0]) in self._numbers:
            return _NONE
        number = len(self._offsets)
        self._recovered.append(found)
        self._offsets.append(int(found["offset"][0]))
        self._stops.append(int(found["stop"][0]))
        self._sequences.append(sequence)
        self._are_large.append(bool(found["is_large"][0]))
        self._are_whole.append(True)
        self._are_listed.append(False)
        self._is_linked.append(True)
        self._next.append(self._behind(sequence + self._plan.num_bins, self._stops[number]))
        return number

    # -- holes ---------------------------------------------------------------------------------

    def _fill_holes(self) -> None:
        """Take what lies in each hole between known frames, and cannot be anything else."""
        self._layouts, self._num_doubtful_holes = [], 0
        known = [number for _, number in self._taken]
        place = 0
        for left, right in zip([_NONE, *known], [*known, _NONE], strict=True):
            end = self._offsets[right] if right != _NONE else self._plan.size
            inside = []
            while place < len(self._frames) and (right == _NONE or self._offsets[place] <= end):
                inside.append(place)
                place += 1
            self._fill_hole(left, right, [number for number in inside if number not in (left, right)])

    def _fill_hole(self, left: int, right: int, inside: list[int]) -> None:
        plan = self._plan
        first = plan.bin_index if left == _NONE else self._sequences[left] + plan.num_bins
        behind = plan.last + plan.num_bins if right == _NONE else self._sequences[right]
        possible = [number for number in inside if self._is_possible(number, left, right, first, behind)]
        # The first one has its place, and is not there; only bin 0 may begin with something else that is damaged.
        others = [number for number in possible if self._sequences[number] != first]
        sorted_out = sort_out(
            [self._offsets[number] for number in others],
            [self._stops[number] for number in others],
            [self._sequences[number] for number in others],
            self._links_among(others),
            plan.num_bins,
        )
        # A frame that stands in its place behind one of them is as sure.
        for place in sorted_out.undisputed:
            self._take_row(others[place])
        if sorted_out.are_disputed or len(others) < len(possible):
            self._note_layouts(left, right, first, behind, possible)

    def _is_possible(self, number: int, left: int, right: int, first: int, behind: int) -> bool:
        """Say whether a frame can be a record of a hole."""
        plan, sequence = self._plan, self._sequences[number]
        start = plan.start if left == _NONE else self._stops[left]
        stop = plan.size if right == _NONE else self._offsets[right]
        if not first <= sequence < behind or self._offsets[number] < start or self._stops[number] > stop:
            return False
        if sequence == first and (left != _NONE or plan.is_start_sure):
            return False
        # A header alone says little: only what stands beside it can confirm it.
        if not self._are_whole[number] and not self._is_linked[number] and self._next[number] == _NONE:
            return False
        if sequence != behind - plan.num_bins:
            return True
        if right != _NONE:
            return self._next[number] == right
        return not plan.is_sealed or plan.ends_here(self._stops[number])

    def _links_among(self, numbers: list[int]) -> list[int]:
        places = {number: place for place, number in enumerate(numbers)}
        return [places.get(self._next[number], _NONE) for number in numbers]

    # -- what the digest may decide ------------------------------------------------------------

    def _note_layouts(self, left: int, right: int, first: int, behind: int, possible: list[int]) -> None:
        """Note the ways to fill a hole in which at most its first record is missing, as all others stand in a row."""
        plan = self._plan
        self._num_doubtful_holes += 1
        self._hole_of_layouts = (
            plan.start if left == _NONE else self._stops[left],
            plan.size if right == _NONE else self._offsets[right],
        )
        for number in possible:
            if self._sequences[number] > first + plan.num_bins or len(self._layouts) >= _MOST_LAYOUTS:
                continue
            row = [number]
            while (following := self._next[row[-1]]) not in (_NONE, right):
                row.append(following)
            if self._sequences[row[-1]] >= behind - plan.num_bins:
                self._layouts.append(row)

    def _made_layouts(self, frames: NDArray[np.void]) -> list[NDArray[np.void]]:
        if self._num_doubtful_holes != 1:
            return []
        start, end = self._hole_of_layouts
        others = [number for offset, number in self._taken if offset < start or offset >= end]
        return [self._in_order(frames, [*others, *row]) for row in self._layouts]

    def _left(self) -> tuple[int, ...]:
        """Return where whole frames begin that were not taken, and lie in none that was."""
        left, place, covered = [], 0, 0
        for number in range(len(self._frames)):
            offset = self._offsets[number]
            while place < len(self._taken) and self._taken[place][0] <= offset:
                covered = max(covered, self._stops[self._taken[place][1]])
                place += 1
            if offset >= covered and self._are_whole[number]:
                left.append(offset)
        return tuple(left)
