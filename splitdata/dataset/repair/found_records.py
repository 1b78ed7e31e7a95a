"""What is known of the records of one segment: where each lies, and what speaks for it.

Each is LOST, DAMAGED or PROVEN. The old index may lead to it, or its neighbours may say that it stands in its place,
or only a search has found it. Takes 38 bytes a record. Reading goes through entries that were found, not the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.repair.bin_head import BinHead
from splitdata.dataset.repair.header_mending import HeaderMending
from splitdata.dataset.segments.deleted_records import DeletedRecords
from splitdata.dataset.segments.group_reader import read_group
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.segments.totals import Totals
from splitdata.errors import FormatError, SplitDataError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.digest import digest_of_hashes
from splitdata.format.frames import FrameHeader, follow, footprint
from splitdata.format.index import ENTRY_DTYPE, pack_locs, unpack_loc, unpack_locs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.repair.frame_choice import BinPlan
    from splitdata.dataset.segments.group_reader import GroupContents
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.folder import Folder
    from splitdata.storage.paths import SegmentPaths

__all__ = ["DAMAGED", "LOST", "PROVEN", "FoundRecords"]

# What is known of a record.
LOST: Final = 0
DAMAGED: Final = 1
PROVEN: Final = 2

_HASHED_TOGETHER: Final = 1 << 14
_FAR: Final = 1 << 62
_U64: Final = np.uint64


class _FoundFiles(SegmentFiles):
    """The files of a segment, with the entries that the search has found in the place of its index."""

    def __init__(self, folder: Folder, paths: SegmentPaths, info: SegmentInfo, first_position: int) -> None:
        self.pool = OpenFiles("pread", folder)
        super().__init__(paths, info, first_position, self.pool)
        self.found = np.zeros(info.num_frames, ENTRY_DTYPE)

    def entry(self, sequence: int) -> tuple[int, int]:
        """Return place and lengths as they were found."""
        loc, stored, raw = self.found[sequence].tolist()
        return loc, stored | raw << 32

    def entries(self, start: int, stop: int, stride: int = 1) -> NDArray[np.void]:
        """Return entries as they were found."""
        return self.found[start:stop:stride]

    def drop(self, bin_index: int | None) -> None:
        """Let go of a bin; there may be more of them than the listed records need."""
        if bin_index is not None:
            self._bins.pop(bin_index, None)


class FoundRecords:
    """The records of one segment, by sequence number.

    Attributes:
        files: Of the segment; reading through them needs no index.
        head: What stands before the records of bin 0.
        state: LOST, DAMAGED or PROVEN for each sequence number.
        entries: The index entries; undefined where the record is lost.
        is_listed: Whether the old index leads to the record, which is whole.
        is_anchored: Whether a record of the listed ones stands in its place in a row behind one to which the old index
            leads, or from the bin's begin on.
        long_raw: Raw lengths of records for which the entry has the escape.
        num_passed_over: Places that look like frames and were not looked at, as too many of them overlap.
        first_words: Words of frame headers in which nothing but that is wrong: bin, offset, what it must be.
        doubtful: Proven records that may be those of another segment: where the word to be written lies, as there.
    """

    def __init__(
        self,
        folder: Folder,
        paths: SegmentPaths,
        info: SegmentInfo,
        first_position: int,
        *,
        alignments: tuple[int, ...],
    ) -> None:
        """Say of which segment, of which none is known yet, and which alignments its payloads may have."""
        self.files = _FoundFiles(folder, paths, info, first_position)
        count = info.num_frames
        self.state = np.zeros(count, np.uint8)
        self.is_listed = np.zeros(count, np.bool_)
        self.is_anchored = np.zeros(count, np.bool_)
        self.long_raw: dict[int, int] = {}
        self.num_passed_over = 0
        self._has_frames_with_keys = False
        self.first_words: list[tuple[int, int, bytes]] = []
        self.doubtful: dict[int, tuple[int, int]] = {}
        self.head = BinHead(self.files.salt(0), alignments)
        self._info = info
        self._kind = spec.KIND_GROUP if info.is_grouped else spec.KIND_RECORD
        self._alignments = alignments
        # Entries may lead to frames that lie inside of each other: then each byte would be hashed for every one.
        self._bytes_to_prove = 0
        # Where frames end that were found, 0 where none was; and hashes of payloads, which are uncompressed records.
        self._stops = np.zeros(count, np.int64)
        self._hashes = np.zeros(count, _U64)
        self._has_hash = np.zeros(count, np.bool_)
        # Whether the old index leads to the header of a record, whole or not; and whether a repair has made its entry,
        # from a search behind a record that was lost.
        self._is_placed = np.zeros(count, np.bool_)
        self._is_behind_tombstone = np.zeros(count, np.bool_)
        self._erased = DeletedRecords(np.empty(0, np.uint32))
        self._can_decompress: bool | None = None
        self._reader = RecordReader(
            self.files, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES, takes_foreign=True
        )

    @property
    def is_all_anchored(self) -> bool:
        """Whether all listed records that are there are known, without the digest."""
        count = self._info.num_frames
        return bool((self.is_anchored[:count] | (self.state[:count] == LOST)).all())

    @property
    def has_keys(self) -> bool:
        """Whether any record was found that has a key; of groups one after the other is read for it."""
        if not self._info.is_grouped:
            return self._has_frames_with_keys
        contents = map(self._contents, range(len(self.state)))
        return any(any(one.keys) for one in contents if one is not None)

    @property
    def entries(self) -> NDArray[np.void]:
        """Index entries by sequence number; to be written to, too."""
        return self.files.found

    def num_proven_from(self, start: int) -> int:
        """Return the length of the unbroken stretch of proven records that begins at a sequence number."""
        broken = np.flatnonzero(self.state[start:] != PROVEN)
        # What was erased on purpose breaks nothing.
        broken = broken[~self._erased.among(broken + start)]
        return int(broken[0]) if len(broken) else max(0, len(self.state) - start)

    def take_erased(self, deleted: DeletedRecords) -> None:
        """Take which records were deleted, by a list in the segment's folder: they were committed, and may be erased.

        Those that are have the tombstones that they had.
        """
        if self._info.is_grouped:
            # In a group it is a record of no bytes.
            return
        self._erased = deleted
        self._make_room(int(deleted.sequences[-1]) + 1)
        lost = deleted.sequences[self.state[deleted.sequences] == LOST]
        self.entries["loc"][lost] = spec.TOMBSTONE

    def prove(self, sequence: int) -> bool:
        """Say whether the entry leads to a record that can be read; if so it counts as proven."""
        try:
            place = self._reader.locate(sequence)
            self._bytes_to_prove -= place.header.stored_length
            if self._bytes_to_prove < 0:
                self.num_passed_over += 1
                return False
            if self._info.is_grouped:
                read_group(self._reader, self._count_of(sequence), sequence)
            else:
                self._reader.check(sequence)
        except SplitDataError:
            return False
        salt = self.files.salt(place.bin_index)
        mending = HeaderMending(place.source, salt, self._info.num_bins, self._alignments)
        mended = mending.mend(place.header, place.offset)
        if mended is None:
            return False
        header, offset, word = mended
        if not self._reader.is_of_bin(place):
            self.doubtful[sequence] = place.bin_index, offset
        if word:
            self.first_words.append((place.bin_index, offset, word))
        self.state[sequence] = PROVEN
        self._note_length(sequence, header, place.offset)
        return True

    def give_up_doubtful(self) -> None:
        """Count what may be of another segment as damaged, and leave it as it is."""
        self.first_words = [one for one in self.first_words if one[:2] not in self.doubtful.values()]
        self.state[list(self.doubtful)] = DAMAGED
        self.is_listed[list(self.doubtful)] = self.is_anchored[list(self.doubtful)] = False

    def drop(self, sequence: int) -> None:
        """Forget what was found of a record."""
        self.state[sequence] = LOST
        self._stops[sequence] = 0
        self._has_hash[sequence] = self.is_listed[sequence] = self.is_anchored[sequence] = False
        self._is_placed[sequence] = False
        self.long_raw.pop(sequence, None)

    def totals(self, start: int, stop: int) -> Totals:
        """Return the totals of consecutive records, which are read for it; a lost one counts as an empty one."""
        total = Totals()
        if self._info.is_grouped:
            for frame in range(start, stop):
                total = total.joined(self._totals_of_group(frame))
            return total
        for first in range(start, stop, _HASHED_TOGETHER):
            last = min(first + _HASHED_TOGETHER, stop)
            hashes = self._raw_hashes(first, last)
            lengths = [self.lengths(sequence) for sequence in range(first, last)]
            stored, raw = (list(column) for column in zip(*lengths, strict=True))
            total = total.joined(Totals(last - first, digest_of_hashes(hashes), sum(stored), sum(raw), max(raw)))
        return total

    def digest(self, num_records: int) -> int:
        """Return the digest of the records of the first frames, as `totals` does."""
        if self._info.is_grouped:
            return self.totals(0, num_records).digest
        total = Totals()
        for first in range(0, num_records, _HASHED_TOGETHER):
            last = min(first + _HASHED_TOGETHER, num_records)
            total = total.joined(Totals(last - first, digest_of_hashes(self._raw_hashes(first, last))))
        return total.digest

    def _count_of(self, frame: int) -> int:
        """Return how many records a group must hold: behind the listed ones all are full."""
        return len(self._info.records_of(frame)) if frame < self._info.num_frames else self._info.group

    def _contents(self, frame: int) -> GroupContents | None:
        """Return what a group holds, None if it cannot be read."""
        if self.state[frame] != PROVEN:
            return None
        try:
            return read_group(self._reader, self._count_of(frame), frame)
        except SplitDataError:
            self.state[frame] = DAMAGED
            return None

    def _totals_of_group(self, frame: int) -> Totals:
        contents, count = self._contents(frame), self._count_of(frame)
        records = contents.records if contents else [b""] * count
        lengths = list(map(len, records))
        hashes = np.fromiter(map(hash64, records), _U64, count)
        stored, _ = self.lengths(frame)
        return Totals(count, digest_of_hashes(hashes), stored, sum(lengths), max(lengths))

    def record_hashes(self, num_frames: int) -> Iterator[int]:
        """Yield xxh3-64 of each raw record of the first frames, that of an empty one where it cannot be read."""
        for frame in range(num_frames):
            if not self._info.is_grouped:
                yield self.raw_hash(frame)
                continue
            contents = self._contents(frame)
            yield from map(hash64, contents.records if contents else [b""] * self._count_of(frame))

    def record_lengths(
        self, num_frames: int, old: Callable[[int], NDArray[np.uint32]]
    ) -> dict[int, NDArray[np.uint32]]:
        """Return the lengths of the records of those of the first groups that are there, by number of the group.

        Args:
            num_frames: How many groups may be there: a manifest may claim any number.
            old: Returns those that the old index has, for a group that cannot be read.
        """
        lengths = {}
        for frame in np.flatnonzero(self.state[:num_frames] != LOST).tolist():
            contents = self._contents(frame)
            lengths[frame] = np.array(list(map(len, contents.records)), np.uint32) if contents else old(frame)
        return lengths

    def raw_hash(self, sequence: int) -> int:
        """Return xxh3-64 of the raw record, that of an empty one if it cannot be read."""
        if self.state[sequence] != PROVEN:
            return hash64(b"")
        if self._has_hash[sequence]:
            return int(self._hashes[sequence])
        # Whether word 0 is right was seen when it was found.
        try:
            return self._reader.check(sequence)
        except SplitDataError:
            # Its payload has the right hash, and is not what a codec makes: nobody can read it.
            self.state[sequence] = DAMAGED
            return hash64(b"")

    def lengths(self, sequence: int) -> tuple[int, int]:
        """Return stored and raw length of a record, zeros if it is lost."""
        if self.state[sequence] == LOST:
            return 0, 0
        _, stored, raw = self.entries[sequence].tolist()
        if spec.LENGTH_ESCAPE in (stored, raw) and self.state[sequence] == PROVEN:
            header = self._reader.locate(sequence).header
            return header.stored_length, header.raw_length
        return stored, raw

    def end_of(self, sequence: int) -> int | None:
        """Return where the frame of a record ends in its bin, None where that is unknown."""
        if sequence >= len(self.state) or self.state[sequence] == LOST:
            return None
        if self._stops[sequence]:
            return int(self._stops[sequence])
        # As the old index says it, which knows nothing of a key.
        loc, stored, _ = self.entries[sequence].tolist()
        _, offset = unpack_loc(loc)
        usual: int = offset + spec.FRAME_HEADER_BYTES + stored
        return usual

    def ends_in(self, bin_index: int, num_records: int) -> NDArray[np.int64]:
        """Return where frames of a bin end, of so many records of the segment; undefined where one is lost."""
        mine = slice(bin_index, num_records, self._info.num_bins)
        usual = self.starts_in(bin_index, num_records) + spec.FRAME_HEADER_BYTES + self.entries[mine]["stored"]
        return np.where(self._stops[mine] > 0, self._stops[mine], usual)

    def starts_in(self, bin_index: int, num_records: int) -> NDArray[np.int64]:
        """Return where frames of a bin begin, of so many records of the segment; undefined where one is lost."""
        mine = slice(bin_index, num_records, self._info.num_bins)
        return unpack_locs(self.entries[mine]["loc"])[1]

    def stand_in_place(
        self, bin_index: int, num_records: int, alignments: tuple[int, ...] | None = None
    ) -> NDArray[np.bool_]:
        """Say of each frame of a bin whether it begins where the one before ends; undefined where one is lost."""
        starts, ends = self.starts_in(bin_index, num_records), self.ends_in(bin_index, num_records)
        before = np.concatenate([[self.start_of_bin(bin_index)], ends[:-1]])[: len(starts)]
        is_large = self.entries[bin_index : num_records : self._info.num_bins]["raw"] >= spec.LARGE_RECORD_BYTES
        return follow(before, starts, is_large, alignments or self._alignments)

    def first_start_in_bin_0(self) -> int:
        """Return where the first frame of a record in bin 0 begins, the end of what can be if there is none."""
        is_there = self.state[: self._info.num_frames : self._info.num_bins] != LOST
        return int(self.starts_in(0, self._info.num_frames)[is_there].min(initial=_FAR))

    def start_of_bin(self, bin_index: int) -> int:
        """Return the end of what stands before the first record of a bin."""
        return self.head.end if bin_index == 0 else spec.BIN_HEADER_BYTES

    # -- parts ---------------------------------------------------------------------------------

    def _has_dictionary(self) -> bool:
        """Say whether records that are compressed with the segment's dictionary can be read."""
        if self._can_decompress is None:
            try:
                self.files.decompressor_of(spec.CODEC_ZSTD_DICTIONARY)
                self._can_decompress = True
            except (FormatError, OSError):
                self._can_decompress = False
        return self._can_decompress

    def _linked(self, bin_index: int, count: int, alignments: tuple[int, ...]) -> NDArray[np.bool_]:
        """Say which of so many records of a segment are there, in a bin, in their places behind what is there, too."""
        is_there = self.state[bin_index : count : self._info.num_bins] != LOST
        linked: NDArray[np.bool_] = self.stand_in_place(bin_index, count, alignments) & is_there
        linked[1:] &= is_there[:-1]
        return linked

    def _take(self, bin_index: int, frames: NDArray[np.void]) -> None:
        """Note the frames of records, which are all different."""
        sequences = frames["sequence"]
        is_readable = frames["is_whole"].copy()
        with_dictionary = frames["codec"] == spec.CODEC_ZSTD_DICTIONARY
        if with_dictionary.any() and not self._has_dictionary():
            is_readable &= ~with_dictionary
        self.state[sequences] = np.where(is_readable, PROVEN, DAMAGED)
        self.is_listed[sequences] = frames["is_listed"] & frames["is_whole"]
        self._is_placed[sequences] = frames["is_listed"]
        self._stops[sequences] = frames["stop"]
        self._hashes[sequences] = frames["hash"]
        self._has_hash[sequences] = (
            frames["is_whole"]
            & (frames["codec"] == spec.CODEC_NONE)
            & ~frames["is_large"]
            & (self._kind == spec.KIND_RECORD)
        )
        entries = np.zeros(len(frames), ENTRY_DTYPE)
        entries["loc"] = pack_locs(bin_index, frames["offset"])
        entries["stored"], entries["raw"] = frames["stored"], frames["raw"]
        self.entries[sequences] = entries
        self._has_frames_with_keys |= bool(frames["key_length"].any())
        is_long = frames["raw"] == spec.LENGTH_ESCAPE
        for sequence in sequences[is_long & frames["is_whole"]].tolist():
            self.long_raw[sequence] = self._reader.locate(sequence).header.raw_length

    def _note_anchored(self, plan: BinPlan) -> None:
        """Find out which listed records of a bin stand in their places beside one that is known."""
        mine = slice(plan.bin_index, self._info.num_frames, plan.num_bins)
        is_there = self.state[mine] != LOST
        if not len(is_there):
            return
        is_linked = self._linked(plan.bin_index, self._info.num_frames, self._alignments)
        is_known = self._is_placed[mine] & ~self._is_behind_tombstone[mine]
        # The first one is known if it begins where the bin does.
        is_known[0] |= is_linked[0]
        # In each row those from the first known one on.
        num_known = np.cumsum(is_known)
        num_before = np.where(is_linked, 0, num_known - is_known)
        self.is_anchored[mine] = (num_known > np.maximum.accumulate(num_before)) & is_there

    def _raw_hashes(self, start: int, stop: int) -> NDArray[np.uint64]:
        hashes = self._hashes[start:stop].copy()
        unknown = np.flatnonzero(~self._has_hash[start:stop] | (self.state[start:stop] != PROVEN))
        for number in unknown.tolist():
            hashes[number] = self.raw_hash(start + number)
        return hashes

    def _make_room(self, num_records: int) -> None:
        more = num_records - len(self.state)
        if more <= 0:
            return
        self.state = np.concatenate([self.state, np.zeros(more, np.uint8)])
        self.files.found = np.concatenate([self.entries, np.zeros(more, ENTRY_DTYPE)])
        self.is_listed = np.concatenate([self.is_listed, np.zeros(more, np.bool_)])
        self.is_anchored = np.concatenate([self.is_anchored, np.zeros(more, np.bool_)])
        self._is_placed = np.concatenate([self._is_placed, np.zeros(more, np.bool_)])
        self._stops = np.concatenate([self._stops, np.zeros(more, np.int64)])
        self._hashes = np.concatenate([self._hashes, np.zeros(more, _U64)])
        self._has_hash = np.concatenate([self._has_hash, np.zeros(more, np.bool_)])

    def _note_length(self, sequence: int, header: FrameHeader, offset: int) -> None:
        self._has_frames_with_keys |= header.key_length > 0
        self._stops[sequence] = offset + footprint(header)
        if header.raw_length >= spec.LENGTH_ESCAPE:
            self.long_raw[sequence] = header.raw_length
