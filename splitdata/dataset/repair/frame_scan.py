"""Scans one bin: finds what looks like a frame of it, and which of these are whole; frame_choice.py chooses among them.

A record may hold bytes that look like frames, made by whoever wrote it. A frame is known where the old index
leads to it, or where it stands in its place behind one that is known: its inside is never searched.
Other frames may overlap, so what is hashed of them is bounded by what was read.

    stretches with data ── windows ── headers whose check is right ── of this bin? ── payload hash ──> frames
                                                  `─ inside of a frame that is known: not looked at
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.bins import candidate_frames
from splitdata.format.checksum import hash64
from splitdata.format.frames import FrameHeader, are_ordinary, follow, footprint, key_extents, num_blocks
from splitdata.format.index import pack_locs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from splitdata.storage.file_source import Source

__all__ = ["FRAME_DTYPE", "BinScan", "follows_in", "is_whole_frame"]

FRAME_DTYPE: Final = np.dtype(
    [
        ("offset", "<i8"),
        ("stop", "<i8"),
        ("sequence", "<i8"),
        ("hash", "<u8"),
        ("stored", "<u4"),
        ("raw", "<u4"),
        ("key_length", "<u2"),
        ("codec", "u1"),
        ("is_large", "?"),
        ("is_whole", "?"),
        ("is_listed", "?"),
    ]
)
"""A frame whose header is right: where it begins and ends, what its header says, whether its payload has its hash,
and whether the old index leads to it; not whether its key has its hash. Lengths are those of the index entry, so they
may be the escape."""

_WINDOW: Final = 16 << 20
_OVERLAP: Final = spec.LARGE_FRAME_HEADER_BYTES
# Of frames that overlap, so many times what was read is hashed, and so much more.
_HASHED_SHARE: Final = 4
_HASHED_BYTES: Final = 64 << 20
# Ends of frames may be claimed at any byte: this is behind every one that can be.
_FAR: Final = 1 << 62
_MOST_METADATA: Final = 16
_U64: Final = np.uint64
_LOW: Final = _U64(0xFFFFFFFF)


def is_whole_frame(source: Source, offset: int, header: FrameHeader) -> bool:
    """Say whether the payload of a frame has its hash, whatever its key; a large one is read in blocks."""
    covered = header.hashed
    if offset + covered.stop > source.size:
        return False
    table = source.read(offset + covered.start, covered.stop - covered.start)
    if hash64(table) != header.payload_hash:
        return False
    blocks = num_blocks(header.stored_length) if header.kind == spec.KIND_LARGE else 0
    for number in range(blocks):
        start = number * spec.BLOCK_BYTES
        data = source.read(offset + header.size + start, min(spec.BLOCK_BYTES, header.stored_length - start))
        if hash64(data) != int.from_bytes(table[8 * number : 8 * number + 8], "little"):
            return False
    return True


def follows_in(
    frames: NDArray[np.void], after: NDArray[np.void], num_bins: int, alignments: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Say of pairs of frames whether the second is the next record of its bin, in the place behind the first."""
    is_next: NDArray[np.bool_] = after["sequence"] == frames["sequence"] + num_bins
    is_next &= follow(frames["stop"], after["offset"], after["is_large"], alignments)
    return is_next


