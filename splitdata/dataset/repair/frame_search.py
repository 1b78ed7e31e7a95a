"""The search of one segment's bins: where each record lies, by what the frames themselves say.

    old index ─┐
    bin ───────┴─ frame_scan.py ── frames ── frame_choice.py ── those that are records ──> PROVEN, or DAMAGED
                                                    `─ frames that may be false: left, and noted

What is found of each record is noted in found_records.py. Holds that, and the frames of one bin. All is read with
pread. docs/format/repair.md section 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.repair.found_records import DAMAGED, LOST, FoundRecords
from splitdata.dataset.repair.frame_choice import BinPlan, choose
from splitdata.dataset.repair.frame_scan import FRAME_DTYPE, BinScan, follows_in, is_whole_frame
from splitdata.dataset.repair.header_mending import HeaderMending
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.compression import Decompressor
from splitdata.format.frame_layout import next_start
from splitdata.format.frames import FrameHeader, follow, footprint, lengths_word
from splitdata.format.index import ENTRY_DTYPE, entries_per_sum, unpack_loc

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.dataset.repair.old_index import OldIndex
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.file_source import Source
    from splitdata.storage.folder import Folder
    from splitdata.storage.paths import SegmentPaths

__all__ = ["FrameSearch"]

# How often each byte of a bin may be read to prove records by themselves, where once is what it takes.
_TIMES_PROVEN: Final = 4
_U64: Final = np.uint64


class FrameSearch(FoundRecords):
    """Looks for the records of one segment in its bins.

    Attributes:
        folder: Of the segment, open until `close`.
        problems: Of bins that could not be read at all, in words.
        frames_in: How many frames each bin holds, by its number.
        left_in: Where whole frames begin that may be records and were not taken, as that cannot be known, by bin.
        num_behind_unproven: Records behind the listed ones that are not taken, as the last listed one is not known.
        is_confirmed: Whether the digest has proven all of the listed records but one that is missing.
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

        `info.num_frames` are expected, and more are taken note of unless it is sealed. The folder is open, and
        closed with this.
        """
        super().__init__(folder, paths, info, first_position, alignments=alignments)
        self.folder = folder
        self.problems: dict[int, str] = {}
        self.frames_in: dict[int, int] = {}
        self.left_in: dict[int, tuple[int, ...]] = {}
        self.num_behind_unproven = 0
        self.is_confirmed = False
        # Behind the listed records, by bin: those that go on from them without a hole.
        self._tails: dict[int, NDArray[np.void]] = {}
        # Layouts of a bin that may be true instead of the one taken: those of the first bin that has any.
        self._layouts: tuple[NDArray[np.void], ...] = ()
        self._plan_of_layouts: BinPlan | None = None
        self._frames_without_layout = np.zeros(0, FRAME_DTYPE)
        self._num_bins_with_layouts = 0

    def alignment(self) -> int:
        """Return the alignment of payloads: the least by which most frames stand in their places."""
        if len(self._alignments) == 1:
            return self._alignments[0]
        counts = {
            alignment: sum(
                int(np.count_nonzero(self._linked(bin_index, len(self.state), (alignment,))))
                for bin_index in self.frames_in
            )
            + sum(next_start(end, alignment) == at for end, at in self.head.places)
            for alignment in self._alignments
        }
        return max(sorted(counts), key=counts.__getitem__)

    def gap_of(self, sequence: int) -> tuple[int, int, int] | None:
        """Return bin, begin and end of where a missing record must lie between its neighbours, None if unknown."""
        step = self._info.num_bins
        bin_index, after = sequence % step, sequence + step
        start = self.start_of_bin(bin_index) if sequence < step else self.end_of(sequence - step)
        if start is None or bin_index not in self.frames_in:
            return None
        if after >= self._info.num_frames:
            return (bin_index, start, self.files.bin(bin_index).size) if self._info.is_sealed else None
        _, stop = unpack_loc(int(self.entries[after]["loc"]))
        return None if self.state[after] == LOST else (bin_index, start, stop)

    def run(self, bins: list[int], old: OldIndex | None, advance: Callable[[int], None]) -> None:
        """Search bins, given by number.

        Args:
            bins: Those that are there.
            old: The index that is there; None if it is of no use.
            advance: Told of bytes read.
        """
        entries, is_sure = old.entries() if old else (np.zeros(0, ENTRY_DTYPE), np.zeros(0, np.bool_))
        for bin_index in bins:
            there = slice(bin_index, min(len(entries), self._info.num_frames), self._info.num_bins)
            are_lost = entries[there]["loc"] == _U64(spec.TOMBSTONE)
            self._is_behind_tombstone[there] = np.logical_or.accumulate(are_lost)
            try:
                source = self.files.bin(bin_index)
                self._search_bin(bin_index, source, entries, is_sure, advance)
            except FormatError as error:
                self.problems[bin_index] = str(error)
        self.take_tails()

    def close(self) -> None:
        """Let go of all files, and of the folder."""
        self.files.pool.drop_all()
        self.folder.close()

    # -- one bin -------------------------------------------------------------------------------

    def _search_bin(
        self,
        bin_index: int,
        source: Source,
        old: NDArray[np.void],
        is_sure: NDArray[np.bool_],
        advance: Callable[[int], None],
    ) -> None:
        self.frames_in[bin_index] = 0
        self._bytes_to_prove += _TIMES_PROVEN * source.size
        if bin_index == 0:
            self.head.look(source)
            self.first_words += [(0, offset, word) for offset, word in self.head.first_words]
        plan = BinPlan(
            bin_index=bin_index,
            num_bins=self._info.num_bins,
            num_frames=self._info.num_frames,
            is_sealed=self._info.is_sealed,
            start=self.start_of_bin(bin_index),
            is_start_sure=bin_index > 0 or self.head.is_end_sure(source),
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
            num_together=entries_per_sum(self._info.group),
            kind=self._kind,
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
        if bin_index == 0 and len(self.state) and self.state[0] != LOST:
            _, first = unpack_loc(int(self.entries[0]["loc"]))
            self.head.take_metadata(source, scan.metadata_places, first, plan)
        if choice.layouts:
            self._num_bins_with_layouts += 1
            self._layouts, self._plan_of_layouts = choice.layouts, plan
            self._frames_without_layout = choice.frames

    def _take_all(self, frames: NDArray[np.void], plan: BinPlan) -> None:
        """Note the frames of a bin, those of listed records and those behind them."""
        is_listed_record = frames["sequence"] < self._info.num_frames
        self._take(plan.bin_index, frames[is_listed_record])
        self._note_anchored(plan)
        if not self._info.is_sealed:
            self._note_tail(frames[~is_listed_record], plan)

    def _frame_behind(self, plan: BinPlan, source: Source, sequence: int, stop: int) -> NDArray[np.void] | None:
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
            if (header.kind == spec.KIND_GROUP) != self._info.is_grouped:
                continue
            if is_whole_frame(source, offset, header):
                mending = HeaderMending(source, self.files.salt(plan.bin_index), plan.num_bins, self._alignments)
                mended = mending.mend(header, offset)
                return _frame_of(mended[0] if mended else header, offset)
        return None

    # -- what only the digest can say ------------------------------------------------------------

    def layouts(self) -> tuple[NDArray[np.void], ...]:
        """Return the frames that may be true of one bin instead of what was taken; nothing if that is so of several."""
        return self._layouts if self._num_bins_with_layouts == 1 else ()

    def take_layout(self, layout: NDArray[np.void] | None) -> None:
        """Take all frames of a bin as they would be in one of `layouts`, or as they were taken first."""
        plan = self._plan_of_layouts
        if plan is None:
            return
        there = self.state[plan.bin_index : self._info.num_frames : plan.num_bins] != LOST
        for number in np.flatnonzero(there).tolist():
            self.drop(plan.bin_index + number * plan.num_bins)
        self._take_all(self._frames_without_layout if layout is None else layout, plan)

    def decompressors(self) -> list[Decompressor]:
        """Return what may decompress a record of which the codec is not known."""
        codecs = [spec.CODEC_ZSTD, *([spec.CODEC_ZSTD_DICTIONARY] if self._has_dictionary() else [])]
        return [self.files.decompressor_of(codec) for codec in codecs]

    def note_confirmed(self, num_records: int) -> None:
        """Note that the digest has proven so many records, as they are."""
        self.is_anchored[:num_records] = self.state[:num_records] != LOST
        self.left_in.clear()
        self.is_confirmed = True
        self.take_tails()

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
        """Take the unbroken stretch of records behind the listed ones, in each bin behind one that is known.

        Once more when it is clear what of the listed ones is true.
        """
        start = self._info.num_frames
        self.state[start:] = LOST
        tails = [tail for bin_index, tail in self._tails.items() if self._is_end_known(bin_index)]
        self.num_behind_unproven = sum(map(len, self._tails.values())) - sum(map(len, tails))
        frames = np.concatenate([np.zeros(0, FRAME_DTYPE), *tails])
        # However many bins there are said to be, the stretch is no longer than what was found.
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
        last = bin_index + (self._info.num_frames - 1 - bin_index) // self._info.num_bins * self._info.num_bins
        return last < 0 or bool(self.state[last] != LOST and self.is_anchored[last])


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
