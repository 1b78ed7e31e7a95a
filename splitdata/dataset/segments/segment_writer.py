"""One segment under construction: frames into its bins, entries into its index.

What was appended counts only once a manifest lists it: the numbers up to there are `committed`. All that
depends on where that is, is one object, replaced in one step: an interrupt finds the segment before a commit
or after it.

    append(records) ──> framing.py ──> bins        entries ──> index, behind the last one
    sync()          bins, then index header and index, then the folders
    seal()          tables behind the entries, header "sealed"
    keys            key_builder.py, in step with these
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.keys.key_builder import KeyBuilder, KeyMark
from splitdata.dataset.segments.bin_writer import BinWriter
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.deleted_records import write_list
from splitdata.dataset.segments.dictionary import control_frame, read_from_bin
from splitdata.dataset.segments.framing import frame_chunk
from splitdata.dataset.segments.group_buffer import GroupBuffer
from splitdata.dataset.segments.group_reader import GroupReader
from splitdata.dataset.segments.index_writer import IndexWriter
from splitdata.dataset.segments.large_record import write_large
from splitdata.dataset.segments.new_folder import check_in_place, made_folder, sync_names
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.schema_file import SchemaFile
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.segments.totals import Totals
from splitdata.dataset.segments.unfinished import cut_off
from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec
from splitdata.format.checksum import bin_salt
from splitdata.format.digest import digest_of_hashes
from splitdata.format.frame_layout import next_start
from splitdata.format.frames import FrameHeader, footprint
from splitdata.format.index import (
    ENTRY_DTYPE,
    IndexHeader,
    IndexTables,
    make_entries,
    pack_loc,
    unpack_loc,
)
from splitdata.format.keys import key_hash
from splitdata.format.manifest import SegmentInfo
from splitdata.format.version import features_with
from splitdata.storage import files
from splitdata.storage.paths import SegmentPaths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.segments.large_record import LargeSource
    from splitdata.dataset.segments.record_reader import Located
    from splitdata.dataset.segments.unfinished import ResumedSegment
    from splitdata.format.compression import Compressor

__all__ = ["SegmentWriter"]

# Arrays of samples are read where they lie, which takes this much; more would cost small records more than it helps.
_ITEM_ALIGNMENT: Final = 8

_U64: Final = np.uint64


@dataclass(frozen=True, slots=True)
class _Standing:
    """The state of a segment under construction.

    Attributes:
        committed: What a manifest lists.
        pending: What was appended since.
        ends: Where the last frame of each bin ended at the last commit, without padding.
        keys: Where the keys stood then.
    """

    committed: Totals
    pending: Totals
    ends: NDArray[np.int64]
    keys: KeyMark


class SegmentWriter:
    """Appends records to one segment of its own; for one thread at a time.

    Attributes:
        id: 32 hex digits.
        dictionary: The zstd dictionary for the records, empty if there is none.
        group: Records of a frame.
    """

    def __init__(
        self,
        directory: DatasetDirectory,
        segment_id: str,
        *,
        num_bins: int,
        alignment: int = spec.FRAME_UNIT,
        metadata: bytes = b"",
        resumed: ResumedSegment | None = None,
        first_number: int = 0,
        has_unique_keys: bool = True,
        dictionary: bytes = b"",
        group: int = 1,
        schemas: Sequence[bytes] = (),
        is_declared: bool = False,
    ) -> None:
        """Make the segment's folder and index, and take its lock; or go on with one that a dead writer has left.

        Args:
            directory: Of the dataset.
            segment_id: 32 hex digits.
            num_bins: Of the segment.
            alignment: Of payloads.
            metadata: Copied into bin 0.
            resumed: The segment as it was last committed, which has this id, these bins and this
                alignment. What lies behind that is cut off. Its folder and index are closed with this.
            first_number: Number of its first record in the write session.
            has_unique_keys: Refuse a key that comes twice, as a session does; where segments are joined, the
                newest record of a key is found.
            dictionary: That records were or will be compressed with; one that is taken over has its own.
            group: How many records lie together in a frame; one that is taken over has its own.
            schemas: Of its samples; a list that the caller makes longer, before the records that need it are synced.
            is_declared: The first of them is the dataset's.
        """
        self.id = segment_id
        self.num_bins = num_bins
        self.dictionary = dictionary
        self.group = resumed.info.group if resumed else group
        self._waiting = GroupBuffer(self.group, _item_alignment(alignment))
        self._compressor: Compressor | None = None
        self._directory = directory
        self._alignment = alignment
        self._is_sealed = False
        self._deleted: tuple[int, int] = (0, 0)
        self._awaits_first_commit = False
        self._first_position = 0
        self._salts = np.array([bin_salt(segment_id, number) for number in range(num_bins)], _U64)
        self._ends = np.full(num_bins, spec.BIN_HEADER_BYTES, np.int64)
        self._at = _Standing(Totals(), Totals(), self._ends.copy(), KeyMark())
        self._folder = made_folder(directory, segment_id) if resumed is None else resumed.folder
        self._index = IndexWriter(self._folder, self.group)
        self._keys = KeyBuilder(
            self._folder,
            spec.OPEN_KEYS_NAME,
            spec.KEYS_NAME,
            segment_id,
            self.read_key if has_unique_keys else None,
            first_number=first_number,
        )
        self._schemas = SchemaFile(self._folder, segment_id, schemas, is_declared=is_declared)
        self._bins = BinWriter(
            self._folder, segment_id=segment_id, num_bins=num_bins, alignment=alignment, group=self.group
        )
        if resumed is None:
            self._make(metadata)
        else:
            self._take_over(resumed, metadata)

    @property
    def committed(self) -> Totals:
        """The numbers of the records that a manifest lists."""
        return self._at.committed

    @property
    def pending(self) -> Totals:
        """The numbers of the records that were appended since."""
        return self._at.pending

    @property
    def totals(self) -> Totals:
        """Numbers of all that was appended."""
        return self.committed.joined(self.pending)

    @property
    def num_records(self) -> int:
        """Records appended so far: the sequence number of the next one."""
        return self._num_framed + len(self._waiting)

    @property
    def _num_framed(self) -> int:
        at = self._at
        return at.committed.num_records + at.pending.num_records

    @property
    def _num_frames(self) -> int:
        return -(-self._num_framed // self.group)

    @property
    def is_sealed(self) -> bool:
        """Whether nothing can be appended any more."""
        return self._is_sealed

    @property
    def must_be_sealed(self) -> bool:
        """Whether records wait for their group to be full: a commit makes it the last one."""
        return len(self._waiting) > 0

    def info(self) -> SegmentInfo:
        """Return the entry that lists all that was appended."""
        totals = self.totals
        return SegmentInfo(
            id=self.id,
            num_records=totals.num_records,
            num_bins=self.num_bins,
            is_sealed=self._is_sealed,
            digest=totals.digest,
            raw_bytes=totals.raw_bytes,
            stored_bytes=totals.stored_bytes,
            group=self.group,
            features=features_with(self.group),
            num_keys=self._keys.num_keys,
            keys_bytes=self._keys.keys_bytes,
            num_deleted=self._deleted[0],
            deleted_hash=self._deleted[1],
            schemas=self._schemas.listed,
        )

    def takes(self, records: list[bytes], keys: list[bytes] | None, most_bytes: int) -> bool:
        """Say whether these records may come next, with groups below so many bytes; if not, only without groups."""
        return self.group == 1 or self._waiting.fits(records, keys, most_bytes)

    def append(self, records: list[bytes], compressor: Compressor | None, keys: list[bytes] | None = None) -> None:
        """Append ordinary records, each below 16 MiB, with the key of each, empty for none, if any has one."""
        self._begin_append(len(records))
        self._compressor = compressor
        if self.group > 1:
            self._waiting.add(records, keys)
            records, keys = self._waiting.take()
        self._write(records, keys)

    def _write(self, records: list[bytes], keys: list[bytes] | None) -> None:
        """Write records that fill their groups, or the last of all, and count them."""
        if not records:
            return
        chunk = frame_chunk(
            records,
            first_sequence=self._num_frames,
            salts=self._salts,
            ends=self._ends,
            alignment=self._alignment,
            compressor=self._compressor,
            keys=keys,
            group=self.group,
            item_alignment=_item_alignment(self._alignment),
        )
        self._check_bin_length(self._length_for(int(chunk.ends.max())))
        for bin_index, offset, pieces in chunk.writes:
            self._bins.write(bin_index, pieces, offset)
        self._index.append(chunk.entries, self._num_frames)
        self._ends = chunk.ends
        if keys is not None and chunk.key_hashes is not None:
            numbers = np.flatnonzero(np.fromiter(map(bool, keys), np.bool_, len(keys)))
            self._keys.add(chunk.key_hashes, (numbers + self._num_framed).astype(np.uint32))
        self._count(Totals(len(records), chunk.digest, chunk.stored_bytes, chunk.raw_bytes, chunk.max_raw_bytes))

    def append_large(self, source: LargeSource, compressor: Compressor | None, key: bytes = b"") -> None:
        """Append one record of 16 MiB or more."""
        self._begin_append(1)
        sequence = self.num_records
        bin_index = sequence % self.num_bins
        offset = next_start(int(self._ends[bin_index]), self._alignment, is_large=True)
        written = write_large(
            self._bins,
            bin_index,
            offset,
            source,
            sequence=sequence,
            salt=int(self._salts[bin_index]),
            compressor=compressor,
            key=key,
        )
        self._finish_frame(bin_index, offset, written.header, written.end, written.raw_hash)
        if key:
            self._add_key(key_hash(key), sequence)

    def append_stored(self, place: Located, raw_hash: int) -> None:
        """Append a record as another segment stores it, of which xxh3-64 of the raw record is given."""
        self._begin_append(1)
        own = replace(place.header, sequence=self.num_records)
        bin_index = own.sequence % self.num_bins
        offset = next_start(int(self._ends[bin_index]), self._alignment, is_large=own.kind == spec.KIND_LARGE)
        self._bins.write(bin_index, [own.pack(int(self._salts[bin_index]), offset)], offset)
        end, stop = offset + own.size, place.offset + footprint(own)
        for start in range(place.payload_offset, stop, spec.BLOCK_BYTES):
            piece = place.source.read(start, min(spec.BLOCK_BYTES, stop - start))
            self._bins.write(bin_index, [piece], end)
            end += len(piece)
        self._finish_frame(bin_index, offset, own, end, raw_hash)
        if own.key_length:
            stored_hash = self._bins.read(bin_index, spec.KEY_HASH_BYTES, end - spec.KEY_HASH_BYTES)
            self._add_key(int.from_bytes(stored_hash, "little"), own.sequence)

    def append_erased(self) -> None:
        """Append a tombstone in the place of a record that was deleted; `restate` says what it counted for.

        In a group it is a record of no bytes.
        """
        self._begin_append(1)
        if self.group > 1:
            self.append([b""], self._compressor)
            return
        entry = np.zeros(1, ENTRY_DTYPE)
        entry["loc"] = spec.TOMBSTONE
        self._index.append(entry.tobytes(), self._num_frames)
        self._count(Totals(1))

    def restate(self, totals: Totals) -> None:
        """Take the numbers of all that was appended from those who know them: records that were erased count too."""
        self._at = replace(self._at, pending=totals)

    def list_deleted(self, sequences: NDArray[np.uint32]) -> None:
        """Say which of the records were deleted; the list is on the medium when this comes back."""
        if len(sequences):
            self._deleted = len(sequences), write_list(self._folder, self.id, sequences)

    def sync(self, *, first_position: int, durable: bool, is_first_commit: bool) -> None:
        """Bring all that was appended to the files, and to the medium if `durable`.

        The caller then publishes a manifest with `info()` and calls `mark_committed`.

        Args:
            first_position: Of the segment in the dataset.
            durable: Whether to wait for the medium.
            is_first_commit: Whether the dataset has no manifest yet.

        Raises:
            DuplicateKeyError: If two records have one key.
        """
        self._awaits_first_commit = is_first_commit
        self._schemas.write()
        if durable:
            self._bins.sync()
            self._schemas.sync()
        self._keys.sync(durable=durable)
        self._first_position = first_position
        self._index.write_header(self._header(self.totals))
        if durable:
            self._index.sync()
            sync_names(self._directory, self._folder)

    def check_in_place(self, directory: DatasetDirectory) -> None:
        """Raise if another segment, or none, lies where a manifest in this directory would list this one.

        Raises:
            ManifestError, FormatError: If so.
        """
        check_in_place(directory, self.id, self._index)

    def mark_kept(self) -> None:
        """Count everything appended as kept: a manifest lists it now, or it is a sealed part."""
        self._at = _Standing(self.totals, Totals(), self._ends.copy(), self._keys.mark())
        if self._is_sealed:
            self._keys.drop_runs()

    def mark_committed(self) -> None:
        """Count everything appended as committed: a manifest lists it now."""
        self.mark_kept()
        if self._awaits_first_commit:
            self._awaits_first_commit = False
            # The manifest says it already: this only helps where it is deleted some day.
            with contextlib.suppress(OSError):
                self._index.write_header(self._header(self.committed))

    def seal(self) -> None:
        """Write the tables; nothing can be appended afterwards."""
        self.finish_groups()
        self._is_sealed = True
        self._make_bins_of_erased()
        self._keys.seal()
        tables = IndexTables(
            block_sums=self._index.block_sums(self._num_frames),
            bin_lengths=self._bin_lengths(),
            dictionary=self.dictionary,
        )
        self._index.write_tables(tables, self._num_frames)

    def finish_groups(self) -> None:
        """Write what waits for its group to be full: the segment is sealed next, or cut off before it."""
        self._write(*self._waiting.take(rest=True))

    def _make_bins_of_erased(self) -> None:
        """Make the bins of which all records were erased: one that is missing would look lost."""
        start = spec.BIN_HEADER_BYTES
        padding = self._length_for(start) - start
        for bin_index in np.flatnonzero(self._ends[: self._num_frames] == start).tolist():
            self._bins.write(bin_index, [bytes(padding)], start)

    def unseal(self) -> None:
        """Take back a seal that no manifest lists yet; what `seal` wrote is cut off by `drop_pending`."""
        self._is_sealed = False
        self._keys.unseal()

    def drop_pending(self) -> None:
        """Cut what was appended since the last commit, but in no file with a second name; nothing is appended then."""
        at = self._at
        # Also those that were written when something failed, before that was counted.
        changed = {*np.flatnonzero(self._ends != at.ends).tolist(), *self._bins.unsynced}
        for bin_index in sorted(changed):
            end = int(at.ends[bin_index])
            self._bins.cut(bin_index, end, self._length_for(end))
        self._waiting.clear()
        self._index.cut(-(-at.committed.num_records // self.group))
        self._keys.drop_pending(at.keys)
        self._is_sealed = False
        self._ends = at.ends.copy()
        self._at = replace(at, pending=Totals())

    def stored(self, first_position: int) -> SegmentFiles:
        """Return the files of all that was appended, to be read; `first_position` is what errors count from."""
        paths = self._directory.paths.segment(self.id)
        return SegmentFiles(paths, self.info(), first_position, OpenFiles("pread", self._folder))

    def read_key(self, sequence: int) -> bytes:
        """Read the key of an appended record back; empty if it has none."""
        if self.group > 1:
            with contextlib.closing(self.stored(0)) as stored:
                return GroupReader(stored, ColdReads(), verify=True, max_record_bytes=spec.LARGE_RECORD_BYTES).key(
                    sequence
                )
        bin_index, offset = unpack_loc(self._index.loc(sequence))
        header = FrameHeader.unpack(self._bins.read(bin_index, spec.LARGE_FRAME_HEADER_BYTES, offset))
        return self._bins.read(bin_index, header.key_length, offset + header.key_offset)

    def close(self) -> None:
        """Close all files; safe to call again."""
        self._close_files()
        self._folder.close()

    def _close_files(self) -> None:
        self._bins.close()
        self._keys.close()
        self._schemas.close()
        self._index.close()

    # -- parts -------------------------------------------------------------------------------

    def _make(self, metadata: bytes) -> None:
        try:
            self._index.create()
        except BaseException:
            self._folder.close()
            raise
        try:
            self._index.lock()
            self._index.write_header(self._header(Totals()))
            if self.dictionary:
                self._write_control(spec.KIND_DICTIONARY, self.dictionary)
            if metadata:
                self._write_control(spec.KIND_METADATA, metadata)
        except BaseException:
            with contextlib.suppress(OSError, FormatError):
                self._unmake()
            self.close()
            raise

    def _unmake(self) -> None:
        """Remove the segment that has just been made: nobody else knows of it, and no manifest lists it."""
        self._close_files()
        for name in self._folder.names():
            if SegmentPaths.is_own_name(name):
                self._folder.remove(name)
        with self._directory.open_segments() as segments:
            segments.remove_directory(self.id)

    def _take_over(self, resumed: ResumedSegment, metadata: bytes) -> None:
        """Cut off all that was not committed, and stand where the last commit stood."""
        self._index.take_over(resumed.index)
        info = resumed.info
        self._first_position = resumed.first_position
        num_existing = len(resumed.ends)
        self._ends[:num_existing] = resumed.ends
        committed = Totals(info.num_records, info.digest, info.stored_bytes, info.raw_bytes, resumed.max_raw_bytes)
        try:
            self.dictionary = self._taken_dictionary() if num_existing else b""
            self._keys.take_over(info.num_keys, info.keys_bytes)
            self._schemas.take_over(len(info.schemas))
            self._at = _Standing(committed, Totals(), self._ends.copy(), self._keys.mark())
            self._index.make_sole()
            self._bins.take_over(num_existing, changed=cut_off(resumed, self._index.descriptor))
            if metadata and not num_existing:
                self._write_control(spec.KIND_METADATA, metadata)
        except BaseException:
            self.close()
            raise

    def _begin_append(self, count: int) -> None:
        """Check that there is room, and write the schemas that the records need."""
        if self.num_records + count > spec.MAX_SEGMENT_RECORDS:
            raise RecordTooLargeError(
                f"one session may write {spec.MAX_SEGMENT_RECORDS} records; close this writer and append with a new one"
            )
        self._schemas.write()

    @staticmethod
    def _check_bin_length(length: int) -> None:
        if length > spec.MAX_BIN_BYTES:
            raise RecordTooLargeError(f"a bin would have {length} bytes, the limit is {spec.MAX_BIN_BYTES}: more bins")

    def _finish_frame(self, bin_index: int, offset: int, header: FrameHeader, end: int, raw_hash: int) -> None:
        length = self._length_for(end)
        if length != end:
            self._bins.write(bin_index, [bytes(length - end)], end)
        self._check_bin_length(length)
        self._ends[bin_index] = end
        lengths = (np.array([length], _U64) for length in (header.stored_length, header.raw_length))
        entries = make_entries(np.array([pack_loc(bin_index, offset)], _U64), *lengths)
        self._index.append(entries.tobytes(), self._num_frames)
        digest = digest_of_hashes(np.array([raw_hash], _U64))
        self._count(Totals(1, digest, header.stored_length, header.raw_length, header.raw_length))

    def _count(self, appended: Totals) -> None:
        self._at = replace(self._at, pending=self._at.pending.joined(appended))

    def _add_key(self, hash_of_key: int, sequence: int) -> None:
        self._keys.add(np.array([hash_of_key], _U64), np.array([sequence], np.uint32))

    def _taken_dictionary(self) -> bytes:
        """Return the dictionary of a segment that was begun before; raises `FormatError` where it is damaged."""
        descriptor = self._folder.open_file(SegmentPaths.bin_name(0))
        try:
            expected: int | None = None
            # A writer that was killed may have left half of a new header.
            with contextlib.suppress(FormatError):
                expected = self._index.read_header().dictionary_bytes
            if expected == 0:
                return b""
            try:
                return read_from_bin(lambda offset, length: files.read_at(descriptor, length, offset))
            except FormatError:
                if expected is None:
                    return b""
                raise
        finally:
            files.close(descriptor)

    def _write_control(self, kind: int, payload: bytes) -> None:
        """Put a dictionary, or a copy of the user's metadata for a repair without a manifest, at the head of bin 0."""
        offset = next_start(int(self._ends[0]), self._alignment)
        frame = control_frame(kind, payload, int(self._salts[0]), offset)
        end = offset + len(frame)
        self._bins.write(0, [frame + bytes(self._length_for(end) - end)], offset)
        self._ends[0] = end
        # It is there before any record, and stays.
        self._at = replace(self._at, ends=self._ends.copy())

    def _header(self, totals: Totals) -> IndexHeader:
        return IndexHeader(
            segment_id=self.id,
            num_bins=self.num_bins,
            alignment=self._alignment,
            is_sealed=self._is_sealed,
            awaits_first_commit=self._awaits_first_commit,
            num_records=totals.num_records,
            first_position=self._first_position,
            digest=totals.digest,
            stored_bytes=totals.stored_bytes,
            raw_bytes=totals.raw_bytes,
            max_raw_bytes=totals.max_raw_bytes,
            dictionary_bytes=len(self.dictionary),
            group=self.group,
            features=features_with(self.group),
        )

    def _bin_lengths(self) -> tuple[int, ...]:
        # A bin without a record has no file, unless it carries the metadata.
        lengths = enumerate(self._ends.tolist())
        is_empty = [end == spec.BIN_HEADER_BYTES and number >= self._num_frames for number, end in lengths]
        ends = zip(is_empty, self._ends.tolist(), strict=True)
        return tuple(0 if empty else self._length_for(end) for empty, end in ends)

    def _length_for(self, end: int) -> int:
        """Return how long a bin is whose last frame ends at a byte: up to where an ordinary frame would begin."""
        return next_start(end, self._alignment)


def _item_alignment(alignment: int) -> int:
    """Return at multiples of which records begin in a group, given the alignment of payloads in a bin."""
    return _ITEM_ALIGNMENT if alignment > spec.FRAME_UNIT else 1