class BinScan:
    """Finds the frames of one bin, in the order of the file.

    Attributes:
        num_passed_over: Places that look like frames and were not hashed, as too many of them overlap.
        metadata_places: Where copies of the user's metadata seem to stand.
    """

    def __init__(
        self,
        source: Source,
        *,
        bin_index: int,
        num_bins: int,
        salt: int,
        start: int,
        alignments: tuple[int, ...],
        old: NDArray[np.void],
        is_sure: NDArray[np.bool_],
        num_together: int,
        kind: int,
    ) -> None:
        """Say of which bin.

        Args:
            source: The open bin.
            bin_index: Its number.
            num_bins: Of the segment.
            salt: Of the bin.
            start: Where what stands before the first record ends.
            alignments: That payloads may have: one, where it is known.
            old: Entries of the old index, from sequence number 0 on; as many as are there.
            is_sure: Of each block of them, whether a checksum proves them.
            num_together: Entries of a block.
            kind: Of ordinary frames: records, or groups.
        """
        self.num_passed_over = 0
        self.metadata_places: list[int] = []
        self._source = source
        self._bin = bin_index
        self._num_bins = num_bins
        self._salt = salt
        self._alignments = alignments
        self._old = old
        self._is_sure = is_sure
        self._num_together = num_together
        self._kind = kind
        # Up to here all is the inside of known frames.
        self._covered = 0
        # The last known frame: its end, and the sequence number that comes next. The end is -1 where that is not known.
        self._end = start
        self._next = bin_index
        self._hashed = 0
        # The end of the last frame that the old index leads to.
        self._listed_to = 0

    def run(self, advance: Callable[[int], None]) -> NDArray[np.void]:
        """Read the bin and return its frames, by offset; `advance` is told of bytes."""
        parts = [np.zeros(0, FRAME_DTYPE)]
        done = spec.BIN_HEADER_BYTES
        for base, length in self._windows():
            data = self._source.read(base, length + _OVERLAP)
            parts.append(self._frames_in(base, length, data))
            advance(base + length - done)
            done = base + length
        advance(max(0, self._source.size - done))
        return np.concatenate(parts)

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Yield where there is something to read; a file may have holes of terabytes."""
        place = spec.BIN_HEADER_BYTES
        while place < self._source.size:
            start, stop = self._source.data_from(place)
            place = max(place, start // 8 * 8)
            length = min(_WINDOW, (stop - place + 7) // 8 * 8)
            if length <= 0:
                return
            yield place, length
            place += length

    # -- one window ----------------------------------------------------------------------------

    def _frames_in(self, base: int, length: int, data: bytes) -> NDArray[np.void]:
        places = candidate_frames(np.frombuffer(data, np.uint8), base, self._salt)
        # A frame that begins in the overlap is whole in the next window.
        places = places[(places < base + length) & (places >= self._covered)]
        frames = self._with_listed(self._parsed(places, base, data)) if len(places) else np.zeros(0, FRAME_DTYPE)
        if not len(frames):
            return frames
        overlap = self._listed_that_overlap(frames)
        self._hash_together(frames, frames["is_listed"] & ~overlap, base, data)
        for number in np.flatnonzero(overlap).tolist():
            frames["is_whole"][number] = self._is_whole(frames[number], base, data, is_free=False)
        frames = self._outside_of_listed(frames)
        ends = np.maximum.accumulate(frames["stop"])
        if (frames["offset"][1:] < ends[:-1]).any():
            return self._one_after_the_other(frames, base, data)
        self._hash_together(frames, ~frames["is_listed"], base, data)
        self._note_last(frames)
        return frames

    def _parsed(self, places: NDArray[np.int64], base: int, data: bytes) -> NDArray[np.void]:
        """Return the records of this bin among headers that are right."""
        words = np.frombuffer(data[: len(data) & ~7], "<u8")
        at = (places - base) // 8
        word2, word3 = words[at + 2], words[at + 3]
        frames = np.zeros(len(places), FRAME_DTYPE)
        frames["offset"] = places
        frames["sequence"] = word2 & _LOW
        frames["hash"] = words[at + 1]
        frames["stored"], frames["raw"] = word3 & _LOW, word3 >> _U64(32)
        frames["key_length"] = word2 >> _U64(spec.KEY_SHIFT)
        frames["codec"] = word2 >> _U64(spec.CODEC_SHIFT) & _U64(0xFF)
        frames["stop"] = (
            places + spec.FRAME_HEADER_BYTES + frames["stored"] + key_extents(frames["key_length"].astype("<i8"))
        )
        is_record = are_ordinary(word2, word3, self._kind)
        for number in np.flatnonzero(~is_record).tolist():
            is_record[number] = self._parse_unusual(frames, number, data[8 * int(at[number]) :][:_OVERLAP])
        own: NDArray[np.void] = frames[is_record & (frames["sequence"] % self._num_bins == self._bin)]
        return own

    def _parse_unusual(self, frames: NDArray[np.void], number: int, head: bytes) -> bool:
        """Fill in a frame that is large; False if it is not a record."""
        try:
            header = FrameHeader.unpack(head)
        except FormatError:
            return False
        offset = int(frames["offset"][number])
        is_metadata = header.kind == spec.KIND_METADATA and header.sequence == spec.CONTROL_SEQUENCE
        if self._bin == 0 and is_metadata and len(self.metadata_places) < _MOST_METADATA:
            self.metadata_places.append(offset)
        if not header.is_record or header.kind != spec.KIND_LARGE or self._kind != spec.KIND_RECORD:
            return False
        frames["is_large"][number] = header.kind == spec.KIND_LARGE
        frames["stop"][number] = min(offset + footprint(header), _FAR)
        return True

    def _with_listed(self, frames: NDArray[np.void]) -> NDArray[np.void]:
        """Mark what the old index leads to, and leave out what it proves to lie elsewhere."""
        if not len(self._old):
            return frames
        is_inside = frames["sequence"] < len(self._old)
        sequences = np.where(is_inside, frames["sequence"], 0)
        entries = self._old[sequences]
        locs = pack_locs(self._bin, frames["offset"])
        same = (entries["loc"] == locs) & (entries["stored"] == frames["stored"]) & (entries["raw"] == frames["raw"])
        frames["is_listed"] = is_inside & same
        is_sure = self._is_sure[sequences // self._num_together] & (entries["loc"] != _U64(spec.TOMBSTONE))
        possible: NDArray[np.void] = frames[frames["is_listed"] | ~(is_inside & is_sure)]
        return possible

    def _outside_of_listed(self, frames: NDArray[np.void]) -> NDArray[np.void]:
        """Leave out what lies inside of frames that the old index leads to."""
        is_known = frames["is_listed"]
        ends = np.maximum.accumulate(np.where(is_known, frames["stop"], self._covered))
        before = np.concatenate([[self._covered], ends[:-1]])
        self._covered = int(ends[-1])
        outside: NDArray[np.void] = frames[frames["is_listed"] | (frames["offset"] >= before)]
        return outside

    def _listed_that_overlap(self, frames: NDArray[np.void]) -> NDArray[np.bool_]:
        """Say which frames that the old index leads to overlap others: no writer's do, so hashing them is counted."""
        is_listed = frames["is_listed"]
        ends = np.maximum.accumulate(np.where(is_listed, frames["stop"], self._listed_to))
        before = np.concatenate([[self._listed_to], ends[:-1]])
        self._listed_to = max(self._listed_to, int(ends[-1]))
        overlap: NDArray[np.bool_] = is_listed & (frames["offset"] < before)
        return overlap

    # -- payloads ------------------------------------------------------------------------------

    def _hash_together(self, frames: NDArray[np.void], chosen: NDArray[np.bool_], base: int, data: bytes) -> None:
        """Say of each chosen frame whether it is whole."""
        is_here = chosen & ~frames["is_large"] & (frames["stop"] <= base + len(data))
        starts = frames["offset"][is_here] + spec.FRAME_HEADER_BYTES - base
        places = zip(starts.tolist(), (starts + frames["stored"][is_here]).tolist(), strict=True)
        hashes = (hash64(data[start:stop]) for start, stop in places)
        frames["is_whole"][is_here] = np.fromiter(hashes, _U64, len(starts)) == frames["hash"][is_here]
        for number in np.flatnonzero(chosen & ~is_here).tolist():
            is_free = bool(frames["is_listed"][number])
            frames["is_whole"][number] = self._is_whole(frames[number], base, data, is_free=is_free)

    def _is_whole(self, frame: np.void, base: int, data: bytes, *, is_free: bool) -> bool:
        """Say whether one frame is whole; those that are not free only as long as there are not too many."""
        start, stop = int(frame["offset"]), int(frame["stop"])
        if stop > self._source.size:
            return False
        if not is_free:
            if self._hashed > _HASHED_BYTES + _HASHED_SHARE * start:
                self.num_passed_over += 1
                return False
            self._hashed += stop - start
        if frame["is_large"] or stop > base + len(data):
            return is_whole_frame(self._source, start, FrameHeader.unpack(self._source.read(start, _OVERLAP)))
        begin = start + spec.FRAME_HEADER_BYTES - base
        return hash64(memoryview(data)[begin : begin + int(frame["stored"])]) == int(frame["hash"])

    # -- what is known -------------------------------------------------------------------------

    def _one_after_the_other(self, frames: NDArray[np.void], base: int, data: bytes) -> NDArray[np.void]:
        """Hash frames that overlap, and leave out those inside of one that stands in its place behind a known one."""
        kept = np.ones(len(frames), np.bool_)
        for number in range(len(frames)):
            frame = frames[number]
            offset, is_listed = int(frame["offset"]), bool(frame["is_listed"])
            if offset < self._covered and not is_listed:
                kept[number] = False
                continue
            is_next = self._is_next(frames[number : number + 1])
            if not is_listed:
                frames["is_whole"][number] = self._is_whole(frame, base, data, is_free=is_next)
            if is_next or is_listed:
                self._take_for_last(frames[number])
            elif offset > self._end + 2 * max(self._alignments):
                # The expected frame is missing: it is not known where the next one begins.
                self._end = -1
        left: NDArray[np.void] = frames[kept]
        return left

    def _note_last(self, frames: NDArray[np.void]) -> None:
        """Find out whether the last frame of a window is known, as `_one_after_the_other` does it one by one."""
        breaks = np.flatnonzero(~follows_in(frames[:-1], frames[1:], self._num_bins, self._alignments))
        first = int(breaks[-1]) + 1 if len(breaks) else 0
        # If the alignment is not known, the bytes between must be searched.
        first = first if len(self._alignments) == 1 else len(frames) - 1
        is_known = frames["is_listed"][first:].any()
        if is_known or (not first and self._is_next(frames[:1])):
            self._take_for_last(frames[-1])
        else:
            self._end = -1

    def _is_next(self, frame: NDArray[np.void]) -> bool:
        """Say whether a frame stands where the one behind the last known one must."""
        if self._end < 0 or int(frame["sequence"][0]) != self._next:
            return False
        is_there = follow(np.array([self._end]), frame["offset"], frame["is_large"], self._alignments)
        if len(self._alignments) == 1 or not is_there[0]:
            return bool(is_there[0])
        # The bytes before the place of another alignment are not padding: perhaps a frame with a damaged header.
        return not any(self._source.read(self._end, int(frame["offset"][0]) - self._end))

    def _take_for_last(self, frame: np.void) -> None:
        self._end = int(frame["stop"])
        self._next = int(frame["sequence"]) + self._num_bins
        self._covered = max(self._covered, min(self._end, self._source.size))
