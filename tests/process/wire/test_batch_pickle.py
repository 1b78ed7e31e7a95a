"""Batches through the pickler alone and through real workers: whatever nests, whatever numpy knows."""

from __future__ import annotations

import dataclasses
import datetime
import pickle
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.batch_pickle import INLINE_BYTES, BatchPickler

Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass
class Sample:
    data: Any
    label: Any


def round_trip(batch: Any) -> Any:
    """Send a batch through pickle and buffers, each buffer copied as into a slot."""
    pickled, buffers = BatchPickler().dump(batch)
    return pickle.loads(pickled, buffers=[memoryview(bytearray(buffer)) for buffer in buffers])


def equal(left: Any, right: Any) -> bool:
    """Compare batches deeply: types, dtypes, shapes, and NaN as equal to itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return bool(
            left.dtype == right.dtype
            and left.shape == right.shape
            and (left.tobytes() == right.tobytes() if not left.dtype.hasobject else (left == right).all())
        )
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if dataclasses.is_dataclass(left):
        return equal(vars(left), vars(right))
    return bool(left == right or (left != left and right != right))


def plain_arrays() -> st.SearchStrategy[Any]:
    dtypes = st.one_of(
        hnp.integer_dtypes(endianness="?"),
        hnp.floating_dtypes(endianness="?"),
        hnp.complex_number_dtypes(),
        hnp.boolean_dtypes(),
        hnp.datetime64_dtypes(),
        hnp.timedelta64_dtypes(),
        hnp.unicode_string_dtypes(),
        hnp.byte_string_dtypes(),
    )
    return hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6))


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=50),
    st.binary(min_size=1, max_size=9).map(lambda part: part * 9000),
    st.dates(),
    plain_arrays(),
    plain_arrays().map(lambda array: np.repeat(array[None], 3000, axis=0) if array.size else array),
)
BATCHES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4),
        st.tuples(inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(Sample, inner, inner),
    ),
    max_leaves=12,
)


@given(BATCHES)
def test_any_nesting_is_the_same_after_pickle_and_buffers(batch: Any) -> None:
    assert equal(round_trip(batch), batch)


@settings(max_examples=25)
@given(st.lists(BATCHES, max_size=12), st.sampled_from([1, 100_000, 1 << 20]))
def test_any_nesting_is_the_same_after_a_worker(batches: list[Any], max_bytes: int) -> None:
    # A closure of a forked worker: nothing is pickled on the way there.
    def generate() -> Iterator[Any]:
        yield from batches

    received = list(MpQItr.options(start_method="fork", max_bytes=max_bytes)(generate))

    assert equal(received, batches)


@pytest.mark.soak
@settings(max_examples=1500)
@given(st.lists(BATCHES, max_size=12), st.sampled_from([1, 100_000, 1 << 20]))
def test_any_nesting_is_the_same_after_many_workers(batches: list[Any], max_bytes: int) -> None:
    def generate() -> Iterator[Any]:
        yield from batches

    assert equal(list(MpQItr.options(start_method="fork", max_bytes=max_bytes)(generate)), batches)


VARIANTS: dict[str, npt.NDArray[Any]] = {
    "C order": np.arange(60_000).reshape(300, 200),
    "Fortran order": np.asfortranarray(np.arange(60_000).reshape(300, 200)),
    "permuted axes": np.arange(60_000).reshape(30, 20, 100).transpose(1, 2, 0),
    "every second": np.arange(60_000)[::2],
    "backwards": np.arange(60_000)[::-1],
    "broadcast": np.broadcast_to(np.arange(300), (200, 300)),
    "read-only": np.frombuffer(bytes(60_000), np.uint8),
    "empty": np.zeros((3, 0, 5), np.float32),
    "no dimensions": np.array(4.5),
    "structured": np.zeros(9000, [("a", "<i4"), ("b", ">f8", (2,)), ("c", "S3")]),
    "times": np.arange(9000).astype("datetime64[ms]"),
    "half": np.arange(20_000).astype(np.float16),
    "one axis of length one": np.zeros((40_000, 1), np.float32)[:, :1],
    "no bytes per item": np.zeros(5, "V0"),
    "objects": np.array([1, "two", None], object),
    "big endian": np.arange(20_000).astype(">i8"),
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("repeats", [1, 40])
def test_array_of_every_layout_arrives_equal_and_writable(name: str, repeats: int) -> None:
    array = VARIANTS[name]
    if repeats > 1 and array.ndim and array.size:
        array = np.repeat(array, repeats, axis=0) if name != "read-only" else array
    again = round_trip({"x": array})["x"]

    assert again.dtype == array.dtype
    assert again.shape == array.shape
    assert (again == array).all() or again.dtype.names is not None
    assert again.tobytes() == array.tobytes() or array.dtype.hasobject
    assert again.flags.writeable
    if array.dtype.names is None:
        again[...] = again


@pytest.mark.parametrize("name", ["C order", "Fortran order", "permuted axes", "read-only", "times", "half"])
def test_dense_array_is_left_out_of_the_pickle_without_a_copy(name: str) -> None:
    array = VARIANTS[name]
    pickled, buffers = BatchPickler().dump([array])

    assert len(pickled) < 500
    assert [buffer.nbytes for buffer in buffers] == [array.nbytes]
    assert np.shares_memory(np.frombuffer(buffers[0], np.uint8), array)


def test_small_array_stays_in_the_pickle() -> None:
    pickled, buffers = BatchPickler().dump(np.zeros(INLINE_BYTES - 1, np.uint8))

    assert buffers == []
    assert len(pickled) > INLINE_BYTES - 1


def test_array_that_occurs_twice_stays_one() -> None:
    array = np.zeros(50_000)
    again = round_trip({"a": array, "b": [array]})

    assert again["a"] is again["b"][0]


def test_subclass_of_array_keeps_its_type_and_attributes() -> None:
    masked = np.ma.masked_less(np.arange(9000), 5)
    again = round_trip(masked)

    assert type(again) is np.ma.MaskedArray
    assert again.sum() == masked.sum()


def test_failed_batch_does_not_spoil_the_next() -> None:
    pickler = BatchPickler()
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickler.dump([np.zeros(50_000), lambda: 1])
    pickled, buffers = pickler.dump({"x": 1})

    assert pickle.loads(pickled, buffers=buffers) == {"x": 1}


def test_things_that_pickle_arrive() -> None:
    batch = [OrderedDict(b=1, a=2), {1, 2}, frozenset("ab"), 3 + 4j, range(5), datetime.timedelta(3), slice(1, 2), ...]

    assert list(MpQItr(lambda: [batch])) == [batch]


def test_foreign_buffers_of_protocol_5_arrive_writable() -> None:
    again = round_trip([pickle.PickleBuffer(bytearray(b"z" * 100_000))])[0]

    assert bytes(again[:3]) == b"zzz"
    again[0] = 1
