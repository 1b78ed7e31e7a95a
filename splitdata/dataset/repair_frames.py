"""The search of one segment's bins: where each record lies, by what the frames themselves say.

    bin ── windows ── candidate_frames ── header proven ── payload hash holds? ──> PROVEN
                                                           `─ it does not ───────> DAMAGED, place known
    what is missing: looked for where the frame before it ends; only its word 0 may be wrong there

Holds 17 bytes a record, and one window of a bin. All is read with pread. FORMAT.md section 10.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.dictionary import head_frames
from splitdata.dataset.file_pool import FilePool
from splitdata.dataset.record_reader import RecordReader
from splitdata.dataset.segment_files import SegmentFiles
from splitdata.dataset.segment_writer import Tally
from splitdata.errors import FormatError, SplitDataError
from splitdata.format import spec
from splitdata.format.bins import candidate_frames
from splitdata.format.checksum import hash64
from splitdata.format.digest import digest_of_hashes
from splitdata.format.frames import FrameHeader, aligned_start, are_ordinary, footprint, lengths_word
from splitdata.format.index import ENTRY_DTYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.paths import SegmentPaths
    from splitdata.storage.source import MappedSource, PreadSource

__all__ = ["DAMAGED", "LOST", "PROVEN", "FrameSearch"]

# What is known of a record.
LOST: Final = 0
DAMAGED: Final = 1
PROVEN: Final = 2

_WINDOW: Final = 16 << 20
_OVERLAP: Final = spec.LARGE_FRAME_HEADER_BYTES
_HASHED_TOGETHER: Final = 1 << 14
_KEY_SHIFT: Final = 48
_CODEC_SHIFT: Final = 40
_U64: Final = np.uint64
_LOW: Final = _U64(0xFFFFFFFF)


class _FoundFiles(SegmentFiles):
    """The files of a segment, with the entries that the search has found in the place of its index."""

    def __init__(self, paths: SegmentPaths, info: SegmentInfo, first_position: int) -> None:
        self.pool = FilePool("pread")
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
        files: Of the segment; reading through them needs no index.
        state: LOST, DAMAGED or PROVEN for each sequence number.
        entries: The index entries; undefined where the record is lost.
        long_raw: Raw lengths of records for which the entry has the escape.
        problems: Of bins that could not be read at all, in words.
        frames_in: How many frames each bin holds, by its number.
        metadata: The copy of the user's metadata in bin 0, as bytes.
        has_keys: Whether any record was found that has a key.
        first_words: Word 0 of frames in which nothing but that is wrong: bin, offset, what it must be.
    """

    def __init__(self, paths: SegmentPaths, info: SegmentInfo, first_position: int, *, alignment: int) -> None:
        """Say of which segment; `info.num_records` are expected, and more are taken note of unless it is sealed."""
        self.files = _FoundFiles(paths, info, first_position)
        self.state = np.zeros(info.num_records, np.uint8)
        self.long_raw: dict[int, int] = {}
        self.problems: dict[int, str] = {}
        self.frames_in: dict[int, int] = {}
        self.metadata: bytes | None = None
        self.has_keys = False
        self.first_words: list[tuple[int, int, bytes]] = []
        self._info = info
        self._alignment = alignment
        self._limit = info.num_records
        # By bin: where the frames end of which the index does not tell it.
        self._ends: dict[int, dict[int, int]] = {}
        self._start_of_bin_0 = spec.BIN_HEADER_BYTES
        self._reader = RecordReader(self.files, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)

    @property
    def entries(self) -> NDArray[np.void]:
        """Index entries by sequence number; to be written to, too."""
        return self.files.found

    def run(self, bins: list[int], num_bytes: int, advance: Callable[[int], None]) -> None:
        """Search bins, given by number; `num_bytes` is what they have together, `advance` is told of bytes read."""
        if not self._info.is_sealed:
            # A frame has 32 bytes at least: no true sequence number is higher.
            self._limit = max(self._limit, min(num_bytes // spec.FRAME_HEADER_BYTES, spec.MAX_SEGMENT_RECORDS))
        for bin_index in bins:
            try:
                source = self.files.bin(bin_index)
            except FormatError as error:
                self.problems[bin_index] = str(error)
                continue
            self.frames_in[bin_index] = 0
            if bin_index == 0:
                self._look_at_head(source)
            for base in range(spec.BIN_HEADER_BYTES, source.size, _WINDOW):
                data = source.read(base, _WINDOW + _OVERLAP)
                self._search_window(bin_index, source, base, data)
                advance(min(_WINDOW, len(data)))
            self._look_behind_neighbours(bin_index, source)

    def num_proven_from(self, start: int) -> int:
        """Return the length of the unbroken run of proven records that begins at a sequence number."""
        broken = np.flatnonzero(self.state[start:] != PROVEN)
        return int(broken[0]) if len(broken) else max(0, len(self.state) - start)

    def prove(self, sequence: int) -> bool:
        """Say whether the entry leads to a record that can be read; if so it counts as proven."""
        try:
            self._reader.check(sequence, with_header_check=False)
        except SplitDataError:
            return False
        self.state[sequence] = PROVEN
        place = self._reader.locate(sequence)
        word = place.header.first_word(self.files.salt(place.bin_index), place.offset)
        if word != place.stored_word():
            self.first_words.append((place.bin_index, place.offset, word.to_bytes(8, "little")))
        self._note_length(sequence, place.header, place.offset)
        return True

    def tally(self, start: int, stop: int) -> Tally:
        """Return the numbers of a run of records, which are read for it; a lost one counts as an empty one."""
        total = Tally()
        for first in range(start, stop, _HASHED_TOGETHER):
            last = min(first + _HASHED_TOGETHER, stop)
            hashes = np.fromiter((self.raw_hash(one) for one in range(first, last)), _U64, last - first)
            lengths = [self.lengths(sequence) for sequence in range(first, last)]
            stored, raw = (list(column) for column in zip(*lengths, strict=True))
            total = total.joined(Tally(last - first, digest_of_hashes(hashes), sum(stored), sum(raw), max(raw)))
        return total

    def raw_hash(self, sequence: int) -> int:
        """Return xxh3-64 of the raw record, that of an empty one if it cannot be read."""
        if self.state[sequence] != PROVEN:
            return hash64(b"")
        # Whether word 0 is right was seen when it was found.
        return self._reader.check(sequence, with_header_check=False)

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
        loc, stored, _ = self.entries[sequence].tolist()
        usual: int = (loc & spec.PLACE_MASK) * spec.FRAME_UNIT + spec.FRAME_HEADER_BYTES + stored
        return self.long_ends_in(sequence % self._info.num_bins).get(sequence, usual)

    def long_ends_in(self, bin_index: int) -> dict[int, int]:
        """Return by sequence number where those frames of a bin end that are large or have a key."""
        return self._ends.get(bin_index, {})

    def start_of_bin(self, bin_index: int) -> int:
        """Return the end of what stands before the first record of a bin."""
        return self._start_of_bin_0 if bin_index == 0 else spec.BIN_HEADER_BYTES

    def close(self) -> None:
        """Let go of all files."""
        self.files.pool.drop_all()

    # -- one window ----------------------------------------------------------------------------

    def _search_window(self, bin_index: int, source: MappedSource | PreadSource, base: int, data: bytes) -> None:
        places = candidate_frames(np.frombuffer(data, np.uint8), base, self.files.salt(bin_index))
        # What begins in the overlap is whole in the next window.
        places = places[places < base + _WINDOW]
        if not len(places):
            return
        words = np.frombuffer(data[: len(data) & ~7], "<u8")
        at = (places - base) // 8
        word2, word3 = words[at + 2], words[at + 3]
        stored, raw = (word3 & _LOW).astype(np.int64), (word3 >> _U64(32)).astype(np.int64)
        key_lengths = (word2 >> _U64(_KEY_SHIFT)).astype(np.int64)
        stops = places + spec.FRAME_HEADER_BYTES + stored + key_lengths
        is_usual = are_ordinary(word2, word3) & (stops <= base + len(data))
        chosen = np.flatnonzero(is_usual)
        starts = (places[chosen] + spec.FRAME_HEADER_BYTES - base).tolist()
        ends = (stops[chosen] - base).tolist()
        hashes = (hash64(data[start:stop]) for start, stop in zip(starts, ends, strict=True))
        proven = np.fromiter(hashes, _U64, len(chosen)) == words[at[chosen] + 1]
        with_dictionary = word2[chosen] >> _U64(_CODEC_SHIFT) & _U64(0xFF) == spec.CODEC_ZSTD_DICTIONARY
        if with_dictionary.any() and not self._has_dictionary():
            proven &= ~with_dictionary
        entries = np.zeros(len(chosen), ENTRY_DTYPE)
        entries["loc"] = _U64(bin_index << spec.BIN_SHIFT) | (places[chosen] // spec.FRAME_UNIT).astype(_U64)
        entries["stored"], entries["raw"] = stored[chosen], raw[chosen]
        sequences = (word2[chosen] & _LOW).astype(np.int64)
        self._take(bin_index, sequences, entries, proven)
        self._note_keyed(sequences, entries, stops[chosen], key_lengths[chosen])
        for place in places[~is_usual].tolist():
            self._take_unusual(bin_index, source, place)

    def _take(
        self, bin_index: int, sequences: NDArray[np.int64], entries: NDArray[np.void], proven: NDArray[np.bool_]
    ) -> None:
        """Note frames whose headers are proven; of several for one record the first proven one counts."""
        is_own = (sequences % self._info.num_bins == bin_index) & (sequences < self._limit)
        sequences, entries, proven = sequences[is_own], entries[is_own], proven[is_own]
        self.frames_in[bin_index] += len(sequences)
        if not len(sequences):
            return
        self._make_room(int(sequences.max()) + 1)
        for chosen, state in ((proven, PROVEN), (~proven, DAMAGED)):
            numbers, first = np.unique(sequences[chosen], return_index=True)
            is_better = self.state[numbers] < (PROVEN if state == PROVEN else DAMAGED)
            self.entries[numbers[is_better]] = entries[chosen][first[is_better]]
            self.state[numbers[is_better]] = state

    def _take_unusual(self, bin_index: int, source: MappedSource | PreadSource, offset: int) -> None:
        """Note a frame that is large, goes beyond the window or the file, or is no record."""
        try:
            header = FrameHeader.unpack(source.read(offset, spec.LARGE_FRAME_HEADER_BYTES))
        except FormatError:
            return
        if bin_index == 0 and header.sequence == spec.CONTROL_SEQUENCE and header.kind == spec.KIND_METADATA:
            self._take_metadata(source, offset, header)
        if not header.is_record:
            return
        sequence = header.sequence
        before = int(self.state[sequence]) if sequence < len(self.state) else LOST
        if before == PROVEN:
            return
        lengths = lengths_word(header.stored_length, header.raw_length)
        entry = np.zeros(1, ENTRY_DTYPE)
        entry["loc"] = bin_index << spec.BIN_SHIFT | offset // spec.FRAME_UNIT
        entry["stored"], entry["raw"] = lengths & 0xFFFFFFFF, lengths >> 32
        old = self.entries[sequence : sequence + 1].copy()
        self._take(bin_index, np.array([sequence]), entry, np.array([True]))
        if sequence >= len(self.state) or self.state[sequence] != PROVEN:
            return
        self.state[sequence] = DAMAGED
        if offset + footprint(header) <= source.size and self.prove(sequence):
            return
        if before == DAMAGED:
            self.entries[sequence] = old[0]
        else:
            self._note_length(sequence, header, offset)

    def _note_keyed(
        self,
        sequences: NDArray[np.int64],
        entries: NDArray[np.void],
        stops: NDArray[np.int64],
        key_lengths: NDArray[np.int64],
    ) -> None:
        """Note where frames with keys end, of which the index does not tell the length; if they were taken."""
        keyed = np.flatnonzero(key_lengths)
        self.has_keys |= len(keyed) > 0
        for number in keyed.tolist():
            sequence = int(sequences[number])
            if sequence < len(self.state) and self.entries[sequence] == entries[number]:
                self._note_end(sequence, int(stops[number]))

    # -- what stands before the records ----------------------------------------------------------

    def _look_at_head(self, source: MappedSource | PreadSource) -> None:
        """Find dictionary and metadata by their places, as word 0 of them may be damaged."""
        for frame in head_frames(source.read):
            self._start_of_bin_0 = frame.end
            if not frame.is_intact:
                continue
            if frame.header.kind == spec.KIND_METADATA:
                self.metadata = frame.payload
            word = frame.header.first_word(self.files.salt(0), frame.offset).to_bytes(8, "little")
            if source.read(frame.offset, 8) != word:
                self.first_words.append((0, frame.offset, word))

    def _take_metadata(self, source: MappedSource | PreadSource, offset: int, header: FrameHeader) -> None:
        """Note metadata whose place could not be known, as the dictionary before them is damaged."""
        if self.metadata is not None or header.stored_length > spec.MAX_METADATA_BYTES:
            return
        payload = source.read(offset + header.size, header.stored_length)
        if hash64(payload) == header.payload_hash and header.codec == spec.CODEC_NONE:
            self._start_of_bin_0 = max(self._start_of_bin_0, offset + footprint(header))
            self.metadata = payload

    def _has_dictionary(self) -> bool:
        """Say whether records that are compressed with the segment's dictionary can be read."""
        try:
            self.files.decompressor()
        except (FormatError, OSError):
            return False
        return True

    # -- what the search did not find ----------------------------------------------------------

    def _look_behind_neighbours(self, bin_index: int, source: MappedSource | PreadSource) -> None:
        """Try for each missing record the place where the frame before it ends."""
        step = self._info.num_bins
        missing = np.flatnonzero(self.state[bin_index : self._info.num_records : step] == LOST)
        for sequence in (missing * step + bin_index).tolist():
            end = self.end_of(sequence - step) if sequence >= step else self.start_of_bin(bin_index)
            if end is None:
                continue
            # Where an ordinary frame begins, and from there where a large one does, as the writer lays them out.
            ordinary = aligned_start(end, spec.FRAME_HEADER_BYTES, self._alignment)
            large = aligned_start(ordinary, spec.LARGE_FRAME_HEADER_BYTES, self._alignment)
            if not self._try_place(sequence, bin_index, source, ordinary):
                self._try_place(sequence, bin_index, source, large)

    def _try_place(self, sequence: int, bin_index: int, source: MappedSource | PreadSource, offset: int) -> bool:
        try:
            header = FrameHeader.unpack(source.read(offset, spec.LARGE_FRAME_HEADER_BYTES))
        except FormatError:
            return False
        if header.sequence != sequence or offset + footprint(header) > source.size:
            return False
        lengths = lengths_word(header.stored_length, header.raw_length)
        place = bin_index << spec.BIN_SHIFT | offset // spec.FRAME_UNIT
        self.entries[sequence] = (place, lengths & 0xFFFFFFFF, lengths >> 32)
        if self.prove(sequence):
            self.frames_in[bin_index] += 1
            return True
        return False

    # -- parts ---------------------------------------------------------------------------------

    def _make_room(self, num_records: int) -> None:
        have = len(self.state)
        if num_records > have:
            more = max(num_records, 2 * have) - have
            self.state = np.concatenate([self.state, np.zeros(more, np.uint8)])
            self.files.found = np.concatenate([self.entries, np.zeros(more, ENTRY_DTYPE)])

    def _note_length(self, sequence: int, header: FrameHeader, offset: int) -> None:
        self.has_keys |= header.key_length > 0
        if header.kind == spec.KIND_LARGE or header.key_length:
            self._note_end(sequence, offset + footprint(header))
        if header.raw_length >= spec.LENGTH_ESCAPE:
            self.long_raw[sequence] = header.raw_length

    def _note_end(self, sequence: int, end: int) -> None:
        self._ends.setdefault(sequence % self._info.num_bins, {})[sequence] = end
