"""Small records whose schema claims much: what they may claim is bounded, and what writers make is not refused.

schema of nodes without bytes, overlapping fields, rows of nothing ──> FormatError, before anything is made of them
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from splitdata import FormatError, SplitDataLoader, SplitWriter, decode_sample, encode_sample, verify
from splitdata.samples import sample_spec
from splitdata.samples.bound_decode import BoundDecoder
from splitdata.samples.decode import SampleDecoder
from splitdata.samples.schema_table import SchemaTable

NOTHING: Final = struct.pack("<I", 0)
MOST: Final = sample_spec.MAX_EMPTY_ELEMENTS


def overlapping(count: int, itemsize: int = 1) -> np.dtype[Any]:
    names = [f"{number}" for number in range(count)]
    return np.dtype({"names": names, "formats": ["|u1"] * count, "offsets": [0] * count, "itemsize": itemsize})


def list_of_nones(count: int) -> bytes:
    return bytes([sample_spec.KIND_LIST]) + struct.pack("<I", count) + bytes(count)


def decode_bound(schema: bytes, record: bytes) -> Any:
    return BoundDecoder([schema], SampleDecoder()).decode(record)


def test_schema_of_more_nodes_than_a_bound_sample_may_have_is_refused() -> None:
    most = sample_spec.MAX_BOUND_NODES - 1
    assert decode_bound(list_of_nones(most), NOTHING) == [None] * most
    with pytest.raises(FormatError, match="more than 65536 nodes"):
        decode_bound(list_of_nones(most + 1), NOTHING)


def test_sample_of_more_nodes_than_can_be_bound_stands_alone() -> None:
    sample = [None] * (sample_spec.MAX_BOUND_NODES + 5)
    record = SchemaTable().encode(sample)
    assert record.startswith(sample_spec.SAMPLE_MAGIC)
    assert decode_sample(record) == sample


def test_schema_of_more_nodes_than_can_be_bound_is_not_declared(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"samples cannot be bound to this schema: .* 65536 nodes"):
        SplitWriter(tmp_path / "data", schema={"a": [1, "b"] * 40_000})


@pytest.mark.parametrize(
    "sample",
    [
        [np.zeros((MOST // 2, 0)), np.zeros((MOST // 2 + 1, 0))],
        np.zeros(1, [("a", "u1"), ("b", "u1", (MOST + 16, 0))]),
        np.zeros(1, [("a", "u1"), *((f"{number}", "u1", (MOST // 4, 0)) for number in range(5))]),
        np.zeros(MOST // 32 + 1, overlapping(40)),
        np.zeros(MOST // 64 + 1, [("a", overlapping(40)), ("b", overlapping(40))]),
        np.zeros(MOST // 64 + 1, [("a", overlapping(40), (2,))]),
        np.zeros(1, overlapping(MOST // 50))[[0] * 60],
    ],
    ids=["arrays", "field", "fields", "overlap", "nested", "repeated", "wide"],
)
def test_arrays_of_many_values_that_no_bytes_pay_for_are_neither_written_nor_read(sample: Any) -> None:
    for make in (encode_sample, SchemaTable().encode):
        with pytest.raises(FormatError, match="beyond what their bytes hold, the limit is 1048576"):
            make(sample)


@pytest.mark.parametrize(
    "sample",
    [
        np.zeros((MOST, 0)),
        np.zeros((0, MOST + 1)),
        np.zeros(100_000, overlapping(8)),
        np.zeros(100_000, [("a", "<f8"), ("b", "<f4", (0, 3)), ("c", overlapping(9, 4))]),
        np.zeros(0, [("a", "u1"), ("b", "u1", (MOST + 16, 0))]),
    ],
    ids=["rows", "none", "overlap", "mixed", "no-element"],
)
def test_arrays_within_the_limit_come_back(sample: Any) -> None:
    assert decode_sample(encode_sample(sample)).shape == sample.shape
    table = SchemaTable()
    record = table.encode(sample)
    assert decode_bound(table.schemas[0], record).dtype == sample.dtype


def test_forged_overlap_in_a_small_schema_is_refused_in_both_forms() -> None:
    names = b"".join(struct.pack("<II", 0, 2) + f"{n:02}".encode() + b"\0\3|u1" for n in range(40))
    schema = bytes([sample_spec.KIND_ARRAY, 1, 0]) + struct.pack("<II", 1, 40) + names
    data = bytes(40_000)
    with pytest.raises(FormatError, match="beyond what their bytes hold"):
        decode_bound(schema, data + struct.pack("<II", len(data), 0))
    alone = b"\x8dSM\1" + struct.pack("<I", len(schema)) + schema
    alone += bytes(-len(alone) % 8) + struct.pack("<Q", len(data))
    with pytest.raises(FormatError, match="beyond what their bytes hold"):
        decode_sample(alone + bytes(-len(alone) % 64) + data)


@pytest.mark.parametrize("num_parts", [1, 3])
def test_absent_part_that_could_not_be_bound_stands_alone_in_a_declared_dataset(tmp_path: Path, num_parts: int) -> None:
    """One part of two million rows, or several whose rows are too many together."""
    rows = 2_000_000 if num_parts == 1 else 400_000
    keys = [f"{number}" for number in range(num_parts)]
    absent: dict[str, Any] = dict.fromkeys(keys)
    there = {key: np.ones((rows, 1), "u1") for key in keys}
    with SplitWriter(tmp_path, schema={key: f"uint8[{rows}, ?]?" for key in keys}) as writer:
        writer.write_sample(absent)
        writer.write_sample(there)
    with SplitDataLoader(tmp_path) as records:
        alone = [bytes(records[position]).startswith(sample_spec.SAMPLE_MAGIC) for position in range(2)]
    assert alone == [True, False]
    assert verify(tmp_path).is_intact
