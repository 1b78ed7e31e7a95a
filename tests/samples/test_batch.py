"""Many samples of one structure to one batch: what decoding each and collating them would give.

n encoded samples ──decode_batch──> batch  ==  collate([decode_sample(one) for each])
"""

from __future__ import annotations

import dataclasses
import struct
from contextlib import suppress
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from splitdata import FormatError, SampleDecoder, decode_sample, encode_sample
from splitdata.samples.collate import collate
from tests.samples.drawn import DTYPES, Sample, same


class Point(NamedTuple):
    x: float
    y: Any


@dataclasses.dataclass
class Box:
    corner: Point
    name: str


def rows_of(samples: list[Sample]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    encoded = [encode_sample(sample) for sample in samples]
    return np.frombuffer(b"".join(encoded), np.uint8).reshape(len(samples), -1)


int64s = st.integers(-(2**63), 2**63 - 1)
three = st.lists(int64s, min_size=3, max_size=3)
one_shape = st.fixed_dictionaries(
    {
        "image": hn.arrays(np.uint8, (3, 4, 2)),
        "label": int64s,
        "weight": st.floats(),
        "is_good": st.booleans(),
        "scalar": st.integers(-128, 127).map(np.int8),
        "nested": st.tuples(
            hn.arrays(">f4", (2,)), st.fixed_dictionaries({"ids": st.lists(int64s, min_size=3, max_size=3)})
        ),
        "none": st.none(),
        "empty": st.just(np.zeros((0, 3))),
    }
).map(lambda sample: {key: sample[key] for key in sorted(sample)})


@given(st.lists(one_shape, min_size=1, max_size=5))
def test_batch_of_samples_of_one_size_is_what_collate_makes(samples: list[Sample]) -> None:
    expected = collate(samples)
    assert same(SampleDecoder().decode_batch(rows_of(samples)), expected)
    assert same(SampleDecoder().decode_batch([encode_sample(sample) for sample in samples]), expected)


@given(st.lists(st.tuples(st.text(max_size=9), one_shape, st.binary(max_size=9)), min_size=1, max_size=5))
def test_batch_of_samples_with_texts_is_what_collate_makes(samples: list[Sample]) -> None:
    encoded = [bytearray(encode_sample(sample)) for sample in samples]
    assert same(SampleDecoder().decode_batch(encoded), collate(samples))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("with_texts", [False, True])
def test_arrays_of_each_data_type_make_a_batch(dtype: np.dtype[Any], with_texts: bool) -> None:
    array = np.zeros((5, 2, 3), dtype)
    if dtype.names is None and dtype.kind != "U":
        array = np.random.default_rng(3).integers(0, 2, 30 * dtype.itemsize, np.uint8).view(dtype).reshape(5, 2, 3)
    texts = ["a" * number * with_texts for number in range(5)]
    samples = list(zip(texts, array, strict=True))
    batch = SampleDecoder().decode_batch([encode_sample(sample) for sample in samples])
    assert same(batch, (texts, array))


def test_values_that_make_no_array_come_as_a_list() -> None:
    samples = [
        {"d": date(2026, 1, day), "b": b"x" * day, "w": datetime(2026, 1, day), "t": "é" * day} for day in (1, 2, 3)
    ]
    batch = SampleDecoder().decode_batch([encode_sample(sample) for sample in samples])
    assert batch == {key: [sample[key] for sample in samples] for key in samples[0]}


def test_tensors_make_a_tensor() -> None:
    torch: Any = pytest.importorskip("torch")
    samples = [{"x": torch.full((2, 2), number, dtype=torch.bfloat16)} for number in range(4)]
    found = SampleDecoder().decode_batch(rows_of(samples))["x"]
    assert torch.equal(found, torch.stack([sample["x"] for sample in samples]))


def test_types_are_restored_and_hold_batches() -> None:
    samples = [Box(Point(float(number), np.arange(2)), "ab"[: number + 1]) for number in range(2)]
    encoded = [encode_sample(sample) for sample in samples]
    batch = SampleDecoder([Box, Point]).decode_batch(encoded)
    assert type(batch) is Box
    assert type(batch.corner) is Point
    assert same(
        (batch.corner.x, batch.corner.y, batch.name), (np.array([0.0, 1.0]), np.array([[0, 1]] * 2), ["a", "ab"])
    )
    assert same(SampleDecoder().decode_batch(encoded)["corner"], (np.array([0.0, 1.0]), np.array([[0, 1]] * 2)))


def test_batch_has_memory_of_its_own() -> None:
    rows = rows_of([{"a": np.arange(3), "n": 1}]).copy()
    batch = SampleDecoder().decode_batch(rows)
    batch["a"][:] = batch["n"][:] = 9
    assert decode_sample(rows[0])["a"].tolist() == [0, 1, 2]
    assert batch["a"].flags.c_contiguous


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "there are no samples to make a batch of"),
        ([{"a": 1}, {"b": 1}], "sample 0 has the key 'a' and sample 1 has not"),
        ([{"a": 1}, {"a": "text"}], r'sample\["a"\]: type int in sample 0, str in sample 1'),
        ([{"a": 2**70}] * 2, r'sample\["a"\]: 1180591620717411303424 in sample 0 does not fit into 64 bits'),
        ([{"a": [np.zeros(2)]}, {"a": [np.zeros(3)]}], r'sample\["a"\]\[0\]: shape \(2,\) in sample 0, \(3,\) in'),
        ([{"a": [1, 2]}, {"a": [1, 2, 3]}], r'sample\["a"\]: length 2 in sample 0, 3 in sample 1'),
        ([Point(1, np.zeros(2)), Point(1, np.zeros(4))], r"sample\[1\]: shape \(2,\) in sample 0, \(4,\) in sample 1"),
    ],
)
def test_samples_that_are_not_alike_are_refused(samples: list[Sample], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        SampleDecoder().decode_batch([encode_sample(sample) for sample in samples])
    assert not isinstance(caught.value, FormatError)


@pytest.mark.parametrize("wrong", [np.zeros((2, 3)), np.zeros(9, np.uint8), np.zeros((1, 2, 3), np.uint8)])
def test_array_that_is_no_row_of_bytes_each_is_refused(wrong: Sample) -> None:
    with pytest.raises(TypeError, match=r"records are uint8\[n, size\], got"):
        SampleDecoder().decode_batch(wrong)


@pytest.mark.parametrize("size", [0, 5])
def test_rows_that_are_no_samples_are_refused(size: int) -> None:
    with pytest.raises(FormatError):
        SampleDecoder().decode_batch(np.zeros((3, size), np.uint8))


def test_one_damaged_row_among_many_is_found() -> None:
    samples = [{"a": np.arange(4), "ok": True, "text": "abc"} for _ in range(3)]
    good = rows_of(samples)
    whole = SampleDecoder().decode_batch(good)
    for place in range(good.shape[1]):
        for flip in (1, 0x80):
            rows = good.copy()
            rows[1, place] ^= flip
            try:
                batch = SampleDecoder().decode_batch(rows)
            except ValueError:
                continue
            assert [batch["text"][0], batch["text"][2]] == [whole["text"][0], whole["text"][2]]
            assert same(batch["a"][::2].copy(), whole["a"][::2].copy())
            assert same(decode_sample(rows[1])["a"], batch["a"][1].copy())


@given(st.data())
def test_damaged_records_give_an_error_or_a_batch(draw: st.DataObject) -> None:
    sample = {"a": np.arange(4), "ok": True, "text": "abc", "more": [1.5, None]}
    records = [bytearray(encode_sample(sample)) for _ in range(3)]
    for _ in range(draw.draw(st.integers(1, 3))):
        record = draw.draw(st.sampled_from(records))
        place = draw.draw(st.integers(0, len(record)))
        record[place : place + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
    with suppress(ValueError):
        SampleDecoder().decode_batch(records)


def test_numbers_of_a_sample_are_read_once_however_many_texts_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [encode_sample([text] * 100 + [1]) for text in ("a", "bc")]
    sizes: list[int] = []
    unpack = struct.iter_unpack

    def counted(letters: str, data: bytes) -> Any:
        sizes.append(len(data))
        return unpack(letters, data)

    monkeypatch.setattr(struct, "iter_unpack", counted)

    batch = SampleDecoder().decode_batch(rows)
    assert batch[:100] == [["a", "bc"]] * 100
    assert sizes == [8 * len(rows)]
