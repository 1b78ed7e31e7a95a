"""Verifies one bin: its frames must stand end to end, each proven, with zeros between them.

All frames of a stretch are proven together; record by record only where something is wrong.

    header | frame | 0 0 | frame | 0 | frame ...        some MiB at a time, proven together: frame_run.py
                      └ padding up to the alignment      what is not proven is looked at record by record
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.keys.key_sum import KeySum
from splitdata.dataset.segments.finding import Finding, FindingList
from splitdata.dataset.segments.group_reader import read_group
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.verify.frame_run import FrameProver, FrameRun, are_text
from splitdata.dataset.verify.head_check import NO_ZEROS, check_head
from splitdata.errors import CorruptRecordError, FormatError, RecordTooLargeError, TruncatedFileError
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import hash64
from splitdata.format.digest import EMPTY_DIGEST, digest_of_hashes, join_digests
from splitdata.format.frame_layout import LAYOUT
from splitdata.format.frames import footprint
from splitdata.format.keys import key_hash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from splitdata.dataset.segments.deleted_records import DeletedRecords
    from splitdata.dataset.segments.record_reader import Located
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.dataset.verify.frame_run import ProvenFrames
    from splitdata.dataset.verify.index_check import IndexCheck
    from splitdata.samples.sample_check import SampleCheck
    from splitdata.storage.file_source import Source

__all__ = ["BinCheck"]

_MAX_ALIGNMENT: Final = max(spec.ALIGNMENTS)
_OVERLAPPING_BYTES: Final = 64 << 20
_HEADER_CHECK: Final = (
    "the header check of record {}, in the frame at byte {}, is wrong: the record can be read by the index, and not be "
    "found without it, nor its key be read; `splitdata repair` makes the check again"
)
_U64: Final = np.uint64


class BinCheck:
    """The verification of one bin: `begin`, then `check_part` over all of its records in order, then `finish`.

    For one thread at a time.

    Attributes:
        findings: What is wrong.
        digest: Of the raw records of this bin, as a share of the segment's (digest.py).
        keys: Of the records of this bin that have one: how many, and a sum that ties each to its record.
        are_keys_known: Whether that is so of all of them.
        num_erased: Records that were deleted, and whose bytes are gone: no damage.
        bytes_done: How far into the file everything was looked at.
    """

    def __init__(
        self,
        files: SegmentFiles,
        bin_index: int,
        index: IndexCheck,
        deleted: DeletedRecords,
        samples: SampleCheck | None = None,
    ) -> None:
        """Take what the index says of bins, what was deleted, and what looks at samples."""
        info = files.info
        self.findings = FindingList()
        self.digest = EMPTY_DIGEST
        self.keys = KeySum()
        self.are_keys_known = True
        self.num_erased = 0
        self.bytes_done = 0
        self._deleted = deleted
        frames = range(bin_index, info.num_frames, info.num_bins)
        self.num_records = sum(len(info.records_of(frame)) for frame in frames[-1:]) + (len(frames) - 1) * info.group
        self.last_sequence = info.records_of(frames[-1])[-1] if frames else -1
        self._files = files
        self._samples = samples
        self.bin_index = bin_index
        self._table_length = index.bin_lengths.get(bin_index)
        self._alignment_of_index = index.alignment
        self._prover = FrameProver(files, bin_index, deleted, keeps_records=samples is not None)
        self._layout = files.layout
        self._records = RecordReader(files, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
        # Whether there is any point in going on. The file itself is asked for each time, so that of
        # thousands of bins only a few are open.
        self._is_readable = False
        # Of payloads, None where the header does not say it.
        self._alignment: int | None = None
        # Behind what was looked at zeros must follow up to the next frame; None where that is unknown.
        self._end: int | None = spec.BIN_HEADER_BYTES
        self._next_ordinal = 0
        # The farthest end of a frame, and bytes of those that begin before it.
        self._farthest = 0
        self._overlapping = 0

    def begin(self) -> None:
        """Open the bin and look at its header."""
        try:
            source = self._files.bin(self.bin_index)
            self._is_readable = True
            self._check_header(source.read(0, spec.BIN_HEADER_BYTES))
            if self.bin_index == 0:
                self._end, problems = check_head(self._files, source)
                for problem in problems:
                    self._add(problem)
        except (FormatError, OSError) as error:
            self._give_up(str(error))

    def check_part(self, first: int, entries: NDArray[np.void], lengths: NDArray[np.int64] | None = None) -> None:
        """Look at the next frames, from the ordinal `first` on.

        Args:
            first: Of the frames of this bin.
            entries: Theirs from the index, in order.
            lengths: Of groups, the lengths of their records from the index, int64[frames, records of one].
        """
        # Without an entry where the index is cut off.
        if not self._is_readable or not len(entries):
            return
        if first != self._next_ordinal:
            # Those before have no entries that anybody could look at.
            self._end = None
        self._next_ordinal = first + len(entries)
        try:
            ordinals = np.arange(first, first + len(entries))
            if (erased := self._are_erased(ordinals, entries)).any():
                self.num_erased += int(np.count_nonzero(erased))
                ordinals, entries = ordinals[~erased], entries[~erased]
            # The last group of a segment may hold fewer. Nothing is left where all were erased.
            is_short = len(ordinals) > 0 and len(self._records_of(int(ordinals[-1]))) < self._files.info.group
            num_whole = len(entries) - is_short
            source = self._files.bin(self.bin_index)
            if self._end is not None:
                run = FrameRun(
                    end=self._end,
                    alignment=self._alignment,
                    frames=self.bin_index + ordinals[:num_whole] * self._files.info.num_bins,
                    entries=np.ascontiguousarray(entries[:num_whole]),
                    lengths=None if lengths is None else np.ascontiguousarray(lengths[:num_whole]),
                )
                ordinals = ordinals[num_whole - len(self._check_together(source, run).frames) :]
            self._check_singly(ordinals.tolist())
        except (FormatError, OSError) as error:
            self._give_up(str(error), self._position(first))
        self._note_done(self._end or 0)

    def _are_erased(self, ordinals: NDArray[np.int64], entries: NDArray[np.void]) -> NDArray[np.bool_]:
        """Say which entries are tombstones of records that were deleted."""
        are_lost: NDArray[np.bool_] = entries["loc"] == _U64(spec.TOMBSTONE)
        if not are_lost.any():
            return are_lost
        if self._files.info.is_grouped:
            # Of a group that is lost other records are lost too.
            return np.zeros(len(ordinals), np.bool_)
        return are_lost & self._deleted.among(self.bin_index + ordinals * self._files.info.num_bins)

    def finish(self) -> None:
        """Look at what lies behind the last record."""
        if not self._is_readable or not self._files.info.is_sealed:
            # Behind the last committed record of an open segment a writer may be at work, or have been killed.
            return
        try:
            self._check_end(self._files.bin(self.bin_index))
        except (FormatError, OSError) as error:
            self._give_up(str(error), self._position(0))

    def _check_end(self, source: Source) -> None:
        if self._table_length is not None and source.size != self._table_length:
            self._add(f"the bin has {source.size} bytes, it was sealed with {self._table_length}")
        if self._end is not None and source.size > self._end:
            rest = source.read(self._end, _MAX_ALIGNMENT)
            if source.size - self._end >= _MAX_ALIGNMENT or any(rest):
                self._add(f"{source.size - self._end} bytes lie behind the last record")
            elif self._alignment and source.size != self._layout.next_start(self._end, self._alignment, is_large=False):
                self._add(f"the last record ends at byte {self._end}, and the bin at {source.size}")

    # -- header and metadata -------------------------------------------------------------------

    def _check_header(self, data: bytes) -> None:
        info = self._files.info
        try:
            header = BinHeader.unpack(data)
        except FormatError as error:
            self._add(str(error))
            return
        self._alignment = header.alignment
        if other := header.other_owner(info.id, self.bin_index):
            self._add(f"the header says {other}: this is another bin's file")
        alignment = self._alignment_of_index or header.alignment
        found = header.num_bins, header.alignment, header.group, header.features, header.hash_kind
        expected = info.num_bins, alignment, info.group, info.features, spec.HASH_XXH3
        if found != expected:
            self._add(
                f"the header says bins, alignment, group, features and kind of hash {found}, the index {expected}"
            )

    # -- records -------------------------------------------------------------------------------

    def _check_together(self, source: Source, run: FrameRun) -> FrameRun:
        """Count the frames of a run that are proven together; return those that are left to be looked at singly."""
        for prove in (self._prover.first, self._prover.all):
            if len(run.entries) and (proven := prove(source, run)) is not None:
                self._take(proven)
                run = run.behind(proven)
        return run

    def _take(self, proven: ProvenFrames) -> None:
        self._check_samples(proven.sequences, proven.records)
        self._join(proven.digest, proven.count * self._files.info.num_bins * self._files.info.group)
        self.keys.join(proven.keys.num_keys, proven.keys.total)
        self.num_erased += proven.num_erased
        self._end = proven.end
        self._farthest = max(self._farthest, proven.end)

    def _check_singly(self, ordinals: list[int]) -> None:
        """Look at each record of a part by itself, and say what is wrong with it."""
        cut_off: list[int] = []
        problem = ""
        for ordinal in ordinals:
            sequence = self.bin_index + ordinal * self._files.info.num_bins
            try:
                place = self._records.locate(sequence)
                self._refuse_flood(place)
                self._check_gap(place)
                self._end = place.offset + footprint(place.header)
                if self._files.info.is_grouped:
                    self._check_group(sequence)
                elif self._samples is None or place.header.kind == spec.KIND_LARGE:
                    self._join_one(self._records.check(sequence, on_block=self._note_done))
                    self._check_padding(place)
                else:
                    record = self._records.read(sequence)
                    self._join_one(hash64(record))
                    self._check_samples([sequence], [record])
                self._check_header_and_key(place, self._position(ordinal))
            except TruncatedFileError as error:
                problem = problem or str(error)
                cut_off.append(ordinal)
            except (FormatError, RecordTooLargeError) as error:
                self._end = None
                self._add(str(error), self._position(ordinal), len(self._records_of(ordinal)))
        if cut_off:
            self._end = None
            self._add(problem, self._position(cut_off[0]), sum(len(self._records_of(ordinal)) for ordinal in cut_off))

    def _check_group(self, frame: int) -> None:
        """Look at the records and keys of a group, and at their lengths in the index."""
        info = self._files.info
        records = info.records_of(frame)
        found = read_group(self._records, len(records), frame)
        pairs = zip(records, found.records, strict=True)
        self.num_erased += sum(number in self._deleted for number, one in pairs if not one)
        self._check_samples(records, found.records)
        share = digest_of_hashes(np.fromiter(map(hash64, found.records), _U64, len(records)))
        self._join(share, (info.num_bins - 1) * info.group + len(records))
        lengths = self._files.record_lengths(frame, frame + 1)[0]
        if lengths[: len(records)].tolist() != list(map(len, found.records)) or lengths[len(records) :].any():
            self._add(
                f"the index tells other lengths of the records of frame {frame} than they have; `splitdata repair` "
                "makes them again",
                self._files.first_position + records.start,
            )
        keyed = [number for number, key in enumerate(found.keys) if key]
        if not are_text(found.keys):
            self._add("keys of this group are not UTF-8", self._files.first_position + records.start)
        hashes = np.fromiter((key_hash(found.keys[number]) for number in keyed), _U64, len(keyed))
        self.keys.add(hashes, np.array(keyed, _U64) + _U64(records.start))

    def _check_samples(self, sequences: Iterable[int], records: Iterable[bytes]) -> None:
        """Say which of some records, all of them intact, are no samples of the schemas of their segment."""
        if self._samples is None:
            return
        for sequence, record in zip(sequences, records, strict=True):
            if not record and sequence in self._deleted:
                # Its bytes were erased.
                continue
            try:
                self._samples.check(record)
            except FormatError as error:
                position = self._files.first_position + sequence
                self._add(f"record {position} is intact, and no sample: {error}", position)

    def _check_header_and_key(self, place: Located, position: int) -> None:
        """Look at what no reading of a record needs: the check of the header, and the key, which that leads to."""
        if not self._records.has_header_check(place):
            self.are_keys_known = False
            # What follows may be a key whose length is damaged.
            self._end = None
            self._add(_HEADER_CHECK.format(position, place.offset), position)
        elif place.header.key_length and self._files.info.is_grouped:
            self._add("the frame of this group has a key, which belongs into its payload", position)
        elif place.header.key_length:
            try:
                key = self._records.key(place.sequence)
                if not are_text([key]):
                    self._add(f"the key of record {position} is not UTF-8", position)
                hashes = np.array([key_hash(key)], _U64)
            except CorruptRecordError as error:
                self.are_keys_known = False
                self._add(str(error), position)
                return
            self.keys.add(hashes, np.array([place.sequence], _U64))

    def _check_padding(self, place: Located) -> None:
        """Look at the bytes between a large record and the hashes of its blocks."""
        if place.header.kind == spec.KIND_LARGE:
            end = place.payload_offset + place.header.stored_length
            stop = place.offset + place.header.table_offset
            if any(place.source.read(end, stop - end)):
                self._add(NO_ZEROS.format(end, stop))

    def _refuse_flood(self, place: Located) -> None:
        """Raise for a record inside of others, once these would have to be hashed many times over.

        No writer lays out frames like this. A forged bin of a megabyte can hold ten thousand that end together.
        """
        end = place.offset + footprint(place.header)
        is_inside = place.offset < self._farthest
        self._farthest = max(self._farthest, end)
        self._overlapping += end - place.offset if is_inside else 0
        if is_inside and self._overlapping > _OVERLAPPING_BYTES + place.source.size:
            raise FormatError(
                f"record {self._files.first_position + place.sequence} lies inside of others, as many before it do: "
                "not looked at"
            )

    def _check_gap(self, place: Located) -> None:
        """The frame must begin where the one before leads, with zeros before it."""
        end, offset = self._end, place.offset
        if end is None:
            return
        if self._is_in_place(end, place):
            if any(place.source.read(end, offset - end)):
                self._add(NO_ZEROS.format(end, offset))
            return
        problem = f"bytes {end} to {offset} are no frame that is whole, and more or less than padding"
        if self.bin_index == 0 and place.sequence == 0:
            problem += ": the dictionary or the copy of the metadata, which stand there, may be damaged"
        self._add(problem)

    def _is_in_place(self, end: int, place: Located) -> bool:
        if self._alignment is None:
            # Version 0.1 pads twice before a large frame.
            return 0 <= place.offset - end < _MAX_ALIGNMENT * (1 if self._layout == LAYOUT else 2)
        is_large = place.header.kind == spec.KIND_LARGE
        return place.offset == self._layout.next_start(end, self._alignment, is_large=is_large)

    def _note_done(self, offset: int) -> None:
        """Count the blocks of a record that may have a hundred gigabytes."""
        self.bytes_done = max(self.bytes_done, offset)

    # -- keeping the result --------------------------------------------------------------------

    def _join(self, share: int, num_records: int) -> None:
        """Count the digest of some records as that of the next ones, with those of other bins between them."""
        self.digest = join_digests(self.digest, share, num_records)

    def _join_one(self, hash_of_record: int) -> None:
        self._join(digest_of_hashes(np.array([hash_of_record], _U64)), self._files.info.num_bins)

    def _give_up(self, problem: str, position: int | None = None) -> None:
        """Report the file as a whole; nothing more of it is looked at."""
        lost = self.num_records
        if position is None:
            lost -= min(lost, self._next_ordinal * self._files.info.group)
        self._is_readable = False
        self._add(problem, self._position(0) if position is None else position, lost)

    def _records_of(self, ordinal: int) -> range:
        info = self._files.info
        return info.records_of(self.bin_index + ordinal * info.num_bins)

    def _position(self, ordinal: int) -> int:
        return self._files.first_position + self._records_of(ordinal).start

    def _add(self, problem: str, position: int | None = None, num_records: int = 0) -> None:
        path = self._files.paths.bin(self.bin_index)
        self.findings.add(Finding(path=path, problem=problem, position=position, num_records=num_records))
