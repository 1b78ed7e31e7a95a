"""Says which of the frames that were found in a hole are certainly records: those that are in every likely layout.

A layout is a row of frames that ascend in place and in number, of which none overlaps another.

    ....[5 ]..[6 ][7 ]....[8 ]     5 6 7 8 and 5 6' 8 are nearly as long, so either may be true: of 6, 6' and 7
    ..........[6'    ]........     nothing is known

The longest row that ends, and the one that begins, with each frame come from the rows before it in O(n log n).
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from itertools import accumulate

__all__ = ["HoleFrames", "sort_out"]

_NONE = -1
# A row that is shorter than the longest one may be the true one, as more headers may be damaged than it seems: by so
# many frames, or with half of them.
_LEAST_SLACK = 3


@dataclass(frozen=True, slots=True)
class HoleFrames:
    """The knowledge about the frames in a hole.

    Attributes:
        undisputed: Numbers of those that fit to all rows that may be true.
        are_disputed: Whether there are others in such rows.
    """

    undisputed: tuple[int, ...]
    are_disputed: bool


def sort_out(offsets: list[int], stops: list[int], sequences: list[int], following: list[int], step: int) -> HoleFrames:
    """Find out which frames no row disputes that may be true.

    Args:
        offsets: Where each frame begins, ascending.
        stops: Where it ends.
        sequences: Its sequence number.
        following: The frame that stands in its place behind each, -1 if there is none.
        step: From one sequence number to the next. The next one must be that which follows.
    """
    if not offsets:
        return HoleFrames((), are_disputed=False)
    before: list[list[int]] = [[] for _ in offsets]
    after: list[list[int]] = [[] for _ in offsets]
    for number, other in enumerate(following):
        if other != _NONE:
            before[other].append(number)
            after[number].append(other)
    ending = _longest(offsets, stops, sequences, before, step)
    # Seen from the other end.
    beginning = _longest(
        [-stop for stop in stops], [-offset for offset in offsets], [-one for one in sequences], after, step
    )
    lengths = [left + right - 1 for left, right in zip(ending, beginning, strict=True)]
    least = min(max(lengths) - _LEAST_SLACK, (max(lengths) + 1) // 2)
    plausible = [number for number, length in enumerate(lengths) if length >= least]
    undisputed = _undisputed(plausible, offsets, stops, sequences, following, step)
    return HoleFrames(tuple(undisputed), are_disputed=len(undisputed) < len(plausible))


def _undisputed(
    numbers: list[int], offsets: list[int], stops: list[int], sequences: list[int], following: list[int], step: int
) -> list[int]:
    """Return those of some frames, by offset, with which each other one can be true."""
    count_of = Counter(sequences[number] for number in numbers)
    leading_to = Counter(following[number] for number in numbers)
    there = set(numbers)
    # For each frame: ends and numbers of all before it, and numbers of all behind it.
    ends = [0, *accumulate((stops[number] for number in numbers), max)]
    highest = [-step, *accumulate((sequences[number] for number in numbers), max)]
    lowest = [*accumulate((sequences[number] for number in reversed(numbers)), min)][::-1]
    found = []
    for place, number in enumerate(numbers):
        sequence = sequences[number]
        is_before_fine = ends[place] <= offsets[number] and highest[place] <= sequence - step
        is_last = place + 1 == len(numbers)
        is_after_fine = is_last or (
            offsets[numbers[place + 1]] >= stops[number] and lowest[place + 1] >= sequence + step
        )
        num_next = int(following[number] in there)
        are_linked = count_of[sequence - step] == leading_to[number] and count_of[sequence + step] == num_next
        if is_before_fine and is_after_fine and are_linked:
            found.append(number)
    return found


def _longest(
    starts: list[int], stops: list[int], sequences: list[int], linked: list[list[int]], step: int
) -> list[int]:
    """Return the length of the longest row that ends with each frame."""
    ranks = {sequence: rank + 1 for rank, sequence in enumerate(sorted(set(sequences)))}
    ordered = sorted(ranks)
    lengths = [0] * len(starts)
    best = [0] * (len(ranks) + 1)
    waiting: list[tuple[int, int]] = []
    # How many numbers lie two steps or more below each: what is one step below must stand right before.
    below = _counts_below(ordered, 2 * step - 1)
    for number in sorted(range(len(starts)), key=starts.__getitem__):
        while waiting and waiting[0][0] <= starts[number]:
            done = heapq.heappop(waiting)[1]
            _raise_to(best, ranks[sequences[done]], lengths[done])
        length = max((lengths[one] for one in linked[number]), default=0)
        lengths[number] = 1 + max(length, _most_below(best, below[sequences[number]]))
        heapq.heappush(waiting, (stops[number], number))
    return lengths


def _counts_below(ordered: list[int], distance: int) -> dict[int, int]:
    """Return of each number how many lie more than a distance below it."""
    counts, place = {}, 0
    for sequence in ordered:
        while ordered[place] < sequence - distance:
            place += 1
        counts[sequence] = place
    return counts


def _raise_to(tree: list[int], rank: int, value: int) -> None:
    """Enter a value into a tree of greatest values."""
    while rank < len(tree):
        if tree[rank] < value:
            tree[rank] = value
        rank += rank & -rank


def _most_below(tree: list[int], rank: int) -> int:
    """Return the greatest value that was entered up to a rank."""
    most = 0
    while rank:
        most = max(most, tree[rank])
        rank -= rank & -rank
    return most
