"""What goes in comes out: every type, nested in any way, and equal samples give equal bytes.

sample ──encode_sample──> bytes ──decode_sample──> the same sample
"""

from __future__ import annotations

import dataclasses
import enum
import pickle
from collections import namedtuple
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings

from splitdata import SampleDecoder, decode_sample, encode_sample
from splitdata.samples.encode import encode_sample_parts
from tests.samples.drawn import DTYPES, Sample, arrays, same, samples


class Point(NamedTuple):
    x: float
    y: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    corner: Point
    size: int = dataclasses.field(default=3, init=False)
    label: str = ""

    def __post_init__(self) -> None:
        if self.label == "never made again":
            raise AssertionError


def other_point(*fields: str) -> Sample:
    """Make another class of the name Point."""
    return namedtuple("Point", fields)


@given(samples())
def test_sample_comes_back_as_it_was(sample: Sample) -> None:
    data = encode_sample(sample)
    assert same(decode_sample(data), sample)
    assert same(decode_sample(memoryview(data), copy=True), sample)
    assert encode_sample(decode_sample(data)) == data


@pytest.mark.soak
@settings(max_examples=20_000)
@given(samples(max_leaves=60))
def test_large_sample_comes_back_as_it_was(sample: Sample) -> None:
    assert same(decode_sample(encode_sample(sample)), sample)


@given(arrays())
def test_array_alone_comes_back_as_it_was(array: np.ndarray[Any, Any]) -> None:
    assert same(decode_sample(encode_sample(array)), array)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_array_of_each_data_type_comes_back_in_any_memory_layout(dtype: np.dtype[Any]) -> None:
    data = np.random.default_rng(3).integers(0, 2, 6 * 4 * dtype.itemsize, np.uint8)
    whole = np.zeros((6, 4), dtype)
    if dtype.names is None and dtype.kind != "U":
        whole = data.view(dtype).reshape(6, 4)
    for array in (whole, whole.T, whole[::2, ::-1], np.asfortranarray(whole), whole[1:1], whole[0, 0:1].reshape(())):
        found = decode_sample(encode_sample({"a": array}))["a"]
        assert same(found, np.array(array, order="C"))


def test_large_array_comes_back_in_any_memory_layout() -> None:
    whole = np.random.default_rng(3).random((300, 400)).astype(np.float16)
    for array in (whole, whole.T, whole[::2, ::-1], np.asfortranarray(whole), whole.view("<M8[s]")):
        assert same(decode_sample(encode_sample(array)), np.array(array, order="C"))


def test_memory_layout_of_an_array_does_not_show_in_the_bytes() -> None:
    array = np.arange(24).reshape(4, 6)
    assert encode_sample(np.asfortranarray(array)) == encode_sample(array)


def test_bytes_between_the_fields_of_a_structure_do_not_show() -> None:
    dtype = np.dtype([("a", "u1"), ("in", np.dtype([("b", "u1"), ("c", "<f8")], align=True))], align=True)
    clean, dirty = np.zeros(3, dtype), np.frombuffer(bytearray(b"\xff" * 3 * dtype.itemsize), dtype).copy()
    for array in (clean, dirty):
        array["a"], array["in"]["b"], array["in"]["c"] = 1, 2, 3.5
    assert clean.tobytes() != dirty.tobytes()
    assert encode_sample(clean) == encode_sample(dirty)


def test_memmap_comes_back_as_an_array(tmp_path: Path) -> None:
    np.arange(5).tofile(tmp_path / "a")
    mapped = np.memmap(tmp_path / "a", np.int64, "r")
    assert same(decode_sample(encode_sample(mapped)), np.arange(5))


