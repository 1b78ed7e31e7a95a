"""Reads of a segment whose records lie in groups: the frame is found and proven as any other, the record is cut out.

    sequence ─> frame = sequence // group, slot = sequence % group
    frame ─> proven lately? ── no ──> entry, header, payload, hash, decompressed     as segment_reader.py finds a record
                └─ yes ──────────────> cut out of the payload

The last groups are kept as they were proven, so records that lie together cost one proof together.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.segment_reader import SegmentReader, find_all
from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec
from splitdata.format.record_group import RecordGroup
from splitdata.order.bin_layout import BinTable

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.segments.record_reader import RecordReader
    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["GroupContents", "GroupReader", "open_reader", "read_group"]

# What is kept of groups that were proven, and held of those of a batch, beside one group.
_KEPT_BYTES: Final = 8 << 20
_LEAST_OF_GROUP: Final = 8
_PAIR: Final = struct.Struct("<II")
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


class GroupReader:
    """Reads records of one segment that is written in groups; safe to share between threads.

    Attributes:
        files: The open files.
    """

    def __init__(self, files: SegmentFiles, cold_reads: ColdReads, *, verify: bool, max_record_bytes: int) -> None:
        self.files = files
        # A group may be longer than any of its records may be.
        most_bytes = max(max_record_bytes, spec.LARGE_RECORD_BYTES)
        self._frames = SegmentReader(files, cold_reads, verify=verify, max_record_bytes=most_bytes)
        self._max_record_bytes = max_record_bytes
        self._group = files.info.group
        # Threads share it without a lock: each step is one call.
        self._kept: dict[int, bytes] = {}
        self._last = -1
        num_records = files.info.num_records
        self._num_full = num_records // self._group
        # A newer commit may have filled the last group.
        self._full = range(self._group, self._group + 1)
        self._not_full = range(num_records % self._group, self._group + 1)
        # A full group of records without keys that begin wherever the one before ends.
        self._usual_head = struct.pack("<II", self._group, 0)
        self._group_log2, self._slot_mask = self._group.bit_length() - 1, self._group - 1
        self._usual_tables = 8 + 4 * self._group

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
        numbers, slots = np.divmod(np.arange(first, stop, dtype=np.int64), self._group)
        sequences: NDArray[np.int64] = (bin_index + numbers * self.files.info.num_bins) * self._group + slots
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
        return self._taken_apart(frame, bytes(self._kept.get(frame) or self._prove(frame)))

    def _taken_apart(self, frame: int, payload: bytes) -> RecordGroup:
        try:
            return RecordGroup(payload, self._full if frame < self._num_full else self._not_full)
        except FormatError as error:
            self._frames.records.raise_damaged_item(frame, error)

    def _prove(self, frame: int) -> bytes | memoryview:
        """Return the raw payload of a group, proven; keep it if it stands where one was read last, or behind it.

        A view of the map otherwise: to copy a group takes as long as to hash it, and one record of it is wanted.
        """
        is_near, self._last = 0 <= frame - self._last <= 1, frame
        payload = self._frames.mapped_group(frame, as_view=not is_near)
        if payload is None:
            payload = self._frames.records.read(frame)
        return self._keep(frame, payload) if isinstance(payload, bytes) else payload

    def _keep(self, frame: int, payload: bytes) -> bytes:
        # By what this one has: what the manifest says of their mean may be forged, and a sum would need a lock.
        if (len(self._kept) + 1) * len(payload) > _KEPT_BYTES:
            self._kept.clear()
        self._kept[frame] = payload
        return payload

    def _parts(self, sequences: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield groups that are touched, in the order of the file, and where their records stand in `sequences`.

        Of so many groups at a time that their payloads may be held together.
        """
        frames = sequences // self._group
        order = np.argsort(frames, kind="stable")
        unique, starts = np.unique(frames[order], return_index=True)
        borders = np.append(starts, len(order))
        for some in self._held_together(unique):
            yield unique[some], order[borders[some.start] : borders[some.stop]]

    def _held_together(self, frames: NDArray[np.int64]) -> Iterator[slice]:
        """Yield parts of some groups, all different, whose payloads may be held together.

        Raises:
            RecordTooLargeError: If all together are more than the files can hold.
        """
        if len(frames) == 1:
            yield slice(0, 1)
            return
        lengths = self._frames.lengths_of(frames)
        self._frames.refuse_flood(int(lengths.sum()), frames)
        parts = (np.cumsum(lengths) - lengths) // _KEPT_BYTES
        starts = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(frames)]
        for start, stop in pairwise(starts):
            yield slice(start, stop)

    # -- records -------------------------------------------------------------------------------

    def get(self, sequence: int) -> bytes:
        """Return one record; `sequence` must lie within the segment.

        Raises:
            FormatError: If its group cannot be proven to be what was written.
        """
        frame, slot = sequence >> self._group_log2, sequence & self._slot_mask
        payload = self._kept.get(frame) or self._prove(frame)
        if slot and payload[:8] == self._usual_head and len(payload) >= self._usual_tables:
            # As `RecordGroup.span` says, in fewer steps.
            start, stop = _PAIR.unpack_from(payload, 4 + 4 * slot)
            if self._usual_tables <= start <= stop <= len(payload) and stop - start <= self._max_record_bytes:
                return bytes(payload[start:stop])
        return self._cut(frame, payload, slot)

    def _cut(self, frame: int, payload: bytes | memoryview, slot: int) -> bytes:
        """Return one record of a group, of which the payload is given."""
        group = self._taken_apart(frame, bytes(payload))
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
        """Return records in the order of `sequences`; each group that they touch is proven once."""
        records = [b""] * len(sequences)
        most = self._max_record_bytes
        for frames, where in self._parts(sequences):
            payloads = dict(zip(frames.tolist(), self._frames.get_many(frames), strict=True))
            head, tables = self._usual_head, self._usual_tables
            for place, sequence in zip(where.tolist(), sequences[where].tolist(), strict=True):
                frame, slot = sequence >> self._group_log2, sequence & self._slot_mask
                payload = payloads[frame]
                if slot and payload[:8] == head and len(payload) >= tables:
                    start, stop = _PAIR.unpack_from(payload, 4 + 4 * slot)
                    if tables <= start <= stop <= len(payload) and stop - start <= most:
                        records[place] = payload[start:stop]
                        continue
                records[place] = self._cut(frame, payload, slot)
        return records

    def get_views(self, sequences: NDArray[np.int64]) -> list[memoryview]:
        """Return records as read-only views of bytes of their own: views of groups would keep these in memory whole."""
        return [memoryview(record) for record in self.get_many(sequences)]

    def get_rows(self, sequences: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return records of one size as rows, uint8[records, size]; None where `get_many` is to read them."""
        frames = sequences // self._group
        # Of a group of which one record or two are wanted these are cut out faster.
        if len(sequences) < _LEAST_OF_GROUP * (1 + np.count_nonzero(np.diff(frames))):
            return None
        rows: NDArray[np.uint8] | None = None
        for some, where in self._parts(sequences):
            numbers = sequences[where]
            borders = np.append(np.searchsorted(numbers // self._group, some), len(numbers)).tolist()
            for number, (frame, payload) in enumerate(zip(some.tolist(), self._frames.get_many(some), strict=True)):
                try:
                    found = self._taken_apart(frame, payload).rows()
                except FormatError:
                    return None
                if found is None or found.shape[1] > self._max_record_bytes:
                    return None
                if rows is not None and found.shape[1] != rows.shape[1]:
                    return None
                if rows is None:
                    rows = np.empty((len(sequences), found.shape[1]), np.uint8)
                mine = slice(borders[number], borders[number + 1])
                rows[where[mine]] = found[numbers[mine] - frame * self._group]
        return rows

    def get_range(self, first: int, stop: int, *, as_views: bool) -> Sequence[bytes | memoryview]:
        """Return records `first` to `stop` in write order."""
        frames = np.arange(first >> self._group_log2, (stop - 1 >> self._group_log2) + 1)
        start = first & self._slot_mask
        return self._items(frames, as_views=as_views)[start : start + stop - first]

    def get_of_bin(
        self, bin_index: int, first: int, stop: int, *, as_views: bool = False
    ) -> Sequence[bytes | memoryview]:
        """Return the records with ordinals `first` to `stop` of one bin."""
        numbers = np.arange(first >> self._group_log2, (stop - 1 >> self._group_log2) + 1)
        start = first & self._slot_mask
        frames = bin_index + numbers * self.files.info.num_bins
        return self._items(frames, as_views=as_views)[start : start + stop - first]

    def _items(self, frames: NDArray[np.int64], *, as_views: bool) -> list[Any]:
        """Return all records of some groups."""
        records: list[Any] = []
        for part in self._held_together(frames):
            some = frames[part]
            for frame, payload in zip(some.tolist(), self._frames.get_many(some), strict=True):
                records += self._items_of(frame, payload, as_views=as_views)
        return records

    def _items_of(self, frame: int, payload: bytes, *, as_views: bool) -> Sequence[bytes | memoryview]:
        group = self._taken_apart(frame, payload)
        try:
            items: Sequence[bytes | memoryview] = group.views() if as_views else group.items()
        except FormatError as error:
            self._frames.records.raise_damaged_item(frame, error)
        # No record is longer than its group.
        if len(payload) > self._max_record_bytes:
            for slot, length in enumerate(map(len, items)):
                if length > self._max_record_bytes:
                    self._raise_too_large(frame, slot, length)
        return items

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
        return self._key_in(self._group_of(sequence >> self._group_log2), sequence)

    def _key_in(self, group: RecordGroup, sequence: int) -> bytes:
        try:
            return group.key(sequence & self._slot_mask)
        except FormatError as error:
            self._frames.records.raise_damaged_item(sequence >> self._group_log2, error)

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
        for frames, where in self._parts(sequences):
            payloads = zip(frames.tolist(), self._frames.get_many(frames), strict=True)
            groups = {frame: self._taken_apart(frame, payload) for frame, payload in payloads}
            for place, sequence in zip(where.tolist(), sequences[where].tolist(), strict=True):
                keys[place] = self._key_in(groups[sequence >> self._group_log2], sequence)
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
