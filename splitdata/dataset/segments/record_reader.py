"""The careful read of one record: every check, every kind, and the exact word for what is wrong.

Slower than segment_reader.py, which comes here for whatever is not the usual.

    entry ─ lost? other bin? ─> bin ─ there? long enough? ─> header ─ same sequence, same lengths? ─>
      ordinary   payload        hash, then the codec
      large      blocks | table hash over the table, then block by block
      key        behind these   header check, then the hash behind it
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import numpy as np
import xxhash

from splitdata.errors import CorruptRecordError, FormatError, RecordTooLargeError, TruncatedFileError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.compression import decompress_stream
from splitdata.format.frames import FrameHeader, footprint, lengths_word, num_blocks
from splitdata.format.index import entries_per_sum, unpack_loc, unpack_locs
from splitdata.format.keys import key_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.storage.file_source import Source

__all__ = ["Located", "RecordReader"]

_Read = TypeVar("_Read")
# So often a record is fetched again that was not what it must be.
_MOST_FETCHES: Final = 3


@dataclass(frozen=True, slots=True)
class Located:
    """A frame that agrees with its index entry and lies within its bin."""

    sequence: int
    bin_index: int
    offset: int
    header: FrameHeader
    source: Source

    @property
    def payload_offset(self) -> int:
        """Where the stored payload begins in the bin."""
        return self.offset + self.header.size

    def head(self) -> bytes:
        """Return the header as it stands in the file."""
        return self.source.read(self.offset, self.header.size)


class RecordReader:
    """Reads single records of one segment; safe to share between threads."""

    def __init__(
        self, files: SegmentFiles, *, verify: bool, max_record_bytes: int, takes_foreign: bool = False
    ) -> None:
        """Take the files.

        Args:
            files: Of the segment.
            verify: Whether payloads are held against their hashes.
            max_record_bytes: A longer record is refused.
            takes_foreign: Read also frames that may be those of another segment, for who finds that out otherwise.
        """
        self._takes_foreign = takes_foreign
        self._files = files
        self._verify = verify
        self._max_record_bytes = max_record_bytes
        # Counting what a truncation costs walks the index: once for each bin is enough.
        self._cut_off: dict[tuple[int, int], int] = {}

    # -- whole records -----------------------------------------------------------------------

    def read(self, sequence: int) -> bytes:
        """Return one record as bytes."""
        return self._proven(sequence, self._read)

    def _proven(self, sequence: int, read: Callable[[int], _Read]) -> _Read:
        """Return what is read; of a file in a store fetched again, a few times, where it cannot be proven."""
        for _ in range(_MOST_FETCHES):
            try:
                return read(sequence)
            except FormatError:
                if not self._files.forget_fetched(sequence):
                    raise
        return read(sequence)

    def _read(self, sequence: int) -> bytes:
        place = self.locate(sequence)
        self._check_length(place)
        if place.header.kind == spec.KIND_LARGE:
            return _joined(self._large_pieces(place))
        return bytes(self._ordinary(place))

    def view(self, sequence: int) -> memoryview:
        """Return one record as a read-only view; of the map itself if it is not compressed."""
        return self._proven(sequence, self._view)

    def _view(self, sequence: int) -> memoryview:
        place = self.locate(sequence)
        if not self._files.is_mapped:
            self._check_length(place)
        if place.header.kind != spec.KIND_LARGE:
            return memoryview(self._ordinary(place)).toreadonly()
        if place.header.codec != spec.CODEC_NONE:
            return memoryview(_joined(self._large_pieces(place)))
        if self._verify:
            for _ in self._stored_blocks(place, 0, num_blocks(place.header.stored_length)):
                pass
        return place.source.view(place.payload_offset, place.header.stored_length)

    def length(self, sequence: int) -> int:
        """Return the raw length of a record from the index, from its frame where the index cannot say."""
        length = self._files.entry(sequence)[1] >> 32
        return self.locate(sequence).header.raw_length if length == spec.LENGTH_ESCAPE else length

    def read_range(self, sequence: int, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` of one record, verified; of a large one only those blocks are read."""
        return self._proven(sequence, lambda sequence: self._read_range(sequence, start, stop))

    def _read_range(self, sequence: int, start: int, stop: int) -> bytes:
        place = self.locate(sequence)
        stop = min(stop, place.header.raw_length)
        if not place.header.raw_length:
            # It has no part, but is proven all the same.
            return self.read(sequence)
        if start >= stop:
            return b""
        if place.header.kind != spec.KIND_LARGE:
            return bytes(self._ordinary(place)[start:stop])
        if place.header.codec == spec.CODEC_NONE:
            first = start // spec.BLOCK_BYTES
            blocks = self._stored_blocks(place, first, num_blocks(stop))
            return _joined(_cut(blocks, start - first * spec.BLOCK_BYTES, stop - first * spec.BLOCK_BYTES))
        return _joined(_cut(self._large_pieces(place), start, stop))

    def key(self, sequence: int) -> bytes:
        """Return the key of a record as it is stored; empty if it has none, which is proven too.

        By the check of the header, in which the length of the key stands: one flipped bit of that must not hide a
        key. Then by the hash behind the key. The payload is not read, but in a segment of version 0.1.
        """
        return self._proven(sequence, self._key)

    def _key(self, sequence: int) -> bytes:
        place = self.locate(sequence)
        header = place.header
        if not self.has_header_check(place):
            self._raise_corrupt(sequence, "has a frame whose header check is wrong", place.bin_index, place.offset)
        if not header.layout.has_key_hash and header.key_length:
            self._hashed(place)
        end = place.offset + footprint(header)
        if end > place.source.size:
            self._raise_cut_off(sequence, place.bin_index, end, place.source.size)
        stored = place.source.read(place.offset + header.key_offset, header.key_extent)
        key = stored[: header.key_length]
        if len(stored) > len(key) and key_hash(key) != int.from_bytes(stored[header.key_length :], "little"):
            self.raise_damaged_key(sequence)
        return key

    def raise_damaged_key(self, sequence: int) -> NoReturn:
        """Raise for a record whose key is not the one that the table of keys lists."""
        place = self.locate(sequence)
        self._raise_corrupt(sequence, "has a damaged key", place.bin_index, place.offset)

    def check(self, sequence: int, *, on_block: Callable[[int], None] | None = None) -> int:
        """Read one record to its end, hold nothing of it, and return the xxh3-64 of its raw bytes.

        Of a large one `on_block` is told up to which byte of its bin it has been read.

        The header check of its frame, which no other way of reading needs, is not looked at.
        """
        place = self.locate(sequence)
        if place.header.kind != spec.KIND_LARGE:
            return hash64(self._ordinary(place))
        state = xxhash.xxh3_64()
        for piece in self._large_pieces(place, on_block):
            state.update(piece)
        return state.intdigest()

    def raw_hash(self, sequence: int) -> int:
        """Return the xxh3-64 of the raw bytes of a record: what its frame states, where that is it, else `check`."""
        header = self.locate(sequence).header
        if header.kind == spec.KIND_RECORD and header.codec == spec.CODEC_NONE and self._files.layout.has_key_hash:
            return header.payload_hash
        return self.check(sequence)

    def has_header_check(self, place: Located) -> bool:
        """Say whether sync word and header check of a frame are right: by them it is found without an index."""
        return FrameHeader.has_right_check(place.head(), self._files.salt(place.bin_index), place.offset)

    def is_of_bin(self, place: Located) -> bool:
        """Say whether a frame is one of its bin, and not of another segment: sync word or header check is right."""
        return FrameHeader.is_of_bin(place.head(), self._files.salt(place.bin_index), place.offset)

    # -- finding the frame -------------------------------------------------------------------

    def locate(self, sequence: int) -> Located:
        """Find the frame of a record and hold it against the index.

        Raises:
            CorruptRecordError: If the record is lost, or entry and frame do not agree.
            TruncatedFileError: If the bin, or the index, ends before it.
            MissingBinError: If the bin is not there.
        """
        place, lengths = self._files.entry(sequence)
        if place == spec.TOMBSTONE:
            self._raise_corrupt(sequence, "is lost; its position is kept")
        bin_index, offset = unpack_loc(place)
        if bin_index != sequence % self._files.info.num_bins:
            self._raise_corrupt(sequence, f"has an index entry that leads to bin {bin_index}", in_index=True)
        source = self._files.bin(bin_index)
        if offset + spec.FRAME_HEADER_BYTES > source.size:
            self._raise_cut_off(sequence, bin_index, offset + spec.FRAME_HEADER_BYTES, source.size)
        try:
            layout = self._files.layout
            header = FrameHeader.unpack(source.read(offset, layout.large_header_bytes), layout)
        except FormatError as error:
            self._raise_corrupt(sequence, f"has a damaged frame: {error}", bin_index, offset)
        if header.sequence != sequence or lengths != lengths_word(header.stored_length, header.raw_length):
            self._raise_corrupt(sequence, "and its index entry do not agree", bin_index, offset)
        if not header.is_record or (header.kind == spec.KIND_GROUP) != self._files.info.is_grouped:
            text = f"has kind {header.kind} and codec {header.codec}, unknown here"
            self._raise_corrupt(sequence, text, bin_index, offset)
        found = Located(sequence, bin_index, offset, header, source)
        # Where records have one length, the frames of another segment agree with the index too.
        if not self._takes_foreign and not self.is_of_bin(found):
            self._raise_corrupt(
                sequence, "has a frame of another bin, or one whose header is damaged", bin_index, offset
            )
        # Of the key nothing is needed, and nothing is said, before somebody wants it.
        end = offset + header.hashed.stop
        if end > source.size:
            self._raise_cut_off(sequence, bin_index, end, source.size)
        return found

    def _check_length(self, place: Located) -> None:
        """Raise for an uncompressed record that would be copied and is longer than the limit.

        The file may be sparse: then there is next to nothing where terabytes seem to be. Of a compressed record the
        limit is asked for before it is decompressed.
        """
        length = place.header.raw_length
        if length > self._max_record_bytes and place.header.codec == spec.CODEC_NONE:
            text = (
                f"it has {length} bytes, the limit is {self._max_record_bytes}; raise max_record_bytes if you trust "
                "this dataset, or read it in parts (read_range)"
            )
            self._raise_too_large(place, RecordTooLargeError(text))

    # -- ordinary records --------------------------------------------------------------------

    def _ordinary(self, place: Located) -> bytes | memoryview:
        """Return the raw record: a view of the stored bytes, or the decompressed ones."""
        header = place.header
        stored = self._hashed(place)[: header.stored_length]
        if header.codec == spec.CODEC_NONE:
            return stored
        try:
            decompressor = self._files.decompressor_of(header.codec)
            return decompressor.decompress(stored, header.raw_length, self._max_record_bytes)
        except RecordTooLargeError as error:
            self._raise_too_large(place, error)
        except FormatError as error:
            self._raise_corrupt(place.sequence, f"does not decompress: {error}", place.bin_index, place.offset)

    # -- large records -----------------------------------------------------------------------

    def _large_pieces(self, place: Located, on_block: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """Yield the raw record in blocks."""
        header = place.header
        stored = self._stored_blocks(place, 0, num_blocks(header.stored_length), on_block)
        if header.codec == spec.CODEC_NONE:
            yield from stored
            return
        try:
            yield from decompress_stream(stored, header.raw_length, self._max_record_bytes)
        except RecordTooLargeError as error:
            self._raise_too_large(place, error)
        except CorruptRecordError:
            raise
        except FormatError as error:
            self._raise_corrupt(place.sequence, f"does not decompress: {error}", place.bin_index, place.offset)

    def _stored_blocks(
        self, place: Located, first: int, stop: int, on_block: Callable[[int], None] | None = None
    ) -> Iterator[bytes]:
        """Yield stored blocks, each held against the table, which is held against the header."""
        header = place.header
        table = self._hashed(place)
        for block in range(first, stop):
            start = block * spec.BLOCK_BYTES
            length = min(spec.BLOCK_BYTES, header.stored_length - start)
            data = place.source.read(place.payload_offset + start, length)
            if self._verify and hash64(data) != int.from_bytes(table[8 * block : 8 * block + 8], "little"):
                text = f"is damaged in block {block}, its bytes {start} to {start + length}"
                self._raise_corrupt(place.sequence, text, place.bin_index, place.offset)
            if on_block is not None:
                on_block(place.payload_offset + start + length)
            yield data

    def _hashed(self, place: Located) -> memoryview:
        """Return what the payload hash covers: the stored payload, of a large record its table; held against it."""
        header = place.header
        covered = header.hashed
        data = place.source.view(place.offset + covered.start, covered.stop - covered.start)
        if self._verify and hash64(data) != header.payload_hash:
            if header.kind == spec.KIND_LARGE:
                text = "has a damaged table of block hashes"
                self._raise_corrupt(place.sequence, text, place.bin_index, place.offset)
            self._raise_checksum(place)
        return data

    # -- saying what is wrong ----------------------------------------------------------------

    def _raise_checksum(self, place: Located) -> NoReturn:
        self._raise_corrupt(
            place.sequence, "does not match its checksum", place.bin_index, place.offset + place.header.size
        )

    def _raise_too_large(self, place: Located, error: RecordTooLargeError) -> NoReturn:
        path = self._files.paths.bin(place.bin_index)
        name, _ = self._named(place.sequence)
        raise RecordTooLargeError(f"{name} is refused: {error} [{path} @ {place.offset}]") from None

    def _named(self, frame: int) -> tuple[str, str]:
        """Return what a frame is called in messages, and what is affected if it is damaged."""
        files = self._files
        records = files.info.records_of(frame)
        first = files.first_position + records.start
        if not files.info.is_grouped:
            return f"record {first}", "no other record is affected by this"
        text = f"the group of records {first} to {first + len(records) - 1}"
        return text, "these and no others are affected by this"

    def raise_damaged_item(self, frame: int, error: FormatError) -> NoReturn:
        """Raise for a group that is proven, and still does not hold what it must."""
        place = self.locate(frame)
        self._raise_corrupt(frame, f"is no group: {error}", place.bin_index, place.offset)

    def _raise_corrupt(
        self,
        sequence: int,
        what: str,
        bin_index: int | None = None,
        offset: int | None = None,
        *,
        in_index: bool = False,
    ) -> NoReturn:
        files = self._files
        files.check_dataset()
        position = files.first_position + files.info.records_of(sequence).start
        name, affected = self._named(sequence)
        path = files.paths.index if bin_index is None else files.paths.bin(bin_index)
        where = path if offset is None else f"{path} @ {offset}"
        next_step = "repair" if in_index else "verify"
        raise CorruptRecordError(
            f"{name} {what} [{where}]; {affected}, `splitdata {next_step} {files.dataset_folder}` looks at all of them",
            path=path,
            offset=offset,
            position=position,
            bin_index=bin_index,
        )

    def _raise_cut_off(self, sequence: int, bin_index: int, end: int, size: int) -> NoReturn:
        files = self._files
        files.check_dataset()
        path = files.paths.bin(bin_index)
        if (bin_index, size) not in self._cut_off:
            self._cut_off[bin_index, size] = self._count_cut_off(bin_index, size)
        raise TruncatedFileError(
            f"{self._named(sequence)[0]} ends at byte {end} of {path}, which has {size} bytes: "
            f"{self._cut_off[bin_index, size]} of {files.info.num_records} records of the segment are cut off; "
            f"restore the file, or see `splitdata verify {files.dataset_folder}`; all others stay readable",
            path=path,
            offset=size,
        )

    def _count_cut_off(self, bin_index: int, size: int) -> int:
        """Count the records of a bin that lie behind its end."""
        info, count = self._files.info, 0
        step = info.num_bins * entries_per_sum(info.group)
        for start in range(bin_index, info.num_frames, step):
            entries = self._files.entries(start, min(start + step, info.num_frames), info.num_bins)
            _, offsets = unpack_locs(entries["loc"])
            count += int(np.count_nonzero(offsets + spec.FRAME_HEADER_BYTES + entries["stored"] > size))
        return min(info.num_records, count * info.group)


def _joined(pieces: Iterator[bytes]) -> bytes:
    """Return pieces as one, without holding all of them beside it as `join` does; nor does `getvalue` copy."""
    whole = io.BytesIO()
    for piece in pieces:
        whole.write(piece)
    return whole.getvalue()


def _cut(pieces: Iterator[bytes], start: int, stop: int) -> Iterator[bytes]:
    """Yield the part of a stream of pieces that lies between two bytes, and read no further."""
    place = 0
    for piece in pieces:
        if place + len(piece) > start:
            yield piece[max(0, start - place) : stop - place]
        place += len(piece)
        if place >= stop:
            return
