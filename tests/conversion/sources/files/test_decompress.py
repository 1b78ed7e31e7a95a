"""Compressed input: all of it or an error, wherever it is cut off and whatever is flipped."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from splitdata.conversion.sources.files.decompress import bunzip2, gunzip, unxz, unzstd
from splitdata.errors import SourceError

Decompress = Callable[[Iterable[bytes], str], Iterator[bytes]]

SKIPPABLE = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"


def zstd(data: bytes) -> bytes:
    """Compress as the zstd program does, with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zstd_unsized(data: bytes) -> bytes:
    """Compress as in a pipe: the frame does not declare its size."""
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(data) + stream.flush()


COMPRESSORS: list[tuple[Callable[[bytes], bytes], Decompress]] = [
    (gzip.compress, gunzip),
    (zstd, unzstd),
    (bz2.compress, bunzip2),
    (lzma.compress, unxz),
    (zstd_unsized, unzstd),
]
each_format = pytest.mark.parametrize(("compress", "decompress"), COMPRESSORS)


def blocks_of(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


@each_format
@given(parts=st.lists(st.binary(max_size=100), min_size=1, max_size=4), size=st.integers(1, 300))
def test_parts_end_to_end_give_all_of_their_contents(
    compress: Callable[[bytes], bytes], decompress: Decompress, parts: list[bytes], size: int
) -> None:
    stored = b"".join(map(compress, parts))

    assert b"".join(decompress(blocks_of(stored, size), "a")) == b"".join(parts)


@each_format
@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_large_content_arrives_whole_whatever_the_blocks(
    compress: Callable[[bytes], bytes], decompress: Decompress, size: int
) -> None:
    content = random.Random(0).randbytes(50_000) + bytes(5_000_000) + b"end"

    assert b"".join(decompress(blocks_of(compress(content), size), "a")) == content


@each_format
def test_input_cut_off_at_any_byte_is_an_error(compress: Callable[[bytes], bytes], decompress: Decompress) -> None:
    first, second = compress(b"hello " * 20), compress(random.Random(1).randbytes(100))
    stored = first + second
    # There the input is whole by itself: no format tells that a part was to follow.
    whole = {len(first), len(stored)}
    for length in set(range(len(stored))) - whole:
        with pytest.raises(SourceError, match=r"truncated|empty"):
            list(decompress(blocks_of(stored[:length], 7), "a"))


# The last form has no checksum, so it cannot tell.
@pytest.mark.parametrize(("compress", "decompress"), COMPRESSORS[:4])
def test_flipped_bits_give_an_error_or_the_right_content(
    compress: Callable[[bytes], bytes], decompress: Decompress
) -> None:
    content = random.Random(2).randbytes(40) + b"hello " * 20
    stored = compress(content)
    for bit in range(8 * len(stored)):
        damaged = bytearray(stored)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            found = b"".join(decompress([bytes(damaged)], "a"))
        except SourceError:
            continue
        # Some bits of the headers, such as the time, mean nothing to the content.
        assert found == content


@each_format
@pytest.mark.parametrize("tail", [b"garbage", b"\x1f\x8bx", b"\x28\xb5", b"BZ", b"\xfd7z"])
def test_garbage_behind_the_data_is_an_error(
    compress: Callable[[bytes], bytes], decompress: Decompress, tail: bytes
) -> None:
    with pytest.raises(SourceError):
        list(decompress([compress(b"a") + tail], "a"))


def test_zero_bytes_behind_gzip_members_are_padding() -> None:
    stored = gzip.compress(b"a") + bytes(512) + gzip.compress(b"b") + bytes(3)

    assert b"".join(gunzip(blocks_of(stored, 100), "a")) == b"ab"


def test_zero_bytes_between_and_behind_xz_streams_are_padding() -> None:
    stored = lzma.compress(b"a") + bytes(8) + lzma.compress(b"b") + bytes(4)

    assert b"".join(unxz(blocks_of(stored, 100), "a")) == b"ab"


@pytest.mark.parametrize("decompress", [gunzip, bunzip2, unxz])
def test_zero_bytes_alone_are_no_compressed_data(decompress: Decompress) -> None:
    with pytest.raises(SourceError, match=r"is no (gzip|bzip2|xz) data"):
        list(decompress([bytes(512)], "a"))


def test_xz_that_needs_more_memory_than_the_limit_is_an_error() -> None:
    head = lzma.compress(b"a", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}])
    assert list(unxz([head], "a")) == [b"a"]
    # The size of the dictionary is one byte of the block header, which has a checksum of its own.
    header = bytearray(head[12 : 12 + (head[12] + 1) * 4])
    header[4] = 32
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    stored = head[:12] + bytes(header) + head[12 + len(header) :]

    with pytest.raises(SourceError, match="Memory usage limit"):
        list(unxz([stored], "a"))


def test_skippable_zstd_frames_are_skipped() -> None:
    assert b"".join(unzstd([SKIPPABLE + zstd(b"a") + SKIPPABLE + zstd(b"b") + SKIPPABLE], "a")) == b"ab"


def test_zstd_window_beyond_the_limit_is_an_error() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    stored = stream.compress(b"a" * 1000) + stream.flush()

    with pytest.raises(SourceError, match="too much memory"):
        list(unzstd([stored], "a"))


def bomb_of_gzip() -> bytes:
    stream = zlib.compressobj(9, wbits=31)
    return b"".join(stream.compress(bytes(1 << 20)) for _ in range(400)) + stream.flush()


def bomb_of_zstd() -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return b"".join(stream.compress(bytes(1 << 20)) for _ in range(400)) + stream.flush()


def bomb_of_bzip2() -> bytes:
    return bz2.compress(bytes(100 << 20)) * 4


def bomb_of_xz() -> bytes:
    return lzma.compress(bytes(100 << 20), preset=0) * 4


@pytest.mark.parametrize(
    ("make", "decompress"),
    [(bomb_of_gzip, gunzip), (bomb_of_zstd, unzstd), (bomb_of_bzip2, bunzip2), (bomb_of_xz, unxz)],
)
def test_data_that_expand_far_beyond_their_size_take_bounded_memory(
    make: Callable[[], bytes], decompress: Decompress
) -> None:
    stored = make()
    tracemalloc.start()
    try:
        total = sum(map(len, decompress([stored], "a")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert total == 400 << 20
    # 64 MiB is what one piece may give, and python-zstandard joins it from parts.
    assert peak < 140 << 20
