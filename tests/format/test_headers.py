"""Headers of bins and indexes and the index tables: bytes and back, and every refusal."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.errors import BadMagicError, FormatError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import hash64
from splitdata.format.index import (
    ENTRY_DTYPE,
    IndexHeader,
    IndexTables,
    entries_per_sum,
    make_entries,
    num_lengths_of,
    pack_loc,
    pack_locs,
    tables_size,
    unpack_loc,
    unpack_locs,
)

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
IDS = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
ALIGNMENTS = st.sampled_from(spec.ALIGNMENTS)

Header = type[BinHeader] | type[IndexHeader]
BIN = BinHeader(segment_id="ab" * 16, bin_index=3, num_bins=7, alignment=64)
INDEX = IndexHeader(segment_id="ab" * 16, num_bins=7, num_records=9, is_sealed=True)
BOTH = pytest.mark.parametrize("header", [BIN, INDEX], ids=["bin", "index"])


def resigned(data: bytes, offset: int, value: bytes) -> bytes:
    """Change a field and make the checksum right again."""
    body = data[:offset] + value + data[offset + len(value) : -8]
    return body + hash64(body).to_bytes(8, "little")


@given(st.builds(BinHeader, segment_id=IDS, bin_index=U32, num_bins=U32, alignment=ALIGNMENTS))
def test_bin_header_survives_bytes(header: BinHeader) -> None:
    data = header.pack()

    assert len(data) == 64
    assert BinHeader.unpack(data) == header
    assert BinHeader.unpack(memoryview(data + b"frames")) == header


@given(
    st.builds(
        IndexHeader,
        segment_id=IDS,
        num_bins=st.integers(1, spec.MAX_BINS),
        alignment=ALIGNMENTS,
        is_sealed=st.booleans(),
        awaits_first_commit=st.booleans(),
        num_records=st.integers(0, spec.MAX_SEGMENT_RECORDS),
        first_position=U64,
        digest=U64,
        stored_bytes=U64,
        raw_bytes=U64,
        max_raw_bytes=U64,
        dictionary_bytes=U32,
    )
)
def test_index_header_survives_bytes(header: IndexHeader) -> None:
    data = header.pack()

    assert len(data) == 128
    assert IndexHeader.unpack(data) == header


@pytest.mark.parametrize(
    ("num_bins", "num_records"), [(0, 3), (spec.MAX_BINS + 1, 3), (2**32 - 1, 3), (3, spec.MAX_SEGMENT_RECORDS + 1)]
)
def test_index_header_beyond_a_limit_is_refused(num_bins: int, num_records: int) -> None:
    header = IndexHeader(segment_id="0" * 32, num_bins=num_bins, num_records=num_records)

    with pytest.raises(FormatError, match="which no segment has"):
        IndexHeader.unpack(header.pack())


@BOTH
def test_other_magic_is_refused(header: BinHeader | IndexHeader) -> None:
    for data in (b"", b"PK\x03\x04" + bytes(200), header.pack().replace(b"\r\n", b"\n")):
        with pytest.raises(BadMagicError):
            type(header).unpack(data)


@BOTH
def test_header_that_ends_early_is_refused(header: BinHeader | IndexHeader) -> None:
    for length in (8, 20, len(header.pack()) - 1):
        with pytest.raises(FormatError, match="damaged"):
            type(header).unpack(header.pack()[:length])


@BOTH
def test_every_flipped_bit_behind_the_magic_is_refused(header: BinHeader | IndexHeader) -> None:
    data = header.pack()
    for bit in range(64, 8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError, match="damaged"):
            type(header).unpack(bytes(flipped))


@BOTH
@pytest.mark.parametrize("version", [(0, 0), (0, 2), (2, 0), (99, 1)], ids=str)
def test_intact_header_of_another_version_asks_for_a_newer_splitdata(
    header: BinHeader | IndexHeader, version: tuple[int, int]
) -> None:
    with pytest.raises(UnsupportedVersionError, match="newer"):
        type(header).unpack(resigned(header.pack(), 8, struct.pack("<2H", *version)))


@BOTH
@pytest.mark.parametrize("version", [(0, 1), (1, 0), (1, 99)], ids=str)
def test_header_of_the_old_version_and_of_later_minors_is_read(
    header: BinHeader | IndexHeader, version: tuple[int, int]
) -> None:
    found = type(header).unpack(resigned(header.pack(), 8, struct.pack("<2H", *version)))

    assert found.segment_id == header.segment_id


@pytest.mark.parametrize(("header", "offset"), [(BIN, 40), (INDEX, 32)], ids=["bin", "index"])
def test_feature_that_must_be_understood_is_refused_and_one_that_need_not_is_ignored(
    header: BinHeader | IndexHeader, offset: int
) -> None:
    data = header.pack()

    with pytest.raises(UnsupportedVersionError, match="encryption"):
        type(header).unpack(resigned(data, offset, b"\x04\x00\x00\x00"))
    assert type(header).unpack(resigned(data, offset + 4, b"\x04\x00\x00\x00")) == header


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, IndexTables]:
    group = draw(st.sampled_from([1, 2, 64, spec.MAX_GROUP]))
    num_frames = draw(st.integers(0, 5 * entries_per_sum(group)))
    num_sums = -(-num_frames // entries_per_sum(group))
    num_bins = draw(st.integers(1, 20))
    num_lengths = num_lengths_of(num_frames, num_bins)
    return (
        num_frames,
        group,
        IndexTables(
            block_sums=tuple(draw(st.lists(U64, min_size=num_sums, max_size=num_sums))),
            bin_lengths=tuple(draw(st.lists(U64, min_size=num_lengths, max_size=num_lengths))),
            num_empty_bins=num_bins - num_lengths,
            dictionary=draw(st.binary(max_size=30)),
        ),
    )


@given(tables())
def test_tables_survive_bytes(case: tuple[int, int, IndexTables]) -> None:
    num_frames, group, made = case
    num_bins, dictionary_bytes = len(made.bin_lengths) + made.num_empty_bins, len(made.dictionary)
    data = made.pack()

    assert len(data) == tables_size(num_frames, num_bins, dictionary_bytes, group)
    found = IndexTables.unpack(
        data, num_frames=num_frames, num_bins=num_bins, dictionary_bytes=dictionary_bytes, group=group
    )
    assert found == made


def test_damaged_table_is_named() -> None:
    made = IndexTables(block_sums=(1, 2), bin_lengths=(3, 4, 5), dictionary=b"words")
    for offset, name in ((0, "block sums"), (16, "bin table"), (40, "dictionary"), (48, "block sums")):
        data = bytearray(made.pack())
        data[offset] ^= 1
        with pytest.raises(FormatError, match=f"the {name} of the index is damaged"):
            IndexTables.unpack(bytes(data), num_frames=5000, num_bins=3, dictionary_bytes=5)


def test_tables_of_another_length_are_refused() -> None:
    data = IndexTables(block_sums=(1,), bin_lengths=(3,)).pack()
    for wrong in (data[:-1], data + b"x", b""):
        with pytest.raises(FormatError, match=f"have {len(wrong)} bytes"):
            IndexTables.unpack(wrong, num_frames=1, num_bins=1)


def test_entries_have_their_literal_bytes_and_long_lengths_become_the_escape() -> None:
    lengths = np.array([5, 2**32 - 2, 2**32 - 1, 2**40], np.uint64)
    entries = make_entries(np.array([2**40 + 8, 1, 2, 3], np.uint64), lengths, lengths)

    assert ENTRY_DTYPE.itemsize == 16
    assert entries[0].tobytes().hex() == "0800000000010000" + "05000000" + "05000000"
    assert entries["raw"].tolist() == [5, 2**32 - 2, 2**32 - 1, 2**32 - 1]
    assert entries["stored"].tolist() == entries["raw"].tolist()


@given(st.lists(st.tuples(st.integers(0, spec.MAX_BINS - 2), st.integers(0, spec.PLACE_MASK)), min_size=1))
def test_loc_of_one_frame_and_of_many_survive_packing(places: list[tuple[int, int]]) -> None:
    bins, offsets = [one[0] for one in places], [one[1] * spec.FRAME_UNIT for one in places]

    locs = [pack_loc(bin_index, offset) for bin_index, offset in zip(bins, offsets, strict=True)]

    assert [unpack_loc(loc) for loc in locs] == list(zip(bins, offsets, strict=True))
    assert pack_locs(np.array(bins), np.array(offsets)).tolist() == locs
    assert [column.tolist() for column in unpack_locs(np.array(locs, np.uint64))] == [bins, offsets]


def test_loc_of_a_lost_record_is_the_last_place_of_the_last_bin() -> None:
    last = (spec.MAX_BINS - 1, spec.PLACE_MASK * spec.FRAME_UNIT)

    bins, offsets = unpack_locs(np.array([spec.TOMBSTONE], np.uint64))

    assert (bins.tolist(), offsets.tolist()) == ([last[0]], [last[1]])
    assert unpack_loc(spec.TOMBSTONE) == last


@pytest.mark.parametrize("field", ["segment_id", "bin_index"])
def test_header_of_a_bin_belongs_to_that_bin_alone(field: str) -> None:
    owner: dict[str, Any] = {"segment_id": "ab" * 16, "bin_index": 3}

    assert BIN.other_owner(**owner) is None
    assert BIN.other_owner(**owner | {field: "cd" * 16 if field == "segment_id" else 5}) is not None


def test_header_of_an_index_belongs_to_that_segment_alone() -> None:
    assert INDEX.other_owner("ab" * 16) is None
    assert INDEX.other_owner("cd" * 16) is not None
