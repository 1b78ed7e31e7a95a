"""Which records of two datasets are the same one, which are there in one only, and which have changed or moved.

    rows (identity, content, position) of A and B ── sorted by identity, part by part ──>
        in both       same content? no ──> changed             in A only ──> removed
                      another order? ──> moved (moved.py)      in B only ──> added

An identity that occurs several times is matched in the order of positions: the first with the first, and so on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.comparison.moved import Runs, moved_runs
from splitdata.dataset.comparison.row_store import RowStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Differences", "find_differences"]

_IDENTITY: Final = 0
_CONTENT: Final = 1
_POSITION: Final = 2


@dataclass(slots=True)
class Differences:
    """What differs, as positions; those of pairs are positions of A and of B, int64[any number, 2].

    Attributes:
        removed: Positions of A, ascending.
        added: Positions of B, ascending.
        changed: Pairs of one identity and different content, by the position of A.
        num_moved: Pairs that stand in another order.
        num_moved_and_changed: How many of these have changed, too.
        moved: The first of those that have moved, by the position of A.
        num_pairs: Records in both.
    """

    removed: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    added: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    changed: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    moved: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    num_moved: int = 0
    num_moved_and_changed: int = 0
    num_pairs: int = 0


def find_differences(a: RowStore, b: RowStore, *, stop: int, absent: NDArray[np.int64], most_moved: int) -> Differences:
    """Compare all rows of two stores with the same number of parts.

    Needs memory for one part, 8 bytes for each record that differs or is absent, and 24 for each run (moved.py).

    Args:
        a, b: Rows of identity, content and position.
        stop: All positions of A are below.
        absent: Positions of B between others that no row has, as their records were deleted.
        most_moved: So many pairs that have moved are listed.
    """
    removed: list[NDArray[np.int64]] = []
    added: list[NDArray[np.int64]] = []
    changed: list[NDArray[np.int64]] = []
    result = Differences()
    with _OrderedPairs(a.num_rows, stop) as pairs:
        for number in range(a.num_parts):
            of_a, of_b = a.part(number), b.part(number)
            places_a, places_b = _matched(of_a[:, _IDENTITY], of_b[:, _IDENTITY])
            found = np.stack([of_a[places_a, _POSITION], of_b[places_b, _POSITION]], axis=1)
            is_changed = of_a[places_a, _CONTENT] != of_b[places_b, _CONTENT]
            pairs.add(found, is_changed)
            changed.append(found[is_changed].astype(np.int64))
            removed.append(_others(of_a, places_a))
            added.append(_others(of_b, places_b))
        result.num_pairs = pairs.num_rows
        result.removed, result.added = np.sort(np.concatenate(removed)), np.sort(np.concatenate(added))
        result.changed = _by_first(np.concatenate(changed))
        _find_moved(pairs, absent, result, most_moved)
    return result


def _matched(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of equal values in two arrays, each value matched as often as both have it, in order."""
    order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    sorted_a, sorted_b = a[order_a], b[order_b]
    # The n-th of a value in A goes with the n-th in B, if there is one.
    ranks = np.arange(len(a)) - np.searchsorted(sorted_a, sorted_a)
    places = np.searchsorted(sorted_b, sorted_a) + ranks
    is_there = places < len(b)
    is_there[is_there] = sorted_b[places[is_there]] == sorted_a[is_there]
    return order_a[is_there], order_b[places[is_there]]


def _others(rows: NDArray[np.uint64], places: NDArray[np.intp]) -> NDArray[np.int64]:
    is_other = np.ones(len(rows), np.bool_)
    is_other[places] = False
    positions: NDArray[np.uint64] = rows[is_other, _POSITION]
    return positions.astype(np.int64)


def _by_first(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs[np.argsort(pairs[:, 0], kind="stable")]


class _OrderedPairs(RowStore):
    """Pairs of positions, in parts that ascend by the first of them, each with a mark."""

    def __init__(self, most: int, stop: int) -> None:
        super().__init__(most, 3)
        # Moves positions to the upper bits, by which rows are dealt out; the lowest bit is free for the mark.
        self._shift = np.uint64(64 - max(1, stop.bit_length()))

    def add(self, rows: NDArray[np.uint64], marks: NDArray[np.bool_]) -> None:  # type: ignore[override]  # with marks
        keys = (rows[:, 0] << self._shift) | marks.astype(np.uint64)
        super().add(np.column_stack([keys, rows]))

    def in_order(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield pairs, int64[some, 2], by the first position, with their marks."""
        for number in range(self.num_parts):
            rows = self.part(number)
            rows = rows[np.argsort(rows[:, 1], kind="stable")]
            yield rows[:, 1:].astype(np.int64), (rows[:, 0] & np.uint64(1)).astype(np.bool_)


def _find_moved(pairs: _OrderedPairs, absent: NDArray[np.int64], result: Differences, most: int) -> None:
    """Find the pairs that stand in another order; a place is a position, less those before it that no pair has."""
    gone = np.sort(np.append(absent, result.added))
    runs = Runs(found[:, 1] - np.searchsorted(gone, found[:, 1]) for found, _ in pairs.in_order())
    has_moved = moved_runs(runs)
    result.num_moved = int(runs.lengths[has_moved].sum())
    if not result.num_moved:
        return
    num_before = 0
    for found, is_changed in pairs.in_order():
        is_moved = has_moved[runs.of(np.arange(num_before, num_before + len(found)))]
        num_before += len(found)
        result.num_moved_and_changed += int(np.count_nonzero(is_changed & is_moved))
        if len(result.moved) < most:
            result.moved = np.concatenate([result.moved, found[is_moved][: most - len(result.moved)]])
