"""Compression of the stored bytes of a frame with zstd, and back, within limits.

The zstd library grants whatever size a frame declares and ignores what follows the first
frame. So the header is read and compared before any output is allocated, and a second
frame is refused. FORMAT.md section 10.

    raw --zstd--> stored, where that is smaller        else stored = raw, codec 0
    raw --zstd with the segment's dictionary--> stored, where that is smaller still       codec 2
    stored --declared size and window checked--> raw
"""

from __future__ import annotations

import threading
from itertools import chain
from typing import IO, TYPE_CHECKING, cast

import zstandard

from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFAULT_LEVEL",
    "WITHOUT_DICTIONARY",
    "Compressor",
    "Decompressor",
    "check_declared_size",
    "decompress_stream",
]

# zstd's own default: about 2.8 times smaller on text at several hundred MB/s.
DEFAULT_LEVEL = 3
# A large record is compressed if its first block shrinks by a sixteenth. What zstd adds to
# incompressible data (3 bytes in 128 KiB) can then not use that up within MAX_COMPRESSED_RAW_BYTES.
_CLEAR_SAVING = 0.6
# One raw block of one byte, its size declared.
_EMPTY_FRAME = b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00x"
# The largest that zstd takes for a limit.
_MAX_ZSTD_WINDOW = 1 << 31
_WORTHWHILE = spec.BLOCK_BYTES - spec.BLOCK_BYTES // 16


class Compressor:
    """Compresses each record by itself with zstd; not to be shared between threads.

    Attributes:
        level: Of zstd.
        num_threads: That `encode_all` compresses by; what comes out is the same for any number.
    """

    def __init__(self, level: int = DEFAULT_LEVEL, dictionary: bytes = b"", *, num_threads: int = 1) -> None:
        if not -100 <= level <= 22:
            raise ValueError(f"zstd levels go from -100 to 22, got {level}")
        self.level = level
        self.num_threads = num_threads
        self._zstd = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
        self._zstd_dictionary: zstandard.ZstdCompressor | None = None
        if dictionary:
            # Its id would cost four bytes a record; the segment has no other one.
            shared = zstandard.ZstdCompressionDict(dictionary)
            try:
                shared.precompute_compress(level=level)
            except zstandard.ZstdError as error:
                raise FormatError(f"zstd cannot use the dictionary of {len(dictionary)} bytes: {error}") from None
            self._zstd_dictionary = zstandard.ZstdCompressor(
                level=level, dict_data=shared, write_checksum=False, write_content_size=True, write_dict_id=False
            )

    def compress(self, raw: bytes) -> bytes:
        """Return the compressed record, or `raw` itself where compression does not make it smaller."""
        return self.encode(raw)[0]

    def encode(self, raw: bytes) -> tuple[bytes, int]:
        """Return a record as it is best stored, and the codec of that."""
        if not _is_tried(raw):
            return raw, spec.CODEC_NONE
        shared = None if self._zstd_dictionary is None else self._zstd_dictionary.compress(raw)
        return _best(raw, shared, self._zstd.compress(raw) if _is_open(raw, shared) else None)

    def encode_all(self, records: list[bytes]) -> list[tuple[bytes, int]]:
        """Return what `encode` returns of each record, made by all threads together."""
        if self.num_threads == 1:
            return list(map(self.encode, records))
        tried = list(filter(_is_tried, records))
        shared: list[bytes | None] = [None] * len(tried)
        if self._zstd_dictionary is not None:
            shared = [*self._compress_all(self._zstd_dictionary, tried)]
        left = [raw for raw, one in zip(tried, shared, strict=True) if _is_open(raw, one)]
        plain = iter(self._compress_all(self._zstd, left))
        ones = iter(shared)
        encoded = []
        for raw in records:
            if not _is_tried(raw):
                encoded.append((raw, spec.CODEC_NONE))
                continue
            one = next(ones)
            encoded.append(_best(raw, one, next(plain) if _is_open(raw, one) else None))
        return encoded

    def _compress_all(self, zstd: zstandard.ZstdCompressor, records: list[bytes]) -> list[bytes]:
        """Return each record compressed, by threads of the library, which need no lock of Python's."""
        # Its pure Python form has no such call.
        together = getattr(zstd, "multi_compress_to_buffer", None)
        if together is None or not records:
            return list(map(zstd.compress, records))
        return [segment.tobytes() for segment in together(records, threads=self.num_threads)]

    def pays_for(self, first_block: bytes | memoryview) -> bool:
        """Say whether a large record that begins with this block is worth compressing."""
        return len(self._zstd.compress(first_block)) <= _WORTHWHILE

    def compress_stream(self, blocks: Iterator[bytes | memoryview], raw_length: int) -> Iterator[bytes]:
        """Yield the compressed pieces of one large record of a known length."""
        stream = self._zstd.compressobj(size=raw_length)
        for block in blocks:
            yield stream.compress(block)
        yield stream.flush()


def _is_tried(raw: bytes) -> bool:
    """Say whether a record may be compressed at all."""
    return 0 < len(raw) <= spec.MAX_COMPRESSED_RAW_BYTES


