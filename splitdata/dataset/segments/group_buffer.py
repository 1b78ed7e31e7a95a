"""Records that wait until their group is full, and groups ready to be framed.

What does not fill a group when a segment is sealed becomes its last one.

    add(records) ──> those that wait ──take──> PackedGroups: payloads, lengths and hashes of the records, keys
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata._compiled import speedups
from splitdata.format.checksum import hash64
from splitdata.format.record_group import group_room, pack_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MOST_CHOSEN_BYTES", "GroupBuffer", "PackedGroups", "group_for"]

_U64: Final = np.uint64

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedGroups:
    """Groups that are ready to be framed.

    Attributes:
        payloads: Of each.
        lengths: Of the records of each, int64[groups, records of a group], zeros behind the last.
        hashes: xxh3-64 of each record, in order.
        keys: Of each record, empty where it has none; None where no record has one.
    """

    payloads: list[bytes]
    lengths: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    keys: list[bytes] | None


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

    def take(self, *, rest: bool = False) -> PackedGroups | None:
        """Return all full groups, or with `rest` all that waits; None if that is nothing."""
        count = len(self._records) if rest else len(self._records) // self._group * self._group
        if not count:
            return None
        records, self._records = self._records[:count], self._records[count:]
        keys: list[bytes] | None = None
        if self._keys is not None:
            keys, self._keys = self._keys[:count], self._keys[count:]
            self._keys = self._keys if any(self._keys) else None
        packed = self._packed_by_compiled(records) if keys is None else None
        if packed is not None:
            return packed
        starts = range(0, count, self._group)
        payloads = [
            pack_group(records[start : start + self._group], _some(keys, start, self._group), self._alignment)
            for start in starts
        ]
        lengths = np.zeros(len(starts) * self._group, np.int64)
        lengths[:count] = np.fromiter(map(len, records), np.int64, count)
        return PackedGroups(
            payloads=payloads,
            lengths=lengths.reshape(len(starts), self._group),
            hashes=np.fromiter(map(hash64, records), _U64, count),
            keys=keys,
        )

    def _packed_by_compiled(self, records: list[bytes]) -> PackedGroups | None:
        """Return records without keys as groups, None where that is left to Python."""
        compiled = speedups()
        if compiled is None:
            return None
        hashes = np.empty(len(records), _U64)
        lengths = np.zeros((-(-len(records) // self._group), self._group), np.int64)
        payloads = compiled.pack_groups(records, self._group, self._alignment.bit_length() - 1, lengths, hashes)
        if payloads is None:
            return None
        return PackedGroups(payloads=payloads, lengths=lengths, hashes=hashes, keys=None)

    def clear(self) -> None:
        """Forget all that waits."""
        self._records, self._keys = [], None


def _some(keys: list[bytes] | None, start: int, group: int) -> list[bytes] | None:
    """Return the keys of one group, None if none of its records has one."""
    found = keys[start : start + group] if keys is not None else []
    return found if any(found) else None
