"""Fast reads of one committed segment; whatever is not the usual goes to record_reader.py.

The usual record is uncompressed and below 16 MiB: its header word 2 is its sequence number, but for the length of a
key, word 3 equals the index entry, stored and raw length are one. These reads try that and fall back to the
careful reader, one record at a time, where it fails: so speed never decides what is an error.

    one      entry words ─> frame words ─> slice ─> hash                     `get`
    many     entries and headers of all by numpy, hashes by `map`            `get_many`, `get_rows`
    one bin  consecutive records of it, as many                              `get_of_bin`

All of these but `get` ask the compiled path first, where there is one: compiled_reads.py. In the place of `get` goes
what `getter` returns.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from itertools import pairwise
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import numpy as np

from splitdata.dataset.keys.key_lookup import raise_keys_error
from splitdata.dataset.segments.cold_reads import ColdReads, slow_seconds
from splitdata.dataset.segments.compiled_reads import CompiledReads
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec
from splitdata.format.checksum import hash64, sync_word
from splitdata.format.index import unpack_loc
from splitdata.format.keys import key_hash
from splitdata.order.bin_layout import BinTable

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.segments.mapped_bins import UsualFrames
    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["SegmentReader", "find_all"]

# `unpack_loc` without a call: only where one record is read.
_SHIFT: Final = spec.BIN_SHIFT
_MASK: Final = spec.PLACE_MASK
_LENGTH_MASK: Final = 0xFFFFFFFF
# Word 2 of an uncompressed group, beside its number.
_GROUP_WORD: Final = spec.KIND_GROUP << 32
_ENDS: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct("<4Q")
# A length times this is the second word of the entry of a record that is stored as it is.
_BOTH_LENGTHS: Final = (1 << 32) + 1
# Word 2 without the length of the key, on which no reading of a record depends: kind and codec must be 0.
_WITHOUT_KEY: Final = (1 << spec.KEY_SHIFT) - 1
# How often open files are asked for their size, and how much longer that pause is than asking takes.
_LOOK_SECONDS: Final = 0.05
_LOOK_SHARE: Final = 200
# Fewer are read faster one by one.
_FEW_RECORDS: Final = 16
# With fewer records of each bin in a range the work per bin would dominate.
_STRETCH_OF_BIN: Final = 256
# A read of one bin costs some 20 us before its first record.
_WORTHWHILE_OF_BIN: Final = 32
# A batch may have as many bytes as so many of the longest records, or so many times what lies in the files.
_BATCH_RECORDS: Final = 4
_MOST_EXPANSION: Final = 64
# So many records of groups that were found take about as long as to find one frame.
_RECORDS_OF_A_FRAME: Final = 8
_Read = TypeVar("_Read")
_Rows = TypeVar("_Rows", bound="NDArray[np.int64] | list[int]")
_VIEW_LIMIT: Final = spec.LARGE_RECORD_BYTES << 32


def find_all(
    files: SegmentFiles,
    key: bytes,
    key_of: Callable[[int], bytes],
    raise_damaged: Callable[[int], NoReturn],
    deleted: Container[int],
) -> Iterator[int]:
    """Yield the sequence numbers of the records that have a key, from the newest on.

    Args:
        files: Of the segment.
        key: That is sought.
        key_of: Reads the key of a record, proven.
        raise_damaged: Raises for a record whose key is not the one that the table lists.
        deleted: Records that are left out.

    Raises:
        FormatError: If the table of keys is damaged: then nothing can be said.
        UnsupportedVersionError: If the segment has a feature that is not known: it may say otherwise which keys it has.
        CorruptRecordError: If the record that seems to have the key is damaged.
    """
    files.info.check_features()
    if not files.info.num_keys:
        return
    table = files.keys()
    try:
        candidates = table.find(key_hash(key))
    except FormatError as error:
        raise_keys_error(files.paths, table.path, str(error))
    for sequence in sorted(candidates, reverse=True):
        if sequence >= files.info.num_records:
            if files.info.is_sealed:
                raise_keys_error(files.paths, table.path, f"it lists record {sequence}, which the segment lacks")
            # A table that was sealed later has keys that this snapshot does not show.
            continue
        if sequence in deleted:
            continue
        other = key_of(sequence)
        if other == key:
            yield sequence
        # Two keys may have one hash. Otherwise the table is of another bin.
        elif key_hash(other) != key_hash(key):
            raise_damaged(sequence)


class SegmentReader:
    """Reads records of one segment by sequence number; safe to share between threads.

    Attributes:
        files: The open files.
        records: The careful reader.
    """

    def __init__(
        self,
        files: SegmentFiles,
        cold_reads: ColdReads,
        *,
        verify: bool,
        max_record_bytes: int,
        most_item_bytes: int | None = None,
    ) -> None:
        """Take the files.

        Args:
            files: Of the segment.
            cold_reads: Of the snapshot.
            verify: Whether payloads are held against their hashes.
            max_record_bytes: A longer record is refused.
            most_item_bytes: With groups that holds for each of these, and this for each record in one.
        """
        self.files = files
        self._cold_reads = cold_reads
        self.records = RecordReader(files, verify=verify, max_record_bytes=max_record_bytes)
        self._verify = verify
        # Both lengths of an index entry as one number: below it the raw length is one of an ordinary record that
        # may be copied. A forged entry says 4 GiB.
        self._limit = min(max_record_bytes + 1, spec.LARGE_RECORD_BYTES) << 32
        self._batch_bytes = _BATCH_RECORDS * max_record_bytes
        self._few_enough = self._batch_bytes // spec.LARGE_RECORD_BYTES
        self._next_look = 0.0
        self._compiled = (
            None
            if files.compiled is None
            else CompiledReads(
                files.compiled,
                verify=verify,
                most_bytes=max_record_bytes if most_item_bytes is None else most_item_bytes,
                most_bytes_in_all=self._batch_bytes,
            )
        )
        self._folder = files.paths.folder
        self._slow_seconds = slow_seconds(self.mean_bytes)

    @property
    def num_records(self) -> int:
        """Committed records of the segment."""
        return self.files.info.num_records

    @property
    def num_keys(self) -> int:
        """Records that have a key."""
        return self.files.info.num_keys

    @property
    def mean_bytes(self) -> int:
        """Mean raw length of a record."""
        return self.files.info.raw_bytes // max(1, self.files.info.num_records)

    @property
    def stretch(self) -> int:
        """From how many records in write order on each bin has a worthwhile share of them."""
        return _STRETCH_OF_BIN * min(self.files.info.num_bins, _STRETCH_OF_BIN)

    def quick(self) -> Callable[[Any], bytes | None] | None:
        """Return what returns one record at once, if it can: None where it cannot. None if there is no such thing."""
        return None if self._compiled is None else self._compiled.quick()

    def get_quickly(self, sequences: NDArray[np.int64] | list[int]) -> list[bytes] | None:
        """Return records at once, None where that cannot be: then they are not checked at all."""
        return self.compiled_batch(sequences, CompiledReads.records)

    def getter(self, otherwise: Callable[[int], bytes] | None = None) -> Callable[[int], bytes]:
        """Return what does as `get` does in the least time, or as `otherwise` does: that of groups."""
        get = self.get if otherwise is None else otherwise
        return get if self._compiled is None else self._compiled.getter(get)

    def get(self, sequence: int) -> bytes:
        """Return one record; `sequence` must lie within the segment.

        Raises:
            FormatError: If the record cannot be proven to be what was written.
        """
        files = self.files
        try:
            place = files.entry_places[sequence]  # type: ignore[index]  # None is met by the TypeError below
            lengths = files.entry_lengths[sequence]  # type: ignore[index]
            syncs, sync, hashes, numbers, there, data = files.mapped[place >> _SHIFT]  # type: ignore[misc]
            word = place & _MASK
            if (
                there[word] == lengths < self._limit
                and numbers[word] & _WITHOUT_KEY == sequence
                and syncs[2 * word] == sync
            ):
                start = word * 8 + 32
                # The raw length: of a compressed record it is not the stored one, and nothing below will match.
                payload: bytes = data[start : start + (lengths >> 32)]
                # Both lengths are that of what was found, as a slice ends with the file.
                if len(payload) * _BOTH_LENGTHS == lengths and (not self._verify or hash64(payload) == hashes[word]):
                    return payload
        except (IndexError, TypeError):
            # A file that is not open yet, or a place outside of it: the careful reader's to handle.
            pass
        return self.records.read(sequence)

    def mapped_group(self, frame: int) -> bytes | None:
        """Return the raw payload of an uncompressed group that is mapped, proven; None: it is to be read carefully."""
        files = self.files
        try:
            place = files.entry_places[frame]  # type: ignore[index]  # as in `get`
            lengths = files.entry_lengths[frame]  # type: ignore[index]
            syncs, sync, hashes, numbers, there, data = files.mapped[place >> _SHIFT]  # type: ignore[misc]
            word = place & _MASK
            if (
                there[word] == lengths < self._limit
                and numbers[word] == frame | _GROUP_WORD
                and syncs[2 * word] == sync
            ):
                start = word * 8 + 32
                payload: bytes = data[start : start + (lengths >> 32)]
                if len(payload) * _BOTH_LENGTHS == lengths and (not self._verify or hash64(payload) == hashes[word]):
                    return payload
        except (IndexError, TypeError):
            pass
        return None

    def item_of_mapped_group(self, frame: int, slot: int, usual: tuple[int, int, int]) -> bytes | None:
        """Return one record of an uncompressed group that is mapped, proven; None: it is to be read carefully.

        Without a copy of the group, which would take as long as to hash it.

        Args:
            frame: Number of the group.
            slot: Of the record in it.
            usual: What groups without keys and alignment begin with, as an integer; where their tables end; and the
                most that a record may have.
        """
        files = self.files
        head, tables, most = usual
        try:
            place = files.entry_places[frame]  # type: ignore[index]  # as in `get`
            lengths = files.entry_lengths[frame]  # type: ignore[index]
            syncs, sync, hashes, numbers, there, data = files.mapped[place >> _SHIFT]  # type: ignore[misc]
            word = place & _MASK
            is_usual = there[word] == lengths < self._limit and numbers[word] == frame | _GROUP_WORD
            if is_usual and there[word + 1] == head and syncs[2 * word] == sync:
                begin = word * 8 + 32
                payload = files.views[place >> _SHIFT][begin : begin + (lengths >> 32)]  # type: ignore[index]
                # As `RecordGroup.span` says, in fewer steps.
                start, stop = _ENDS.unpack_from(payload, 4 + 4 * slot)
                start = start if slot else tables
                if tables <= start <= stop <= len(payload) and stop - start <= most:
                    record: bytes = data[begin + start : begin + stop]
                    # Proven behind the copy: what changes in between is found.
                    if len(payload) * _BOTH_LENGTHS == lengths and (
                        not self._verify or hash64(payload) == hashes[word]
                    ):
                        return record
        except (IndexError, TypeError, struct.error):
            pass
        return None

    def find_key(self, key: bytes, deleted: Container[int] = ()) -> int | None:
        """Return the sequence number of the newest record that has a key and is not `deleted`, None if none has.

        Raises:
            FormatError: If the table of keys is damaged: then nothing can be said.
            CorruptRecordError: If the record that seems to have the key is damaged.
        """
        return next(self.find_all(key, deleted), None)

    def find_all(self, key: bytes, deleted: Container[int] = ()) -> Iterator[int]:
        """Yield the sequence numbers of all records that have a key, from the newest on; raises as `find_key` does."""
        return find_all(self.files, key, self.key, self.records.raise_damaged_key, deleted)

    def get_many(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return records in the order of `sequences`; read in the order of the disk where they are cold."""
        return self._read_many(sequences, as_views=False)

    def get_views(self, sequences: NDArray[np.int64]) -> list[memoryview]:
        """Return records as read-only views, of the map itself where they are not compressed; else as `get_many`."""
        return self._read_many(sequences, as_views=True)

    def compiled_batch(self, sequences: _Rows, read: Callable[[CompiledReads, _Rows], _Read | None]) -> _Read | None:
        """Return a batch by the compiled path; None where it is not there, or the batch not usual or perhaps cold."""
        compiled = self._compiled
        if compiled is None or not self._cold_reads.expects_warm(self._folder) or not len(sequences):
            return None
        self._look_for_shrunk()
        start = perf_counter()
        records = read(compiled, sequences)
        if records is not None:
            was_slow = perf_counter() - start > self._slow_seconds * len(sequences)
            self._cold_reads.note_batch(self._folder, was_slow=was_slow)
        return records

    def _read_many(self, sequences: NDArray[np.int64], *, as_views: bool) -> list[Any]:
        read: Any = CompiledReads.views if as_views else CompiledReads.records
        compiled: list[Any] | None = self.compiled_batch(sequences, read)
        if compiled is not None:
            return compiled
        if self.files.is_remote:
            return self._read_remote(sequences, as_views=as_views)
        self._look_for_shrunk()
        pairs = self._entry_pairs(sequences)
        if pairs is None or not self._cold_reads.is_cold_batch(self._folder, pairs, self._any_is_cold):
            start = perf_counter()
            records = self._read_warm(sequences, pairs, as_views=as_views)
            was_slow = perf_counter() - start > self._slow_seconds * len(records)
            self._cold_reads.note_batch(self._folder, was_slow=was_slow)
            return records
        self._prefetch(pairs)
        order = np.argsort(pairs[:, 0], kind="stable")
        ordered = self._read_warm(sequences[order], pairs[order], as_views=as_views)
        records = [b""] * len(ordered)
        for place, record in zip(order.tolist(), ordered, strict=True):
            records[place] = record
        return records

    def _read_remote(self, sequences: NDArray[np.int64], *, as_views: bool) -> list[Any]:
        """Return records of a store: asked for together, in parts that fit into memory, each while the last is read."""
        pairs = self._entry_pairs(sequences)
        if pairs is None or not len(pairs):
            return self._one_by_one(sequences, as_views=as_views)
        if (num_bytes := int((pairs[:, 1] >> np.uint64(32)).sum())) > self._batch_bytes:
            self.refuse_flood(num_bytes, sequences)
        order = np.argsort(pairs[:, 0], kind="stable")
        parts = np.split(order, self.files.windows(pairs[order]))
        records: list[Any] = [b""] * len(order)
        self._prefetch(pairs[parts[0]])
        for part, following in pairwise([*parts, order[:0]]):
            self._prefetch(pairs[following])
            found = self._fetched(sequences[part].tolist(), pairs[part].tolist())
            for place, record in zip(part.tolist(), found, strict=True):
                records[place] = memoryview(record) if as_views else record
        return records

    def _fetched(self, sequences: list[int], pairs: list[list[int]]) -> list[bytes]:
        """Return records of a store, given their index entries: usual ones as `get` does, others carefully."""
        bins: dict[int, tuple[Callable[[int, int], bytes], int] | None] = {}
        records, num_bytes = [], 0
        for sequence, (place, lengths) in zip(sequences, pairs, strict=True):
            number, length = place >> _SHIFT, lengths >> 32
            if number not in bins:
                bins[number] = self._bin_of_store(number)
            found, payload = bins[number], b""
            is_usual = found is not None and length * _BOTH_LENGTHS == lengths < self._limit
            if is_usual and found is not None:
                frame = found[0]((place & _MASK) << 3, spec.FRAME_HEADER_BYTES + length)
                # Shorter where the file ends before it.
                if len(frame) == spec.FRAME_HEADER_BYTES + length:
                    sync, payload_hash, own_number, there = _HEADER.unpack_from(frame)
                    is_its = own_number & _WITHOUT_KEY == sequence and there == lengths
                    payload = frame[spec.FRAME_HEADER_BYTES :]
                    is_usual = (
                        is_its
                        and sync & _LENGTH_MASK == found[1]
                        and (not self._verify or hash64(payload) == payload_hash)
                    )
                else:
                    is_usual = False
            records.append(payload if is_usual else self.records.read(sequence))
            num_bytes += len(records[-1])
            if num_bytes > self._batch_bytes:
                self.refuse_flood(num_bytes, np.array(sequences))
        return records

    def _bin_of_store(self, number: int) -> tuple[Callable[[int, int], bytes], int] | None:
        """Return what reads a bin, and its sync word; None where there is no such bin: reading carefully says why."""
        if 0 <= number < self.files.info.num_bin_files:
            with suppress(FormatError):
                return self.files.bin(number).read, sync_word(self.files.salt(number))
        return None

    def get_rows(self, sequences: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return records of one size as rows, uint8[records, size]; None where `get_many` is to read them."""
        if self.files.is_remote:
            return None
        compiled = self.compiled_batch(sequences, CompiledReads.rows)
        if compiled is not None:
            return compiled
        self._look_for_shrunk()
        pairs = self._entry_pairs(sequences)
        if pairs is None or self._cold_reads.is_cold_batch(self._folder, pairs, self._any_is_cold):
            return None
        start = perf_counter()
        frames = self._usual_frames(sequences, pairs)
        rows = frames.rows(verify=self._verify) if frames else None
        was_slow = perf_counter() - start > self._slow_seconds * len(pairs)
        self._cold_reads.note_batch(self._folder, was_slow=was_slow)
        return rows

    def _read_warm(
        self, sequences: NDArray[np.int64], pairs: NDArray[np.uint64] | None, *, as_views: bool
    ) -> list[Any]:
        """Return records, together if all are usual, one by one otherwise."""
        if self._compiled is not None:
            compiled = self._compiled.views(sequences) if as_views else self._compiled.records(sequences)
            if compiled is not None:
                return compiled
        frames = None if pairs is None else self._usual_frames(sequences, pairs, as_views=as_views)
        records: list[Any] | None = None
        if frames is not None:
            records = frames.views(verify=self._verify) if as_views else frames.payloads(verify=self._verify)
        return self._one_by_one(sequences, as_views=as_views) if records is None else records

    def read_groups(
        self, frames: NDArray[np.int64], num_records: int, read: Callable[[UsualFrames | None], _Read]
    ) -> _Read:
        """Return what `read` makes of groups, which are asked for together where they are cold.

        Args:
            frames: Their numbers.
            num_records: How many of their records are wanted.
            read: Takes them as found right but not proven, None unless all are mapped and usual, or if they are few.
        """
        self._look_for_shrunk()
        pairs = self._entry_pairs(frames)
        if pairs is None:
            return read(None)
        is_cold = self.files.is_remote or self._cold_reads.is_cold_batch(self._folder, pairs, self._any_is_cold)
        if is_cold:
            self._prefetch(pairs)
        start = perf_counter()
        are_few = len(frames) < _FEW_RECORDS
        result = read(None if are_few else self._usual_frames(frames, pairs, as_views=True))
        if not is_cold:
            expected = len(frames) + num_records / _RECORDS_OF_A_FRAME
            was_slow = perf_counter() - start > self._slow_seconds * expected
            self._cold_reads.note_batch(self._folder, was_slow=was_slow)
        return result

    def _usual_frames(
        self, sequences: NDArray[np.int64], pairs: NDArray[np.uint64], *, as_views: bool = False
    ) -> UsualFrames | None:
        is_grouped = self.files.info.is_grouped
        mapped = self.files.mapped_bins() if is_grouped or len(sequences) >= _FEW_RECORDS else None
        if mapped is None:
            return None
        # Only so many can be more than a batch may have together.
        if len(pairs) > self._few_enough and (is_grouped or not as_views):
            self.refuse_flood(int((pairs[:, 1] >> np.uint64(32)).sum()), sequences)
        kind = spec.KIND_GROUP if is_grouped else spec.KIND_RECORD
        return mapped.find(sequences, pairs, self._limit >> 32, as_views=as_views, kind=kind)

    def refuse_flood(self, num_bytes: int, sequences: NDArray[np.int64]) -> None:
        """Raise for a batch that is larger than what the files of its segment can hold.

        Frames that lie inside of each other, or compress to next to nothing, make terabytes of a forged megabyte.

        Raises:
            RecordTooLargeError: If so.
        """
        if num_bytes <= self._batch_bytes:
            return
        there = sum(self.files.paths.sizes_of_bins().values())
        # A record that is asked for twice is there once.
        times = len(sequences) / max(1, len(np.unique(sequences)))
        if num_bytes > _MOST_EXPANSION * there * times:
            noun = "groups of records" if self.files.info.is_grouped else "records"
            raise RecordTooLargeError(
                f"{len(sequences)} {noun} of {self.files.paths.folder} are to have {num_bytes} bytes together, and "
                f"its bins have {there}; read fewer at a time, or raise max_record_bytes if you trust this dataset"
            )

    def get_of_bin(
        self, bin_index: int, first: int, stop: int, *, as_views: bool = False
    ) -> Sequence[bytes | memoryview]:
        """Return the records with ordinals `first` to `stop` of one bin.

        Args:
            bin_index: Of the bin in the segment.
            first: Ordinal of the first record: its sequence number is `bin_index + first * num_bins`.
            stop: Ordinal behind the last.
            as_views: Return memoryviews of the map instead of copies, where there is a map.
        """
        sequences = self.sequences_of_bin(bin_index, first, stop)
        if self.files.is_remote:
            return self._read_remote(sequences, as_views=as_views)
        self._look_for_shrunk()
        try:
            self.files.bin(bin_index)
            if self.files.mapped[bin_index] is None:
                return self._one_by_one(sequences, as_views=as_views)
            entries = self.files.entries(int(sequences[0]), int(sequences[-1]) + 1, self.files.info.num_bins)
            pairs = np.ascontiguousarray(entries).view(np.uint64).reshape(-1, 2)
            return self._read_warm(sequences, pairs, as_views=as_views)
        except (FormatError, IndexError):
            # Some record is out of reach: find out which, and return the others.
            return self._one_by_one(sequences, as_views=as_views)

    def get_range(self, first: int, stop: int, *, as_views: bool) -> Sequence[bytes | memoryview]:
        """Return records `first` to `stop` in write order, read bin by bin."""
        num_bins = self.files.info.num_bins
        if stop - first < _WORTHWHILE_OF_BIN * num_bins and not as_views:
            return self.get_many(np.arange(first, stop, dtype=np.int64))
        records: list[bytes | memoryview] = [b""] * (stop - first)
        for column in range(min(num_bins, stop - first)):
            bin_index = (first + column) % num_bins
            ordinal = (first + column) // num_bins
            count = len(range(column, stop - first, num_bins))
            records[column::num_bins] = self.get_of_bin(bin_index, ordinal, ordinal + count, as_views=as_views)
        return records

    def view(self, sequence: int) -> memoryview:
        """Return one record as a read-only view, of the map itself if it is not compressed."""
        files = self.files
        try:
            place = files.entry_places[sequence]  # type: ignore[index]  # as in `get`
            lengths = files.entry_lengths[sequence]  # type: ignore[index]
            syncs, sync, hashes, numbers, there, _ = files.mapped[place >> _SHIFT]  # type: ignore[misc]
            word = place & _MASK
            if (
                there[word] == lengths < _VIEW_LIMIT
                and numbers[word] & _WITHOUT_KEY == sequence
                and syncs[2 * word] == sync
            ):
                start = word * 8 + 32
                payload = files.views[place >> _SHIFT][start : start + (lengths >> 32)]  # type: ignore[index]
                if len(payload) * _BOTH_LENGTHS == lengths and (not self._verify or hash64(payload) == hashes[word]):
                    return payload
        except (IndexError, TypeError):
            pass
        return self.records.view(sequence)

    def read_range(self, sequence: int, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` of one record, cut at its end."""
        return self.records.read_range(sequence, start, stop)

    def key(self, sequence: int) -> bytes:
        """Return the key of one record, empty if it has none."""
        return self.records.key(sequence)

    def get_keys(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return the keys of records in the order of `sequences`, empty where one has none."""
        keys: list[bytes] | None = None
        mapped = self.files.mapped_bins() if len(sequences) >= _FEW_RECORDS else None
        if mapped is not None and self.files.layout.has_key_hash:
            self._look_for_shrunk()
            pairs = self._entry_pairs(sequences)
            keys = None if pairs is None else mapped.keys(sequences, pairs, self.files.salts)
        return [self.key(sequence) for sequence in sequences.tolist()] if keys is None else keys

    def raw_hashes(self, sequences: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return xxh3-64 of the raw records, from their frames where these have it: then no payload is read."""
        self._look_for_shrunk()
        pairs = self._entry_pairs(sequences)
        frames: UsualFrames | None = None
        if pairs is not None and self.files.layout.has_key_hash:
            frames = self._usual_frames(sequences, pairs, as_views=True)
        if frames is not None:
            return np.ascontiguousarray(frames.hashes)
        return np.fromiter(map(self.records.raw_hash, sequences.tolist()), np.uint64, len(sequences))

    def length(self, sequence: int) -> int:
        """Return the raw length of one record."""
        return self.records.length(sequence)

    @property
    def num_bins(self) -> int:
        """Bins that hold records."""
        return self.files.info.num_bin_files

    def bin_count(self, bin_index: int) -> int:
        """Return how many records a bin holds."""
        return len(range(bin_index, self.files.info.num_records, self.files.info.num_bins))

    def sequences_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the sequence numbers of the records with ordinals `first` to `stop` of one bin, int64."""
        num_bins = self.files.info.num_bins
        return np.arange(bin_index + first * num_bins, bin_index + stop * num_bins, num_bins, dtype=np.int64)

    def bin_table(self) -> BinTable:
        """Return which records lie in which bin; opens no file."""
        self.files.refuse_missing()
        info = self.files.info
        bins = np.arange(info.num_bin_files, dtype=np.int64)
        strides = np.full(len(bins), info.num_bins, np.int64)
        return BinTable(bins, strides, (info.num_records - bins + info.num_bins - 1) // info.num_bins)

    def lengths_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the raw lengths of the records with ordinals `first` to `stop` of one bin, int64."""
        num_bins = self.files.info.num_bins
        return self.raw_lengths(bin_index + first * num_bins, bin_index + (stop - 1) * num_bins + 1, num_bins)

    def _one_by_one(self, sequences: NDArray[np.int64], *, as_views: bool) -> list[bytes] | list[memoryview]:
        if as_views:
            return [self.view(sequence) for sequence in sequences.tolist()]
        records: list[bytes] = []
        num_bytes = 0
        for sequence in sequences.tolist():
            records.append(self.get(sequence))
            num_bytes += len(records[-1])
            if num_bytes > self._batch_bytes:
                self.refuse_flood(num_bytes, sequences)
        return records

    def raw_lengths(self, start: int, stop: int, stride: int = 1) -> NDArray[np.int64]:
        """Return the raw lengths of every `stride`-th record of a range, int64."""
        self._look_for_shrunk()
        entries = self.files.entries(start, stop, stride)
        lengths = entries["raw"].astype(np.int64)
        for number in np.flatnonzero(lengths == spec.LENGTH_ESCAPE).tolist():
            lengths[number] = self.records.length(start + number * stride)
        return lengths

    def lengths_of(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the raw lengths of any records, int64; of one of 4 GiB and more that it has at least as much."""
        self._look_for_shrunk()
        pairs = self._entry_pairs(sequences)
        if pairs is None:
            return np.array([self.length(sequence) for sequence in sequences.tolist()], np.int64)
        return (pairs[:, 1] >> np.uint64(32)).astype(np.int64)

    def _look_for_shrunk(self) -> None:
        """Before a batch, but not before each: release files that were cut while they were mapped."""
        now = perf_counter()
        if now >= self._next_look and self.files.is_mapped:
            self.files.drop_shrunk()
            done = perf_counter()
            self._next_look = done + max(_LOOK_SECONDS, _LOOK_SHARE * (done - now))

    # -- cold data ---------------------------------------------------------------------------

    def any_is_cold(self, sequences: NDArray[np.int64]) -> bool:
        """Say whether the first bytes of any of these are not in memory; False where the system cannot tell."""
        pairs = self._entry_pairs(sequences)
        return pairs is not None and self._any_is_cold(pairs)

    def prefetch(self, sequences: NDArray[np.int64]) -> None:
        """Ask the kernel for records; returns without waiting for them."""
        pairs = self._entry_pairs(sequences)
        if pairs is not None:
            self._prefetch(pairs)

    def _entry_pairs(self, sequences: NDArray[np.int64]) -> NDArray[np.uint64] | None:
        """Return place and lengths of each record, None where the index cannot be taken as one array."""
        try:
            if not self.files.is_mapped:
                self.files.ask_for_entries(sequences)
                fetched = self.files.fetched_pairs(sequences)
                if fetched is not None:
                    return fetched
                pairs = [self.files.entry(sequence) for sequence in sequences.tolist()]
                return np.array(pairs, np.uint64).reshape(-1, 2)
            self.files.index()
            words = self.files.entry_words
            step = self.files.info.entry_bytes // 8
            return None if words is None else np.frombuffer(words, "<u8").reshape(-1, step)[sequences, :2]
        except (FormatError, IndexError):
            return None

    def _any_is_cold(self, pairs: NDArray[np.uint64]) -> bool:
        return not all(map(self._is_resident, pairs[:, 0].tolist()))

    def _is_resident(self, place: int) -> bool:
        try:
            bin_index, offset = unpack_loc(place)
            return self.files.bin(bin_index).is_resident(offset)
        except (FormatError, OSError, IndexError):
            return True

    def _prefetch(self, pairs: NDArray[np.uint64]) -> None:
        if self.files.is_remote:
            self.files.ask_for_frames(pairs)
            return
        for place, lengths in pairs.tolist():
            bin_index, offset = unpack_loc(place)
            try:
                source = self.files.bin(bin_index)
                source.prefetch(offset, spec.FRAME_HEADER_BYTES + (lengths & _LENGTH_MASK))
            except (FormatError, OSError, IndexError, ValueError):
                # It will be met, and named, when the record is read.
                continue
