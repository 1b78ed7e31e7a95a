"""Groups: many small records in one frame, with one hash, compressed together.

A frame of its own costs a small record more than its bytes; a group costs it 8 and a share of one frame.

    count u32 | flags u32 | ends u32 * count | (key ends u32 * count) | items | (keys)
                `- bits 0-7: items begin at multiples of 2**a; bit 8: there are keys

All ends count from the begin of this, which is the raw payload of the frame. FORMAT.md section 11.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import FormatError
from splitdata.format import spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["GROUP_HEAD_BYTES", "RecordGroup", "group_room", "group_tables", "item_spans", "pack_group"]

_HEAD: Final = struct.Struct("<II")
GROUP_HEAD_BYTES: Final = _HEAD.size
_ONE: Final = struct.Struct("<I")
_PAIR: Final = struct.Struct("<II")
_HAS_KEYS: Final = 1 << 8
_ALIGNMENT_MASK: Final = 0xFF
_MOST_FLAGS: Final = _HAS_KEYS | _ALIGNMENT_MASK
_MOST_ALIGNMENT_LOG2: Final = 6


def group_room(num_records: int, num_bytes: int, *, has_keys: bool, alignment: int) -> int:
    """Return the most that a group of so many records and keys, of so many bytes together, takes as raw payload."""
    return _tables_bytes(num_records, has_keys=has_keys) + num_bytes + num_records * (alignment - 1)


def pack_group(records: Sequence[bytes], keys: Sequence[bytes] | None, alignment: int) -> bytes:
    """Return the raw payload of a group.

    Args:
        records: At least one.
        keys: Of each, empty where it has none; None where no record has one.
        alignment: At multiples of which they begin, a power of two up to 64.
    """
    count = len(records)
    tables = _tables_bytes(count, has_keys=keys is not None)
    lengths = np.fromiter(map(len, records), np.int64, count)
    flags = alignment.bit_length() - 1
    if alignment == 1:
        ends = tables + np.cumsum(lengths)
        items: list[bytes] = list(records)
    else:
        steps = -(-lengths // alignment) * alignment
        starts = -(-tables // alignment) * alignment + np.cumsum(steps) - steps
        ends = starts + lengths
        gaps = (starts - np.concatenate([[tables], ends[:-1]])).tolist()
        items = list(chain.from_iterable((bytes(gap), record) for gap, record in zip(gaps, records, strict=True)))
    parts = [_HEAD.pack(count, flags | (_HAS_KEYS if keys is not None else 0)), ends.astype("<u4").tobytes()]
    if keys is not None:
        parts.append((ends[-1] + np.cumsum(np.fromiter(map(len, keys), np.int64, count))).astype("<u4").tobytes())
    return b"".join([*parts, *items, *(keys or ())])


@lru_cache(maxsize=64)
def _equal_ends(count: int, tables: int, size: int) -> tuple[bytes, np.dtype[np.void]]:
    """Return the ends of so many records of one size, and the data type of one."""
    ends = tables + size * np.arange(1, count + 1, dtype=np.int64)
    return ends.astype("<u4").tobytes(), np.dtype(f"V{size}")


def _tables_bytes(count: int, *, has_keys: bool) -> int:
    return _HEAD.size + 4 * count * (2 if has_keys else 1)


def group_tables(head: int) -> tuple[int, int, int] | None:
    """Return number of records, end of the tables and alignment of a group; None if it is none.

    Args:
        head: Its first 8 bytes, as an integer.
    """
    count, flags = head & 0xFFFFFFFF, head >> 32
    if not count or flags > _MOST_FLAGS or flags & _ALIGNMENT_MASK > _MOST_ALIGNMENT_LOG2:
        return None
    return count, _tables_bytes(count, has_keys=flags >= _HAS_KEYS), 1 << (flags & _ALIGNMENT_MASK)


def item_spans(
    befores: NDArray[np.int64],
    stops: NDArray[np.int64],
    tables: NDArray[np.int64] | int,
    alignments: NDArray[np.int64] | int,
    lengths: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Return where items of groups begin and end, as `RecordGroup.span` does; None if any of them is damaged.

    Args:
        befores: Where the item before it ends, of the first one the tables.
        stops: Where it ends.
        tables: Where those of its group end.
        alignments: At multiples of what the items of its group begin.
        lengths: Of its group in bytes.
    """
    starts = befores
    if not isinstance(alignments, int) or alignments > 1:
        starts = befores + (-befores & alignments - 1)
    is_outside = (starts < tables) | (stops < starts) | (lengths < stops)
    return None if np.count_nonzero(is_outside) else (starts, stops)


