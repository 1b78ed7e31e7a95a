"""Keeps the samples that rotation uses again: which were asked for, where those that were made lie, and when they go.

A group is the samples that are used several times together; a row has one group of each lane, and a pass goes once
through the data (order/rotation.py has the words).

    positions of the rank     | row 0: a group of each lane | row 1 ...    | row 2 ...
                                  ^ in use                    ^ being made   not before row 0 is used up
    Row      store, its groups, uses that are still to come
    Group    for each sample: asked for? record, address, length

The rows of one pass through the data follow each other, so at most two of them are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from splitdata.order.rotation import RotationOrder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.plan.epoch_steps import PositionRun
    from splitdata.loader.rotation.sample_store import SampleStore, StoreMaker

__all__ = ["Group", "GroupHolder", "Row", "Share", "Uses", "locate", "rotation_order"]

_MAX_ROWS = 2


class Uses(NamedTuple):
    """Samples at positions on end: pass through the data, place in the order below, and group of each, int64[n]."""

    passes: NDArray[np.int64]
    sources: NDArray[np.int64]
    groups: NDArray[np.int64]

    def part(self, which: Any) -> Uses:
        """Return some of them."""
        return Uses(self.passes[which], self.sources[which], self.groups[which])


def rotation_order(run: PositionRun, number: int) -> RotationOrder:
    """Return the order of a pass, which is one with rotation."""
    order = run.order(number)
    if not isinstance(order, RotationOrder):
        raise TypeError(f"groups are those of a RotationOrder, not of {type(order).__name__}")
    return order


def locate(run: PositionRun, first: int, stop: int) -> tuple[Uses, NDArray[np.int64]]:
    """Return what steps `first` to `stop` of a run use, and where each of them ends in it."""
    passes, positions, lengths = run.positions(first, stop)
    sources, groups = np.empty_like(positions), np.empty_like(positions)
    for number in np.unique(passes).tolist():
        here = slice(*np.searchsorted(passes, [number, number + 1]).tolist())
        sources[here], groups[here] = rotation_order(run, number).locate(positions[here])
    return Uses(passes, sources, groups), np.cumsum(lengths)


class Group:
    """The samples of one group, by their number in it; 25 bytes for each.

    Attributes:
        is_asked: bool[n].
        records, addresses, lengths: int64[n], known of samples that are made; an address is -1 for others.
    """

    def __init__(self, sources: range) -> None:
        self._sources = sources
        self.is_asked = np.zeros(len(sources), np.bool_)
        self.records = np.full(len(sources), -1, np.int64)
        self.addresses = np.full(len(sources), -1, np.int64)
        self.lengths = np.zeros(len(sources), np.int64)

    def numbers_of(self, sources: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of samples in the group."""
        return (sources - self._sources.start) // self._sources.step


class Row:
    """Groups that are in use at the same time, one of each lane that the rank reads.

    Attributes:
        number: Pass through the data.
        stop: Position behind all that use them.
        store: Where their samples are.
        num_waiting: Uses that were looked at and did not take place yet.
    """

    def __init__(self, number: int, stop: int, store: SampleStore) -> None:
        self.number = number
        self.stop = stop
        self.store = store
        self.groups: dict[int, Group] = {}
        self.num_waiting = 0


class Share(NamedTuple):
    """Those of some uses that are of one group.

    `places` are theirs among the uses, `numbers` those of their samples in the group, both int64[n].
    """

    row: Row
    group: Group
    places: NDArray[np.int64]
    numbers: NDArray[np.int64]

    @property
    def is_made(self) -> bool:
        """Whether all samples are there."""
        return bool((self.group.addresses[self.numbers] >= 0).all())


