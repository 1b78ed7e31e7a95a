"""Batches: the shape, dtype and type of every field, whose memory it is, and what the errors name."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from splitdata.samples.collate import collate, nbytes, with_tensors
from splitdata.samples.nesting import leaves, map_leaves
from tests.command import run_python

Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    image: Any
    label: Any

    def __post_init__(self) -> None:
        # Holds for one sample, not for a batch.
        assert np.ndim(self.image) == 1


@dataclasses.dataclass
class Counted:
    values: Any

    @functools.cached_property
    def count(self) -> int:
        return len(self.values)


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


def test_sample_of_every_kind_becomes_one_batch_with_the_same_nesting() -> None:
    def sample(number: int) -> dict[str, Any]:
        return {
            "image": np.full((2, 3), number, np.uint8),
            "label": number,
            "weight": number / 2,
            "good": number > 0,
            "phase": 1j * number,
            "scalar": np.float32(number),
            "name": f"record {number}",
            "raw": bytes([number]),
            "nothing": None,
            "pair": Pair(number, [np.arange(3), "a"]),
            "tuple": (number, {"deep": np.int8(number)}),
            "frozen": Frozen(np.arange(4), number),
        }

    batch = collate([sample(0), sample(1), sample(2)])

    assert list(batch) == list(sample(0))
    expected = {
        "image": ("uint8", (3, 2, 3)),
        "label": ("int64", (3,)),
        "weight": ("float64", (3,)),
        "good": ("bool", (3,)),
        "phase": ("complex128", (3,)),
        "scalar": ("float32", (3,)),
    }
    assert {key: (str(batch[key].dtype), batch[key].shape) for key in expected} == expected
    assert batch["image"][:, 0, 0].tolist() == batch["label"].tolist() == [0, 1, 2]
    assert batch["name"] == ["record 0", "record 1", "record 2"]
    assert batch["raw"] == [b"\0", b"\1", b"\2"]
    assert batch["nothing"] == [None] * 3
    assert type(batch["pair"]) is Pair
    assert batch["pair"].right[0].shape == (3, 3)
    assert batch["pair"].right[1] == ["a"] * 3
    assert type(batch["tuple"]) is tuple
    assert batch["tuple"][1]["deep"].dtype == np.int8
    assert type(batch["frozen"]) is Frozen
    assert batch["frozen"].image.shape == (3, 4)


def test_batch_of_one_keeps_its_first_axis() -> None:
    batch = collate([{"x": np.zeros((2, 3)), "y": 4, "z": np.array(5.0), "name": "a"}])

    assert batch["x"].shape == (1, 2, 3)
    assert batch["y"].shape == batch["z"].shape == (1,)
    assert batch["name"] == ["a"]


@given(hnp.array_dtypes() | hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, min_side=0), st.data())
def test_arrays_of_any_dtype_and_shape_are_stacked_as_numpy_stacks_them(
    dtype: np.dtype[Any], shape: tuple[int, ...], data: st.DataObject
) -> None:
    arrays = data.draw(st.lists(hnp.arrays(dtype, shape), min_size=1, max_size=4))
    # A view of another order of axes, and one that is read-only.
    arrays = [np.asfortranarray(array) for array in arrays]
    arrays[0].flags.writeable = False
    batch = collate(arrays)

    assert batch.dtype == dtype
    # np.stack turns bytes to the machine's order.
    assert batch.tobytes() == np.stack(arrays).astype(dtype).tobytes()
    assert batch.flags.writeable
    assert batch.flags.c_contiguous
    assert not any(np.shares_memory(batch, array) for array in arrays)


def test_scalars_of_numpy_keep_their_dtype() -> None:
    record = np.zeros((), [("a", "i4"), ("b", "f8")])[()]
    samples = [{"time": np.datetime64(5, "s"), "half": np.float16(2), "record": record, "word": np.str_("w")}] * 2
    batch = collate(samples)

    assert batch["time"].dtype == "datetime64[s]"
    assert batch["half"].dtype == np.float16
    assert batch["record"].dtype == record.dtype
    assert batch["word"] == ["w", "w"]


def test_numbers_of_python_and_numpy_mix_where_their_dtypes_are_equal() -> None:
    assert collate([1.5, np.float64(2), np.array(3.0)]).tolist() == [1.5, 2.0, 3.0]
    assert collate([Colour.RED, 7]).dtype == np.int64
    assert collate([True, np.False_]).dtype == np.bool_
    mixed = collate([1, 0.5, Colour.BLUE])
    assert mixed.dtype == np.float64
    assert mixed.tolist() == [1.0, 0.5, 2.0]
    with pytest.raises(ValueError, match="sample: dtype int64 in sample 0, float64 in sample 1; 1 of 2 samples"):
        collate([np.int64(1), np.float64(0.5)])
    with pytest.raises(ValueError, match=f"sample: the int {2**53 + 1} in sample 1 would be changed by becoming"):
        collate([0.5, 2**53 + 1])
    with pytest.raises(ValueError, match="dtype bool in sample 0, int64 in sample 1"):
        collate([True, 1])


def test_strings_bytes_and_none_share_a_list() -> None:
    record = bytearray(b"xy")
    batch = collate(["a", None, b"c", memoryview(record).toreadonly()])
    record[0] = 0

    assert batch == ["a", None, b"c", b"xy"]
    assert type(batch[3]) is bytes


def test_mappings_keep_their_type_and_the_order_of_the_first_sample() -> None:
    ordered = collate([OrderedDict(a=1, b=2), OrderedDict(b=4, a=3)])
    assert type(ordered) is OrderedDict
    assert [(key, array.tolist()) for key, array in ordered.items()] == [("a", [1, 3]), ("b", [2, 4])]

    with_default = collate([defaultdict(list, a=1), defaultdict(list, a=2)])
    assert with_default["more"] == []
    assert with_default["a"].tolist() == [1, 2]

    proxy: Mapping[int, Any] = MappingProxyType({5: 1})
    plain = collate([proxy, proxy])
    assert type(plain) is dict
    assert plain[5].tolist() == [1, 1]


def test_empty_containers_stay_empty() -> None:
    assert collate([{"a": [], "b": (), "c": {}}] * 2) == {"a": [], "b": (), "c": {}}


def test_dataclass_does_not_carry_cached_values_of_a_sample_along() -> None:
    samples = [Counted(np.arange(3)), Counted(np.arange(3))]
    assert samples[0].count == 3

    assert collate(samples).count == 2


def test_samples_are_unchanged_and_share_nothing_with_the_batch() -> None:
    samples: list[dict[str, Any]] = [{"x": np.arange(3), "tags": ["a"]}, {"x": np.arange(3), "tags": ["b"]}]
    batch = collate(samples)
    batch["x"][:] = 9
    batch["tags"][0].append("c")

    assert [sample["x"].tolist() for sample in samples] == [[0, 1, 2]] * 2
    assert [sample["tags"] for sample in samples] == [["a"], ["b"]]


SAMPLE: dict[str, Any] = {"image": np.zeros((4, 4, 3), np.uint8), "label": 1, "pair": Pair("a", [1, 2])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"image": np.zeros((3, 4, 3), np.uint8)},
            r'sample\["image"\]: shape \(4, 4, 3\) in sample 0 \(record 10\), \(3, 4, 3\) in sample 2 \(record 12\); '
            "1 of 3 samples differ from the first",
        ),
        ({"image": np.zeros((4, 4, 3), np.int8)}, r'sample\["image"\]: dtype uint8 in sample 0 .*, int8 in sample 2'),
        ({"image": 5}, r'sample\["image"\]: shape \(4, 4, 3\) in sample 0 .*, \(\) in sample 2 \(record 12\)'),
        ({"image": "x"}, r'sample\["image"\]: type numpy.ndarray in sample 0 .*, str in sample 2 \(record 12\)'),
        ({"label": None}, r'sample\["label"\]: type int in sample 0 .*, NoneType in sample 2'),
        ({"label": 1 << 63}, r'sample\["label"\]: 9223372036854775808 in sample 2 \(record 12\) does not fit'),
        ({"pair": Pair("a", [1])}, r'sample\["pair"\].right: length 2 in sample 0 .*, 1 in sample 2'),
        ({"pair": Pair("a", [1, True])}, r'sample\["pair"\].right\[1\]: dtype int64 in sample 0'),
        ({"pair": ("a", [1, 2])}, r'sample\["pair"\]: type .*Pair in sample 0 .*, tuple in sample 2'),
        ({"more": 1}, r"sample: sample 2 \(record 12\) has the key 'more' and sample 0 \(record 10\) has not; 1 of 3"),
    ],
)
def test_samples_that_differ_are_named_with_field_and_record(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate([SAMPLE, SAMPLE, SAMPLE | change], records=[10, 11, 12])


def test_key_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="sample: sample 0 has the key 'b' and sample 1 has not; 2 of 3 samples"):
        collate([{"a": 1, "b": 2}, {"a": 1}, {"a": 1, "c": 2}])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (object(), "object"),
        (Path("a"), "pathlib"),
        ({1, 2}, "set"),
        (Colour, "enum.EnumType"),
        (Frozen, "type"),
        (np.array([None]), "numpy.ndarray"),
        (np.ma.masked_array([1, 2], [True, False]), "MaskedArray"),
    ],
)
def test_value_that_cannot_be_batched_is_a_type_error_that_names_it(value: Any, name: str) -> None:
    with pytest.raises(TypeError, match=rf'sample\["a"\]\[1\]: .*{name}.* in sample 0 cannot be batched'):
        collate([{"a": [1, value]}, {"a": [1, value]}])


def test_value_that_cannot_be_batched_is_found_in_later_samples() -> None:
    with pytest.raises(TypeError, match="object in sample 1 cannot be batched"):
        collate([1, object()])


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        collate([])


def test_arrays_are_written_where_allocate_says() -> None:
    memory = np.zeros(1000, np.uint8)
    given_out: list[npt.NDArray[Any]] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        begin = sum(array.nbytes for array in given_out)
        size = dtype.itemsize * int(np.prod(shape))
        given_out.append(memory[begin : begin + size].view(dtype).reshape(shape))
        return given_out[-1]

    batch = collate([{"x": np.full((2, 2), 7.0), "y": 3}, {"x": np.full((2, 2), 8.0), "y": 4}], allocate=allocate)

    assert [array.base is not None and np.shares_memory(array, memory) for array in batch.values()] == [True, True]
    assert batch["x"].tolist() == [[[7.0, 7.0]] * 2, [[8.0, 8.0]] * 2]
    assert batch["y"].tolist() == [3, 4]


def test_nbytes_counts_arrays_strings_and_bytes_at_any_depth() -> None:
    batch = {"x": np.zeros((2, 3)), "y": [np.zeros(4, np.uint8), "abc"], "z": Pair(b"12345", 7), "v": np.int16(1)}

    assert nbytes(batch) == 48 + 4 + 3 + 5 + 2
    assert nbytes(None) == 0


NESTED = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.text(max_size=3), inner, max_size=3),
        st.tuples(inner, inner),
        st.builds(Pair, inner, inner),
        st.builds(Counted, inner),
    ),
    max_leaves=8,
)


@given(NESTED)
def test_mapping_the_leaves_visits_each_once_and_keeps_the_nesting(value: Any) -> None:
    before = list(leaves(value))
    assert map_leaves(lambda leaf: leaf, value) == value

    numbered = iter(range(len(before)))
    assert list(leaves(map_leaves(lambda _: next(numbered), value))) == list(range(len(before)))
    assert list(leaves(value)) == before


@given(NESTED.filter(lambda value: not any(isinstance(leaf, int) and abs(leaf) >> 62 for leaf in leaves(value))))
def test_copies_of_any_sample_have_a_batch_whose_rows_are_the_sample(value: Any) -> None:
    batch = collate([value] * 3)
    rows = map_leaves(lambda leaf: leaf.tolist()[2] if isinstance(leaf, np.ndarray) else leaf, batch)

    # A list of strings is a list of fields to `map_leaves`; three of each are expected.
    expected = [leaf for leaf in leaves(value) for _ in range(1 if isinstance(leaf, int) else 3)]
    assert list(leaves(rows)) == expected


def test_tensors_give_tensors() -> None:
    torch = pytest.importorskip("torch")
    batch = collate([{"x": torch.ones(2, 3), "y": torch.tensor(4), "z": torch.ones(2, dtype=torch.bfloat16)}] * 5)

    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "x": ((5, 2, 3), torch.float32),
        "y": ((5,), torch.int64),
        "z": ((5, 2), torch.bfloat16),
    }
    assert nbytes(batch) == 5 * (24 + 8 + 4)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("torch.ones(3)", r"sample\[0\]: shape \(2,\) in sample 0, \(3,\) in sample 1"),
        ("torch.ones(2, dtype=torch.int8)", "dtype torch.float32 in sample 0, torch.int8 in sample 1"),
        ("torch.ones(2, device='meta')", "device cpu in sample 0, meta in sample 1"),
        ("torch.ones(2).numpy()", "type torch.Tensor in sample 0, numpy.ndarray in sample 1"),
    ],
)
def test_tensors_that_differ_are_named(other: str, message: str) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=message):
        collate([(torch.ones(2),), (eval(other, {"torch": torch}),)])


def test_tensors_are_written_where_allocate_says() -> None:
    torch = pytest.importorskip("torch")
    given_out: list[npt.NDArray[Any]] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        given_out.append(np.zeros(shape, dtype))
        return given_out[-1]

    samples = [{"x": torch.full((2, 3), value, dtype=torch.bfloat16), "e": torch.ones(0)} for value in (1.0, 2.0)]
    batch = collate(samples, allocate=allocate)

    assert batch["x"].tolist() == [[[1.0] * 3] * 2, [[2.0] * 3] * 2]
    assert batch["x"].data_ptr() == given_out[0].ctypes.data
    assert batch["e"].shape == (2, 0)


def test_tensor_that_requires_grad_stays_in_the_graph() -> None:
    torch = pytest.importorskip("torch")
    leaf = torch.ones(2, requires_grad=True)
    collate([leaf, leaf], allocate=lambda shape, dtype: np.empty(shape, dtype)).sum().backward()

    assert leaf.grad.tolist() == [2.0, 2.0]


def test_as_tensors_shares_the_memory_and_leaves_strings() -> None:
    torch = pytest.importorskip("torch")
    arrays: list[npt.NDArray[Any]] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        arrays.append(np.empty(shape, dtype))
        return arrays[-1]

    samples = [{"x": np.ones(3, np.float32), "y": 1, "name": "a", "t": torch.ones(2)}] * 2
    batch = collate(samples, as_tensors=True, allocate=allocate)

    assert batch["x"].data_ptr() == arrays[0].ctypes.data
    assert batch["y"].dtype == torch.int64
    assert batch["name"] == ["a", "a"]
    assert batch["t"].shape == (2, 2)


@pytest.mark.parametrize("dtype", ["U3", "S2", "datetime64[s]", ">i4", "i4,f8"])
def test_dtype_that_torch_does_not_know_names_the_field(dtype: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r'sample\["x"\]: torch has no dtype for an array of'):
        collate([{"x": np.zeros(3, dtype)}], as_tensors=True)


def test_tensors_made_afterwards_are_those_that_collate_makes() -> None:
    torch = pytest.importorskip("torch")
    samples = [{"x": [np.ones(3, np.float32), (1, "a")], "t": torch.ones(2), "none": None, "b": b"b"}] * 2
    before = collate(samples)
    after, at_once = with_tensors(before), collate(samples, as_tensors=True)

    assert after["x"][0].data_ptr() == before["x"][0].ctypes.data
    assert torch.equal(after["x"][0], at_once["x"][0])
    assert torch.equal(after["x"][1][0], at_once["x"][1][0])
    assert after["t"] is before["t"]
    assert (after["x"][1][1], after["none"], after["b"]) == (["a", "a"], [None, None], [b"b", b"b"])


def test_array_that_cannot_become_a_tensor_afterwards_is_named() -> None:
    pytest.importorskip("torch")
    batch = collate([{"x": 1, "y": [np.zeros(3, "U3")]}])
    with pytest.raises(TypeError, match=r'^sample\["y"\]\[0\]: torch has no dtype for an array of'):
        with_tensors(batch)


@pytest.mark.slow
def test_collating_arrays_loads_neither_torch_nor_the_masked_arrays() -> None:
    code = (
        "import sys, numpy; from splitdata.samples.collate import collate, nbytes, with_tensors\n"
        "nbytes(collate([{'x': numpy.zeros(3), 'y': 1, 'z': 'a'}] * 3))\n"
        "print([name for name in ('torch', 'numpy.ma') if name in sys.modules])"
    )
    assert run_python("-c", code).stdout.strip() == "[]"
