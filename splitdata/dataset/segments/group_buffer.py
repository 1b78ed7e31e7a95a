"""Records that wait until their group is full.

What does not fill a group when a segment is sealed becomes its last one.

    add(records) ──> those that wait ──take──> records of whole groups, and their keys
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.segments.given_sizes import given_sizes
from splitdata.format.record_group import group_room

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MOST_CHOSEN_BYTES", "GroupBuffer", "group_for"]

# Groups are chosen for segments that begin with so many records, of so few bytes each.
_LEAST_RECORDS: Final = 4096
_MOST_MEAN_BYTES: Final = 512
# What a group should have: a read of one record proves all of it, for about twice what a record of its own costs. One
# that is compressed is read as a whole in any case, and shrinks the more the longer.
_GROUP_BYTES: Final = 2 << 10
_COMPRESSED_GROUP_BYTES: Final = 64 << 10
_LEAST_GROUP: Final = 8
# A group that was not asked for is not to become much longer, whatever comes later.
MOST_CHOSEN_BYTES: Final = 1 << 20
_MOST_CHOSEN: Final = 1024


def group_for(records: Sequence[bytes], *, is_compressed: bool) -> int:
    """Return how many records a frame should hold, given the first ones of a segment; 1: each has its own."""
    # No more of them are looked at: how many there are depends on how they were given.
    num_bytes = sum(map(len, records[:_LEAST_RECORDS]))
    if len(records) < _LEAST_RECORDS or num_bytes >= _MOST_MEAN_BYTES * _LEAST_RECORDS:
        return 1
    wanted = (_COMPRESSED_GROUP_BYTES if is_compressed else _GROUP_BYTES) * _LEAST_RECORDS // max(1, num_bytes)
    return min(_MOST_CHOSEN, max(_LEAST_GROUP, 1 << (max(1, wanted).bit_length() - 1)))


class GroupBuffer:
    """The records of a segment that have no frame yet; for one thread at a time."""

    def __init__(self, group: int, alignment: int) -> None:
        """Take how many records a group has, and at multiples of which they begin."""
        self._group = group
        self._alignment = alignment
        self._records: list[bytes] = []
        self._keys: list[bytes] | None = None

    def __len__(self) -> int:
        """Return how many records wait."""
        return len(self._records)

    def fits(self, records: list[bytes], keys: list[bytes] | None, most_bytes: int) -> bool:
        """Say whether each group stays below so many bytes if these records come next."""
        has_keys = keys is not None or self._keys is not None
        sizes = None if has_keys else given_sizes(records)
        if sizes is not None:
            longest = max(map(len, self._records), default=0)
            most = self._group * max(longest, sizes[1])
            if group_room(self._group, most, has_keys=False, alignment=self._alignment) < most_bytes:
                return True
        lengths = np.fromiter(map(len, records), np.int64, len(records))
        if keys is not None:
            lengths += np.fromiter(map(len, keys), np.int64, len(keys))
        waiting = sum(map(len, self._records)) + sum(map(len, self._keys or ()))
        starts = np.append(0, np.arange(self._group - len(self._records), len(records), self._group))
        sums = np.add.reduceat(lengths, starts)
        sums[0] += waiting
        longest = int(sums.max())
        return group_room(self._group, longest, has_keys=has_keys, alignment=self._alignment) < most_bytes

    def add(self, records: list[bytes], keys: list[bytes] | None) -> None:
        """Take records, with the key of each if any has one."""
        if keys is not None and self._keys is None:
            self._keys = [b""] * len(self._records)
        if self._keys is not None:
            self._keys += keys if keys is not None else [b""] * len(records)
        self._records += records

    def take(self, *, rest: bool = False) -> tuple[list[bytes], list[bytes] | None]:
        """Return the records of all full groups, or with `rest` all that wait, with the key of each if any has one."""
        count = len(self._records) if rest else len(self._records) // self._group * self._group
        records, self._records = self._records[:count], self._records[count:]
        keys: list[bytes] | None = None
        if self._keys is not None:
            keys, self._keys = self._keys[:count], self._keys[count:]
            self._keys = self._keys if any(self._keys) else None
        return records, keys

    def clear(self) -> None:
        """Forget all that waits."""
        self._records, self._keys = [], None