class GroupHolder:
    """Holds the rows around the place where the rank stands. Belongs to one thread."""

    def __init__(self, stores: StoreMaker) -> None:
        self._stores = stores
        self._rows: dict[tuple[int, int], Row] = {}
        self._by_group: dict[tuple[int, int], tuple[Row, Group]] = {}

    def bytes_held(self) -> tuple[int, int]:
        """Return what all samples take in memory and on disk."""
        stores = [row.store for row in self._rows.values()]
        return sum(store.memory_bytes for store in stores), sum(store.disk_bytes for store in stores)

    def shares(self, uses: Uses) -> list[Share]:
        """Return uses by group, all of which are held."""
        return [
            Share(*held, places, held[1].numbers_of(uses.sources[places]))
            for key, places in _by_group(uses)
            for held in [self._by_group[key]]
        ]

    def by_row(self, uses: Uses) -> Iterator[tuple[Row, Uses]]:
        """Yield uses on end that are of one row, all of them held."""
        rows = list(self._rows.values())
        row_of = np.zeros(len(uses.sources), np.int64)
        for share in self.shares(uses):
            row_of[share.places] = rows.index(share.row)
        borders = (np.flatnonzero(np.diff(row_of)) + 1).tolist()
        for begin, end in pairwise([0, *borders, len(row_of)]):
            if end > begin:
                yield rows[row_of[begin]], uses.part(slice(begin, end))

    def admit(self, run: PositionRun, uses: Uses, *, force: bool) -> int:
        """Begin to hold the groups of uses on end, as far as there may be; return how many uses that are.

        Args:
            run: Whose they are.
            uses: What is looked at next.
            force: They are needed now: all of their groups are held, however many.
        """
        for key, places in _by_group(uses):
            if key not in self._by_group and not self._begin(run, *key, force=force):
                # Groups come in the order of their first use.
                return int(places[0])
        return len(uses.sources)

    def _begin(self, run: PositionRun, number: int, group: int, *, force: bool) -> bool:
        order = rotation_order(run, number)
        stop = order.group_positions(group).stop
        row = self._rows.get((number, stop))
        if row is None:
            if len(self._rows) >= _MAX_ROWS and not force:
                return False
            row = self._rows[number, stop] = Row(number, stop, self._stores.open())
        row.groups[group] = Group(order.group_sources(group))
        self._by_group[number, group] = row, row.groups[group]
        return True

    def take_unasked(self, uses: Uses) -> NDArray[np.int64]:
        """Note that uses, all of which were admitted, are to come; return those of samples not asked for so far.

        They count as asked for from now on. Each sample is there once, in the order of first use.
        """
        found = []
        for row, group, places, numbers in self.shares(uses):
            row.num_waiting += len(places)
            is_new = ~group.is_asked[numbers]
            new, first = np.unique(numbers[is_new], return_index=True)
            group.is_asked[new] = True
            found.append(places[is_new][first])
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)

    def drop_used_up(self, number: int, position: int) -> bool:
        """Let go of the rows that are of no more use; return whether there were any.

        Args:
            number, position: Pass, and position in it, up to which uses were admitted.
        """
        used_up = [
            row for row in self._rows.values() if not row.num_waiting and (row.number, row.stop) <= (number, position)
        ]
        self._drop(used_up)
        return bool(used_up)

    def begin_anew(self, run: PositionRun, number: int, position: int) -> None:
        """Keep what was made and will be of use from a position on; all uses are to be looked at anew."""
        order = rotation_order(run, number)
        wanted: list[tuple[int, int]] = []
        for _ in range(_MAX_ROWS):
            if position < order.num_positions:
                _, groups = order.locate(np.array([position], np.int64))
                position = order.group_positions(int(groups[0])).stop
                wanted.append((number, position))
        self._drop([row for key, row in self._rows.items() if key not in wanted])
        for row in self._rows.values():
            row.num_waiting = 0
            for group in row.groups.values():
                group.is_asked = group.addresses >= 0

    def _drop(self, rows: list[Row]) -> None:
        for row in rows:
            del self._rows[row.number, row.stop]
            for group in row.groups:
                del self._by_group[row.number, group]
            row.store.close()

    def close(self) -> None:
        """Let go of everything, also where an interrupt has left it half done."""
        rows = list(self._rows.values())
        self._rows.clear()
        self._by_group.clear()
        for row in rows:
            row.store.close()


def _by_group(uses: Uses) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Yield pass and group, and the places of their uses, ascending; groups in the order of first use."""
    passes, _, groups = uses
    if not len(groups):
        return
    if passes[0] == passes[-1] and (groups == groups[0]).all():
        # By far most often.
        yield (int(passes[0]), int(groups[0])), np.arange(len(groups))
        return
    order = np.lexsort((groups, passes))
    changes = np.flatnonzero((np.diff(groups[order]) != 0) | (np.diff(passes[order]) != 0)) + 1
    for places in sorted(np.split(order, changes), key=lambda places: int(places[0])):
        first = places[0]
        yield (int(passes[first]), int(groups[first])), places
