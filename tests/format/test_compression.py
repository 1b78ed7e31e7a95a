"""Compression of one record: there and back, and every way in which a frame lies about its size."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from splitdata.errors import FormatError, RecordTooLargeError
from splitdata.format import spec
from splitdata.format.compression import WITHOUT_DICTIONARY, Compressor, decompress_stream

LIMIT = 1 << 30


def streamed(stored: bytes, raw_length: int, limit: int) -> bytes:
    """Decompress as large records are, in pieces of an odd size."""
    return b"".join(
        decompress_stream(iter([stored[i : i + 777] for i in range(0, len(stored), 777)]), raw_length, limit)
    )


BOTH = pytest.mark.parametrize("back", [WITHOUT_DICTIONARY.decompress, streamed])
Back = Callable[[bytes, int, int], bytes]


@given(st.binary(max_size=50), st.integers(1, 200), st.sampled_from([-100, -1, 1, 3, 22]))
@BOTH
def test_record_survives_compression(back: Back, piece: bytes, times: int, level: int) -> None:
    raw = piece * times
    stored = Compressor(level).compress(raw)

    assert len(stored) <= len(raw)
    assert stored is raw or back(stored, len(raw), LIMIT) == raw


@pytest.mark.parametrize("raw", [b"", b"x", b"abc", os.urandom(1000)])
def test_record_that_does_not_shrink_is_returned_itself(raw: bytes) -> None:
    assert Compressor().compress(raw) is raw


class _OneByOne:
    """A compressor of zstandard's pure Python form, which has no call for many records."""

    def __init__(self, zstd: zstandard.ZstdCompressor) -> None:
        self.compress = zstd.compress


@pytest.mark.parametrize("has_call", [True, False])
@pytest.mark.parametrize("dictionary", [b"", b"abcdefgh" * 40])
def test_records_come_out_of_several_threads_as_of_one(
    monkeypatch: pytest.MonkeyPatch, dictionary: bytes, *, has_call: bool
) -> None:
    if not has_call:
        make = zstandard.ZstdCompressor
        monkeypatch.setattr(zstandard, "ZstdCompressor", lambda **options: _OneByOne(make(**options)))
    noise = random.Random(0).randbytes(400)
    # Empty, as they are, better without the dictionary, better with it.
    records = [b"", b"x", noise[:70], b"z" * 90, b"abcdefgh" * 7, b"abcdefg" + noise[:60], noise[:100] + noise[:30]] * 5
    one, several = (Compressor(3, dictionary, num_threads=threads) for threads in (1, 3))

    encoded = several.encode_all(records)

    assert encoded == one.encode_all(records) == list(map(one.encode, records))
    assert {codec for _, codec in encoded} == {spec.CODEC_NONE, spec.CODEC_ZSTD} | (
        {spec.CODEC_ZSTD_DICTIONARY} if dictionary else set()
    )
    assert several.encode_all([]) == []


@pytest.mark.parametrize("level", [-101, 23])
def test_level_out_of_range_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match="-100 to 22"):
        Compressor(level)


@BOTH
@pytest.mark.parametrize("claimed", [0, 999, 1001])
def test_declared_size_other_than_the_records_is_refused(back: Back, claimed: int) -> None:
    with pytest.raises(FormatError, match=f"declares 1000 bytes, the record has {claimed}"):
        back(zstandard.compress(bytes(1000)), claimed, LIMIT)


@BOTH
def test_size_above_the_limit_is_refused_unread(back: Back) -> None:
    with pytest.raises(RecordTooLargeError, match="1001 bytes, the limit is 1000"):
        back(b"no zstd at all", 1001, 1000)


@BOTH
def test_second_frame_is_refused(back: Back) -> None:
    with pytest.raises(FormatError):
        back(zstandard.compress(bytes(1000)) * 2, 1000, LIMIT)


@BOTH
def test_bytes_behind_the_frame_are_refused(back: Back) -> None:
    with pytest.raises(FormatError):
        back(zstandard.compress(bytes(1000)) + b"tail", 1000, LIMIT)


@BOTH
@pytest.mark.parametrize("cut", [1, 5, 10])
def test_frame_that_is_cut_short_is_refused(back: Back, cut: int) -> None:
    stored = zstandard.compress(os.urandom(500) + bytes(500))

    with pytest.raises(FormatError):
        back(stored[:-cut], 1000, LIMIT)


@BOTH
@pytest.mark.parametrize("stored", [b"", b"x", b"\x28\xb5\x2f\xfd", b"not zstd at all, and longer than a header"])
def test_bytes_that_are_no_frame_are_refused(back: Back, stored: bytes) -> None:
    with pytest.raises(FormatError):
        back(stored, 1000, LIMIT)


@BOTH
def test_frame_that_declares_no_size_is_refused(back: Back) -> None:
    """The stream variant of zstd, which other programs write, may expand to anything."""
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    stored = stream.compress(bytes(1000)) + stream.flush()

    with pytest.raises(FormatError, match="declares"):
        back(stored, 1000, LIMIT)


@BOTH
def test_window_larger_than_allowed_is_refused(back: Back) -> None:
    # Magic; descriptor: 8-byte content size, window byte follows; window log 10 + 21 = 31: 2 GiB.
    length = spec.MAX_WINDOW_BYTES + 1
    stored = b"\x28\xb5\x2f\xfd" + b"\xc0" + bytes([21 << 3]) + length.to_bytes(8, "little") + bytes(20)

    with pytest.raises(FormatError, match="window of 2147483648"):
        back(stored, length, LIMIT)


def test_stream_compressed_in_blocks_comes_back_in_blocks_of_a_mebibyte() -> None:
    raw = b"0123456789abcdef" * (5 << 15) + b"end"
    blocks: Iterator[bytes | memoryview] = iter([raw[: 1 << 20], raw[1 << 20 :]])
    stored = b"".join(Compressor().compress_stream(blocks, len(raw)))

    pieces = list(decompress_stream(iter([stored]), len(raw), LIMIT))

    assert b"".join(pieces) == raw
    assert [len(piece) for piece in pieces] == [1 << 20, 1 << 20, (1 << 19) + 3]


def test_large_record_is_worth_compressing_if_its_first_block_shrinks_by_a_sixteenth() -> None:
    noise = os.urandom(spec.BLOCK_BYTES)

    assert not Compressor().pays_for(noise)
    assert Compressor().pays_for(noise[: -spec.BLOCK_BYTES // 8] + bytes(spec.BLOCK_BYTES // 8))