def _is_open(raw: bytes, shared: bytes | None) -> bool:
    """Say whether a record may be smaller without the dictionary than with it; None: there is none."""
    return shared is None or len(shared) >= _CLEAR_SAVING * len(raw)


def _best(raw: bytes, shared: bytes | None, plain: bytes | None) -> tuple[bytes, int]:
    """Return the best of a record as it is, compressed with the dictionary and without, and the codec of that."""
    best, codec = raw, spec.CODEC_NONE
    if shared is not None and len(shared) < len(raw):
        best, codec = shared, spec.CODEC_ZSTD_DICTIONARY
    # At equal size, the form that needs no dictionary is better.
    if plain is not None and len(plain) < len(raw) and len(plain) <= len(best):
        best, codec = plain, spec.CODEC_ZSTD
    return best, codec


def check_declared_size(stored_head: bytes | memoryview, raw_length: int, max_record_bytes: int) -> None:
    """Raise unless a zstd frame declares exactly `raw_length` and needs no more memory than allowed."""
    if raw_length > max_record_bytes:
        raise RecordTooLargeError(
            f"a compressed record declares {raw_length} bytes, the limit is {max_record_bytes}; "
            "raise max_record_bytes if you trust this dataset"
        )
    try:
        parameters = zstandard.get_frame_parameters(bytes(stored_head[:18]))
    except zstandard.ZstdError as error:
        raise FormatError(f"not a zstd frame: {error}") from None
    if parameters.content_size != raw_length:
        raise FormatError(f"the zstd frame declares {parameters.content_size} bytes, the record has {raw_length}")
    if parameters.window_size > spec.MAX_WINDOW_BYTES and parameters.window_size > raw_length:
        raise FormatError(f"the zstd frame asks for a window of {parameters.window_size} bytes")


class Decompressor:
    """Decompresses records of one segment; safe to share between threads."""

    def __init__(self, dictionary: bytes = b"") -> None:
        """Take the segment's dictionary, empty if there is none.

        Raises:
            FormatError: If it begins like a zstd dictionary, and is not a valid one.
        """
        self._shared = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        try:
            # Whether zstd can use it shows where it is used first.
            zstandard.ZstdDecompressor(dict_data=self._shared).decompress(_EMPTY_FRAME)
        except zstandard.ZstdError as error:
            raise FormatError(f"zstd cannot use the dictionary of {len(dictionary)} bytes: {error}") from None
        # Making one costs ten times what it takes to decompress a small record.
        self._of_thread = threading.local()

    def decompress(self, stored: bytes | memoryview, raw_length: int, max_record_bytes: int) -> bytes:
        """Return the raw bytes of stored ones, whose length must come out as `raw_length`.

        Raises:
            FormatError: If this is not exactly one zstd frame of that length.
            RecordTooLargeError: If `raw_length` is above `max_record_bytes`. Nothing was allocated.
        """
        check_declared_size(stored, raw_length, max_record_bytes)
        zstd = getattr(self._of_thread, "zstd", None)
        if zstd is None:
            zstd = self._of_thread.zstd = zstandard.ZstdDecompressor(dict_data=self._shared)
        try:
            raw: bytes = zstd.decompress(stored, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise FormatError(f"zstd cannot decompress the record: {error}") from None
        if len(raw) != raw_length:
            raise FormatError(f"the record decompressed to {len(raw)} bytes instead of {raw_length}")
        return raw


WITHOUT_DICTIONARY = Decompressor()


class _BlockReader:
    """Gives an iterator of blocks the `read` that zstd's stream reader asks for."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        if not self._rest:
            self._rest = next(self._blocks, b"")
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece


def decompress_stream(stored_blocks: Iterator[bytes], raw_length: int, max_record_bytes: int) -> Iterator[bytes]:
    """Yield the raw pieces of a large record, 1 MiB each, from its stored blocks.

    Memory stays at a block and zstd's window, however far the stored bytes would expand. A window of more than 128 MiB
    is that of a frame which was compressed with one as long as the record.
    """
    first = next(stored_blocks, b"")
    check_declared_size(first, raw_length, max_record_bytes)
    # Across frames, so that whatever follows the frame is met, and refused.
    source = _BlockReader(chain((first,), stored_blocks))
    # A window may be as long as the record, whose length was compared with its limit.
    zstd = zstandard.ZstdDecompressor(max_window_size=min(max(spec.MAX_WINDOW_BYTES, raw_length), _MAX_ZSTD_WINDOW))
    stream = zstd.stream_reader(cast("IO[bytes]", source), read_across_frames=True)
    try:
        for start in range(0, raw_length, spec.BLOCK_BYTES):
            wanted = min(spec.BLOCK_BYTES, raw_length - start)
            piece = stream.read(wanted)
            if len(piece) != wanted:
                raise FormatError(f"the record ended after {start + len(piece)} of {raw_length} bytes")
            yield piece
        if stream.read(1):
            raise FormatError(f"the record goes on behind its {raw_length} bytes")
    except zstandard.ZstdError as error:
        raise FormatError(f"zstd cannot decompress the record: {error}") from None
