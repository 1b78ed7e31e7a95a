"""Mending one listed segment: what its index and headers must say, held against what they say.

    bins ── FrameSearch ──> entries ─┐
    old index: what is proven in it ─┼─> the index as it must be ── differs? ── replaced as a whole
    manifest: numbers of the segment ┘        `─ by what was searched for? ── has it the digest? ── no ──> left alone
    bin headers, first words of frames: written again in their place

An entry of the old index stands for a record that no search finds, if it can be true: so a record
whose frame is damaged keeps its place, and one whose bin is missing is back when the bin is.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from splitdata.dataset.repair.digest_choice import settle_by_digest
from splitdata.dataset.repair.found_records import DAMAGED, LOST, PROVEN
from splitdata.dataset.repair.old_index import OldIndex
from splitdata.dataset.repair.padding import MAX_GAP, dirty_gaps
from splitdata.dataset.segments.deleted_records import DeletedRecords
from splitdata.dataset.segments.dictionary import control_frame
from splitdata.dataset.segments.finding import Finding, FindingList
from splitdata.errors import FormatError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import hash64
from splitdata.format.frame_layout import next_start
from splitdata.format.frames import follow
from splitdata.format.index import (
    IndexHeader,
    IndexTables,
    entries_per_sum,
    entries_with_lengths,
    num_lengths_of,
    unpack_loc,
)
from splitdata.storage import files
from splitdata.storage.replace import open_sole, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.repair.frame_search import FrameSearch
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.paths import SegmentPaths

__all__ = ["SegmentRepair"]


class SegmentRepair:
    """Plans, then does, what makes one segment whole again.

    Attributes:
        actions: The changes to make, in words.
        findings: Records that cannot be read, before as after.
        notes: Findings that a person should know.
        num_found_alone: Records that were found by searching the bins, and that nothing else confirms.
    """

    def __init__(
        self,
        paths: SegmentPaths,
        info: SegmentInfo,
        first_position: int,
        search: FrameSearch,
        alignment: int,
        *,
        is_committed: bool,
    ) -> None:
        """Take the segment, and a search that has run.

        Args:
            paths: Of the segment.
            info: As it was committed, with the digest of that, or as it is going to be listed.
            first_position: Of it in the dataset.
            search: Of its bins.
            alignment: Of its payloads.
            is_committed: Whether anybody has said before what the digest is.
        """
        self.actions: list[str] = []
        self.findings = FindingList()
        self.notes: list[str] = []
        self.num_found_alone = 0
        self._is_committed = is_committed
        self._paths = paths
        self._info = info
        self._first_position = first_position
        self._search = search
        self._alignment = alignment
        self._bin_headers: dict[int, bytes] = {}
        self._tables: IndexTables | None = None
        self._dictionary_frame: tuple[int, bytes] | None = None
        self._zeros: list[tuple[int, int, int]] = []
        self._new_lengths: dict[int, int] = {}
        self._replaces_index = False
        # Of the records of each group, for the index.
        self._lengths: dict[int, NDArray[np.uint32]] = {}
        self._deleted = DeletedRecords(np.empty(0, np.uint32))

    def decide(self) -> bool:
        """Decide what is true of each record, before all that depends on it; False if the segment must stay as it is.

        Raises:
            UnsupportedVersionError: If a header is intact and of another version.
        """
        old = OldIndex(self._search.folder, self._info)
        try:
            if self._is_committed:
                settle_by_digest(self._search, self._info, self._alignment)
            self._fill_holes(old)
            if self._search.doubtful and not self._has_digest():
                self._search.give_up_doubtful()
            return self._agrees_with_digest(old)
        finally:
            old.close()

    def take_deleted(self, deleted: DeletedRecords) -> None:
        """Take which records were deleted: it is no loss that these cannot be read."""
        self._deleted = deleted

    def plan(self, info: SegmentInfo) -> None:
        """Plan the changes that make the segment as the manifest is going to list it; changes nothing.

        Raises:
            UnsupportedVersionError: If a header is intact and of another version.
        """
        self._info = info
        old = OldIndex(self._search.folder, info)
        try:
            self._plan_bin_headers()
            dictionary = self._find_dictionary(old)
            if info.is_grouped:
                self._lengths = self._search.record_lengths(info.num_frames, old.record_lengths)
            self._header = replace(self._expected_header(old), dictionary_bytes=len(dictionary))
            self._note_damaged_head()
            self._plan_padding()
            if self._info.is_sealed:
                lengths = self._bin_lengths(old)
                self._plan_lengths(lengths, is_known=old.bin_lengths() is not None)
                self._tables = IndexTables(
                    block_sums=self._block_sums(),
                    bin_lengths=lengths,
                    num_empty_bins=info.num_bins - len(lengths),
                    dictionary=dictionary,
                )
            problem = old.problem or self._difference(old)
        finally:
            old.close()
        if problem:
            self._replaces_index = True
            self.actions.append(f"{self._paths.index}: made again from the bins ({problem})")
        for bin_index, offset, _ in self._search.first_words:
            self.actions.append(f"{self._paths.bin(bin_index)}: header check of the frame at byte {offset} made again")
        self._report_records()

    def _find_dictionary(self, old: OldIndex) -> bytes:
        """Return the segment's dictionary from either place, empty if there is none; plan to mend the one in bin 0."""
        in_bin = self._search.head.dictionary or b""
        in_index = old.dictionary() if self._info.is_sealed else None
        if in_index and in_index != in_bin and 0 in self._search.frames_in:
            offset = next_start(spec.BIN_HEADER_BYTES, self._alignment)
            frame = control_frame(spec.KIND_DICTIONARY, in_index, self._search.files.salt(0), offset)
            if offset + len(frame) > self._search.first_start_in_bin_0():
                self.notes.append(
                    f"{self._paths.index}: its dictionary does not belong to this segment, a record lies there"
                )
                return in_bin
            self._dictionary_frame = offset, frame
            self.actions.append(f"{self._paths.bin(0)}: dictionary made again from the index")
        return in_index or in_bin

    def _note_damaged_head(self) -> None:
        """Say where nothing is known of what stands before the first record of bin 0: no copy of it is elsewhere."""
        search = self._search
        if 0 not in search.frames_in or not self._info.num_frames or search.state[0] == LOST:
            return
        end = search.start_of_bin(0)
        if self._dictionary_frame:
            end = max(end, self._dictionary_frame[0] + len(self._dictionary_frame[1]))
        elif search.head.before_metadata:
            self._note_unknown(*search.head.before_metadata)
        first, is_large = search.starts_in(0, 1), search.entries[:1]["raw"] >= spec.LARGE_RECORD_BYTES
        if not follow(np.array([end]), first, is_large, (self._alignment,)).all():
            self._note_unknown(end, int(first[0]))

    def _note_unknown(self, start: int, stop: int) -> None:
        self.notes.append(
            f"{self._paths.bin(0)}: what stands in bytes {start} to {stop} cannot be made again: a dictionary, or the "
            "copy of the metadata, which readers take from the manifest; it is left as it is"
        )

    def apply(self, *, is_new: bool) -> None:
        """Do it.

        Args:
            is_new: Records are committed that no manifest listed. So their files must have no other name, under which
                the writer that began them may still go on; and nobody has waited yet until they are on the medium.
        """
        for bin_index, data in self._bin_headers.items():
            self._write_in_bin(bin_index, data, 0)
        if self._dictionary_frame:
            self._write_in_bin(0, self._dictionary_frame[1], self._dictionary_frame[0])
        for bin_index, offset, word in self._search.first_words:
            self._write_in_bin(bin_index, word, offset)
        for bin_index, offset, count in self._zeros:
            self._write_in_bin(bin_index, bytes(count), offset)
        for bin_index, length in self._new_lengths.items():
            with self._opened_bin(bin_index) as descriptor:
                files.truncate(descriptor, length)
        if is_new:
            for bin_index in self._search.frames_in:
                with self._opened_bin(bin_index):
                    pass
        if self._replaces_index:
            replace_file(self._search.folder, spec.INDEX_SCRATCH_NAME, spec.INDEX_NAME, self._pieces())
        elif is_new:
            files.close(open_sole(self._search.folder, spec.INDEX_NAME, spec.INDEX_SCRATCH_NAME))

    # -- entries -------------------------------------------------------------------------------

    def _fill_holes(self, old: OldIndex) -> None:
        """Decide on the entry of each record that was not proven."""
        search, num_frames, step = self._search, self._info.num_frames, entries_per_sum(self._info.group)
        for start in range(0, num_frames, step):
            state = search.state[start : min(start + step, num_frames)]
            holes = np.flatnonzero(state != PROVEN)
            if not len(holes):
                continue
            block = old.block(start)
            for hole in holes.tolist():
                self._fill(start + hole, block.entry(hole), is_sure=block.is_proven)

    def _fill(self, sequence: int, old: tuple[int, int, int] | None, *, is_sure: bool) -> None:
        search = self._search
        if old is not None and old[0] == spec.TOMBSTONE:
            # Given up before, and its frame has not come back whole.
            search.drop(sequence)
            search.entries[sequence] = (spec.TOMBSTONE, 0, 0)
        elif search.state[sequence] == LOST:
            is_kept = old is not None and (is_sure or self._may_be(sequence, old[0]))
            search.entries[sequence] = old if is_kept else (spec.TOMBSTONE, 0, 0)
            bin_index = sequence % self._info.num_bins
            if not is_kept:
                return
            if bin_index in search.frames_in and search.prove(sequence):
                search.is_listed[sequence] = search.is_anchored[sequence] = True
            else:
                search.state[sequence] = DAMAGED

    def _may_be(self, sequence: int, loc: int) -> bool:
        """Say whether a record of this number can lie there: in its bin, between its neighbours."""
        num_bins = self._info.num_bins
        bin_index, offset = unpack_loc(loc)
        if bin_index != sequence % num_bins:
            return False
        before = self._search.end_of(sequence - num_bins) if sequence >= num_bins else None
        after = sequence + num_bins
        stop = None
        if after < self._info.num_frames and self._search.state[after] == PROVEN:
            _, stop = unpack_loc(int(self._search.entries[after]["loc"]))
        least = self._search.start_of_bin(bin_index) if before is None else before
        return offset >= least and (stop is None or offset + spec.FRAME_HEADER_BYTES <= stop)

    # -- what nothing but the search says --------------------------------------------------------

    def _has_digest(self) -> bool:
        """Say whether all records are there, and have the digest of the committed segment."""
        search, info = self._search, self._info
        is_whole = bool((search.state[: info.num_frames] == PROVEN).all())
        # A group of which records were erased is whole, and has another digest than was committed.
        may_be_compared = self._is_committed and is_whole and not (info.is_grouped and info.num_deleted)
        return search.is_confirmed or (may_be_compared and search.digest(info.num_frames) == info.digest)

    def _agrees_with_digest(self, old: OldIndex) -> bool:
        """Hold what was found by searching against the digest; False if the segment must be left as it is.

        The bytes of a record may imitate frames. What stands in its place between others cannot be such; what stands
        alone is given up where the digest contradicts it.
        """
        search, committed = self._search, self._info
        if not self._is_committed or search.is_confirmed:
            return True
        count = committed.num_frames
        found = np.flatnonzero((search.state[:count] == PROVEN) & ~search.is_listed[:count])
        if not len(found):
            return True
        # A group of which records were erased is whole, and has another digest than was committed.
        may_be_compared = not (committed.is_grouped and committed.num_deleted)
        digest = search.digest(count) if may_be_compared and (search.state[:count] == PROVEN).all() else None
        # To read them for the digest may have shown that some cannot be read.
        if digest is None or not (search.state[:count] == PROVEN).all():
            self.num_found_alone = self._num_records(found)
            self.notes.append(
                f"{self._paths.folder}: {self.num_found_alone} records were found by searching alone: their checksums "
                "hold, and since others cannot be read, the digest of the whole cannot confirm them"
            )
            return True
        if digest == committed.digest:
            return True
        alone, step = found[~search.is_anchored[found]], entries_per_sum(committed.group)
        for frame in alone.tolist():
            block = old.block(frame // step * step)
            search.drop(frame)
            self._fill(frame, block.entry(frame % step), is_sure=block.is_proven)
        what = (
            f"found by searching alone, and contradicted by the digest of the segment, {committed.digest:016x}: what "
            "looks like records may be the content of others"
        )
        if len(alone):
            num_alone = self._num_records(alone)
            self.notes.append(f"{self._paths.folder}: {num_alone} records were {what}; they are not taken")
            return True
        num_found = self._num_records(found)
        self.findings.add(
            Finding(
                path=self._paths.index,
                problem=f"{num_found} records were {what}; nothing in this segment was changed",
                position=self._first_position + committed.records_of(int(found[0])).start,
                num_records=num_found,
            )
        )
        return False

    def _report_records(self) -> None:
        """Note which records of each bin stay unreadable."""
        info = self._info
        for bin_index in range(info.num_bin_files):
            state = self._search.state[bin_index : info.num_frames : info.num_bins]
            broken = np.flatnonzero(state != PROVEN)
            if not info.is_grouped:
                broken = broken[~self._deleted.among(bin_index + broken * info.num_bins)]
            if not len(broken):
                continue
            frames = bin_index + broken * info.num_bins
            num_broken, lost = self._num_records(frames), self._num_records(frames[state[broken] == LOST])
            damaged = num_broken - lost
            problem = f"cannot be read: {damaged} damaged in place, {lost} lost; all positions are kept"
            left = len(self._search.left_in.get(bin_index, ()))
            if left and lost:
                self.notes.append(
                    f"{self._paths.bin(bin_index)}: {left} whole frames are taken for no record, as it cannot be known "
                    "whether they are the content of a lost one; they are left in the file"
                )
            if bin_index in self._search.problems:
                problem = self._search.problems[bin_index]
            elif bin_index not in self._search.frames_in:
                problem = f"the bin does not exist: {num_broken} records cannot be read until it is restored"
            position = self._first_position + info.records_of(int(frames[0])).start
            path = self._paths.bin(bin_index)
            self.findings.add(Finding(path=path, problem=problem, position=position, num_records=num_broken))

    def _num_records(self, frames: NDArray[np.int64]) -> int:
        """Return how many records some frames hold."""
        return sum(len(self._info.records_of(frame)) for frame in frames.tolist())

    # -- headers -------------------------------------------------------------------------------

    def _plan_bin_headers(self) -> None:
        for bin_index, num_frames in self._search.frames_in.items():
            # Without a single frame of this bin, it may be another file altogether: it is left alone.
            if not num_frames or bin_index >= self._info.num_bins:
                continue
            data = self._search.files.bin(bin_index).read(0, spec.BIN_HEADER_BYTES)
            try:
                BinHeader.unpack(data)
            except UnsupportedVersionError:
                raise
            except FormatError:
                header = BinHeader(
                    segment_id=self._info.id,
                    bin_index=bin_index,
                    num_bins=self._info.num_bins,
                    alignment=self._alignment,
                    features=self._info.features,
                    group=self._info.group,
                )
                self._bin_headers[bin_index] = header.pack()
                self.actions.append(f"{self._paths.bin(bin_index)}: header made again")

    def _expected_header(self, old: OldIndex) -> IndexHeader:
        info = self._info
        return IndexHeader(
            segment_id=info.id,
            num_bins=info.num_bins,
            alignment=self._alignment,
            is_sealed=info.is_sealed,
            num_records=info.num_records,
            first_position=self._first_position,
            digest=info.digest,
            stored_bytes=info.stored_bytes,
            raw_bytes=info.raw_bytes,
            max_raw_bytes=self._longest(old),
            features=info.features,
            group=info.group,
        )

    def _longest(self, old: OldIndex) -> int:
        num_records = self._info.num_frames
        if self._info.is_grouped:
            longest = max((int(lengths.max(initial=0)) for lengths in self._lengths.values()), default=0)
            is_known = old.header is not None and old.header.num_records == self._info.num_records
            return max(longest, old.header.max_raw_bytes) if old.header and is_known else longest
        entries, state = self._search.entries[:num_records], self._search.state[:num_records]
        there = entries["raw"][(state != LOST) & (entries["raw"] != spec.LENGTH_ESCAPE)]
        long = [raw for sequence, raw in self._search.long_raw.items() if sequence < num_records]
        longest = max([int(there.max()) if len(there) else 0, *long])
        # Only the old header knows of records that were not found.
        if old.header is not None and old.header.num_records == num_records and (state != PROVEN).any():
            longest = max(longest, old.header.max_raw_bytes)
        return longest

    # -- what lies between the frames, and behind the last one --------------------------------------

    def _plan_padding(self) -> None:
        for bin_index in self._search.frames_in:
            found = list(dirty_gaps(self._search, self._info, bin_index))
            self._zeros += [(bin_index, offset, length) for offset, length in found]
            if found:
                self.actions.append(f"{self._paths.bin(bin_index)}: {len(found)} gaps between frames filled with zeros")

    def _plan_lengths(self, lengths: tuple[int, ...], *, is_known: bool) -> None:
        """Give each bin of a sealed segment the length that it has in the table, where no record is touched by that.

        Args:
            lengths: As they will stand in the table.
            is_known: Whether the old table had them too.
        """
        info = self._info
        for bin_index, num_frames in self._search.frames_in.items():
            # Without a single frame of this bin, it may be another file altogether: it is left alone.
            if not num_frames or bin_index >= info.num_bin_files:
                continue
            source = self._search.files.bin(bin_index)
            size, length = source.size, lengths[bin_index]
            last = bin_index + (info.num_frames - 1 - bin_index) // info.num_bins * info.num_bins
            is_whole = self._search.state[last] == PROVEN
            end, stop = self._search.end_of(last) if is_whole else None, min(size, length)
            if end is not None and 0 < stop - end < MAX_GAP and any(source.read(end, stop - end)):
                self._zeros.append((bin_index, end, stop - end))
                self.actions.append(f"{self._paths.bin(bin_index)}: padding behind the last record filled with zeros")
            if size == length or not (is_whole or (is_known and size > length)):
                continue
            if max(self._search.left_in.get(bin_index, (0,))) >= length:
                self.notes.append(
                    f"{self._paths.bin(bin_index)}: whole frames lie behind the last record, and are left there"
                )
                continue
            what = f"{length - size} bytes of padding added" if size < length else f"{size - length} bytes cut off"
            self.actions.append(f"{self._paths.bin(bin_index)}: {what} behind the last record")
            self._new_lengths[bin_index] = length

    # -- the whole index -----------------------------------------------------------------------

    def _difference(self, old: OldIndex) -> str | None:
        """Say what is wrong with the index that is there, None if nothing is."""
        if not self._accepts(old.header):
            return "its header is damaged"
        offset = spec.INDEX_HEADER_BYTES
        for piece in self._entry_pieces():
            if old.read(offset, len(piece)) != piece:
                return "its entries are damaged"
            offset += len(piece)
        if self._tables is None:
            return None
        for piece in self._tables.pieces():
            if old.read(offset, len(piece)) != piece:
                return "its tables are damaged"
            offset += len(piece)
        return "its tables are damaged" if old.read(offset, 1) else None

    def _accepts(self, header: IndexHeader | None) -> bool:
        """Say whether a header will do: as it must be, or ahead of the manifest as a killed writer leaves it."""
        if header is None:
            return False
        if replace(header, awaits_first_commit=False) == self._header:
            return True
        wanted = self._info.id, self._info.num_bins, self._alignment
        is_own = (header.segment_id, header.num_bins, header.alignment) == wanted
        return is_own and not self._info.is_sealed and header.num_records > self._info.num_records

    def _pieces(self) -> Iterator[bytes]:
        yield self._header.pack()
        yield from self._entry_pieces()
        if self._tables is not None:
            yield from self._tables.pieces()

    def _entry_pieces(self) -> Iterator[bytes]:
        num_frames, step = self._info.num_frames, entries_per_sum(self._info.group)
        for start in range(0, num_frames, step):
            entries = self._search.entries[start : min(start + step, num_frames)]
            yield entries_with_lengths(entries, self._lengths_from(start, len(entries)))

    def _lengths_from(self, start: int, count: int) -> NDArray[np.uint32] | None:
        """Return the lengths of the records of some groups, zeros where they are not known; None without groups."""
        if not self._info.is_grouped:
            return None
        lengths = np.zeros((count, self._info.group), np.uint32)
        for number in range(count):
            known = self._lengths.get(start + number, ())
            lengths[number, : len(known)] = known
        return lengths

    def _block_sums(self) -> tuple[int, ...]:
        return tuple(hash64(piece) for piece in self._entry_pieces())

    def _bin_lengths(self, old: OldIndex) -> tuple[int, ...]:
        """Return the lengths at sealing: from the last frame, else from the old table, else from the file."""
        info, known = self._info, old.bin_lengths()
        lengths = list(known) if known is not None else [0] * num_lengths_of(info.num_frames, info.num_bins)
        for bin_index in self._search.frames_in:
            if bin_index >= info.num_bin_files:
                continue
            last = bin_index + (info.num_frames - 1 - bin_index) // info.num_bins * info.num_bins
            end = self._search.end_of(last) if self._search.state[last] == PROVEN else None
            if end is not None:
                lengths[bin_index] = next_start(end, self._alignment)
            elif known is None:
                lengths[bin_index] = self._search.files.bin(bin_index).size
        return tuple(lengths)

    def _write_in_bin(self, bin_index: int, data: bytes, offset: int) -> None:
        with self._opened_bin(bin_index) as descriptor:
            files.write_at(descriptor, data, offset)

    @contextmanager
    def _opened_bin(self, bin_index: int) -> Iterator[int]:
        """Open a bin to write in its place, and wait for the medium; a copy, if it has other names, which stay."""
        descriptor = open_sole(self._search.folder, self._paths.bin_name(bin_index), spec.INDEX_SCRATCH_NAME)
        try:
            yield descriptor
            files.sync_data(descriptor)
        finally:
            files.close(descriptor)