class RecordGroup:
    """The raw payload of a group, proven by its hash; immutable, and safe to share between threads.

    Items are cut out one by one or together, with the same verdict: an item is damaged, and no other, if it does
    not end where the payload is.

    Attributes:
        data: All of it.
        count: How many records it holds.
        tables: Where its tables end.
        alignment: At multiples of what its records begin.
    """

    __slots__ = ("alignment", "count", "data", "tables")

    def __init__(self, data: bytes, counts: range) -> None:
        """Take the payload of a group that is to hold one of so many records.

        Raises:
            FormatError: If its head says something else.
        """
        head = int.from_bytes(data[: _HEAD.size], "little")
        tables = group_tables(head)
        if tables is None or tables[0] not in counts:
            count, flags = head & 0xFFFFFFFF, head >> 32
            raise FormatError(
                f"a group has {count} records, flags {flags:#x}; it is to have {counts.start} to {counts.stop - 1}"
            )
        self.data = data
        self.count, self.tables, self.alignment = tables
        if len(data) < self.tables:
            raise FormatError(f"a group of {self.count} records has {len(data)} bytes, less than its tables")

    @property
    def has_keys(self) -> bool:
        """Whether it has a table of keys."""
        return bool(self.tables > _HEAD.size + 4 * self.count)

    def span(self, slot: int) -> tuple[int, int]:
        """Return where one record begins and ends in `data`; raises `FormatError` if it is damaged."""
        if slot:
            start, stop = _PAIR.unpack_from(self.data, 4 + 4 * slot)
        else:
            start, stop = self.tables, _ONE.unpack_from(self.data, _HEAD.size)[0]
        start += -start % self.alignment
        if not self.tables <= start <= stop <= len(self.data):
            raise FormatError(f"item {slot} of a group lies at bytes {start} to {stop} of {len(self.data)}")
        return start, stop

    def spans(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where all records begin and end, int64[count] each; raises `FormatError` if one is damaged."""
        ends = np.frombuffer(self.data, "<u4", self.count, _HEAD.size).astype(np.int64)
        starts = np.empty(self.count, np.int64)
        starts[0] = self.tables
        starts[1:] = ends[:-1]
        if self.alignment > 1:
            starts += -starts % self.alignment
        if (starts > ends).any() or starts[0] < self.tables or ends[-1] > len(self.data):
            raise FormatError("items of a group do not lie within it, one behind the other")
        return starts, ends

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each record, int64[count]; raises `FormatError` if one is damaged."""
        starts, ends = self.spans()
        return ends - starts

    def items(self) -> list[bytes]:
        """Return all records, in order; raises `FormatError` if any is damaged."""
        cells = self._equal_cells()
        if cells is not None:
            records: list[bytes] = cells.tolist()
            return records
        starts, ends = self.spans()
        data = self.data
        return [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def views(self) -> list[memoryview]:
        """Return all records, in order, as read-only views of `data`; raises `FormatError` if any is damaged."""
        starts, ends = self.spans()
        data = memoryview(self.data)
        return [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def rows(self) -> NDArray[np.uint8] | None:
        """Return the records as rows of a read-only view, uint8[count, size]; None where they differ in size."""
        cells = self._equal_cells()
        return None if cells is None else cells.view(np.uint8).reshape(self.count, -1)

    def _equal_cells(self) -> NDArray[np.void] | None:
        """Return the records as items of one array, None where they differ in size, or have none, or lie apart."""
        size = _ONE.unpack_from(self.data, _HEAD.size)[0] - self.tables
        if size <= 0 or size % self.alignment or self.tables % self.alignment:
            return None
        # First, as numpy has no type of so many bytes as a damaged table may say.
        if self.tables + size * self.count > len(self.data):
            return None
        expected, cell = _equal_ends(self.count, self.tables, size)
        if not self.data.startswith(expected, _HEAD.size):
            return None
        return np.frombuffer(self.data, cell, self.count, self.tables)

    def key(self, slot: int) -> bytes:
        """Return the key of one record, empty if it has none; raises `FormatError` if it is damaged."""
        if not self.has_keys:
            return b""
        # The end of the last item stands before the ends of the keys.
        start, stop = _PAIR.unpack_from(self.data, _HEAD.size + 4 * (self.count - 1 + slot))
        if not self.tables <= start <= stop <= len(self.data) or stop - start > spec.MAX_KEY_BYTES:
            raise FormatError(f"key {slot} of a group lies at bytes {start} to {stop} of {len(self.data)}")
        return self.data[start:stop]

    def check_strictly(self) -> None:
        """Raise `FormatError` unless nothing but items, keys and zeros between them fills the payload."""
        starts, ends = self.spans()
        last = self.count * (2 if self.has_keys else 1) - 1
        end = _ONE.unpack_from(self.data, _HEAD.size + 4 * last)[0]
        if end != len(self.data):
            raise FormatError(f"a group ends at byte {end} of {len(self.data)}")
        gaps = zip([self.tables, *ends[:-1].tolist()], starts.tolist(), strict=True)
        if self.alignment > 1 and any(any(self.data[stop:start]) for stop, start in gaps):
            raise FormatError("what lies between the items of a group is not zeros")
