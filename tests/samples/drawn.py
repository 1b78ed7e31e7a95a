"""Samples as hypothesis draws them, and what it means that two of them are the same.

scalars, texts, moments, arrays of every data type ──nested──> dicts, lists, tuples
same(a, b): equal in type, data type, shape, order of keys and every bit, so nan is nan and -0.0 is not 0.0
"""

from __future__ import annotations

import dataclasses
import struct
from datetime import date, datetime, timedelta, timezone
from random import Random
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

__all__ = ["DTYPES", "Sample", "arrays", "same", "samples"]

# Whatever a sample may be.
Sample: TypeAlias = Any

PLAIN: Final = [
    *("|b1", "|i1", "|u1", "<i2", ">i2", "<u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8", ">u8"),
    *("<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "<c8", "<c16", ">c16"),
    *("<M8[ns]", "<M8[D]", ">M8[s]", "<M8", "<m8[us]", "<m8[25s]", "|S1", "|S7", "<U1", "<U5", ">U3", "|V3"),
]
STRUCTS: Final = [
    np.dtype([("x", "<f4"), ("y", "<i8"), ("name", "S3")]),
    np.dtype([("a", "u1"), ("b", "<f8"), ("c", "<i2", (2, 3))], align=True),
    np.dtype([("inner", [("p", ">i4"), ("q", "u1")], (2,)), ("größe", "<U2")]),
    np.dtype({"names": ["a", "b"], "formats": ["<u4", "<u2"], "offsets": [0, 2], "itemsize": 12}),
]
DTYPES: Final = [np.dtype(name) for name in PLAIN] + STRUCTS

_zones = st.one_of(
    st.none(),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
    st.just(timezone(timedelta(hours=1), "CET")),
    st.sampled_from(["UTC", "Europe/Zurich", "America/Argentina/Buenos_Aires"]).map(ZoneInfo),
)
_moments = st.one_of(
    st.datetimes(timezones=_zones, allow_imaginary=True),
    st.builds(lambda moment: moment.replace(fold=1), st.datetimes()),
    st.dates(),
    st.timedeltas(),
)
_texts = st.text(st.characters(exclude_categories=()), max_size=20)
_keys = st.one_of(_texts, st.integers(-(2**63), 2**63 - 1))
_numbers = st.one_of(st.booleans(), st.integers(), st.integers(-(2**63), 2**63 - 1), st.floats())


def arrays() -> st.SearchStrategy[np.ndarray[Any, Any]]:
    """Return arrays of every data type, up to four dimensions, empty ones too."""
    shapes = hn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    return st.sampled_from(DTYPES).flatmap(lambda dtype: st.builds(_filled, st.just(dtype), shapes, st.randoms()))


def _filled(dtype: np.dtype[Any], shape: tuple[int, ...], random: Random) -> np.ndarray[Any, Any]:
    """Return an array of random values, made field by field so that no bytes lie between them."""
    array = np.zeros(shape, dtype)
    if dtype.names:
        for name in dtype.names:
            field, part = dtype[name], array[name]
            part[...] = _filled(field.base, part.shape, random)
        return array
    if dtype.kind == "U":
        array[...] = "".join(random.choices("aé漢😀", k=dtype.itemsize // 4))
        return array
    size = array.size * dtype.itemsize
    data = bytes(random.choices(range(2), k=size)) if dtype.kind == "b" else random.randbytes(size)
    return np.frombuffer(bytearray(data), dtype, array.size).reshape(shape) if size else array


_scalars = arrays().filter(lambda array: array.size > 0).map(lambda array: array.reshape(-1)[0])
leaves = st.one_of(
    st.none(),
    _numbers,
    _texts,
    st.binary(max_size=20),
    _moments,
    arrays(),
    _scalars,
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.lists(st.floats(), max_size=5),
)


def samples(max_leaves: int = 12) -> st.SearchStrategy[Any]:
    """Return nested samples."""
    return st.recursive(
        leaves,
        lambda parts: st.one_of(
            st.dictionaries(_keys, parts, max_size=4),
            st.lists(parts, max_size=4),
            st.lists(parts, max_size=4).map(tuple),
        ),
        max_leaves=max_leaves,
    )


def _memory(array: np.ndarray[Any, Any] | np.generic) -> bytes:
    """Return the values as bytes, without what lies between fields: numpy does not always copy that."""
    if array.dtype.names is None:
        return array.tobytes()
    whole = np.asarray(array)
    return b"".join(_memory(np.asarray(whole[name])) for name in array.dtype.names)


def same(left: Sample, right: Sample) -> bool:
    """Say whether two samples are the same in everything that is stored."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (np.ndarray, np.generic)):
        return left.dtype == right.dtype and left.shape == right.shape and _memory(left) == _memory(right)
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, datetime):
        zones = repr(left.tzinfo) == repr(right.tzinfo)
        return zones and left.fold == right.fold and left.replace(tzinfo=None) == right.replace(tzinfo=None)
    if dataclasses.is_dataclass(left):
        return same(vars(left), vars(right))
    assert isinstance(left, (int, str, bytes, date, timedelta, type(None)))
    return bool(left == right)
