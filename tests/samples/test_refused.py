"""What does not fit into a sample: an error that says where it stands and what to do.

{"meta": [1, 2, Foo()]} ──> TypeError: sample["meta"][2]: Foo is nothing that a sample can hold
"""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import os
import pathlib
import types
import uuid
from typing import Any, NamedTuple

import numpy as np
import pytest

from splitdata import decode_sample, encode_sample


class Foo:
    pass


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Record:
    value: Any


@dataclasses.dataclass
class DictRecord(dict):  # type: ignore[type-arg]
    value: Any = None


class Colour(enum.IntEnum):
    RED = 1


class Zone(datetime.tzinfo):
    def utcoffset(self, moment: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    def dst(self, moment: datetime.datetime | None) -> None:
        return None

    def tzname(self, moment: datetime.datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    ("sample", "path"),
    [
        (Foo(), "sample: "),
        ({"meta": [1, 2, Foo()]}, 'sample["meta"][2]: '),
        ({"a": {7: (1, Foo())}}, 'sample["a"][7][1]: '),
        ({'quo"te\n': Foo()}, r'sample["quo\"te\n"]: '),
        (Pair(1, Record([Foo()])), "sample.right.value[0]: "),
        ({"k" * 100: Foo()}, 'sample["' + "k" * 56 + "...]: "),
    ],
)
def test_path_of_what_does_not_fit_is_named(sample: object, path: str) -> None:
    with pytest.raises(TypeError) as caught:
        encode_sample(sample)
    assert str(caught.value) == f"{path}tests.samples.test_refused.Foo is nothing that a sample can hold"


@pytest.mark.parametrize(
    "value",
    [
        *({1, 2}, frozenset(), 1 + 2j, bytearray(b"a"), memoryview(b"a"), array.array("i", [1]), range(3)),
        *(decimal.Decimal(1), datetime.time(1), Colour.RED, collections.OrderedDict(a=1), DictRecord(), Foo, print),
        np.ma.masked_array([1, 2], [True, False]),
        np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_class_that_would_not_come_back_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r'^sample\["x"\]: .* is nothing that a sample can hold(; store .*)?$'):
        encode_sample({"x": value})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([1, "a", None], object), "an array of objects has no plain bytes"),
        (np.zeros(2, [("a", "O")]), "an array of objects"),
        (np.longdouble(1), "which is not stored"),
        (np.zeros(3, "V0"), "which is not stored"),
        (np.zeros(2, {"names": ["a"], "formats": ["i4"], "titles": ["title"]}), "which is not stored"),
        ({1.5: 1}, r"has a key of type float; keys are str or int"),
        ({True: 1}, r"has a key of type bool"),
        ({(1, 2): 1}, r"has a key of type tuple"),
        (datetime.datetime(2026, 1, 1, tzinfo=Zone()), r"tzinfo of type tests.samples.test_refused.Zone"),
    ],
)
def test_type_that_is_not_stored_is_refused_with_its_path(value: object, message: str) -> None:
    # Equal keys that fit must not pave the way for those that do not.
    encode_sample({1: 1})
    with pytest.raises(TypeError, match=r'^sample\["x"\].*' + message):
        encode_sample({"x": value})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({2**63: 1}, "has a key that is an int of more than 64 bits"),
        (np.bytes_(b"a\0"), "ends with zeros, which numpy drops"),
        (np.str_("a\0"), "ends with zeros, which numpy drops"),
    ],
)
def test_value_that_does_not_fit_is_refused_with_its_path(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=r'^sample\["x"\].*' + message):
        encode_sample({"x": value})


def test_new_string_type_of_numpy_is_refused() -> None:
    if not hasattr(np, "dtypes") or not hasattr(np.dtypes, "StringDType"):
        pytest.skip("numpy 1 has no strings of variable length")
    with pytest.raises(TypeError, match="which is not stored"):
        encode_sample(np.array(["a", "bb"], np.dtypes.StringDType()))


class Stamp(datetime.datetime):
    """As pandas.Timestamp."""

    def to_datetime64(self) -> np.datetime64:
        return np.datetime64(self.replace(tzinfo=None).isoformat())


class Picture:
    """As those of PIL, and arrays of JAX."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.zeros((2, 2), dtype)


class OwnList(list[int]):
    pass


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.Counter("aa"), {"a": 2}),
        (collections.defaultdict(int, a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        (array.array("H", [1, 2]), np.array([1, 2], "u2")),
        (range(3), [0, 1, 2]),
        ({2, 1}, [1, 2]),
        (collections.deque([1, 2]), [1, 2]),
        (OwnList([1, 2]), [1, 2]),
        (1 + 2j, np.complex128(1 + 2j)),
        (decimal.Decimal("1.50"), "1.50"),
        (fractions.Fraction(1, 2), 0.5),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Colour.RED, 1),
        (datetime.time(1, 2), "01:02:00"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        (Stamp(2020, 1, 2), np.datetime64("2020-01-02T00:00:00")),
        (Picture(), np.zeros((2, 2))),
        (np.ma.masked_array([1, 2], [False, True], fill_value=7), np.array([1, 7])),
        (np.array([1, 2], "g"), np.array([1.0, 2.0])),
        (np.array([1, 2j], "G"), np.array([1, 2j])),
        (np.array(["a", "bc"], np.dtypes.StringDType()), ["a", "bc"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refusal_names_the_conversion_that_works(value: Any, stored: Any) -> None:
    with pytest.raises(TypeError, match="; store ") as caught:
        encode_sample({"field": value})
    assert str(caught.value).startswith('sample["field"]: ')
    conversion = str(caught.value).split("; store ")[1]
    made = eval(conversion, {"x": value, "numpy": np, "os": os})  # of the library's own message

    found = decode_sample(encode_sample({"field": made}))["field"]
    assert type(found) is type(stored)
    assert np.array_equal(found, stored) if isinstance(stored, np.ndarray) else found == stored


def test_sample_that_holds_itself_is_refused() -> None:
    sample: list[Any] = []
    sample.append(sample)
    with pytest.raises(ValueError, match=r"^sample\[0\]\[0\].*\.\.\.\[0\]\[0\]: is nested more than 64 levels deep"):
        encode_sample(sample)


def test_sample_of_64_levels_fits_and_of_65_does_not() -> None:
    sample: Any = 1
    for _ in range(64):
        sample = (sample,)
    encode_sample(sample)
    with pytest.raises(ValueError, match="nested more than 64 levels deep"):
        encode_sample((sample,))


def test_sample_of_more_parts_than_its_schema_may_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"so many parts that 1250005 bytes describe them, the limit is 1048576"):
        encode_sample([[]] * 250_000)
