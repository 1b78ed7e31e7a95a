"""Moves the pending records of one segment into a new one, as they are stored.

Only the last segment of a dataset may grow. Where a rival has committed meanwhile, ours is no longer the last.

    segment A   [committed | pending]        a rival's segment now lies behind A
                               └──────────> segment B [pending]      payloads are neither
                                                                     decompressed nor hashed again
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.codec import Decompressor, decompress_stream
from splitdata.format.frames import FrameHeader, footprint
from splitdata.format.index import unpack_loc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.segments.segment_writer import SegmentWriter

__all__ = ["move_pending"]


def move_pending(source: SegmentWriter, target: SegmentWriter) -> None:
    """Append every pending record of one segment to another, then drop it from the first."""
    start = source.committed.num_records
    for place, _ in source.entries_from(start).tolist():
        bin_index, offset = unpack_loc(place)
        header = FrameHeader.unpack(source.read_back(bin_index, spec.LARGE_FRAME_HEADER_BYTES, offset))
        body_length = footprint(header) - header.size
        raw_hash = _raw_hash(source, bin_index, offset, header)
        target.append_stored(header, _blocks(source, bin_index, offset + header.size, body_length), raw_hash)
    source.drop_pending()


def _blocks(source: SegmentWriter, bin_index: int, start: int, length: int) -> Iterator[bytes]:
    for offset in range(0, length, spec.BLOCK_BYTES):
        yield source.read_back(bin_index, min(spec.BLOCK_BYTES, length - offset), start + offset)


def _raw_hash(source: SegmentWriter, bin_index: int, offset: int, header: FrameHeader) -> int:
    """Return the hash of the raw record, which the frame has only for ordinary uncompressed ones."""
    if header.kind != spec.KIND_LARGE and header.codec == spec.CODEC_NONE and not header.key_length:
        return header.payload_hash
    stored = _blocks(source, bin_index, offset + header.size, header.stored_length)
    if header.kind != spec.KIND_LARGE and header.codec != spec.CODEC_NONE:
        decompressor = Decompressor(source.dictionary if header.codec == spec.CODEC_ZSTD_DICTIONARY else b"")
        return hash64(decompressor.decompress(b"".join(stored), header.raw_length, spec.MAX_COMPRESSED_RAW_BYTES))
    if header.codec != spec.CODEC_NONE:
        stored = decompress_stream(stored, header.raw_length, spec.MAX_COMPRESSED_RAW_BYTES)
    return _streamed_hash(stored)


def _streamed_hash(pieces: Iterator[bytes]) -> int:
    state = xxhash.xxh3_64()
    for piece in pieces:
        state.update(piece)
    return state.intdigest()
