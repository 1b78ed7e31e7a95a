"""Samples that name a schema of their segment are the same samples as those that stand alone.

sample ──SchemaTable.encode──> body | extents | number ──BoundDecoder──> the sample
   `─ encode_sample ──bind──> the same bytes ──standing_alone──> one that decode_sample reads
"""

from __future__ import annotations

import dataclasses
import struct
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import FormatError, SampleDecoder, decode_sample, encode_sample
from splitdata.samples import sample_spec
from splitdata.samples.bound_decode import BoundDecoder
from splitdata.samples.schema import parse_schema
from splitdata.samples.schema_bytes import pack_schema
from splitdata.samples.schema_table import SchemaTable
from splitdata.samples.standing_alone import is_alone, standing_alone
from tests.samples.drawn import Sample, same, samples
from tests.samples.independent import read_bound, read_sample

torch: Any = pytest.importorskip("torch")


class Point(NamedTuple):
    x: float
    y: Any


@dataclasses.dataclass
class Box:
    corner: Point
    name: str


RICH: Final = {
    "image": np.arange(75, dtype=np.uint8).reshape(5, 5, 3),
    "label": 7,
    "boxes": [1.0, 2.0],
    "ids": [1, 2, 3],
    "struct": np.zeros(2, [("a", "<i4"), ("b", "<U2", (2,))]),
    "text": "größe",
    "tensor": torch.arange(40, dtype=torch.bfloat16),
    "when": datetime(2026, 11, 30, tzinfo=UTC),
    "box": Box(Point(1.0, b"abc"), "b"),
    "more": (True, None, 2**80, b"abc", np.float32(1), {1: np.zeros((0, 3)), -1: 0.5}, []),
}
MAGIC: Final = sample_spec.SAMPLE_MAGIC


def decoder(schemas: list[bytes]) -> BoundDecoder:
    return BoundDecoder(schemas, SampleDecoder([Point, Box]))


def equal(left: Sample, right: Sample) -> bool:
    """Say whether two samples with tensors in them are the same: by what is stored of them."""
    return encode_sample(left) == encode_sample(right)


@given(st.lists(samples(), min_size=1, max_size=4))
def test_any_samples_come_back_from_a_table_of_schemas_as_they_were(drawn: list[Sample]) -> None:
    table = SchemaTable()
    records = [table.encode(sample) for sample in drawn]
    read = decoder(table.schemas).decode
    assert not any(map(is_alone, records))
    for record, sample in zip(records, drawn, strict=True):
        assert same(read(record), sample)
        assert same(read(record, copy=True), sample)
        assert len(record) <= len(encode_sample(sample))


@given(samples())
def test_any_bound_sample_is_the_one_that_stands_alone(sample: Sample) -> None:
    table, other = SchemaTable(), SchemaTable()
    record = table.encode(sample)
    assert other.bind(encode_sample(sample)) == record
    assert other.schemas == table.schemas
    assert standing_alone(record, table.schemas) == encode_sample(sample)


@given(samples())
def test_any_bound_sample_is_read_by_a_reader_made_from_the_document_alone(sample: Sample) -> None:
    table = SchemaTable()
    assert same(read_bound(table.encode(sample), table.schemas), read_sample(encode_sample(sample)))


@given(samples())
def test_schema_is_packed_as_it_was_parsed(sample: Sample) -> None:
    table = SchemaTable()
    table.encode(sample)
    for schema in table.schemas:
        assert pack_schema(parse_schema(schema, 1 << 20).root) == schema


def test_every_kind_of_value_comes_back() -> None:
    table = SchemaTable()
    record = table.encode(RICH)
    found = decoder(table.schemas).decode(record)
    assert equal(found, RICH)
    assert isinstance(found["tensor"], torch.Tensor)
    assert equal(decode_sample(standing_alone(record, table.schemas), types=[Point, Box]), RICH)


def test_large_arrays_come_first_and_lie_at_multiples_of_64() -> None:
    table = SchemaTable()
    sample = {"name": "cat", "small": np.arange(3), "label": 7, "one": np.arange(70, dtype="u1"), "two": np.arange(99)}
    record = table.encode(sample)
    one, two = record.find(bytes(range(70))), record.find(np.arange(99).tobytes())
    assert (one, two) == (0, 128)
    assert record.find(b"cat") == 128 + 99 * 8 + 8 + 24
    assert record[-4:] == bytes(4)


