"""The zstd dictionary of a segment: trained on its first records, kept twice, used where it pays.

Small records compress badly one by one, since each begins without knowing the others. A dictionary is what they share.

    first chunk ── a sample ── train on three quarters ── measure on the rest ── worth two copies of it? ──> bytes
    bin 0     header | frame of KIND_DICTIONARY | frame of KIND_METADATA | records      the copy of an open segment
    index     entries | sums | bin table | dictionary | footer                          the one of a sealed segment
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import zstandard

from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import hash64
from splitdata.format.compression import Compressor
from splitdata.format.frame_layout import aligned_start
from splitdata.format.frames import FrameHeader, footprint
from splitdata.format.index import IndexHeader, entry_offset, tables_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from splitdata.format.manifest import SegmentInfo

    _Read = Callable[[int, int], bytes]
    """Reads a file by offset and length, fewer bytes where it ends."""

__all__ = ["HeadFrame", "control_frame", "head_frames", "read_from_bin", "read_from_index", "train"]

# What training looks at: it takes a second or two for each 10 MiB.
_SAMPLE_BYTES: Final = 4 << 20
_SAMPLE_RECORDS: Final = 1 << 15
# Of longer records the first so many bytes tell enough, and no dictionary helps them much.
_MOST_OF_A_RECORD: Final = 32 << 10
_LEAST_RECORDS: Final = 32
_LEAST_DICTIONARY: Final = 1 << 10
# zstd's own default, and its advice: a hundredth to a tenth of the sample.
_MOST_DICTIONARY: Final = 112_640
_SHARE_OF_SAMPLE: Final = 16


def train(records: Sequence[bytes], level: int) -> bytes:
    """Return a dictionary for records like these, empty where two copies of it cost more than it saves on them.

    Args:
        records: The first of a segment; all of them count for what it saves.
        level: Of zstd.
    """
    step = max(1, len(records) // _SAMPLE_RECORDS, sum(map(len, records)) // _SAMPLE_BYTES)
    sample = [record[:_MOST_OF_A_RECORD] for record in records[::step] if record]
    tested, trained = sample[3::4], [record for number, record in enumerate(sample) if number % 4 != 3]
    size = min(_MOST_DICTIONARY, sum(map(len, trained)) // _SHARE_OF_SAMPLE)
    if len(sample) < _LEAST_RECORDS or size < _LEAST_DICTIONARY:
        return b""
    try:
        dictionary = zstandard.train_dictionary(
            size, list[bytes | bytearray | memoryview](trained), level=level
        ).as_bytes()
    except (zstandard.ZstdError, MemoryError):
        # There is nothing in common.
        return b""
    plain, better = Compressor(level), Compressor(level, dictionary)
    saved = sum(len(plain.compress(record)) - len(better.compress(record)) for record in tested)
    total = sum(map(len, records))
    known = sum(map(len, tested))
    return dictionary if saved * total > 2 * len(dictionary) * known else b""


def read_from_index(read: _Read, info: SegmentInfo) -> bytes:
    """Return the dictionary that a sealed index holds, empty if it says that there is none.

    Raises:
        FormatError: If header or dictionary are damaged.
    """
    length = IndexHeader.unpack(read(0, spec.INDEX_HEADER_BYTES)).dictionary_bytes
    if not length:
        return b""
    if length > spec.MAX_DICTIONARY_BYTES:
        raise FormatError(f"the index has a dictionary of {length} bytes, the limit is {spec.MAX_DICTIONARY_BYTES}")
    padded = (length + 7) // 8 * 8
    end = entry_offset(info.num_frames, info.group) + tables_size(info.num_frames, info.num_bins, length, info.group)
    data = read(end - 24 - padded, padded + 24)
    if len(data) < padded + 24 or hash64(data[:padded]) != int.from_bytes(data[-8:], "little"):
        raise FormatError("the dictionary in the index is damaged")
    return data[:length]


def control_frame(kind: int, payload: bytes, salt: int, offset: int) -> bytes:
    """Return a frame that does not hold a record, for a place in a bin, without padding behind it."""
    header = FrameHeader(
        sequence=spec.CONTROL_SEQUENCE,
        stored_length=len(payload),
        raw_length=len(payload),
        payload_hash=hash64(payload),
        kind=kind,
    )
    return header.pack(salt, offset) + payload


@dataclass(frozen=True, slots=True)
class HeadFrame:
    """A frame before the records of bin 0: the dictionary, or the copy of the user's metadata.

    Attributes:
        offset: Where it begins.
        header: Of which word 0 is not proven.
        payload: The bytes that it holds.
        is_intact: Whether they match the hash in the header.
    """

    offset: int
    header: FrameHeader
    payload: bytes
    is_intact: bool

    @property
    def end(self) -> int:
        """Where it ends, without padding."""
        return self.offset + footprint(self.header)


def head_frames(read: _Read, alignments: tuple[int, ...] | None = None) -> Iterator[HeadFrame]:
    """Yield what stands before the records of bin 0, in order; a damaged one too, if its header tells its place.

    Args:
        read: Reads bin 0.
        alignments: That payloads may have; None asks the header of the bin.
    """
    # At the place of another alignment the first bytes of a record may stand, and look like one of these.
    alignments = _alignments_of(read) if alignments is None else alignments
    end = spec.BIN_HEADER_BYTES
    for kind, most in (
        (spec.KIND_DICTIONARY, spec.MAX_DICTIONARY_BYTES),
        (spec.KIND_METADATA, spec.MAX_METADATA_BYTES),
    ):
        offsets = list(dict.fromkeys(aligned_start(end, spec.FRAME_HEADER_BYTES, one) for one in alignments))
        if len(offsets) > 1:
            # The bytes before the place of another alignment are not padding but a record: this lies inside of it.
            between = read(end, max(offsets) - end)
            zeros = len(between) - len(between.lstrip(b"\0"))
            offsets = [offset for offset in offsets if offset - end <= zeros]
        found = [frame for offset in offsets if (frame := _head_frame(read, offset, kind, most)) is not None]
        best = next((frame for frame in found if frame.is_intact), found[0] if found else None)
        if best is not None:
            end = best.end
            yield best


def _alignments_of(read: _Read) -> tuple[int, ...]:
    """Return the alignment that the header of a bin says, or all that there are."""
    try:
        return (BinHeader.unpack(read(0, spec.BIN_HEADER_BYTES)).alignment,)
    except FormatError:
        return spec.ALIGNMENTS


def _head_frame(read: _Read, offset: int, kind: int, most: int) -> HeadFrame | None:
    try:
        header = FrameHeader.unpack(read(offset, spec.LARGE_FRAME_HEADER_BYTES))
    except FormatError:
        return None
    is_one = header.kind == kind and header.sequence == spec.CONTROL_SEQUENCE and header.codec == spec.CODEC_NONE
    if not is_one or not 0 < header.stored_length <= most or header.key_length:
        return None
    payload = read(offset + header.size, header.stored_length)
    return HeadFrame(offset, header, payload, hash64(payload) == header.payload_hash)


def read_from_bin(read: _Read) -> bytes:
    """Return the dictionary at the head of bin 0.

    Raises:
        FormatError: If there is none, or it is damaged.
    """
    frame = next((frame for frame in head_frames(read) if frame.header.kind == spec.KIND_DICTIONARY), None)
    if frame is None:
        raise FormatError("there is no dictionary at the head of bin 0")
    if not frame.is_intact:
        raise FormatError("the dictionary in bin 0 is damaged")
    return frame.payload
