"""Rows that are encoded column by column are, bound and alone, the bytes of each row encoded by itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from splitdata.conversion.sources.tables.arrow_samples import bound_rows
from splitdata.conversion.sources.tables.arrow_values import rows_of
from splitdata.samples import sample_spec
from splitdata.samples.schema_table import SchemaTable

pa: Any = pytest.importorskip("pyarrow")

_ROWS: Final = 400


def _floats(source: random.Random) -> float:
    return source.choice([0.0, -0.0, float("inf"), float("nan"), source.random()])


def _text(source: random.Random) -> str:
    return "ü\0x" * source.randrange(5)


# Of each type, what makes a value.
_TYPES: Final[dict[str, tuple[Any, Callable[[random.Random], Any]]]] = {
    "int64": (pa.int64(), lambda source: source.randrange(-(1 << 63), 1 << 63)),
    "uint64": (pa.uint64(), lambda source: source.randrange(1 << 64)),
    "int8": (pa.int8(), lambda source: source.randrange(-128, 128)),
    "float32": (pa.float32(), _floats),
    "half": (pa.float16(), lambda source: np.float16(_floats(source))),
    "float64": (pa.float64(), _floats),
    "flag": (pa.bool_(), lambda source: source.random() < 0.5),
    "text": (pa.string(), _text),
    "large text": (pa.large_string(), _text),
    "word": (pa.dictionary(pa.int8(), pa.string()), lambda source: source.choice("abc")),
    "bytes": (pa.binary(), lambda source: source.randbytes(source.randrange(90))),
    "digest": (pa.binary(20), lambda source: source.randbytes(20)),
    "nothing": (pa.null(), lambda source: None),
    "pair": (pa.list_(pa.int16(), 2), lambda source: [source.randrange(9), 3]),
    "vector": (pa.list_(pa.float64(), 24), lambda source: [_floats(source) for _ in range(24)]),
    "flags": (pa.list_(pa.bool_(), 3), lambda source: [True, False, source.random() < 0.5]),
    "ids": (pa.list_(pa.int64()), lambda source: list(range(source.randrange(2)))),
    "few": (pa.large_list(pa.uint8()), lambda source: [7] * source.choice([0, 70])),
    "tags": (pa.list_(pa.string()), lambda source: [_text(source)] * source.randrange(3)),
    "image": (
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        lambda source: {"bytes": b"\xff\xd8" + source.randbytes(70), "path": source.choice([None, "x"])},
    ),
    "inner": (
        pa.struct({"a": pa.struct({"b": pa.int32(), "c": pa.list_(pa.int8(), 2)})}),
        lambda source: {"a": source.choice([None, {"b": 3, "c": [1, 2]}])},
    ),
}


def _both(batch: Any) -> tuple[list[bytes], list[bytes] | None, SchemaTable, SchemaTable]:
    """Return the records of both ways, and their tables."""
    one, other = SchemaTable(), SchemaTable()
    found = bound_rows(batch, other, other.encode)
    return [one.encode(row) for row in rows_of(batch)], None if found is None else list(found), one, other


def _batch(names: list[str], *, nulls: float, seed: int) -> Any:
    source = random.Random(seed)
    columns = [
        pa.array([None if source.random() < nulls else _TYPES[name][1](source) for _ in range(_ROWS)], _TYPES[name][0])
        for name in names
    ]
    return pa.RecordBatch.from_arrays(columns, names)


@pytest.mark.parametrize("nulls", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("name", _TYPES)
def test_column_of_each_type_gives_the_bytes_of_its_rows(name: str, nulls: float) -> None:
    for seed, (start, stop) in enumerate([(0, _ROWS), (3, 250), (101, _ROWS)]):
        batch = _batch([name], nulls=nulls, seed=seed).slice(start, stop - start)

        by_row, by_column, one, other = _both(batch)

        assert by_column == by_row
        assert other.schemas == one.schemas


@pytest.mark.parametrize("seed", range(12))
def test_several_columns_with_nulls_give_the_bytes_of_their_rows(seed: int) -> None:
    names = random.Random(seed).sample(sorted(_TYPES), 5)
    batch = _batch(names, nulls=0.02, seed=seed)

    by_row, by_column, one, other = _both(batch)

    assert by_column in (by_row, None)
    assert by_column is None or other.schemas == one.schemas


def test_lists_of_many_lengths_that_repeat_get_the_schemas_of_their_rows() -> None:
    rows = [[0.5] * (row * 7 % 12) for row in range(_ROWS)]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(rows), pa.array(["x" * (row % 5) for row in range(_ROWS)])], ["a", "b"]
    )

    by_row, by_column, one, other = _both(batch)

    assert by_column == by_row
    assert other.schemas == one.schemas
    assert len(one.schemas) > 8


def test_record_that_begins_as_one_that_stands_alone_does_stand_alone() -> None:
    magic = int.from_bytes(sample_spec.SAMPLE_MAGIC.ljust(8, b"\1"), "little", signed=True)
    batch = pa.RecordBatch.from_arrays([pa.array([1] * 20 + [magic] + [2] * 20)], ["n"])

    by_row, by_column, _, _ = _both(batch)

    assert by_column == by_row
    assert by_row[20].startswith(sample_spec.SAMPLE_MAGIC)


def test_schema_has_no_number_before_its_first_row_is_asked_for() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array([1] * 50 + [None] * 50)], ["n"])
    table = SchemaTable()
    records = bound_rows(batch, table, table.encode)
    assert records is not None

    for _ in range(50):
        next(records)
    assert len(table.schemas) == 1
    next(records)
    assert len(table.schemas) == 2


def test_text_that_is_not_utf8_is_refused_as_by_its_row() -> None:
    text = pa.array([b"a"] * 20 + [b"\xff"]).cast(pa.binary())
    bad = pa.Array.from_buffers(pa.string(), len(text), text.buffers())
    batch = pa.RecordBatch.from_arrays([bad], ["t"])
    table = SchemaTable()
    records = bound_rows(batch, table, table.encode)
    assert records is not None

    with pytest.raises(UnicodeDecodeError):
        list(records)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0] * 40, pa.timestamp("ns")),
        pa.array([[1, None]] * 40),
        pa.array([[[1.0]]] * 40),
        pa.array([{"bytes": None, "path": "x"}] * 40),
        pa.array([list(range(row)) for row in range(40)]),
    ],
    ids=["time", "list with a null", "list of lists", "name of a file", "lengths of their own"],
)
def test_column_that_is_not_usual_is_left_to_its_rows(column: Any) -> None:
    table = SchemaTable()

    assert bound_rows(pa.RecordBatch.from_arrays([column], ["c"]), table, table.encode) is None
    assert table.schemas == []
