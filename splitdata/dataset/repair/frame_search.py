"""The search of one segment's bins: where each record lies, by what the frames themselves say.

    old index ─┐
    bin ───────┴─ frame_scan.py ── frames ── frame_choice.py ── those that are records ──> PROVEN, or DAMAGED
                                                    `─ frames that may be false: left, and noted

Each record is known with what speaks for it: the old index, its neighbours, or the search alone. Holds 38 bytes a
record, and the frames of one bin. All is read with pread. FORMAT.md section 10.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.repair.frame_choice import BinPlan, choose
from splitdata.dataset.repair.frame_scan import FRAME_DTYPE, BinScan, follows_in, is_whole_frame
from splitdata.dataset.segments.dictionary import HeadFrame, head_frames
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.segments.totals import Totals
from splitdata.errors import FormatError, SplitDataError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.codec import Decompressor
from splitdata.format.digest import digest_of_hashes
from splitdata.format.frames import FrameHeader, aligned_start, follow, footprint, lengths_word
from splitdata.format.index import ENTRY_DTYPE, pack_locs, unpack_loc, unpack_locs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.dataset.repair.old_index import OldIndex
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.file_source import MappedSource, PreadSource
    from splitdata.storage.folder import Folder
    from splitdata.storage.paths import SegmentPaths

__all__ = ["DAMAGED", "LOST", "PROVEN", "FrameSearch"]

# What is known of a record.
LOST: Final = 0
DAMAGED: Final = 1
PROVEN: Final = 2

_HASHED_TOGETHER: Final = 1 << 14
# How often each byte of a bin may be read to prove records by themselves, where once is what it takes.
_TIMES_PROVEN: Final = 4
_FAR: Final = 1 << 62
_U64: Final = np.uint64


class _FoundFiles(SegmentFiles):
    """The files of a segment, with the entries that the search has found in the place of its index."""

    def __init__(self, folder: Folder, paths: SegmentPaths, info: SegmentInfo, first_position: int) -> None:
        self.pool = OpenFiles("pread", folder)
        super().__init__(paths, info, first_position, self.pool)
        self.found = np.zeros(info.num_records, ENTRY_DTYPE)

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


class FrameSearch:
    """Looks for the records of one segment in its bins.

    Attributes:
        folder: Of the segment, open until `close`.
        files: Of the segment; reading through them needs no index.
        state: LOST, DAMAGED or PROVEN for each sequence number.
        entries: The index entries; undefined where the record is lost.
        is_listed: Whether the old index leads to the record, which is whole.
        is_anchored: Whether a record of the listed ones stands in its place in a row behind one to which the old index
            leads, or from the bin's begin on.
        long_raw: Raw lengths of records for which the entry has the escape.
        problems: Of bins that could not be read at all, in words.
        frames_in: How many frames each bin holds, by its number.
        num_passed_over: Places that look like frames and were not looked at, as too many of them overlap.
        left_in: Where whole frames begin that may be records and were not taken, as that cannot be known, by bin.
        num_behind_unproven: Records behind the listed ones that are not taken, as the last listed one is not known.
        is_confirmed: Whether the digest has proven all of the listed records but one that is missing.
        dictionary: The one at the head of bin 0, if it is intact.
        metadata: The copy of the user's metadata in bin 0, as bytes.
        before_metadata: Begin and end of what is not known before that copy, None if it stands in its place.
        has_keys: Whether any record was found that has a key.
        first_words: Word 0 of frames in which nothing but that is wrong: bin, offset, what it must be.
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
        """Say of which segment, and which alignments its payloads may have.

        `info.num_records` are expected, and more are taken note of unless it is sealed. The folder is open, and
        closed with this.
        """
        self.folder = folder
        self.files = _FoundFiles(folder, paths, info, first_position)
        count = info.num_records
        self.state = np.zeros(count, np.uint8)
        self.is_listed = np.zeros(count, np.bool_)
        self.is_anchored = np.zeros(count, np.bool_)
        self.long_raw: dict[int, int] = {}
        self.problems: dict[int, str] = {}
        self.frames_in: dict[int, int] = {}
        self.num_passed_over = 0
        # Entries may lead to frames that lie inside of each other: then each byte would be hashed for every one.
        self._bytes_to_prove = 0
        self.left_in: dict[int, tuple[int, ...]] = {}
        self.num_behind_unproven = 0
        self.is_confirmed = False
        self.dictionary: bytes | None = None
        self.metadata: bytes | None = None
        self.before_metadata: tuple[int, int] | None = None
        self.has_keys = False
        self.first_words: list[tuple[int, int, bytes]] = []
        self._info = info
        self._alignments = alignments
        # Where frames end that were found, 0 where none was; and hashes of payloads, which is all of an uncompressed
        # record without a key.
        self._stops = np.zeros(count, np.int64)
        self._hashes = np.zeros(count, _U64)
        self._has_hash = np.zeros(count, np.bool_)
        # Whether the old index leads to the header of a record, whole or not; and whether a repair has made its entry,
        # from a search behind a record that was lost.
        self._is_placed = np.zeros(count, np.bool_)
        self._is_behind_tombstone = np.zeros(count, np.bool_)
        # Behind the listed records, by bin: those that go on from them without a hole.
        self._tails: dict[int, NDArray[np.void]] = {}
        # Layouts of a bin that may be true instead of the one taken: those of the first bin that has any.
        self._layouts: tuple[NDArray[np.void], ...] = ()
        self._plan_of_layouts: BinPlan | None = None
        self._frames_without_layout = np.zeros(0, FRAME_DTYPE)
        self._num_bins_with_layouts = 0
        self._start_of_bin_0 = spec.BIN_HEADER_BYTES
        self._is_head_whole = False
        # Ends and begins of what stands before the records of bin 0, one in its place behind the other.
        self._head_places: list[tuple[int, int]] = []
        self._can_decompress: bool | None = None
        self._reader = RecordReader(self.files, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)

    @property
    def is_all_anchored(self) -> bool:
        """Whether all listed records that are there are known, without the digest."""
        count = self._info.num_records
        return bool((self.is_anchored[:count] | (self.state[:count] == LOST)).all())

    def alignment(self) -> int:
        """Return the alignment of payloads: the least by which most frames stand in their places."""
        if len(self._alignments) == 1:
            return self._alignments[0]
        counts = {
            alignment: sum(
                int(np.count_nonzero(self._linked(bin_index, len(self.state), (alignment,))))
                for bin_index in self.frames_in
            )
            + sum(aligned_start(end, spec.FRAME_HEADER_BYTES, alignment) == at for end, at in self._head_places)
            for alignment in self._alignments
        }
        return max(sorted(counts), key=counts.__getitem__)

    def _linked(self, bin_index: int, count: int, alignments: tuple[int, ...]) -> NDArray[np.bool_]:
        """Say which of so many records of a segment are there, in a bin, in their places behind what is there, too."""
        is_there = self.state[bin_index : count : self._info.num_bins] != LOST
        linked: NDArray[np.bool_] = self.stand_in_place(bin_index, count, alignments) & is_there
        linked[1:] &= is_there[:-1]
        return linked

    def gap_of(self, sequence: int) -> tuple[int, int, int] | None:
        """Return bin, begin and end of where a missing record must lie between its neighbours, None if unknown."""
        step = self._info.num_bins
        bin_index, after = sequence % step, sequence + step
        start = self.start_of_bin(bin_index) if sequence < step else self.end_of(sequence - step)
        if start is None or bin_index not in self.frames_in:
            return None
        if after >= self._info.num_records:
            return (bin_index, start, self.files.bin(bin_index).size) if self._info.is_sealed else None
        _, stop = unpack_loc(int(self.entries[after]["loc"]))
        return None if self.state[after] == LOST else (bin_index, start, stop)

    @property
    def entries(self) -> NDArray[np.void]:
        """Index entries by sequence number; to be written to, too."""
        return self.files.found

    def run(self, bins: list[int], old: OldIndex | None, advance: Callable[[int], None]) -> None:
        """Search bins, given by number.

        Args:
            bins: Those that are there.
            old: The index that is there; None if it is of no use.
            advance: Told of bytes read.
        """
        entries, is_sure = old.entries() if old else (np.zeros(0, ENTRY_DTYPE), np.zeros(0, np.bool_))
        for bin_index in bins:
            there = slice(bin_index, min(len(entries), self._info.num_records), self._info.num_bins)
            are_lost = entries[there]["loc"] == _U64(spec.TOMBSTONE)
            self._is_behind_tombstone[there] = np.logical_or.accumulate(are_lost)
            try:
                source = self.files.bin(bin_index)
                self._search_bin(bin_index, source, entries, is_sure, advance)
            except FormatError as error:
                self.problems[bin_index] = str(error)
        self.take_tails()

    def num_proven_from(self, start: int) -> int:
        """Return the length of the unbroken run of proven records that begins at a sequence number."""
        broken = np.flatnonzero(self.state[start:] != PROVEN)
        return int(broken[0]) if len(broken) else max(0, len(self.state) - start)

    def prove(self, sequence: int) -> bool:
        """Say whether the entry leads to a record that can be read; if so it counts as proven."""
        try:
            place = self._reader.locate(sequence)
            self._bytes_to_prove -= place.header.stored_length
            if self._bytes_to_prove < 0:
                self.num_passed_over += 1
                return False
            self._reader.check(sequence)
        except SplitDataError:
            return False
        self.state[sequence] = PROVEN
        word = place.header.first_word(self.files.salt(place.bin_index), place.offset)
        if word != place.stored_word():
            self.first_words.append((place.bin_index, place.offset, word.to_bytes(8, "little")))
        self._note_length(sequence, place.header, place.offset)
        return True

    def drop(self, sequence: int) -> None:
        """Forget what was found of a record."""
        self.state[sequence] = LOST
        self._stops[sequence] = 0
        self._has_hash[sequence] = self.is_listed[sequence] = self.is_anchored[sequence] = False
        self._is_placed[sequence] = False
        self.long_raw.pop(sequence, None)

    def tally(self, start: int, stop: int) -> Totals:
        """Return the numbers of a run of records, which are read for it; a lost one counts as an empty one."""
        total = Totals()
        for first in range(start, stop, _HASHED_TOGETHER):
            last = min(first + _HASHED_TOGETHER, stop)
            hashes = self._raw_hashes(first, last)
            lengths = [self.lengths(sequence) for sequence in range(first, last)]
            stored, raw = (list(column) for column in zip(*lengths, strict=True))
            total = total.joined(Totals(last - first, digest_of_hashes(hashes), sum(stored), sum(raw), max(raw)))
        return total

    def digest(self, num_records: int) -> int:
        """Return the digest of the first records, as `tally` does."""
        total = Totals()
        for first in range(0, num_records, _HASHED_TOGETHER):
            last = min(first + _HASHED_TOGETHER, num_records)
            total = total.joined(Totals(last - first, digest_of_hashes(self._raw_hashes(first, last))))
        return total.digest

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
        # From the old index, which knows nothing of a key.
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
        is_there = self.state[: self._info.num_records : self._info.num_bins] != LOST
        return int(self.starts_in(0, self._info.num_records)[is_there].min(initial=_FAR))

    def start_of_bin(self, bin_index: int) -> int:
        """Return the end of what stands before the first record of a bin."""
        return self._start_of_bin_0 if bin_index == 0 else spec.BIN_HEADER_BYTES

    def close(self) -> None:
        """Let go of all files, and of the folder."""
        self.files.pool.drop_all()
        self.folder.close()

    # -- one bin -------------------------------------------------------------------------------

    def _search_bin(
        self,
        bin_index: int,
        source: MappedSource | PreadSource,
        old: NDArray[np.void],
        is_sure: NDArray[np.bool_],
        advance: Callable[[int], None],
    ) -> None:
        self.frames_in[bin_index] = 0
        self._bytes_to_prove += _TIMES_PROVEN * source.size
        if bin_index == 0:
            self._look_at_head(source)
        plan = BinPlan(
            bin_index=bin_index,
            num_bins=self._info.num_bins,
            num_records=self._info.num_records,
            is_sealed=self._info.is_sealed,
            start=self.start_of_bin(bin_index),
            is_start_sure=bin_index > 0 or self._is_start_sure(source),
            size=source.size,
            alignments=self._alignments,
            read=source.read,
        )
        scan = BinScan(
            source,
            bin_index=bin_index,
            num_bins=plan.num_bins,
            salt=self.files.salt(bin_index),
            start=plan.start,
            alignments=self._alignments,
            old=old,
            is_sure=is_sure,
        )
        choice = choose(
            scan.run(advance), plan, lambda sequence, stop: self._frame_behind(plan, source, sequence, stop)
        )
        self.num_passed_over += scan.num_passed_over
        self.frames_in[bin_index] += len(choice.frames)
        if choice.left:
            self.left_in[bin_index] = choice.left
        self._take_all(choice.frames, plan)
        for sequence in choice.recovered:
            # Which also notes what its word 0 must be.
            if not self.prove(sequence):
                self.state[sequence] = DAMAGED
        if bin_index == 0:
            self._take_metadata(source, scan.metadata_places, plan)
        if choice.layouts:
            self._num_bins_with_layouts += 1
            self._layouts, self._plan_of_layouts = choice.layouts, plan
            self._frames_without_layout = choice.frames

    def _take_all(self, frames: NDArray[np.void], plan: BinPlan) -> None:
        """Note the frames of a bin, those of listed records and those behind them."""
        is_listed_record = frames["sequence"] < self._info.num_records
        self._take(plan.bin_index, frames[is_listed_record])
        self._note_anchored(plan)
        if not self._info.is_sealed:
            self._note_tail(frames[~is_listed_record], plan)

    # -- what only the digest can say ------------------------------------------------------------

    def layouts(self) -> tuple[NDArray[np.void], ...]:
        """Return the frames that may be true of one bin instead of what was taken; nothing if that is so of several."""
        return self._layouts if self._num_bins_with_layouts == 1 else ()

    def take_layout(self, layout: NDArray[np.void] | None) -> None:
        """Take all frames of a bin as they would be in one of `layouts`, or as they were taken first."""
        plan = self._plan_of_layouts
        if plan is None:
            return
        there = self.state[plan.bin_index : self._info.num_records : plan.num_bins] != LOST
        for number in np.flatnonzero(there).tolist():
            self.drop(plan.bin_index + number * plan.num_bins)
        self._take_all(self._frames_without_layout if layout is None else layout, plan)

    def decompressors(self) -> list[Decompressor]:
        """Return what may decompress a record of which the codec is not known."""
        return [Decompressor(), *([self.files.decompressor()] if self._has_dictionary() else [])]

    def note_confirmed(self, num_records: int) -> None:
        """Note that the digest has proven so many records, as they are."""
        self.is_anchored[:num_records] = self.state[:num_records] != LOST
        self.left_in.clear()
        self.is_confirmed = True
        self.take_tails()

    # -- what was found --------------------------------------------------------------------------

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
            & (frames["key_length"] == 0)
            & ~frames["is_large"]
        )
        entries = np.zeros(len(frames), ENTRY_DTYPE)
        entries["loc"] = pack_locs(bin_index, frames["offset"])
        entries["stored"], entries["raw"] = frames["stored"], frames["raw"]
        self.entries[sequences] = entries
        self.has_keys |= bool(frames["key_length"].any())
        is_long = frames["raw"] == spec.LENGTH_ESCAPE
        for sequence in sequences[is_long & frames["is_whole"]].tolist():
            self.long_raw[sequence] = self._reader.locate(sequence).header.raw_length

    def _note_anchored(self, plan: BinPlan) -> None:
        """Find out which listed records of a bin stand in their places beside one that is known."""
        mine = slice(plan.bin_index, self._info.num_records, plan.num_bins)
        is_there = self.state[mine] != LOST
        if not len(is_there):
            return
        is_linked = self._linked(plan.bin_index, self._info.num_records, self._alignments)
        is_known = self._is_placed[mine] & ~self._is_behind_tombstone[mine]
        # The first one is known if it begins where the bin does.
        is_known[0] |= is_linked[0]
        # In each run those from the first known one on.
        num_known = np.cumsum(is_known)
        num_before = np.where(is_linked, 0, num_known - is_known)
        self.is_anchored[mine] = (num_known > np.maximum.accumulate(num_before)) & is_there

    # -- behind the listed records ---------------------------------------------------------------

    def _note_tail(self, frames: NDArray[np.void], plan: BinPlan) -> None:
        """Note frames that go on from the last listed record of a bin, each in its place, without a hole."""
        self._tails.pop(plan.bin_index, None)
        last = plan.last
        first = last + plan.num_bins
        end = plan.start if last < 0 else self.end_of(last)
        if end is None or not len(frames) or int(frames["sequence"][0]) != first:
            return
        if not follow(np.array([end]), frames["offset"][:1], frames["is_large"][:1], self._alignments)[0]:
            return
        breaks = np.flatnonzero(~follows_in(frames[:-1], frames[1:], plan.num_bins, self._alignments))
        self._tails[plan.bin_index] = frames[: int(breaks[0]) + 1 if len(breaks) else len(frames)]

    def take_tails(self) -> None:
        """Take the unbroken run of records behind the listed ones, in each bin behind one that is known.

        Once more when it is clear what of the listed ones is true.
        """
        start = self._info.num_records
        self.state[start:] = LOST
        tails = [tail for bin_index, tail in self._tails.items() if self._is_end_known(bin_index)]
        self.num_behind_unproven = sum(map(len, self._tails.values())) - sum(map(len, tails))
        frames = np.concatenate([np.zeros(0, FRAME_DTYPE), *tails])
        # However many bins there are said to be, the run is no longer than what was found.
        is_found = np.zeros(len(frames) + 1, np.bool_)
        is_found[(frames["sequence"] - start)[frames["sequence"] - start < len(frames)]] = True
        count = int(np.argmin(is_found))
        self._make_room(start + count)
        for tail in tails:
            chosen = tail[tail["sequence"] < start + count]
            if len(chosen):
                self._take(int(chosen["sequence"][0]) % self._info.num_bins, chosen)

    def _is_end_known(self, bin_index: int) -> bool:
        """Say whether the last listed record of a bin is known, so that what stands behind it is, too."""
        last = bin_index + (self._info.num_records - 1 - bin_index) // self._info.num_bins * self._info.num_bins
        return last < 0 or bool(self.state[last] != LOST and self.is_anchored[last])

    # -- what stands before the records ----------------------------------------------------------

    def _is_start_sure(self, source: MappedSource | PreadSource) -> bool:
        """Say whether the first record of bin 0 must begin where what is known to stand before it ends."""
        if self._is_head_whole:
            return True
        # A damaged dictionary or damaged metadata may stand there, unless the header is seen to be another one's.
        for alignment in self._alignments:
            offset = aligned_start(self._start_of_bin_0, spec.FRAME_HEADER_BYTES, alignment)
            header = source.read(offset, spec.FRAME_HEADER_BYTES)
            if any(header) and not any(header[16:20]):
                return True
        return False

    def _look_at_head(self, source: MappedSource | PreadSource) -> None:
        """Find dictionary and metadata by their places, as word 0 of them may be damaged."""
        frame: HeadFrame
        for frame in head_frames(source.read, self._alignments):
            self._head_places.append((self._start_of_bin_0, frame.offset))
            self._start_of_bin_0 = frame.end
            self._is_head_whole = frame.header.kind == spec.KIND_METADATA
            if not frame.is_intact:
                continue
            if frame.header.kind == spec.KIND_METADATA:
                self.metadata = frame.payload
            else:
                self.dictionary = frame.payload
            word = frame.header.first_word(self.files.salt(0), frame.offset).to_bytes(8, "little")
            if source.read(frame.offset, 8) != word:
                self.first_words.append((0, frame.offset, word))

    def _take_metadata(self, source: MappedSource | PreadSource, places: list[int], plan: BinPlan) -> None:
        """Note metadata whose place could not be known, as the dictionary before them is damaged.

        They stand right before the first record, which must have been found: what a record holds may look like them.
        """
        if self.metadata is not None or not len(self.state) or self.state[0] == LOST:
            return
        _, first = unpack_loc(int(self.entries[0]["loc"]))
        for offset in places:
            header = FrameHeader.unpack(source.read(offset, spec.LARGE_FRAME_HEADER_BYTES))
            end = offset + footprint(header)
            if header.stored_length > spec.MAX_METADATA_BYTES or first not in plan.next_offsets(end):
                continue
            if header.codec == spec.CODEC_NONE and is_whole_frame(source, offset, header):
                self.before_metadata = self._start_of_bin_0, offset
                self._start_of_bin_0 = max(self._start_of_bin_0, end)
                self.metadata = source.read(offset + header.size, header.stored_length)

    def _has_dictionary(self) -> bool:
        """Say whether records that are compressed with the segment's dictionary can be read."""
        if self._can_decompress is None:
            try:
                self.files.decompressor()
                self._can_decompress = True
            except (FormatError, OSError):
                self._can_decompress = False
        return self._can_decompress

    # -- what the scan did not find ------------------------------------------------------------

    def _frame_behind(
        self, plan: BinPlan, source: MappedSource | PreadSource, sequence: int, stop: int
    ) -> NDArray[np.void] | None:
        """Return a frame in its place behind a byte that is whole but for its word 0, which may be damaged."""
        if stop > source.size:
            return None
        # Where an ordinary frame begins, and from there where a large one does, as the writer lays them out.
        for offset, is_large in plan.next_offsets(stop).items():
            try:
                header = FrameHeader.unpack(source.read(offset, spec.LARGE_FRAME_HEADER_BYTES))
            except FormatError:
                continue
            if header.sequence != sequence or not header.is_record or (header.kind == spec.KIND_LARGE) != is_large:
                continue
            if is_whole_frame(source, offset, header):
                return _frame_of(header, offset)
        return None

    # -- parts ---------------------------------------------------------------------------------

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
        self.has_keys |= header.key_length > 0
        self._stops[sequence] = offset + footprint(header)
        if header.raw_length >= spec.LENGTH_ESCAPE:
            self.long_raw[sequence] = header.raw_length


def _frame_of(header: FrameHeader, offset: int) -> NDArray[np.void]:
    """Return what the scan would have found of a whole frame, as one row."""
    frame = np.zeros(1, FRAME_DTYPE)
    lengths = lengths_word(header.stored_length, header.raw_length)
    frame["offset"], frame["stop"] = offset, offset + footprint(header)
    frame["sequence"], frame["hash"] = header.sequence, header.payload_hash
    frame["stored"], frame["raw"] = lengths & 0xFFFFFFFF, lengths >> 32
    frame["key_length"], frame["codec"] = header.key_length, header.codec
    frame["is_large"], frame["is_whole"] = header.kind == spec.KIND_LARGE, True
    return frame
