"""One table of cases through everything that makes batches: each gives the same batch, or the same error.

values ──> collate · decode_batch · decode_columns · SampleDataset.gather
       ──> DistributedLoader: in process, in a worker, by columns, from a cache, in a rotation
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest

from splitdata import Cache, DistributedLoader, Rotation, SampleDataset, SplitWriter, encode_sample
from splitdata.samples.collate import collate
from splitdata.samples.decode import SampleDecoder
from tests.loader.workloads import Numbers

torch: Any = pytest.importorskip("torch")

# Values of a field, and what is made of them.
Anything: TypeAlias = Any


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Box:
    value: Any


UTC = datetime.UTC
PACKED = np.dtype([("a", "i1"), ("b", "<f8")])
ROW = np.arange(10.0).reshape(2, 5)


def tensor_cases() -> dict[str, list[Anything]]:
    row = torch.arange(10.0)
    return {
        "tensors": [torch.ones(3), torch.zeros(3)],
        "tensors without dimensions": [torch.tensor(3), torch.tensor(4)],
        "tensors without elements": [torch.ones(0, 2)] * 2,
        "strided tensors of one element": [row[::10], row[9::10]],
        "columns of one element": [row.view(2, 5)[:1, :1].T] * 2,
        "transposed tensors": [row.view(2, 5).T] * 2,
        "bfloat16": [torch.ones(3, dtype=torch.bfloat16)] * 2,
        "float8": [torch.ones(1).to(torch.float8_e5m2)] * 2,
        "conjugates": [torch.tensor([1 + 2j]).conj()] * 2,
    }


# Of each two values: the batch of them is that of `collate`, in every way.
CASES: dict[str, list[Anything]] = {
    "ints": [1, -(2**63)],
    "floats": [1.0, float("inf")],
    "bools": [True, False],
    "ints and floats": [1, 0.5],
    "lists of ints and floats": [[1, 2], [3, 0.5]],
    "none": [None, None],
    "text": ["a", "\ud800é"],
    "text and none": ["a", None],
    "bytes": [b"", b"a\0"],
    "numpy.str_ of two lengths": [np.str_("a"), np.str_("bc")],
    "numpy.str_ of one length": [np.str_("a"), np.str_("b")],
    "numpy.bytes_": [np.bytes_(b"a"), np.bytes_(b"b")],
    "text and numpy.str_": ["a", np.str_("b")],
    "numpy.void": [np.void(b"ab"), np.void(b"cd")],
    "arrays of text": [np.array(["a", "b"])] * 2,
    "arrays of bytes": [np.array([b"a", b"bc"])] * 2,
    "dates": [datetime.date(2020, 1, 1), datetime.date(2021, 1, 1)],
    "datetimes": [datetime.datetime(2020, 1, 1), datetime.datetime(2020, 1, 1, tzinfo=UTC)],
    "dates and none": [datetime.date(2020, 1, 1), None],
    "timedeltas": [datetime.timedelta(1), datetime.timedelta(microseconds=1)],
    "numpy.datetime64": [np.datetime64(5, "s"), np.datetime64(6, "s")],
    "numpy.float32": [np.float32(1), np.float32(2)],
    "numpy.float64 and float": [np.float64(1), 0.5],
    "numpy.float64 and int": [np.float64(1.5), 3],
    "empty lists": [[], []],
    "empty dicts": [{}, {}],
    "lists": [[1, "a"], [2, "b"]],
    "namedtuples": [Pair(1, np.arange(2)), Pair(2, np.arange(2))],
    "dataclasses": [Box([1.0]), Box([2.0])],
    "keys in another order": [{"a": 1, "b": "x"}, {"b": "y", "a": 2}],
    "int keys": [{1: 2}, {1: 3}],
    "big-endian arrays": [np.arange(3, dtype=">i2")] * 2,
    "transposed arrays": [ROW.T, ROW.T],
    "reversed arrays": [ROW[::-1, ::-1]] * 2,
    "arrays without dimensions": [np.array(3.0), np.array(4.0)],
    "arrays without elements": [np.zeros((0, 3))] * 2,
    "array and number": [np.array(3.0), 4.0],
    "records": [np.zeros(2, PACKED)] * 2,
    "record": [np.zeros(2, PACKED)[0]] * 2,
    **tensor_cases(),
}
# Of each two values: the error, by its message.
REFUSED: dict[str, tuple[list[Anything], str]] = {
    "int above 64 bits": ([1, 2**64], 'sample["f"]: 18446744073709551616 in sample 1'),
    "ints above 64 bits": ([2**64] * 2, 'sample["f"]: 18446744073709551616 in sample 0'),
    "int that no float holds": ([0.5, 2**53 + 1], 'sample["f"]: the int 9007199254740993 in sample 1'),
    "bool and int": ([True, 1], 'sample["f"]: dtype bool in sample 0, int64 in sample 1'),
    "int and text": ([1, "a"], 'sample["f"]: type int in sample 0, str in sample 1'),
    "int and none": ([1, None], 'sample["f"]: type int in sample 0, NoneType in sample 1'),
    "shapes": ([np.zeros(2), np.zeros(3)], 'sample["f"]: shape (2,) in sample 0, (3,) in sample 1'),
    "shapes of tensors": ([torch.zeros(2), torch.zeros(3)], 'sample["f"]: shape (2,) in sample 0, (3,) in sample 1'),
    "data types": ([np.zeros(2), np.zeros(2, "f4")], 'sample["f"]: dtype float64 in sample 0, float32 in sample 1'),
    "array and tensor": ([np.zeros(2), torch.zeros(2)], 'sample["f"]: type numpy.ndarray in sample 0, torch.Tensor'),
    "lengths": ([[1, 2], [1]], 'sample["f"]: length 2 in sample 0, 1 in sample 1'),
    "keys": ([{"a": 1}, {"b": 1}], "sample[\"f\"]: sample 0 has the key 'a' and sample 1 has not"),
    "units": ([np.datetime64(5, "s"), np.datetime64(5, "m")], 'sample["f"]: dtype datetime64[s] in sample 0, datetime'),
    "lengths of text": ([np.array(["a"]), np.array(["ab"])], 'sample["f"]: dtype <U1 in sample 0, <U2 in sample 1'),
}


def all_cases(record: int) -> Anything:
    return {name: values[record] for name, values in CASES.items()}


def refused(name: str, record: int) -> Anything:
    return {"f": REFUSED[name][0][record]}


@dataclasses.dataclass(frozen=True)
class Refused:
    """A transform."""

    name: str

    def __call__(self, record: int) -> Anything:
        return refused(self.name, record)


def is_same(one: Anything, other: Anything) -> bool:
    """Tell whether two batches agree in types, data types, shapes and values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())
    if isinstance(one, torch.Tensor):
        is_alike = one.dtype == other.dtype and one.shape == other.shape
        return bool(is_alike and torch.equal(one.to(torch.complex128), other.to(torch.complex128)))
    if isinstance(one, dict):
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(is_same(*pair) for pair in zip(one, other, strict=True))
    if dataclasses.is_dataclass(one):
        return is_same(vars(one), vars(other))
    return bool(one == other and repr(one) == repr(other))


