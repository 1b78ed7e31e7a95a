"""Frame headers: bytes and back, many at once, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.bins import candidate_frames
from splitdata.format.frame_layout import aligned_start
from splitdata.format.frames import (
    FrameHeader,
    are_ordinary,
    footprint,
    lengths_word,
    num_blocks,
    pack_headers,
    padding_of,
)

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
OFFSETS = st.integers(0, 2**40 - 1).map(lambda unit: unit * 8)


@st.composite
def headers(draw: st.DrawFn) -> FrameHeader:
    large = draw(st.booleans())
    least, most = (spec.LARGE_RECORD_BYTES, 2**63) if large else (0, spec.LARGE_RECORD_BYTES - 1)
    raw = draw(st.integers(least, most))
    compressed = draw(st.booleans()) and raw > 0
    return FrameHeader(
        sequence=draw(U32),
        stored_length=draw(st.integers(0, raw - 1)) if compressed else raw,
        raw_length=raw,
        payload_hash=draw(U64),
        kind=spec.KIND_LARGE if large else spec.KIND_RECORD,
        codec=spec.CODEC_ZSTD if compressed else spec.CODEC_NONE,
        key_length=draw(st.integers(0, 0xFFFF)),
    )


@given(headers(), U64, OFFSETS)
def test_header_survives_bytes(header: FrameHeader, salt: int, offset: int) -> None:
    data = header.pack(salt, offset)

    assert len(data) == header.size
    assert FrameHeader.unpack(data) == header
    assert int.from_bytes(data[:8], "little") == header.first_word(salt, offset)


@given(st.lists(st.tuples(headers().filter(lambda header: header.kind == 0), U64, OFFSETS), min_size=1))
def test_headers_packed_together_equal_those_packed_alone(many: list[tuple[FrameHeader, int, int]]) -> None:
    def column(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.array(values, np.uint64)

    packed = pack_headers(
        salts=column([salt for _, salt, _ in many]),
        offsets=column([offset for _, _, offset in many]),
        payload_hashes=column([header.payload_hash for header, _, _ in many]),
        sequences=column([header.sequence for header, _, _ in many]),
        stored_lengths=column([header.stored_length for header, _, _ in many]),
        raw_lengths=column([header.raw_length for header, _, _ in many]),
        codecs=column([header.codec for header, _, _ in many]),
        key_lengths=column([header.key_length for header, _, _ in many]),
    )

    assert packed.tobytes() == b"".join(header.pack(salt, offset) for header, salt, offset in many)


def test_usual_header_has_its_literal_bytes() -> None:
    header = FrameHeader(sequence=5, stored_length=3, raw_length=3, payload_hash=0x1122334455667788)

    data = header.pack(2**32 - 2, 64)

    assert data[:4] == b"\xff\xff\xff\xff"
    assert data[8:].hex() == "8877665544332211" + "0500000000000000" + "03000000" + "03000000"


@pytest.mark.parametrize("length", [0, 1, 8, 31])
def test_header_of_too_few_bytes_is_refused(length: int) -> None:
    with pytest.raises(FormatError, match=f"here are {length}"):
        FrameHeader.unpack(bytes(length))


def test_large_header_of_too_few_bytes_is_refused() -> None:
    data = FrameHeader(sequence=0, stored_length=1 << 24, raw_length=1 << 24, payload_hash=0, kind=4).pack(1, 64)

    with pytest.raises(FormatError, match="64 bytes"):
        FrameHeader.unpack(data[:47])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codec": 1}, "codec 1 with 3 stored and 3 raw"),
        ({"stored_length": 2}, "codec 0 with 2 stored"),
        ({"stored_length": 4, "codec": 1}, "4 stored and 3 raw"),
        ({"kind": 4}, "kind 4 with 3 raw"),
        ({"stored_length": 1 << 24, "raw_length": 1 << 24}, "kind 0 with 16777216 raw"),
    ],
)
def test_header_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    fields: dict[str, Any] = {"sequence": 0, "stored_length": 3, "raw_length": 3, "payload_hash": 0, **changes}
    data = FrameHeader(**fields).pack(1, 64)

    with pytest.raises(FormatError, match=message):
        FrameHeader.unpack(data)


def test_large_header_whose_two_lengths_differ_is_refused() -> None:
    data = bytearray(
        FrameHeader(sequence=0, stored_length=1 << 24, raw_length=1 << 24, payload_hash=0, kind=4).pack(1, 64)
    )
    data[32] ^= 1

    with pytest.raises(FormatError, match="two lengths"):
        FrameHeader.unpack(bytes(data))


def test_lengths_from_the_escape_on_are_saturated() -> None:
    assert lengths_word(3, 5) == 5 << 32 | 3
    assert lengths_word(2**32 - 2, 2**32 - 2) == (2**32 - 2) << 32 | (2**32 - 2)
    assert lengths_word(2**32 - 1, 2**40) == 2**64 - 1


@given(st.integers(0, 2**43), st.sampled_from([32, 64]), st.sampled_from(spec.ALIGNMENTS))
def test_aligned_start_is_the_first_place_with_an_aligned_payload(end: int, header: int, alignment: int) -> None:
    start = aligned_start(end, header, alignment)

    assert (start + header) % alignment == 0
    assert 0 <= start - end < alignment


@pytest.mark.parametrize(
    ("length", "padding", "blocks"), [(0, 0, 0), (1, 7, 1), (8, 0, 1), (1 << 20, 0, 1), ((1 << 20) + 1, 7, 2)]
)
def test_padding_and_blocks_of_literal_lengths(length: int, padding: int, blocks: int) -> None:
    assert padding_of(length) == padding
    assert num_blocks(length) == blocks


@pytest.mark.parametrize("codec", [3, 127, 128, 255])
@pytest.mark.parametrize("stored_length", [2, 3, 70])
def test_codec_that_is_not_known_may_make_longer_and_is_no_record(codec: int, stored_length: int) -> None:
    header = FrameHeader(sequence=0, stored_length=stored_length, raw_length=3, payload_hash=0, codec=codec)

    found = FrameHeader.unpack(header.pack(1, 64))

    assert found == header
    assert not found.is_record
    words = np.frombuffer(header.pack(1, 64), "<u8")
    assert not are_ordinary(words[2:3], words[3:4]).any()


def test_footprint_counts_key_padding_and_table() -> None:
    small = FrameHeader(sequence=0, stored_length=5, raw_length=5, payload_hash=0, key_length=3)
    length = (1 << 24) + 1
    large = FrameHeader(sequence=0, stored_length=length, raw_length=length, payload_hash=0, kind=4, key_length=2)

    assert footprint(small) == 32 + 5 + 3 + 8
    assert footprint(large) == 64 + length + 7 + 17 * 8 + 2 + 8


@given(st.lists(headers(), min_size=1, max_size=6), U64, st.integers(0, 100))
def test_search_finds_every_header_of_the_bin_and_none_of_another(many: list[FrameHeader], salt: int, gap: int) -> None:
    data, places = b"", []
    for header in many:
        data += bytes(8 * gap)
        places.append(len(data) + 4096)
        data += header.pack(salt, places[-1])
    array = np.frombuffer(data + bytes(64), np.uint8)

    assert candidate_frames(array, 4096, salt).tolist() == places
    assert candidate_frames(array, 4104, salt).tolist() == []
    assert candidate_frames(array, 4096, salt ^ 2**40).tolist() == []
