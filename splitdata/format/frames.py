"""Frames: how one record lies in a bin.

    word 0   sync u32 | check u32          sync: low half of the bin's salt; check: checksum.py
    word 1   payload hash u64              xxh3-64 of the stored payload; of a large record: of its table
    word 2   sequence u32 | kind u8 | codec u8 | key length u16
    word 3   stored length u32 | raw length u32        0xFFFFFFFF: see words 4 and 5
   [word 4   stored length u64    word 5   raw length u64    words 6, 7   zeros]       large records only
    payload, key and its hash if there is one, zeros up to the next frame
    large:  payload, zeros to 8, table of block hashes, key and its hash, zeros

Word 2 of an uncompressed record is its sequence number, but for the length of a key, and word 3 equals the
lengths in the index entry: a reader proves the usual frame with two comparisons and a hash.
FORMAT.md section 8; frame_layout.py knows what version 0.1 did otherwise.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.checksum import frame_check, frame_checks, sync_word
from splitdata.format.frame_layout import LAYOUT, FrameLayout, aligned_starts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "FrameHeader",
    "are_ordinary",
    "follow",
    "footprint",
    "key_extents",
    "lengths_word",
    "nonzero_gaps",
    "num_blocks",
    "pack_headers",
    "padding_of",
]

_WORDS: Final = struct.Struct("<4Q")
_LARGE_LENGTHS: Final = struct.Struct("<2Q")
_MASK32: Final = 0xFFFFFFFF
_U64: Final = np.uint64

# Which frames are records, and how each kind may be stored. All that reads, verifies, repairs or adopts
# asks here, by `is_record` or `are_ordinary`: two lists of this once cost thousands of records.
_CODECS: Final = {
    spec.KIND_RECORD: (spec.CODEC_NONE, spec.CODEC_ZSTD, spec.CODEC_ZSTD_DICTIONARY),
    spec.KIND_GROUP: (spec.CODEC_NONE, spec.CODEC_ZSTD, spec.CODEC_ZSTD_DICTIONARY),
    spec.KIND_LARGE: (spec.CODEC_NONE, spec.CODEC_ZSTD),
}


def _saturated(length: int) -> int:
    return min(length, spec.LENGTH_ESCAPE)


def lengths_word(stored_length: int, raw_length: int) -> int:
    """Return both lengths as they stand in word 3 and in the second half of an index entry."""
    return _saturated(stored_length) | _saturated(raw_length) << 32


def num_blocks(stored_length: int) -> int:
    """Return how many block hashes a large record of this stored length has."""
    return -(-stored_length // spec.BLOCK_BYTES)


def padding_of(length: int) -> int:
    """Return the zeros that bring a length to the next multiple of 8."""
    return -length % spec.FRAME_UNIT


def key_extents(key_lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many bytes each key takes with its hash, 0 where there is none."""
    return key_lengths + spec.KEY_HASH_BYTES * (key_lengths > 0)