def check(found: Anything, way: str, samples: list[Anything] | None = None) -> None:
    expected = collate(samples or [all_cases(0), all_cases(1)])
    assert list(found) == list(expected)
    for name in expected:
        assert is_same(found[name], expected[name]), (way, name, found[name], expected[name])


@pytest.mark.parametrize("name", CASES)
def test_decoded_batch_of_each_case_is_what_collate_makes(name: str) -> None:
    expected = collate(CASES[name])
    decoder = SampleDecoder([Pair, Box])
    encoded = [encode_sample(value) for value in CASES[name]]

    assert is_same(decoder.decode_batch(encoded), expected)
    if len({record[: len(record) // 2] for record in encoded}) == 1:
        # Of one kind, and so by columns.
        assert is_same(decoder.decode_columns(encoded), expected)


@pytest.mark.parametrize("name", REFUSED)
def test_each_refusal_names_field_and_types_in_every_way(tmp_path: Path, name: str) -> None:
    message = REFUSED[name][1]
    samples = [refused(name, 0), refused(name, 1)]
    with SplitWriter(tmp_path / "data") as writer:
        for sample in samples:
            writer.write_sample(sample)

    def batch_of_loader(**options: Anything) -> object:
        with DistributedLoader(Numbers(2), batch_size=2, transform=Refused(name), **options) as loader:
            return list(loader)

    ways: dict[str, Callable[[], object]] = {
        "collate": lambda: collate(samples),
        "decode_batch": lambda: SampleDecoder().decode_batch([encode_sample(sample) for sample in samples]),
        "gather": lambda: SampleDataset(tmp_path / "data").gather([0, 1]),
        "loader": batch_of_loader,
        "rotation": lambda: batch_of_loader(rotation=Rotation(1, 2)),
        "cache": lambda: batch_of_loader(cache=Cache(tmp_path / "cache", version="1")),
    }
    for way, action in ways.items():
        with pytest.raises(ValueError, match=r"in sample \d|has the key") as caught:
            action()
        # A loader names the records too.
        plain = str(caught.value).replace(" (record 0)", "").replace(" (record 1)", "")
        assert plain.startswith(message), way


@pytest.mark.parametrize("way", ["in process", "in a worker", "cache", "rotation", "rotation on disk", "both"])
def test_loader_makes_the_batch_of_each_case_that_collate_makes(tmp_path: Path, way: str) -> None:
    with DistributedLoader(
        Numbers(2),
        batch_size=2,
        transform=all_cases,
        num_workers=int(way in ("in a worker", "both")),
        cache=Cache(tmp_path, version="1", types=(Pair, Box)) if way in ("cache", "both") else None,
        rotation=Rotation(3, 2, "disk" if "disk" in way else "memory") if "rotation" in way or way == "both" else None,
    ) as loader:
        for _ in range(2):
            batches: Anything = loader
            for batch in batches:
                if batch["ints"].tolist() == [1, -(2**63)]:
                    check(batch, way)
                else:
                    # A rotation has another order.
                    assert len(batch["ints"]) == 2


def test_gathered_batch_is_what_collate_makes(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        for record in (0, 1):
            writer.write_sample(all_cases(record))

    check(SampleDataset(tmp_path / "data", types=(Pair, Box)).gather([0, 1]), "gather")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_loader_over_samples_makes_by_columns_the_batch_of_each_case_that_collate_makes(
    tmp_path: Path, num_workers: int
) -> None:
    # Of one structure, and so by columns.
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_samples([all_cases(0)] * 2)
    dataset = SampleDataset(tmp_path / "data", types=(Pair, Box))

    with DistributedLoader(dataset, batch_size=2, num_workers=num_workers) as loader:
        (batch,) = loader

    check(batch, "columns", [all_cases(0)] * 2)


def test_counter_gives_a_counter_of_batches() -> None:
    batch: Anything = collate([collections.Counter(a=1, b=2), collections.Counter(a=3, b=4)])

    found: dict[str, Any] = {**batch}
    assert type(batch) is collections.Counter
    assert {key: values.tolist() for key, values in found.items()} == {"a": [1, 3], "b": [2, 4]}


def test_nested_tensors_are_refused_with_what_to_return_instead() -> None:
    # torch warns the first time that it is a prototype.
    with warnings.catch_warnings(action="ignore"):
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])

    with pytest.raises(TypeError, match=r'sample\["f"\]: nested tensors cannot be batched: .* tensor.unbind\(\)'):
        collate([{"f": nested}] * 2)
    with pytest.raises(ValueError, match=r'sample\["f"\]: is a nested tensor; a list of its parts'):
        encode_sample({"f": nested})
