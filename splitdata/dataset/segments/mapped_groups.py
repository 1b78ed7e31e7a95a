"""Records of many mapped groups by a few calls of numpy: what `UsualFrames` is for records with frames of their own.

    frames, found right ──> heads ──> tables of ends ──> where each record lies ──> copies ──> hash of each frame

Copies are made first and proven then: what changes in between is found. Whatever is not as it should be is left to
`RecordGroup`, which has the word for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata.dataset.segments.mapped_bins import SMALL_RECORD_BYTES, cut, only_value
from splitdata.format import spec
from splitdata.format.record_group import GROUP_HEAD_BYTES, group_tables, item_spans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.segments.mapped_bins import UsualFrames

__all__ = ["GroupedRecords", "find_records"]


def find_records(
    frames: UsualFrames,
    numbers: NDArray[np.int64] | slice,
    slots: NDArray[np.int64],
    is_right: Callable[[NDArray[np.int64] | int], bool],
    *,
    verify: bool,
) -> GroupedRecords | None:
    """Return where records lie; None unless all lie within their groups.

    Args:
        frames: Of groups.
        numbers: Which of them holds each record.
        slots: Number of each record in its group.
        is_right: Says whether the groups may hold so many records; takes one number where it is that of all.
        verify: Whether they are going to be proven.
    """
    found = _tables_of(frames.cells.view("<u8"))  # type: ignore[union-attr]  # groups have them
    lengths = frames.stops - frames.starts
    if found is None or not is_right(found[0]) or np.count_nonzero(found[1] > lengths):
        return None
    payloads = frames.words * spec.FRAME_UNIT + spec.FRAME_HEADER_BYTES
    if isinstance(found, tuple) and (run := _run_in(numbers, slots, found[0])):
        return _find_run(frames, run, payloads, found, lengths, verify=verify)
    bases = payloads[numbers]
    tables, alignments = (one if isinstance(one, int) else one[numbers] for one in found[1:])
    # The end of the record before and its own; of the first one only the second counts.
    befores, stops = frames.mapped.bytes_at(bases + (4 * slots + 4), 8).view("<u4").reshape(-1, 2).astype(np.int64).T
    spans = item_spans(np.where(slots == 0, tables, befores), stops, tables, alignments, lengths[numbers])
    return None if spans is None else GroupedRecords(frames, numbers, bases, *spans, verify)


def _run_in(numbers: NDArray[np.int64] | slice, slots: NDArray[np.int64], group: int) -> slice | None:
    """Return which of all records of the groups are wanted, None if they do not follow one another."""
    if isinstance(numbers, slice):
        return None
    first = int(slots[0])
    ordinals = numbers * group + slots
    is_run = not np.count_nonzero(ordinals != np.arange(first, first + len(ordinals)))
    return slice(first, first + len(ordinals)) if is_run else None


def _find_run(
    frames: UsualFrames,
    run: slice,
    payloads: NDArray[np.int64],
    found: tuple[int, int, int],
    lengths: NDArray[np.int64],
    *,
    verify: bool,
) -> GroupedRecords | None:
    """Return where records that follow one another lie, by the tables as they stand."""
    group, tables, alignment = found
    ends = frames.mapped.bytes_at(payloads + GROUP_HEAD_BYTES, 4 * group).view("<u4").reshape(-1, group)
    stops = ends.astype(np.int64)
    befores = np.empty_like(stops)
    befores[:, 0] = tables
    befores[:, 1:] = stops[:, :-1]
    spans = item_spans(befores, stops, tables, alignment, lengths[:, np.newaxis])
    if spans is None:
        return None
    numbers = np.repeat(np.arange(len(lengths)), group)[run]
    starts, stops = (one.reshape(-1)[run] for one in spans)
    return GroupedRecords(frames, numbers, payloads[numbers], starts, stops, verify)


def _tables_of(heads: NDArray[np.uint64]) -> tuple[int, int, int] | NDArray[np.int64] | None:
    """Return number of records, end of the tables and alignment of groups, once where they are those of all."""
    # The groups of a segment usually differ in no more than the lengths of their records.
    head = only_value(heads)
    if head is not None:
        return group_tables(head)
    values, which = np.unique(heads, return_inverse=True)
    tables = list(map(group_tables, values.tolist()))
    return None if None in tables else np.array(tables, np.int64).T[:, which]


# Not frozen, as `UsualFrames`.
@dataclass(slots=True)
class GroupedRecords:
    """Records of uncompressed groups, found but not proven.

    Attributes:
        frames: Of the groups.
        numbers: Which of them holds each record.
        bases: Where its payload begins in the array of all bins, in bytes.
        starts, stops: Where in that payload the record begins and ends.
        verify: Whether they are to be proven.
    """

    frames: UsualFrames
    numbers: NDArray[np.int64] | slice
    bases: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    verify: bool

    def rows(self) -> NDArray[np.uint8] | None:
        """Return the records as rows, uint8[records, size]; None if they differ in size, or a group is damaged."""
        size = only_value(self.stops - self.starts)
        if not size:
            return None
        rows = self.frames.mapped.bytes_at(self.bases + self.starts, size)
        return rows.view(np.uint8).reshape(len(rows), -1) if self._are_proven() else None

    def payloads(self) -> list[bytes] | None:
        """Return the records; None if a group is damaged."""
        mapped, size = self.frames.mapped, only_value(self.stops - self.starts)
        if size and size <= SMALL_RECORD_BYTES:
            records: list[bytes] = mapped.bytes_at(self.bases + self.starts, size).tolist()
        else:
            records = self._cut(mapped.maps)
        return records if self._are_proven() else None

    def views(self) -> list[memoryview] | None:
        """Return the records as views of the maps; None if a group is damaged."""
        return self._cut(self.frames.mapped.views) if self._are_proven() else None

    def _cut(self, maps: Sequence[Any]) -> list[Any]:
        starts = self.frames.starts[self.numbers]
        return cut(maps, self.frames.bins[self.numbers], starts + self.starts, starts + self.stops)

    def _are_proven(self) -> bool:
        return not self.verify or self.frames.are_intact()