def test_arrays_are_views_that_lie_as_their_type_needs() -> None:
    table = SchemaTable()
    record = table.encode({"a": np.arange(9.0), "b": np.arange(2.0), "t": "text"})
    found = decoder(table.schemas).decode(record)
    assert found["a"].base is not None
    assert found["b"].base is not None
    assert not found["a"].flags.writeable
    assert decoder(table.schemas).decode(record, copy=True)["a"].flags.writeable


def test_eight_shapes_have_schemas_and_all_others_share_one() -> None:
    table = SchemaTable()
    drawn = [{"image": np.full((rows, 3), rows, np.uint8), "name": "n" * rows} for rows in range(20)]
    records = [table.encode(sample) for sample in drawn]
    assert len(table.schemas) == 9
    read = decoder(table.schemas).decode
    assert all(same(read(record), sample) for record, sample in zip(records, drawn, strict=True))
    assert [int.from_bytes(record[-4:], "little") for record in records] == [*range(8), *[8] * 12]
    # The first shapes keep theirs.
    assert table.encode(drawn[3]) == records[3]


def test_table_that_goes_on_gives_the_numbers_that_one_table_would_have_given() -> None:
    drawn = [{"image": np.zeros((rows, 3), np.uint8)} for rows in range(20)]
    whole, first = SchemaTable(), SchemaTable()
    records = [whole.encode(sample) for sample in drawn]
    assert [first.encode(sample) for sample in drawn[:5]] == records[:5]
    assert [SchemaTable(first.schemas).encode(sample) for sample in drawn[:5]] == records[:5]
    assert [SchemaTable(whole.schemas).encode(sample) for sample in drawn] == records
    second = SchemaTable(first.schemas)
    assert [second.encode(sample) for sample in drawn[5:]] == records[5:]


def test_sample_that_would_begin_as_one_that_stands_alone_stands_alone() -> None:
    table = SchemaTable()
    sample = {"bytes": MAGIC + bytes(100)}
    record = table.encode(sample)
    assert record == encode_sample(sample)
    assert decoder(table.schemas).decode(record) == sample
    assert not is_alone(table.encode({"bytes": b"other"}))


def test_samples_stand_alone_where_the_table_is_full() -> None:
    table = SchemaTable(most=2)
    drawn = [{"a": 1}, {"b": 1}, {"c": 1}, {"a": 2}]
    records = [table.encode(sample) for sample in drawn]
    assert list(map(is_alone, records)) == [False, False, True, False]
    assert [decoder(table.schemas).decode(record) for record in records] == drawn
    huge = {f"k{number:06d}": 1 for number in range(10_000)}
    assert is_alone(SchemaTable().encode(huge))


def test_table_without_room_for_another_schema_keeps_nothing_of_ever_new_ones() -> None:
    table = SchemaTable(most_bytes=100)
    assert not is_alone(table.encode({"a": 1}))
    assert is_alone(table.encode({"b" * 100: 1}))
    for number in range(50):
        assert is_alone(table.encode({f"{number}": 1}))
        assert is_alone(table.encode({"array": np.zeros(number)}))
    assert not is_alone(table.encode({"a": 2}))
    assert len(table._structures) <= 3


def test_types_that_are_given_are_restored_and_others_are_plain() -> None:
    table = SchemaTable()
    record = table.encode(Box(Point(1.0, 2), "b"))
    assert decoder(table.schemas).decode(record) == Box(Point(1.0, 2), "b")
    assert BoundDecoder(table.schemas, SampleDecoder()).decode(record) == {"corner": (1.0, 2), "name": "b"}


