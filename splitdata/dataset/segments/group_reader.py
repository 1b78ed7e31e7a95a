"""Reads of a segment whose records lie in groups: the frame is found and proven as any other, the record is cut out.

    sequence ─> frame = sequence // group, slot = sequence % group
    frame ─> proven lately? ── no ──> entry, header, payload, hash, decompressed     as segment_reader.py finds a record
                └─ yes ──────────────> cut out of the payload

The last groups are kept as they were proven, so records that lie together cost one proof together.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import numpy as np

from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.compiled_reads import CompiledReads
from splitdata.dataset.segments.mapped_groups import GroupedRecords, find_records
from splitdata.dataset.segments.segment_reader import SegmentReader, find_all
from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.record_group import RecordGroup
from splitdata.order.bin_layout import BinTable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.segments.mapped_bins import UsualFrames
    from splitdata.dataset.segments.record_reader import RecordReader
    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["GroupContents", "GroupReader", "open_reader", "read_group"]

# What is kept of groups that were proven, and held of those of a batch, beside one group.
_KEPT_BYTES: Final = 8 << 20
_LEAST_OF_GROUP: Final = 8
_Read = TypeVar("_Read")
_ENDS: Final = struct.Struct("<II")
# One of so many
_MOSTLY: Final = 1.25
# From so many records in write order on each bin has a worthwhile share of them.
_STRETCH_GROUPS: Final = 4


@dataclass(frozen=True, slots=True)
class GroupContents:
    """What one group holds.

    Attributes:
        records: In order.
        keys: Of each, empty where it has none.
    """

    records: list[bytes]
    keys: list[bytes]


def read_group(frames: RecordReader, count: int, frame: int) -> GroupContents:
    """Read one group whole and strictly, as a writer makes it.

    Args:
        frames: The careful reader of the segment.
        count: How many records it must hold.
        frame: Number of the group.

    Raises:
        FormatError: If it cannot be proven, or holds more than its records, their keys and zeros.
    """
    payload = frames.read(frame)
    try:
        group = RecordGroup(payload, range(count, count + 1))
        group.check_strictly()
        return GroupContents(group.items(), [group.key(slot) for slot in range(count)])
    except FormatError as error:
        frames.raise_damaged_item(frame, error)


def open_reader(
    files: SegmentFiles, cold_reads: ColdReads, *, verify: bool, max_record_bytes: int
) -> SegmentReader | GroupReader:
    """Return the reader of a segment, by whether its records lie in groups."""
    reader = GroupReader if files.info.is_grouped else SegmentReader
    return reader(files, cold_reads, verify=verify, max_record_bytes=max_record_bytes)


def _distinct(frames: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64] | slice]:
    """Return frames, one or more, each at least once, and which of these each of the given ones is."""
    ordered = np.sort(frames)
    is_first = np.empty(len(frames), np.bool_)
    is_first[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    if _MOSTLY * np.count_nonzero(is_first) > len(frames):
        # To find the few that are there twice takes longer than to prove them twice.
        return frames, slice(None)
    distinct = ordered[is_first]
    if np.count_nonzero(ordered != frames):
        return distinct, np.searchsorted(distinct, frames)
    return distinct, np.cumsum(is_first) - 1


class GroupReader:
    """Reads records of one segment that is written in groups; safe to share between threads.

    Attributes:
        files: The open files.
    """

    def __init__(self, files: SegmentFiles, cold_reads: ColdReads, *, verify: bool, max_record_bytes: int) -> None:
        self.files = files
        # A group may be longer than any of its records may be.
        most_bytes = max(max_record_bytes, spec.LARGE_RECORD_BYTES)
        self._frames = SegmentReader(
            files, cold_reads, verify=verify, max_record_bytes=most_bytes, most_item_bytes=max_record_bytes
        )
        self._verify = verify
        self._max_record_bytes = max_record_bytes
        self._group = files.info.group
        # Threads share it without a lock: each step is one call.
        self._kept: dict[int, RecordGroup] = {}
        self._last = -1
        num_records = files.info.num_records
        self._num_full = num_records // self._group
        # A newer commit may have filled the last group.
        self._full = range(self._group, self._group + 1)
        self._not_full = range(num_records % self._group, self._group + 1)
        self._group_log2, self._slot_mask = self._group.bit_length() - 1, self._group - 1
        # A full group of records without keys that begin wherever the one before ends.
        self._usual = self._group, 8 + 4 * self._group, max_record_bytes

    # -- what the segment is -------------------------------------------------------------------

    @property
    def num_records(self) -> int:
        """Committed records of the segment."""
        return self.files.info.num_records

    @property
    def num_keys(self) -> int:
        """Records that have a key."""
        return self.files.info.num_keys

    @property
    def num_bins(self) -> int:
        """Bins that hold records."""
        return self.files.info.num_bin_files

    @property
    def mean_bytes(self) -> int:
        """Mean raw length of a record."""
        return self.files.info.raw_bytes // max(1, self.files.info.num_records)

    @property
    def stretch(self) -> int:
        """From how many records in write order on a range is read well."""
        return _STRETCH_GROUPS * self._group

    def bin_count(self, bin_index: int) -> int:
        """Return how many records a bin holds."""
        info = self.files.info
        num_frames = len(range(bin_index, info.num_frames, info.num_bins))
        missing = info.num_frames * info.group - info.num_records
        is_last = (info.num_frames - 1) % info.num_bins == bin_index
        return num_frames * info.group - (missing if is_last else 0)

    def sequences_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the sequence numbers of the records with ordinals `first` to `stop` of one bin, int64."""
        ordinals = np.arange(first, stop, dtype=np.int64)
        frames = bin_index + (ordinals >> self._group_log2) * self.files.info.num_bins
        sequences: NDArray[np.int64] = (frames << self._group_log2) + (ordinals & self._slot_mask)
        return sequences

    def bin_table(self) -> BinTable:
        """Return which records lie in which bin; opens no file."""
        self.files.refuse_missing()
        bins = np.arange(self.num_bins, dtype=np.int64)
        strides = np.full(len(bins), self.files.info.num_bins, np.int64)
        counts = np.fromiter(map(self.bin_count, range(len(bins))), np.int64, len(bins))
        return BinTable(bins * self._group, strides, counts, group=self._group)

    # -- groups --------------------------------------------------------------------------------

    def _group_of(self, frame: int) -> RecordGroup:
        """Return a group, proven."""
        group = self._kept.get(frame)
        if group is None:
            payload = self._frames.mapped_group(frame)
            group = self._taken_apart(frame, self._frames.records.read(frame) if payload is None else payload)
            # By what this one has: what the manifest says of their mean may be forged, and a sum would need a lock.
            if (len(self._kept) + 1) * len(group.data) > _KEPT_BYTES:
                self._kept.clear()
            self._kept[frame] = group
        return group

    def _taken_apart(self, frame: int, payload: bytes) -> RecordGroup:
        try:
            return RecordGroup(payload, self._full if frame < self._num_full else self._not_full)
        except FormatError as error:
            self._frames.records.raise_damaged_item(frame, error)

    # -- records -------------------------------------------------------------------------------

    def quick(self) -> Callable[[Any], bytes | None] | None:
        """Return what returns one record at once, if it can: None where it cannot. None if there is no such thing."""
        return self._frames.quick()

    def get_quickly(self, sequences: NDArray[np.int64] | list[int]) -> list[bytes] | None:
        """Return records at once, None where that cannot be: then they are not checked at all."""
        return self._frames.get_quickly(sequences)

    def getter(self) -> Callable[[int], bytes]:
        """Return what does as `get` does, in the least time."""
        return self._frames.getter(self.get)

    def get(self, sequence: int) -> bytes:
        """Return one record; `sequence` must lie within the segment.

        Raises:
            FormatError: If its group cannot be proven to be what was written.
        """
        frame, slot = sequence >> self._group_log2, sequence & self._slot_mask
        group = self._kept.get(frame)
        if group is None:
            is_next, self._last = 0 <= frame - self._last <= 1, frame
            # To keep a group takes as long as to prove it, and pays where more of its records follow.
            if not is_next:
                record = self._frames.item_of_mapped_group(frame, slot, self._usual)
                if record is not None:
                    return record
            group = self._group_of(frame)
        if slot and group.alignment == 1:
            # As `RecordGroup.span` says, in fewer steps.
            data = group.data
            start, stop = _ENDS.unpack_from(data, 4 + 4 * slot)
            if group.tables <= start <= stop <= len(data) and stop - start <= self._max_record_bytes:
                return data[start:stop]
        return self._cut(frame, group, slot)

    def _cut(self, frame: int, group: RecordGroup, slot: int) -> bytes:
        start, stop = self._span(frame, group, slot)
        return group.data[start:stop]

    def _span(self, frame: int, group: RecordGroup, slot: int) -> tuple[int, int]:
        """Return where one record of a group lies in it."""
        try:
            start, stop = group.span(slot)
        except FormatError as error:
            self._frames.records.raise_damaged_item(frame, error)
        if stop - start > self._max_record_bytes:
            self._raise_too_large(frame, slot, stop - start)
        return start, stop

    def _raise_too_large(self, frame: int, slot: int, length: int) -> NoReturn:
        position = self.files.first_position + frame * self._group + slot
        raise RecordTooLargeError(
            f"record {position} is refused: it has {length} bytes, the limit is {self._max_record_bytes}; raise "
            f"max_record_bytes if you trust this dataset [{self.files.paths.folder}]"
        )

    def get_many(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return records in the order of `sequences`."""
        return self._read(sequences, CompiledReads.records, GroupedRecords.payloads, self._group_by_group)

    def get_views(self, sequences: NDArray[np.int64]) -> list[memoryview]:
        """Return records as read-only views, of the map itself where they are not compressed.

        Others of bytes of their own: views of groups would keep these in memory whole.
        """
        return self._read(sequences, CompiledReads.views, GroupedRecords.views, self._copies)

    def raw_hashes(self, sequences: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return xxh3-64 of the records."""
        return np.fromiter(map(hash64, self.get_views(sequences)), np.uint64, len(sequences))

    def _copies(self, sequences: NDArray[np.int64]) -> list[memoryview]:
        return [memoryview(record) for record in self._group_by_group(sequences)]

    def get_rows(self, sequences: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return records of one size as rows, uint8[records, size]; None where `get_many` is to read them."""
        return self._read(sequences, CompiledReads.rows, GroupedRecords.rows, lambda _: None)

    def get_range(self, first: int, stop: int, *, as_views: bool) -> Sequence[bytes | memoryview]:
        """Return records `first` to `stop` in write order."""
        return self._walk(np.arange(first, stop, dtype=np.int64), as_views=as_views)

    def get_of_bin(
        self, bin_index: int, first: int, stop: int, *, as_views: bool = False
    ) -> Sequence[bytes | memoryview]:
        """Return the records with ordinals `first` to `stop` of one bin."""
        return self._walk(self.sequences_of_bin(bin_index, first, stop), as_views=as_views)

    def _walk(self, sequences: NDArray[np.int64], *, as_views: bool) -> Sequence[bytes | memoryview]:
        if not as_views:
            return self.get_many(sequences)
        by_group = partial(self._group_by_group, as_views=True)
        return self._read(sequences, CompiledReads.views, GroupedRecords.views, by_group)

    def _read(
        self,
        sequences: NDArray[np.int64],
        compiled: Callable[[CompiledReads, NDArray[np.int64]], _Read | None],
        together: Callable[[GroupedRecords], _Read | None],
        otherwise: Callable[[NDArray[np.int64]], _Read],
    ) -> _Read:
        """Return records together where their groups are mapped and as usual, and otherwise by the other way."""
        if not len(sequences):
            return otherwise(sequences)
        records = self._frames.compiled_batch(sequences, compiled)
        if records is not None:
            return records
        frames, numbers = _distinct(sequences >> self._group_log2)

        def is_right(counts: NDArray[np.int64] | int) -> bool:
            if isinstance(counts, int) and counts == self._group:
                return True
            least = np.where(frames < self._num_full, self._group, self._not_full.start)
            return bool(((least <= counts) & (counts <= self._group)).all())

        def read(groups: UsualFrames | None) -> _Read:
            slots = sequences & self._slot_mask
            found = groups and find_records(groups, numbers, slots, is_right, verify=self._verify)
            # No record is longer than its group.
            if found and (self._max_record_bytes >= spec.LARGE_RECORD_BYTES or self._are_allowed(found)):
                found_records = together(found)
                if found_records is not None:
                    return found_records
            return otherwise(sequences)

        return self._frames.read_groups(frames, len(sequences), read)

    def _are_allowed(self, found: GroupedRecords) -> bool:
        return int((found.stops - found.starts).max()) <= self._max_record_bytes

    def _group_by_group(self, sequences: NDArray[np.int64], *, as_views: bool = False) -> list[Any]:
        """Return records one by one; each group that they touch is proven once."""
        records: list[Any] = [b""] * len(sequences)
        for frame, places, slots in self._by_group(sequences):
            found = self._cut_many(frame, slots, as_views=as_views)
            for place, record in zip(places, found, strict=True):
                records[place] = record
        return records

    def _by_group(self, sequences: NDArray[np.int64]) -> Iterator[tuple[int, list[int], list[int]]]:
        """Yield the number of each group that is touched, where its records stand in `sequences`, and their slots.

        Raises:
            RecordTooLargeError: If all these groups together are more than the files can hold.
        """
        frames = sequences >> self._group_log2
        order = np.argsort(frames, kind="stable")
        touched, starts = np.unique(frames[order], return_index=True)
        self._frames.refuse_flood(int(self._frames.lengths_of(touched).sum()), touched)
        places, slots = order.tolist(), (sequences[order] & self._slot_mask).tolist()
        for frame, (start, stop) in zip(touched.tolist(), pairwise([*starts.tolist(), len(order)]), strict=True):
            yield frame, places[start:stop], slots[start:stop]

    def _cut_many(self, frame: int, slots: list[int], *, as_views: bool) -> list[Any]:
        """Return records of one group."""
        group = self._group_of(frame)
        # No record is longer than its group.
        if len(slots) >= _LEAST_OF_GROUP and len(group.data) <= self._max_record_bytes:
            with suppress(FormatError):
                items: list[Any] = group.views() if as_views else group.items()
                return [items[slot] for slot in slots]
        data = memoryview(group.data) if as_views else group.data
        return [data[start:stop] for start, stop in (self._span(frame, group, slot) for slot in slots)]

    def view(self, sequence: int) -> memoryview:
        """Return one record as a read-only view of its group, which stays in memory for as long as the view."""
        frame, slot = divmod(sequence, self._group)
        group = self._group_of(frame)
        start, stop = self._span(frame, group, slot)
        return memoryview(group.data)[start:stop]

    def read_range(self, sequence: int, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` of one record, cut at its end."""
        return self.get(sequence)[start:stop]

    # -- keys ----------------------------------------------------------------------------------

    def key(self, sequence: int) -> bytes:
        """Return the key of one record, empty if it has none."""
        frame = sequence >> self._group_log2
        return self._key_in(frame, self._group_of(frame), sequence & self._slot_mask)

    def _key_in(self, frame: int, group: RecordGroup, slot: int) -> bytes:
        try:
            return group.key(slot)
        except FormatError as error:
            self._frames.records.raise_damaged_item(frame, error)

    def find_key(self, key: bytes, deleted: Container[int] = ()) -> int | None:
        """Return the sequence number of the newest record that has a key and is not `deleted`, None if none has.

        Raises:
            FormatError: If the table of keys is damaged: then nothing can be said.
            CorruptRecordError: If the group that seems to have the key is damaged.
        """
        return next(self.find_all(key, deleted), None)

    def find_all(self, key: bytes, deleted: Container[int] = ()) -> Iterator[int]:
        """Yield the sequence numbers of all records that have a key, from the newest on; raises as `find_key` does."""
        return find_all(self.files, key, self.key, self._raise_damaged_key, deleted)

    def _raise_damaged_key(self, sequence: int) -> NoReturn:
        self._frames.records.raise_damaged_key(sequence >> self._group_log2)

    def get_keys(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return the keys of records in the order of `sequences`, empty where one has none."""
        keys = [b""] * len(sequences)
        for frame, places, slots in self._by_group(sequences):
            group = self._group_of(frame)
            for place, slot in zip(places, slots, strict=True):
                keys[place] = self._key_in(frame, group, slot)
        return keys

    # -- lengths -------------------------------------------------------------------------------

    def length(self, sequence: int) -> int:
        """Return the raw length of one record, as the index tells it."""
        return int(self.lengths_of(np.array([sequence], np.int64))[0])

    def raw_lengths(self, start: int, stop: int, stride: int = 1) -> NDArray[np.int64]:
        """Return the raw lengths of every `stride`-th record of a range, int64."""
        if start >= stop:
            return np.empty(0, np.int64)
        if stride > 1:
            return self.lengths_of(np.arange(start, stop, stride, dtype=np.int64))
        first = start // self._group
        lengths = self.files.record_lengths(first, (stop - 1) // self._group + 1).reshape(-1)
        base = first * self._group
        return lengths[start - base : stop - base]

    def lengths_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the raw lengths of the records with ordinals `first` to `stop` of one bin, int64."""
        if self.files.info.num_bins == 1:
            return self.raw_lengths(first, stop)
        return self.lengths_of(self.sequences_of_bin(bin_index, first, stop))

    def lengths_of(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the raw lengths of any records, int64."""
        return self.files.lengths_at(sequences >> self._group_log2, sequences & self._slot_mask)

    # -- cold data -----------------------------------------------------------------------------

    def any_is_cold(self, sequences: NDArray[np.int64]) -> bool:
        """Say whether the first bytes of the group of any record are not in memory; False where nobody can tell."""
        return self._frames.any_is_cold(np.unique(sequences // self._group))

    def prefetch(self, sequences: NDArray[np.int64]) -> None:
        """Ask the kernel for the groups of records; returns without waiting for them."""
        self._frames.prefetch(np.unique(sequences // self._group))