def follow(
    stops: NDArray[np.int64], offsets: NDArray[np.int64], are_large: NDArray[np.bool_], alignments: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Say of each frame whether it begins where the one behind byte `stop` must, for any of these alignments.

    Args:
        stops: Where the frame before each ends.
        offsets: Where it begins.
        are_large: Whether it has the longer header.
        alignments: That payloads may have: one, where it is known.
    """
    found = np.zeros(len(offsets), np.bool_)
    for alignment in alignments:
        ordinary = aligned_starts(stops, spec.FRAME_HEADER_BYTES, alignment)
        large = aligned_starts(stops, spec.LARGE_FRAME_HEADER_BYTES, alignment)
        found |= offsets == np.where(are_large, large, ordinary)
    return found


def nonzero_gaps(data: bytes, stops: NDArray[np.int64], gaps: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say of each stretch of `data` whether any byte of it is not zero: what lies between frames must be zeros.

    Args:
        data: In which they lie.
        stops: Where each begins: where a frame ends.
        gaps: How long each is, 0 or more.
    """
    owners = np.repeat(np.arange(len(gaps)), gaps)
    first_of_gap = np.cumsum(gaps) - gaps
    places = np.repeat(stops - first_of_gap, gaps) + np.arange(len(owners))
    return np.bincount(owners, np.frombuffer(data, np.uint8)[places] != 0, len(gaps)) > 0


def footprint(header: FrameHeader) -> int:
    """Return the bytes from the begin of a frame to the end of its last part, without padding behind it."""
    return header.key_offset + header.key_extent


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameHeader:
    """The header of one frame; lengths are true lengths, never the escape.

    Attributes:
        layout: Of the version that wrote it.
    """

    sequence: int
    stored_length: int
    raw_length: int
    payload_hash: int
    kind: int = spec.KIND_RECORD
    codec: int = spec.CODEC_NONE
    key_length: int = 0
    layout: FrameLayout = LAYOUT

    @property
    def size(self) -> int:
        """Bytes of the header itself: where the payload begins, counted from the frame."""
        return self.layout.large_header_bytes if self.kind == spec.KIND_LARGE else spec.FRAME_HEADER_BYTES

    @property
    def is_record(self) -> bool:
        """Whether this is a record, stored in a way that is known here; a damaged or newer frame is not."""
        return self.codec in _CODECS.get(self.kind, ()) and self.sequence != spec.CONTROL_SEQUENCE

    @property
    def table_offset(self) -> int:
        """Where a large record's block hashes begin, counted from the frame."""
        return self.size + self.stored_length + padding_of(self.stored_length)

    @property
    def key_offset(self) -> int:
        """Where the key begins, or would, counted from the frame."""
        if self.kind == spec.KIND_LARGE:
            return self.table_offset + 8 * num_blocks(self.stored_length)
        return self.size + self.stored_length

    @property
    def key_extent(self) -> int:
        """Bytes of the key with what proves it, 0 if there is none."""
        return self.layout.key_extent(self.key_length)

    @property
    def hashed(self) -> slice:
        """What the payload hash covers, counted from the frame: the payload, of a large record its table."""
        start = self.table_offset if self.kind == spec.KIND_LARGE else self.size
        return slice(start, self.key_offset + (0 if self.layout.has_key_hash else self.key_length))

    def pack(self, salt: int, offset: int) -> bytes:
        """Return the header's bytes for this place; `offset` is where the frame begins in its bin."""
        words = [
            self.payload_hash,
            self.sequence | self.kind << 32 | self.codec << spec.CODEC_SHIFT | self.key_length << spec.KEY_SHIFT,
            lengths_word(self.stored_length, self.raw_length),
        ]
        if self.kind == spec.KIND_LARGE:
            words += [self.stored_length, self.raw_length]
        words += [0] * (self.size // 8 - 1 - len(words))
        check = frame_check(salt, offset, tuple(words))
        return struct.pack(f"<{1 + len(words)}Q", sync_word(salt) | check << 32, *words)

    @classmethod
    def unpack(cls, buffer: bytes | memoryview, layout: FrameLayout = LAYOUT) -> FrameHeader:
        """Read a header from its first 32 (large: 64) bytes, without proving the check.

        Raises:
            FormatError: If the bytes are too few or the fields contradict each other.
        """
        if len(buffer) < spec.FRAME_HEADER_BYTES:
            raise FormatError(f"a frame header has {spec.FRAME_HEADER_BYTES} bytes, here are {len(buffer)}")
        _, payload_hash, word, lengths = _WORDS.unpack_from(buffer)
        stored_length, raw_length = lengths & _MASK32, lengths >> 32
        kind, codec, key_length = word >> 32 & 0xFF, word >> spec.CODEC_SHIFT & 0xFF, word >> spec.KEY_SHIFT
        if kind == spec.KIND_LARGE:
            if len(buffer) < layout.large_header_bytes:
                raise FormatError(f"a large frame header has {layout.large_header_bytes} bytes")
            stored_length, raw_length = _LARGE_LENGTHS.unpack_from(buffer, spec.FRAME_HEADER_BYTES)
            if lengths_word(stored_length, raw_length) != lengths:
                raise FormatError("the two lengths of a large frame header differ")
        # Of a codec that is not known here, as of an encryption, stored may be longer than raw.
        is_known = codec in _CODECS[spec.KIND_RECORD]
        if is_known and ((codec == spec.CODEC_NONE) != (stored_length == raw_length) or stored_length > raw_length):
            raise FormatError(f"codec {codec} with {stored_length} stored and {raw_length} raw bytes")
        if (kind == spec.KIND_LARGE) != (raw_length >= spec.LARGE_RECORD_BYTES) and kind != spec.KIND_DICTIONARY:
            raise FormatError(f"a frame of kind {kind} with {raw_length} raw bytes")
        return cls(
            sequence=word & _MASK32,
            stored_length=stored_length,
            raw_length=raw_length,
            payload_hash=payload_hash,
            kind=kind,
            codec=codec,
            key_length=key_length,
            layout=layout,
        )

    @staticmethod
    def has_right_check(head: bytes, salt: int, offset: int) -> bool:
        """Say whether sync word and check of a header are right for this place; `head` is all of the header."""
        first = int.from_bytes(head[:8], "little")
        return first == sync_word(salt) | FrameHeader._check_of(head, salt, offset) << 32

    @staticmethod
    def _check_of(head: bytes, salt: int, offset: int) -> int:
        return frame_check(salt, offset, struct.unpack(f"<{len(head) // 8}Q", head)[1:])

    @staticmethod
    def is_of_bin(head: bytes, salt: int, offset: int) -> bool:
        """Say whether a frame is one of this bin: by its sync word or, where that is damaged, by its check."""
        sync, check = (int.from_bytes(head[start : start + 4], "little") for start in (0, 4))
        return sync == sync_word(salt) or check == FrameHeader._check_of(head, salt, offset)

    def first_word(self, salt: int, offset: int) -> int:
        """Return word 0, sync word and check, as it must stand at this place."""
        return int.from_bytes(self.pack(salt, offset)[:8], "little")


def are_ordinary(
    words: NDArray[np.uint64], lengths: NDArray[np.uint64], kind: int = spec.KIND_RECORD
) -> NDArray[np.bool_]:
    """Say of each frame whether it is a record below 16 MiB, with or without a key: `is_record` for many.

    Args:
        words: Word 2 of the headers.
        lengths: Word 3.
        kind: That it must be: groups have the form of records.
    """
    stored, raw, codecs = lengths & _U64(_MASK32), lengths >> _U64(32), words >> _U64(spec.CODEC_SHIFT) & _U64(0xFF)
    are: NDArray[np.bool_] = (words >> _U64(32) & _U64(0xFF) == kind) & (words & _U64(_MASK32) != spec.CONTROL_SEQUENCE)
    are &= np.isin(codecs, _CODECS[kind])
    are &= (stored <= raw) & ((codecs == spec.CODEC_NONE) == (stored == raw)) & (raw < spec.LARGE_RECORD_BYTES)
    return are


def pack_headers(
    *,
    salts: NDArray[np.uint64],
    offsets: NDArray[np.uint64],
    payload_hashes: NDArray[np.uint64],
    sequences: NDArray[np.uint64],
    stored_lengths: NDArray[np.uint64],
    raw_lengths: NDArray[np.uint64],
    codecs: NDArray[np.uint64] | int = 0,
    kind: int = spec.KIND_RECORD,
    key_lengths: NDArray[np.uint64] | int = 0,
) -> NDArray[np.uint64]:
    """Return the headers of many ordinary records: shape (n, 4), little-endian u64, ready for the file."""
    half = np.uint64(32)
    words = np.empty((len(sequences), 4), "<u8")
    words[:, 1] = payload_hashes
    words[:, 2] = sequences | np.uint64(codecs) << np.uint64(spec.CODEC_SHIFT)
    words[:, 2] |= np.uint64(kind << 32)
    words[:, 2] |= np.uint64(key_lengths) << np.uint64(spec.KEY_SHIFT)
    words[:, 3] = stored_lengths | raw_lengths << half
    checks = frame_checks(salts, offsets, (words[:, 1], words[:, 2], words[:, 3]))
    words[:, 0] = (salts & np.uint64(_MASK32)) | np.uint64(1) | checks << half
    return words
