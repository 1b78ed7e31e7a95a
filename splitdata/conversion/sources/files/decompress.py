"""Decompresses the blocks of a file in bounded memory: all of it, or an error.

A compressed file may hold several streams one behind the other, and padding. Input that ends inside one is an error.

    member | member | zero bytes      gzip: members end to end, padding behind the last
    frame  | frame  | skippable       zstd: frames end to end
    stream | stream                   bzip2: streams end to end
    stream | zero bytes | stream      xz: the same, with padding
         ^ an input that ends here, inside a member, a frame or a stream, is an error
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

import zstandard

from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["bunzip2", "gunzip", "unxz", "unzlib", "unzstd"]

_GZIP_FORMAT: Final = 31
_MAX_OUTPUT_BYTES: Final = 1 << 20

# A zstd block of 4 bytes may stand for 128 KiB, and python-zstandard gives all that its input
# expands to at once: 2 KiB at a time keep that below 64 MiB. Larger pieces were not faster.
_ZSTD_INPUT_BYTES: Final = 2 << 10
# What the zstd program grants by default; xz needs 65 MiB for the largest of its presets.
_MAX_WINDOW_BYTES: Final = 128 << 20


class _StreamDecompressor(Protocol):
    """The methods that the decompressors of bz2 and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether no more output can be had without input."""

    @property
    def unused_data(self) -> bytes:
        """The bytes behind the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take input and return up to so much output."""


def gunzip(blocks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the content of a gzip file, checksums verified; `path` is shown in errors.

    Raises:
        SourceError: If the file is damaged, truncated or empty.
    """
    return _inflate_all(blocks, "gzip", path, _GZIP_FORMAT)


def unzlib(blocks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the content of a file in the format of zlib, checksums verified; `path` is shown in errors.

    Raises:
        SourceError: If the file is damaged, truncated or empty.
    """
    return _inflate_all(blocks, "zlib", path, zlib.MAX_WBITS)


def _inflate_all(blocks: Iterable[bytes], what: str, path: str, form: int) -> Iterator[bytes]:
    stream = None
    for block in blocks:
        rest = block
        while rest:
            if stream is None or stream.eof:
                # Some tools fill up the last sector of a tape or a disk.
                rest = rest.lstrip(b"\0") if stream else rest
                if not rest:
                    break
                stream = zlib.decompressobj(form)
            piece = _inflate(stream, rest, what, path)
            if piece:
                yield piece
            rest = stream.unused_data if stream.eof else stream.unconsumed_tail
    # Input may be used up while output still waits for room.
    while stream and not stream.eof and (piece := _inflate(stream, b"", what, path)):
        yield piece
    _check_end(what, path, is_empty=stream is None, is_complete=bool(stream and stream.eof))


def unzstd(blocks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the content of a zstd file; `path` is shown in errors.

    Raises:
        SourceError: If the file is damaged, truncated or empty, or needs a window above 128 MiB.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    stream = None
    for block in blocks:
        for start in range(0, len(block), _ZSTD_INPUT_BYTES):
            rest = block[start : start + _ZSTD_INPUT_BYTES]
            while rest:
                if stream is None or stream.eof:
                    stream = decompressor.decompressobj()
                try:
                    piece = stream.decompress(rest)
                except zstandard.ZstdError as error:
                    raise _damaged("zstd", path, error) from None
                if piece:
                    yield piece
                rest = stream.unused_data if stream.eof else b""
    _check_end("zstd", path, is_empty=stream is None, is_complete=bool(stream and stream.eof))


def bunzip2(blocks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the content of a bzip2 file, checksums verified; `path` is shown in errors.

    Raises:
        SourceError: If the file is damaged, truncated or empty.
    """
    # A Python may have been built without it, or without lzma; most conversions need neither.
    import bz2

    return _decompress_streams(bz2.BZ2Decompressor, blocks, "bzip2", path, padding=b"")


def unxz(blocks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Yield the content of an xz file, checksums verified; `path` is shown in errors.

    Raises:
        SourceError: If the file is damaged, truncated or empty, or needs more than 128 MiB.
    """
    import lzma

    def make() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_WINDOW_BYTES)

    return _decompress_streams(make, blocks, "xz", path, padding=b"\0")


def _decompress_streams(
    make: Callable[[], _StreamDecompressor], blocks: Iterable[bytes], what: str, path: str, *, padding: bytes
) -> Iterator[bytes]:
    """Yield the content of streams end to end, in pieces of 1 MiB at most."""
    stream = None
    for block in blocks:
        rest = block
        while rest or not (stream is None or stream.eof or stream.needs_input):
            if stream is None or stream.eof:
                rest = rest.lstrip(padding) if stream else rest
                if not rest:
                    break
                stream = make()
            try:
                piece = stream.decompress(rest, _MAX_OUTPUT_BYTES)
            # The modules have no common error: OSError, ValueError, LZMAError, EOFError.
            except Exception as error:
                raise _damaged(what, path, error) from None
            if piece:
                yield piece
            # The input that waits for room in the output is kept by the decompressor.
            rest = stream.unused_data if stream.eof else b""
    _check_end(what, path, is_empty=stream is None, is_complete=bool(stream and stream.eof))


def _inflate(stream: zlib._Decompress, data: bytes, what: str, path: str) -> bytes:
    try:
        return stream.decompress(data, _MAX_OUTPUT_BYTES)
    except zlib.error as error:
        raise _damaged(what, path, error) from None


def _damaged(what: str, path: str, error: Exception) -> SourceError:
    return SourceError(
        f"{path} is no {what} data, or damaged: {error}; nothing of it is taken, "
        "make the file again or decompress it by other means",
        path=path,
    )


def _check_end(what: str, path: str, *, is_empty: bool, is_complete: bool) -> None:
    if is_empty:
        raise SourceError(f"{path} is empty, which no {what} file is; make or fetch it again", path=path)
    if not is_complete:
        raise SourceError(
            f"{path} is truncated: it ends in the middle of its {what} data; make or fetch it again", path=path
        )