# -- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("has_texts", [False, True])
@pytest.mark.parametrize("as_rows", [False, True])
def test_batch_of_bound_samples_is_that_of_samples_that_stand_alone(*, has_texts: bool, as_rows: bool) -> None:
    drawn: list[Any] = [
        {
            "image": np.full((5, 5, 3), number, np.uint8),
            "label": number,
            "weight": np.float32(number),
            "boxes": [float(number), 2.0],
            "ok": number % 2 == 0,
            "tensor": torch.full((3,), number),
            "when": datetime(2026, 11, number + 1, tzinfo=UTC),
            "name": "n" * (number if has_texts else 3),
        }
        for number in range(6)
    ]
    table = SchemaTable()
    records = [table.encode(sample) for sample in drawn]
    rows: Any = np.frombuffer(b"".join(records), np.uint8).reshape(6, -1) if as_rows and not has_texts else records
    assert len(table.schemas) == 1
    assert equal(
        decoder(table.schemas).decode_batch(rows), SampleDecoder().decode_batch(list(map(encode_sample, drawn)))
    )


def test_batch_of_samples_of_which_some_stand_alone_is_made_one_by_one() -> None:
    drawn = [{"a": number, "b": np.arange(3)} for number in range(4)]
    table = SchemaTable()
    records = [table.encode(drawn[0]), encode_sample(drawn[1]), table.encode(drawn[2]), encode_sample(drawn[3])]
    read = decoder(table.schemas)
    for some in (records, records[1:], records[1::2], records[::2]):
        batch = read.decode_batch(some)
        assert batch["b"].shape == (len(some), 3)
    assert read.decode_batch(records)["a"].tolist() == [0, 1, 2, 3]
    rows = np.frombuffer(b"".join(records[1::2]), np.uint8).reshape(2, -1)
    assert read.decode_batch(rows)["a"].tolist() == [1, 3]


def test_batch_of_samples_of_one_structure_and_different_free_dimensions_is_made_where_it_can_be() -> None:
    table = SchemaTable()
    drawn = [{"image": np.full((rows, 20), rows, np.uint8), "n": rows} for rows in range(1, 13)]
    records = [table.encode(sample) for sample in drawn]
    read = decoder(table.schemas)
    with pytest.raises(ValueError, match="image"):
        read.decode_batch(records[8:])
    assert read.decode_batch([records[9], records[9]])["image"].shape == (2, 10, 20)
    assert read.decode_batch([records[0], records[0]])["n"].tolist() == [1, 1]


# -- hostile bytes -----------------------------------------------------------------------------


def try_decode(read: BoundDecoder, data: bytes) -> None:
    """Decode what may be damaged: errors of the tree only, and little memory beside what was given."""
    size = len(data) + sum(map(len, read.schemas))
    tracemalloc.start()
    try:
        with suppress(FormatError):
            repr(read.decode(data))
        with suppress(ValueError):
            read.decode_batch([data, data])
        with suppress(FormatError):
            standing_alone(data, read.schemas)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 400_000 + 2000 * size, peak


def test_bound_sample_cut_anywhere_or_too_long_is_refused() -> None:
    table = SchemaTable()
    data = table.encode(RICH)
    read = decoder(table.schemas)
    for end in range(len(data)):
        with pytest.raises(FormatError):
            read.decode(data[:end])
        if end < len(data) - 4:
            with pytest.raises(FormatError):
                read.decode(data[:end] + data[-4:])
    for more in (b"\0", b"\0" * 8, data):
        with pytest.raises(FormatError):
            read.decode(more + data)


def test_every_flipped_bit_of_a_bound_sample_gives_an_error_or_a_sample() -> None:
    table = SchemaTable()
    data = bytearray(table.encode(RICH))
    read = decoder(table.schemas)
    for place in range(len(data)):
        for bit in range(8):
            data[place] ^= 1 << bit
            with suppress(FormatError):
                repr(read.decode(data))
            with suppress(FormatError):
                standing_alone(data, table.schemas)
            data[place] ^= 1 << bit


def test_every_flipped_bit_of_a_schema_gives_an_error_or_a_sample() -> None:
    table = SchemaTable()
    data = table.encode(RICH)
    schema = bytearray(table.schemas[0])
    for place in range(len(schema)):
        for bit in range(8):
            schema[place] ^= 1 << bit
            with suppress(FormatError, UserWarning):
                repr(BoundDecoder([bytes(schema)], SampleDecoder()).decode(data))
            schema[place] ^= 1 << bit


