"""Records of 16 MiB and more: written in blocks, never held whole.

Each block has a hash of its own, so a part of the record can be read and proven without the rest.

    buffer or file ──1 MiB blocks──> (zstd) ──> bin, one write a block
                                       `─> hash of each stored block ─> table behind the payload
                   header last, over its place: lengths and hashes are known only then
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xxhash

from splitdata._payload import read_piece
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.frames import FrameHeader, padding_of
from splitdata.format.keys import key_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata._types import ReadableFile
    from splitdata.dataset.segments.bin_writer import BinWriter
    from splitdata.format.compression import Compressor

__all__ = ["LargeSource", "WrittenRecord", "write_large"]


class LargeSource:
    """The blocks of one record, from a buffer or from a file that is read once.

    Attributes:
        length: Bytes of the record, None where only reading to the end can tell.
    """

    def __init__(
        self, *, head: bytes = b"", buffer: memoryview | None = None, file: ReadableFile | None = None
    ) -> None:
        """Take `head`, what was read of `file` already, or all of a contiguous buffer of bytes."""
        self._head = head
        self._buffer = buffer
        self._file = file
        self.length = len(buffer) if buffer is not None else _length_of(head, file)

    def blocks(self) -> Iterator[bytes | memoryview]:
        """Yield the record in pieces of up to 1 MiB."""
        whole = memoryview(self._head) if self._buffer is None else self._buffer
        for start in range(0, len(whole), spec.BLOCK_BYTES):
            yield whole[start : start + spec.BLOCK_BYTES]
        while self._file is not None and (piece := read_piece(self._file, spec.BLOCK_BYTES)):
            yield piece

    def first_block(self) -> bytes | memoryview:
        """Return the beginning of the record without using it up."""
        whole = memoryview(self._head) if self._buffer is None else self._buffer
        return whole[: spec.BLOCK_BYTES]


def _length_of(head: bytes, file: Any) -> int | None:  # a file of any kind, or None
    if file is None:
        return len(head)
    try:
        here: int = file.tell()
        end: int = file.seek(0, 2)
        file.seek(here)
    except (AttributeError, OSError, ValueError):
        return None
    return len(head) + end - here


class WrittenRecord:
    """The outcome of writing one large record: its header, raw hash and the end of its frame."""

    def __init__(self, header: FrameHeader, raw_hash: int, end: int) -> None:
        self.header = header
        self.raw_hash = raw_hash
        self.end = end


class _Tap:
    """Passes blocks on and keeps count and hash of what went by."""

    def __init__(self, blocks: Iterator[bytes | memoryview]) -> None:
        self._blocks = blocks
        self._hash = xxhash.xxh3_64()
        self.length = 0

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for block in self._blocks:
            self._hash.update(block)
            self.length += len(block)
            yield block

    @property
    def hash(self) -> int:
        return self._hash.intdigest()


def _rebuffered(pieces: Iterator[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Cut pieces of any size into blocks of exactly 1 MiB, the last one shorter."""
    rest = bytearray()
    for piece in pieces:
        if not rest and len(piece) == spec.BLOCK_BYTES:
            yield piece
            continue
        rest += piece
        while len(rest) >= spec.BLOCK_BYTES:
            yield bytes(rest[: spec.BLOCK_BYTES])
            del rest[: spec.BLOCK_BYTES]
    if rest:
        yield bytes(rest)


def write_large(
    bins: BinWriter,
    bin_index: int,
    offset: int,
    source: LargeSource,
    *,
    sequence: int,
    salt: int,
    compressor: Compressor | None,
    key: bytes = b"",
) -> WrittenRecord:
    """Write one large record as a frame at a byte of a bin."""
    raw = _Tap(source.blocks())
    pieces: Iterator[bytes | memoryview] = iter(raw)
    length = source.length
    is_compressed = (
        compressor is not None
        and length is not None
        and length <= spec.MAX_COMPRESSED_RAW_BYTES
        and compressor.pays_for(source.first_block())
    )
    if is_compressed and compressor is not None and length is not None:
        pieces = compressor.compress_stream(pieces, length)

    end = offset + spec.LARGE_FRAME_HEADER_BYTES
    block_hashes = bytearray()
    stored_length = 0
    for block in _rebuffered(pieces):
        bins.write(bin_index, [block], end)
        block_hashes += hash64(block).to_bytes(8, "little")
        stored_length += len(block)
        end += len(block)
    tail = bytes(padding_of(stored_length)) + block_hashes
    if key:
        tail += key + key_hash(key).to_bytes(spec.KEY_HASH_BYTES, "little")
    bins.write(bin_index, [tail], end)
    header = FrameHeader(
        sequence=sequence,
        stored_length=stored_length,
        raw_length=raw.length,
        payload_hash=hash64(bytes(block_hashes)),
        kind=spec.KIND_LARGE,
        codec=spec.CODEC_ZSTD if is_compressed else spec.CODEC_NONE,
        key_length=len(key),
    )
    bins.write(bin_index, [header.pack(salt, offset)], offset)
    return WrittenRecord(header, raw.hash, end + len(tail))
