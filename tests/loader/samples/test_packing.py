"""Samples packed by a worker, unpacked by the loader."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from splitdata.loader.samples.packing import SamplePacker, SampleUnpacker, unpack_all


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Labelled:
    name: str
    value: Any


def samples_of(number: int) -> list[Any]:
    return [
        {"image": np.full((3, number), number, np.float32), "label": number},
        Pair(Labelled("a", None), [Labelled("b", b"x" * number)]),
        number,
        "text",
    ]


def test_samples_come_back_as_they_were() -> None:
    packer, unpacker = SamplePacker(), SampleUnpacker()
    for number in range(5):
        packed = packer.pack(samples_of(number), [0, 1, 2, 3])
        assert (packed.starts % 64 == 0).all()
        unpacker.learn(packed.classes)
        found = [
            unpacker.unpack(packed.data.data[start : start + length])
            for start, length in zip(packed.starts.tolist(), packed.lengths.tolist(), strict=True)
        ]
        assert repr(found) == repr(samples_of(number))


def test_classes_are_sent_once_with_the_first_sample_that_has_them() -> None:
    packer = SamplePacker()

    assert packer.pack([1, {"a": 2}], [0, 1]).classes == ()
    assert set(packer.pack(samples_of(1), [0, 1, 2, 3]).classes) == {Pair, Labelled}
    assert packer.pack(samples_of(2), [0, 1, 2, 3]).classes == ()
    assert packer.pack([[Pair(1, 2)]], [0]).classes == ()


def test_what_is_unpacked_is_a_view_that_can_be_written_to() -> None:
    packed = SamplePacker().pack([np.zeros(8, np.uint8)], [0])
    (array,) = unpack_all(packed)
    array[:] = 7

    assert packed.data.tobytes().count(7) == 8


def test_nothing_packs_to_nothing() -> None:
    packed = SamplePacker().pack([], [])

    assert len(packed.data) == len(packed.starts) == 0
    assert unpack_all(packed) == []


def test_packed_samples_travel_out_of_band() -> None:
    packed = SamplePacker().pack([np.zeros(100_000, np.uint8), Pair(1, 2)], [0, 1])
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(packed, 5, buffer_callback=buffers.append)

    assert len(data) < 1000
    assert unpack_all(pickle.loads(data, buffers=buffers))[1] == Pair(1, 2)


def test_part_that_does_not_fit_is_named_with_its_record() -> None:
    with pytest.raises(TypeError, match=r'sample\["a"\]\[1\]') as caught:
        SamplePacker().pack([1, {"a": [1, object()]}], [17, 18])

    assert any("record 18" in note for note in caught.value.__notes__)


def test_two_classes_of_one_name_are_refused() -> None:
    def make() -> type:
        class Other(NamedTuple):
            x: int

        return Other

    unpacker = SampleUnpacker()
    unpacker.learn([make()])
    with pytest.raises(ValueError, match="Other"):
        unpacker.learn([make()])
