"""The encodings of MosaicML's columns: how many bytes each value has, where that is fixed, and how it is read.

Pickled columns have no decoder here: to read them would run what they say.

    "int" 8 bytes      "str" any      "ndarray:int32:2,3" 24 bytes      "pkl" refused
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from splitdata.conversion.sources.text.column_values import array_of, list_of_bytes, pixels_of, read_json, read_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MdsEncoding", "mds_encoding"]

_SCALARS: Final = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
_FLOATS: Final = ("float16", "float32", "float64")
_CODES: Final = {8: "u1", 9: "i1", 16: "<u2", 17: "<i2", 18: "<f2", 32: "<u4", 33: "<i4", 34: "<f4"}
_DTYPES: Final = _CODES | {64: "<u8", 65: "<i8", 66: "<f8"}


class MdsEncoding(NamedTuple):
    """One encoding: bytes of each value, None where they differ, and what reads a value."""

    size: int | None
    decode: Callable[[bytes], Any]


def mds_encoding(name: str) -> MdsEncoding | None:
    """Return the encoding of a name; None if there is none that is read here; ValueError for bad parameters."""
    kind, _, parameters = name.partition(":")
    if kind == "ndarray":
        return _array_encoding(parameters)
    if name in (*_SCALARS, *_FLOATS):
        dtype = np.dtype(name).newbyteorder("<")
        return MdsEncoding(dtype.itemsize, lambda data: array_of(data, dtype, (1,))[0])
    return _PLAIN.get(name)


def _array_encoding(parameters: str) -> MdsEncoding:
    name, _, extents = parameters.partition(":")
    if name and name not in (*_SCALARS, *_FLOATS):
        raise ValueError(f"no data type of MosaicML's arrays: {name!r}")
    dtype = np.dtype(name).newbyteorder("<") if name else None
    shape = tuple(map(int, extents.split(","))) if extents else None
    if shape is not None and min(shape) < 1:
        raise ValueError(f"no shape of an array: {extents!r}")
    size = prod(shape) * dtype.itemsize if shape and dtype else None
    return MdsEncoding(size, partial(_array, dtype=dtype, shape=shape))


def _array(data: bytes, *, dtype: np.dtype[Any] | None, shape: tuple[int, ...] | None) -> np.ndarray[Any, Any]:
    place = 0
    if dtype is None:
        [code] = read_numbers(data, 0, 1, "u1")
        if code not in _DTYPES:
            raise ValueError(f"an array of the data type {code}, which is not known")
        dtype, place = np.dtype(_DTYPES[code]), 1
    if shape is None:
        [head] = read_numbers(data, place, 1, "u1")
        extent = 1 << (head & 3)
        shape = tuple(read_numbers(data, place + 1, head >> 2, f"<u{extent}"))
        place += 1 + extent * len(shape)
    return array_of(data[place:], dtype, shape)


_PLAIN: Final = {
    "bytes": MdsEncoding(None, bytes),
    "str": MdsEncoding(None, bytes.decode),
    "int": MdsEncoding(8, lambda data: read_numbers(data, 0, 1, "<i8")[0]),
    "str_int": MdsEncoding(None, lambda data: int(data.decode())),
    "str_float": MdsEncoding(None, lambda data: float(data.decode())),
    # There is no such number in a sample: the text says it exactly.
    "str_decimal": MdsEncoding(None, bytes.decode),
    "json": MdsEncoding(None, read_json),
    "jpeg": MdsEncoding(None, bytes),
    "png": MdsEncoding(None, bytes),
    "pil": MdsEncoding(None, pixels_of),
    "jpeg_array": MdsEncoding(None, lambda data: list_of_bytes(data, 0)),
    "jpegarray": MdsEncoding(None, lambda data: list_of_bytes(data, 0)),
    "list[jpeg]": MdsEncoding(None, lambda data: list_of_bytes(data, 4)),
    "list[png]": MdsEncoding(None, lambda data: list_of_bytes(data, 4)),
    "list[pil]": MdsEncoding(None, lambda data: list_of_bytes(data, 4, pixels_of)),
}