@settings(max_examples=300)
@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 2))
def test_any_bytes_with_any_schema_give_an_error_or_a_sample(data: bytes, schema: bytes, number: int) -> None:
    try_decode(BoundDecoder([schema, b"\x02"], SampleDecoder()), data + struct.pack("<I", number))


def shaped(*dims: int, dtype: bytes = b"|u1") -> bytes:
    """Return the schema of one array."""
    return bytes([sample_spec.KIND_SHAPED_ARRAY, len(dims)]) + struct.pack(f"<{len(dims)}Q", *dims) + b"\x03" + dtype


@pytest.mark.parametrize(
    ("schema", "tail"),
    [
        (shaped(1 << 40), b""),
        (shaped((1 << 64) - 2), b""),
        (shaped(0, (1 << 64) - 2), b""),
        (shaped(1 << 40, 0), b""),
        (shaped(1 << 32, 1 << 32), b""),
        (shaped(sample_spec.FREE_DIMENSION), b"\xff\xff\xff\xff"),
        (shaped(sample_spec.FREE_DIMENSION, 0), b"\xff\xff\xff\xff"),
        (shaped(*[sample_spec.FREE_DIMENSION] * 64), b"\x01\0\0\0" * 64),
        (bytes([sample_spec.KIND_OPTIONAL]) * 70 + b"\x02", bytes(8 * 71)),
        (bytes([sample_spec.KIND_OPTIONAL]), bytes(8)),
        (bytes([sample_spec.KIND_OPTIONAL, sample_spec.KIND_INT]), struct.pack("<qq", 2, 1)),
        (bytes([sample_spec.KIND_LIST]) + struct.pack("<I", 1 << 31), b""),
        (bytes([sample_spec.KIND_SHAPED_ARRAY, 65]), b""),
        (b"", b""),
    ],
)
def test_schema_that_claims_what_cannot_be_is_refused(schema: bytes, tail: bytes) -> None:
    read = BoundDecoder([schema], SampleDecoder())
    with pytest.raises(FormatError):
        read.decode(tail + bytes(4))
    try_decode(read, tail + bytes(4))


def test_number_of_no_schema_is_refused() -> None:
    for data in (b"", b"\0", b"\1\0\0\0", b"\xff\xff\xff\xff"):
        with pytest.raises(FormatError):
            BoundDecoder([b"\x00"], SampleDecoder()).decode(data)
    assert BoundDecoder([b"\x00"], SampleDecoder()).decode(bytes(4)) is None


def test_schema_of_more_bytes_than_one_may_have_is_refused() -> None:
    schema = bytes([sample_spec.KIND_LIST]) + struct.pack("<I", sample_spec.MAX_SCHEMA_BYTES)
    schema += bytes(sample_spec.MAX_SCHEMA_BYTES)
    with pytest.raises(FormatError, match="the limit is 1048576"):
        BoundDecoder([schema], SampleDecoder()).decode(bytes(4))


def test_optional_part_is_there_or_none() -> None:
    schema = bytes([sample_spec.KIND_LIST]) + struct.pack("<I", 2)
    schema += (
        bytes([sample_spec.KIND_OPTIONAL]) + shaped(70) + bytes([sample_spec.KIND_OPTIONAL, sample_spec.KIND_TEXT])
    )
    read = BoundDecoder([schema], SampleDecoder())
    there = bytes(range(70)) + bytes(2) + struct.pack("<QQ", 1, 1) + b"abc" + struct.pack("<II", 3, 0)
    gone = bytes(72) + struct.pack("<QQ", 0, 0) + struct.pack("<II", 0, 0)
    assert read.decode(there)[0].tolist() == list(range(70))
    assert read.decode(there)[1] == "abc"
    assert read.decode(gone) == [None, None]
    assert read_bound(gone, [schema]) == [None, None]
    assert standing_alone(there, [schema]) == encode_sample(read.decode(there))
    assert standing_alone(gone, [schema]) == encode_sample([None, None])
    image, texts = read.decode_batch([there, there])
    assert image.shape == (2, 70)
    assert texts == ["abc", "abc"]
    assert read.decode_batch([gone, gone]) == [[None, None], [None, None]]
    with pytest.raises(ValueError, match="sample"):
        read.decode_batch([there, gone])
