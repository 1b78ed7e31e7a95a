"""The bins of a dataset, numbered through: which records each of them holds.

    segment 0, by arithmetic      bin 0   0 3 6       first 0, stride 3
                                  bin 1   1 4         first 1, stride 3
                                  bin 2   2 5         first 2, stride 3
    segment 1, by a table         bin 3   9 7         places 0 1 of the segment's table
                                  bin 4   8           place 2

A record is known by its bin and its ordinal in it. What is held is 24 bytes a bin, and such tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["BinLayout", "BinTable"]


@dataclass(frozen=True, slots=True)
class BinTable:
    """Which records of one segment lie in which bin.

    Without a table bins take turns: the record of sequence number s is in bin s // group mod stride, the same stride
    for all. With one they stand end to end in it.

    Attributes:
        firsts: Of each bin, int64[num_bins]: place of its first record.
        strides: From one place in the bin to the next, int64[num_bins]; with groups from one group to the next, in
            groups.
        counts: Records of each bin, int64[num_bins].
        sequences: Sequence number at each place; None where the place is the sequence number.
        group: Records that lie together in a bin before the next bin has its turn.
    """

    firsts: NDArray[np.int64]
    strides: NDArray[np.int64]
    counts: NDArray[np.int64]
    sequences: NDArray[np.integer] | None = None
    group: int = 1

    def sequence_at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sequence numbers at some places."""
        return places if self.sequences is None else self.sequences[places].astype(np.int64)

    def bins_of(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bins that hold these sequence numbers; a table is turned round for it, 8 bytes a record."""
        if self.sequences is None:
            return sequences // self.group % self.strides[0] if len(sequences) else sequences
        places = np.empty(len(self.sequences), np.int64)
        places[self.sequences] = np.arange(len(self.sequences))
        return np.searchsorted(self.firsts, places[sequences], "right") - 1


class BinLayout:
    """The bins of one or more segments that stand end to end. Immutable; safe to share between threads.

    Attributes:
        counts: Records of each bin, int64[num_bins].
        num_records: Records of all bins.
    """

    def __init__(self, tables: Sequence[BinTable]) -> None:
        """Take the bins of each segment, in the order of the segments."""
        self._tables = tables
        # One more than there are segments: the last is the number of records.
        self._starts = np.cumsum([0, *(int(table.counts.sum()) for table in tables)], dtype=np.int64)
        self.num_records = int(self._starts[-1])
        # The number of each segment's first bin.
        self._first_bins = np.cumsum([0, *(len(table.counts) for table in tables)], dtype=np.int64)
        starts = self._starts[:-1].tolist()
        self._firsts = _joined([table.firsts + start for table, start in zip(tables, starts, strict=True)])
        self._strides = _joined([table.strides for table in tables])
        groups = [table.group for table in tables]
        self._groups = np.repeat(np.array(groups, np.int64), [len(table.counts) for table in tables])
        self._is_grouped = max(groups, default=1) > 1
        self.counts = _joined([table.counts for table in tables])
        self._with_table = [number for number, table in enumerate(tables) if table.sequences is not None]

    def positions(self, bins: NDArray[np.int64], ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the records with these ordinals in these bins, int64."""
        if self._is_grouped:
            groups = self._groups[bins]
            numbers, slots = np.divmod(ordinals, groups)
            positions = self._firsts[bins] + numbers * self._strides[bins] * groups + slots
        else:
            positions = self._firsts[bins] + ordinals * self._strides[bins]
        for number in self._with_table:
            here = np.flatnonzero((bins >= self._first_bins[number]) & (bins < self._first_bins[number + 1]))
            start = self._starts[number]
            positions[here] = self._tables[number].sequence_at(positions[here] - start) + start
        return positions

    def bins_of(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bin of each record, int64.

        Raises:
            IndexError: If the record does not exist.
        """
        if len(records) and (records.min() < 0 or records.max() >= self.num_records):
            outside = records[(records < 0) | (records >= self.num_records)]
            raise IndexError(f"record {outside[0]} is out of range: the bins hold {self.num_records}")
        segments = np.searchsorted(self._starts, records, "right") - 1
        bins = np.empty(len(records), np.int64)
        for number in np.unique(segments).tolist():
            here = np.flatnonzero(segments == number)
            bins[here] = self._tables[number].bins_of(records[here] - self._starts[number]) + self._first_bins[number]
        return bins

    def restricted_to(self, records: NDArray[np.int64]) -> BinLayout:
        """Return the same bins with these records alone, which are then known by their places in the array.

        Takes 4 bytes a record, 8 above 2^32 of them. A bin may be left with none; it keeps its number.

        Raises:
            IndexError: If the record does not exist.
        """
        bins = self.bins_of(records)
        counts = np.bincount(bins, minlength=len(self.counts)).astype(np.int64)
        # Stable: in each bin the records keep the order in which they were given.
        order = np.argsort(bins, kind="stable")
        places = order.astype(np.uint32) if len(order) <= 1 << 32 else order
        return BinLayout([BinTable(np.cumsum(counts) - counts, np.ones(len(counts), np.int64), counts, places)])


def _joined(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *parts])
