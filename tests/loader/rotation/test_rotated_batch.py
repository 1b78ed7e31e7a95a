"""Batches of kept samples: by columns or collated, they are the same."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import Rotation
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.samples.collate import collate
from splitdata.samples.nesting import leaves

# A sample.
Anything: TypeAlias = Any

DTYPES = ["u1", "<i2", ">f4", "<f8", "?", "c8", "<U3", "S4", "<M8[s]"]


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Tagged:
    tag: Any


def shapes_of_samples() -> st.SearchStrategy[Any]:
    """Draw what a sample is made of; `sample_of` makes one for each record."""
    leaf = st.one_of(
        st.sampled_from(["int", "float", "bool", "none", "text", "bytes", "long text"]),
        st.tuples(st.just("array"), st.sampled_from(DTYPES), st.lists(st.integers(0, 3), max_size=3)),
        st.tuples(st.just("scalar"), st.sampled_from(["u1", "<f2", "<i8"])),
    )
    return st.recursive(
        leaf,
        lambda child: st.one_of(
            st.dictionaries(st.text("abc", max_size=2) | st.integers(0, 3), child, max_size=3),
            st.lists(child, max_size=3),
            st.tuples(child, child),
            st.builds(Pair, child, child),
            st.builds(Tagged, child),
        ),
        max_leaves=6,
    )


def sample_of(shape: Anything, record: int) -> Anything:
    simple = {
        "int": record,
        "float": record / 2,
        "bool": record % 2 == 0,
        "none": None,
        "text": str(record),
        "bytes": b"abc"[: record % 4],
        "long text": "ä" * (record % 5),
    }
    if isinstance(shape, str):
        return simple[shape]
    if type(shape) is tuple and shape and shape[0] == "array":
        return np.full(shape[2], record, "<i8").astype(shape[1])
    if type(shape) is tuple and shape and shape[0] == "scalar":
        return np.dtype(shape[1]).type(record)
    if isinstance(shape, dict):
        return {key: sample_of(child, record) for key, child in shape.items()}
    if isinstance(shape, Tagged):
        return Tagged(sample_of(shape.tag, record))
    if isinstance(shape, Pair):
        return Pair(*(sample_of(child, record) for child in shape))
    return type(shape)(sample_of(child, record) for child in shape)


class Numbers:
    """A dataset whose records are their own numbers."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> int:
        return index


def same(one: Anything, other: Anything) -> bool:
    first, second = leaves(one), leaves(other)
    if repr(type(one)) != repr(type(other)) or len(first) != len(second):
        return False
    for a, b in zip(first, second, strict=True):
        if type(a) is not type(b):
            return False
        if isinstance(a, np.ndarray):
            if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes() or not a.flags.writeable:
                return False
        elif a != b:
            return False
    return True


@given(shapes_of_samples(), st.sampled_from(["memory", "disk"]))
def test_batches_are_those_of_collate(shape: Anything, medium: Anything) -> None:
    loader = DistributedLoader(
        Numbers(), batch_size=3, transform=lambda record: sample_of(shape, record), rotation=Rotation(3, 4, medium)
    )
    for step, batch in enumerate(loader):
        expected = collate([sample_of(shape, record) for record in loader.records(0, step).tolist()])
        assert same(batch, expected), (batch, expected)


def test_samples_of_several_kinds_are_collated_as_ever() -> None:
    def transform(record: int) -> dict[str, Any]:
        return {"a": record, "b": 1} if record % 2 else {"b": 1, "a": record}

    loader = DistributedLoader(Numbers(), batch_size=3, transform=transform, rotation=Rotation(4, 9))

    assert sorted(record for batch in loader for record in batch["a"].tolist()) == sorted([*range(9)] * 4)


def test_samples_of_differing_shapes_are_the_error_of_collate() -> None:
    loader = DistributedLoader(
        Numbers(),
        batch_size=3,
        transform=lambda record: {"x": np.zeros(2 if record == 7 else 3)},
        rotation=Rotation(4, 4),
    )
    with pytest.raises(ValueError, match=r'sample\["x"\]: shape .* \(record 7\)') as caught:
        list(loader)

    assert any("was collated" in note for note in caught.value.__notes__)


def test_what_cannot_be_batched_is_refused_in_every_batch() -> None:
    loader = DistributedLoader(Numbers(), transform=lambda record: {"x": 1 << 70}, rotation=Rotation(2, 4))
    for _ in range(2):
        with pytest.raises(ValueError, match="does not fit into 64 bits"):
            list(loader.resume())
