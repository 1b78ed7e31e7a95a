"""The head of bin 0: the dictionary and the copy of the user's metadata, which stand before the records.

Both are kept twice, here and in the index or the manifest, so that either can be made again.

    header | dictionary | metadata | first record          either may be missing, or damaged
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.dataset.repair.frame_scan import is_whole_frame
from splitdata.dataset.segments.dictionary import head_frames
from splitdata.format import spec
from splitdata.format.frame_layout import next_start
from splitdata.format.frames import FrameHeader, footprint

if TYPE_CHECKING:
    from splitdata.dataset.repair.frame_choice import BinPlan
    from splitdata.storage.file_source import Source

__all__ = ["BinHead"]


class BinHead:
    """What a search of bin 0 finds before the records.

    Attributes:
        end: Of what is known.
        dictionary: The one that stands there, if it is intact.
        metadata: The copy of the user's metadata, as bytes.
        before_metadata: Begin and end of what is not known before that copy, None if it stands in its place.
        first_words: Offset of a frame in which nothing but word 0 is wrong, and what that must be.
        places: Ends and begins of what stands there, one in its place behind the other.
    """

    def __init__(self, salt: int, alignments: tuple[int, ...]) -> None:
        """Take the salt of bin 0, and the alignments that payloads may have."""
        self.end = spec.BIN_HEADER_BYTES
        self.dictionary: bytes | None = None
        self.metadata: bytes | None = None
        self.before_metadata: tuple[int, int] | None = None
        self.first_words: list[tuple[int, bytes]] = []
        self.places: list[tuple[int, int]] = []
        self._salt = salt
        self._alignments = alignments
        self._is_whole = False

    def look(self, source: Source) -> None:
        """Find dictionary and metadata by their places, as word 0 of them may be damaged."""
        for frame in head_frames(source.read, self._alignments):
            self.places.append((self.end, frame.offset))
            self.end = frame.end
            self._is_whole = frame.header.kind == spec.KIND_METADATA
            if not frame.is_intact:
                continue
            if frame.header.kind == spec.KIND_METADATA:
                self.metadata = frame.payload
            else:
                self.dictionary = frame.payload
            word = frame.header.first_word(self._salt, frame.offset).to_bytes(8, "little")
            if source.read(frame.offset, 8) != word:
                self.first_words.append((frame.offset, word))

    def is_end_sure(self, source: Source) -> bool:
        """Say whether the first record must begin where what is known to stand before it ends."""
        if self._is_whole:
            return True
        # A damaged dictionary or damaged metadata may stand there, unless the header is seen to be another one's.
        for alignment in self._alignments:
            offset = next_start(self.end, alignment)
            header = source.read(offset, spec.FRAME_HEADER_BYTES)
            if any(header) and not any(header[16:20]):
                return True
        return False

    def take_metadata(self, source: Source, places: list[int], first: int, plan: BinPlan) -> None:
        """Note metadata whose place could not be known, as the dictionary before them is damaged.

        Args:
            source: Bin 0.
            places: Where copies of metadata seem to stand.
            first: Where the first record begins, right behind them: what a record holds may look like them.
            plan: Of bin 0.
        """
        if self.metadata is not None:
            return
        for offset in places:
            header = FrameHeader.unpack(source.read(offset, spec.LARGE_FRAME_HEADER_BYTES))
            end = offset + footprint(header)
            if header.stored_length > spec.MAX_METADATA_BYTES or first not in plan.next_offsets(end):
                continue
            if header.codec == spec.CODEC_NONE and is_whole_frame(source, offset, header):
                self.before_metadata = self.end, offset
                self.end = max(self.end, end)
                self.metadata = source.read(offset + header.size, header.stored_length)