@pytest.mark.parametrize(
    "value",
    [
        *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**500, -(10**500), 255, -256),
        *(-0.0, float("nan"), float("inf"), 5e-324, True, False, None, "", "a\0", "\ud800", b"", b"\0"),
        *([], (), {}, [[]], [1, 2**70], [1, True], [1.5, 2], [True], {1: "int", "1": "text", -1: None}),
        *(
            np.float64(2.5),
            np.str_("ab"),
            np.str_(""),
            np.bytes_(b""),
            np.bool_(True),
            np.datetime64("NaT"),
            np.int8(-1),
        ),
        *(date.min, date.max, datetime.min, datetime.max, timedelta.min, timedelta.max),
        datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Zurich")),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23, seconds=1, microseconds=1), "odd name")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_edge_value_comes_back_with_its_type(value: object) -> None:
    assert same(decode_sample(encode_sample(value)), value)
    assert same(decode_sample(encode_sample([value, {"again": value}])), [value, {"again": value}])


def test_time_zone_is_the_very_one_that_the_database_gives() -> None:
    moment = datetime(2026, 7, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert decode_sample(encode_sample(moment)).tzinfo is moment.tzinfo


def test_time_zone_that_the_reader_does_not_know_comes_as_its_offset() -> None:
    data = encode_sample(datetime(2026, 7, 1, tzinfo=ZoneInfo("Asia/Tokyo"))).replace(b"Asia/Tokyo", b"Moon/Basin")
    found = decode_sample(data)
    assert found.tzinfo == timezone(timedelta(hours=9), "Moon/Basin")
    assert found.tzname() == "Moon/Basin"


def test_keys_of_classes_of_text_come_as_text() -> None:
    class Name(enum.StrEnum):
        A = "a"

    plain = {"a": 1, "b": 2}
    for _ in range(2):
        for sample in ({np.str_("a"): 1, "b": 2}, {Name.A: 1, "b": 2}, plain):
            assert encode_sample(sample) == encode_sample(plain)
    assert type(next(iter(decode_sample(encode_sample({Name.A: 1}))))) is str


def test_samples_that_differ_in_type_only_share_no_bytes() -> None:
    values: list[Any] = [1, True, 1.0, "1", b"1", np.int64(1), np.array(1), [1], (1,), {1: 1}, {"1": 1}]
    encoded = [encode_sample(value) for value in values * 2]
    assert len(set(encoded)) == len(values)
    assert all(same(decode_sample(data), value) for data, value in zip(encoded, values * 2, strict=True))


def test_parts_joined_are_the_encoded_sample_and_show_large_arrays_without_a_copy() -> None:
    large = np.zeros((100, 1000))
    sample = {"small": np.ones(3), "large": large, "text": "abc"}
    parts = encode_sample_parts(sample)
    assert b"".join(parts) == encode_sample(sample)
    assert any(np.shares_memory(np.asarray(memoryview(part)), large) for part in parts)


# -- namedtuples and dataclasses -----------------------------------------------------------------


def test_classes_that_are_given_are_restored_without_being_made_again() -> None:
    sample = {"box": Box(Point(1.5, np.arange(3)), label="never made again"[:5]), "points": [Point(1.0, None)]}
    found = decode_sample(encode_sample(sample), types=(Box, Point))
    assert type(found["box"]) is Box
    assert type(found["box"].corner) is Point
    assert (found["box"].size, found["box"].label) == (3, "never")
    assert found["points"] == [Point(1.0, None)]


def test_restored_dataclass_does_not_run_its_checks() -> None:
    box = object.__new__(Box)
    for name, value in (("corner", Point(0.0, 0)), ("size", 1), ("label", "never made again")):
        object.__setattr__(box, name, value)
    assert decode_sample(encode_sample(box), types=[Box, Point]) == box


def test_classes_that_are_not_given_come_as_tuple_and_dict() -> None:
    data = encode_sample(Box(Point(1.5, "y"), label="b"))
    assert same(decode_sample(data), {"corner": (1.5, "y"), "size": 3, "label": "b"})
    assert decode_sample(data, types=[Point])["corner"] == Point(1.5, "y")


def test_class_with_other_fields_is_refused_and_names_both() -> None:
    other = other_point("x", "z")
    with pytest.raises(TypeError, match=r"Point with the fields x, y, and the class that was given has x, z.*a tuple"):
        decode_sample(encode_sample(Point(1, 2)), types=[other])


def test_fields_in_another_order_find_their_names() -> None:
    other = other_point("y", "x")
    assert decode_sample(encode_sample(Point(1, 2)), types=[other]) == other(y=2, x=1)


@pytest.mark.parametrize("wrong", [int, dict, "Point", Point(1, 2), tuple])
def test_type_that_is_no_namedtuple_or_dataclass_is_refused(wrong: Sample) -> None:
    with pytest.raises(TypeError, match="types are classes of namedtuples and dataclasses"):
        SampleDecoder([wrong])


def test_two_types_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two of the types are called Point"):
        SampleDecoder([Point, other_point("x")])


def test_decoder_pickles_with_its_types() -> None:
    decoder = pickle.loads(pickle.dumps(SampleDecoder([Point])))
    assert decoder.decode(encode_sample(Point(1, 2))) == Point(1, 2)
    assert type(decoder.decode(encode_sample(Point(1, 2)))) is Point
