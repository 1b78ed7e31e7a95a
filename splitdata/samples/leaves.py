"""Encoders of the values that hold no others: what each adds to schema, extents, scalars and payloads.

Containers are in encode.py, which calls these for what they hold.

    7                        INT                  scalar 7
    "cat"                    TEXT                 extent 3            payload "cat"
    uint8[32, 32, 3]         ARRAY 3 "|u1"        extents 32, 32, 3   payload, 3072 bytes
"""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.samples import sample_spec, tensors
from splitdata.samples.conversions import conversion_of_dtype
from splitdata.samples.dtypes import dtype_bytes
from splitdata.samples.output import UnfitError, remember, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata._types import BytesLike
    from splitdata.samples.output import Output

__all__ = ["ARRAY_PIECES", "LARGE_BYTES", "LEAVES", "add_payload", "add_scalar", "add_tensor", "memory_of"]

# From this size on an array is handed on as it is; below, its bytes are quicker had.
LARGE_BYTES: Final = 32 << 10
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_BYTE: Final = [bytes([kind]) for kind in range(256)]

# What is written of an array, by its data type and number of dimensions; of data types without fields, whose
# bytes are stored.
ARRAY_PIECES: Final[dict[np.dtype[Any], list[bytes]]] = {}


def add_payload(kind: int, extent: int, data: BytesLike, output: Output) -> None:
    """Add a kind with one extent and one payload."""
    output[0].append(_BYTE[kind])
    output[1].append(extent)
    output[3].append(data)


def _add_scalars(kind: int, output: Output, *scalars: float) -> None:
    output[0].append(_BYTE[kind])
    output[2].extend(scalars)


# -- single values -------------------------------------------------------------------------------


def _add_none(value: None, output: Output, depth: int) -> None:
    _add_scalars(sample_spec.KIND_NONE, output)


def _add_bool(value: bool, output: Output, depth: int) -> None:
    _add_scalars(sample_spec.KIND_BOOL, output, value)


def _add_int(value: int, output: Output, depth: int) -> None:
    if -(1 << 63) <= value < 1 << 63:
        _add_scalars(sample_spec.KIND_INT, output, value)
        return
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    add_payload(sample_spec.KIND_BIG_INT, len(data), data, output)


def _add_float(value: float, output: Output, depth: int) -> None:
    _add_scalars(sample_spec.KIND_FLOAT, output, value)


def _add_text(value: str, output: Output, depth: int) -> None:
    data = value.encode("utf-8", "surrogatepass")
    add_payload(sample_spec.KIND_TEXT, len(data), data, output)


def _add_bytes(value: bytes, output: Output, depth: int) -> None:
    add_payload(sample_spec.KIND_BYTES, len(value), value, output)


def _add_date(value: datetime.date, output: Output, depth: int) -> None:
    _add_scalars(sample_spec.KIND_DATE, output, value.toordinal())


def _add_timedelta(value: datetime.timedelta, output: Output, depth: int) -> None:
    _add_scalars(sample_spec.KIND_TIMEDELTA, output, value.days, value.seconds * 1_000_000 + value.microseconds)


def _add_datetime(value: datetime.datetime, output: Output, depth: int) -> None:
    wall = (value.replace(tzinfo=None) - datetime.datetime.min) // _MICROSECOND
    zone: Any = value.tzinfo
    if zone is None:
        _add_scalars(sample_spec.KIND_DATETIME, output, wall, value.fold)
        return
    offset = value.utcoffset()
    zoneinfo = sys.modules.get("zoneinfo")
    key = zone.key if zoneinfo is not None and type(zone) is zoneinfo.ZoneInfo else None
    if offset is None or (key is None and type(zone) is not datetime.timezone):
        raise UnfitError(
            f"has a tzinfo of type {type_name(zone)}; those of datetime.timezone, and zoneinfo.ZoneInfo with a key, fit"
        )
    name = zone.tzname(None)
    if key is None and name == datetime.timezone(offset).tzname(None):
        name = ""
    data = (key or name).encode("utf-8", "surrogatepass")
    output[2].extend((wall, value.fold, offset // _MICROSECOND))
    add_payload(
        sample_spec.KIND_DATETIME_OFFSET if key is None else sample_spec.KIND_DATETIME_ZONE, len(data), data, output
    )


# -- arrays --------------------------------------------------------------------------------------


def _add_array(value: np.ndarray[Any, Any], output: Output, depth: int) -> None:
    pieces = ARRAY_PIECES.get(value.dtype) or _array_pieces(value.dtype)
    output[0].append(pieces[value.ndim])
    output[1].extend(value.shape)
    output[3].append(memory_of(value))


def _add_memmap(value: np.memmap[Any, Any], output: Output, depth: int) -> None:
    _add_array(value.view(np.ndarray), output, depth)


def add_scalar(value: np.generic, output: Output, depth: int) -> None:
    """Add a numpy scalar."""
    array = np.asarray(value)
    if array.dtype.kind in "SU" and array[()] != value:
        raise UnfitError(
            f"is a {type_name(value)} that ends with zeros, which numpy drops; use bytes or str", ValueError
        )
    pieces = ARRAY_PIECES.get(array.dtype) or _array_pieces(array.dtype)
    # Like that of an array, but for the first two bytes.
    output[0].append(_BYTE[sample_spec.KIND_SCALAR] + pieces[0][2:])
    output[3].append(memory_of(array))


def add_tensor(value: Any, output: Output, depth: int) -> None:
    """Add a tensor of torch."""
    if reason := tensors.why_unfit(value):
        raise UnfitError(reason, ValueError)
    try:
        array, name = tensors.array_of(value)
    except (TypeError, RuntimeError) as error:
        raise UnfitError(f"is a tensor that cannot be stored: {error}") from None
    text = name or array.dtype.str
    output[0].append(bytes([sample_spec.KIND_TENSOR, array.ndim, len(text)]) + text.encode("ascii"))
    output[1].extend(array.shape)
    output[3].append(memory_of(array))


def memory_of(array: np.ndarray[Any, Any]) -> BytesLike:
    """Return the bytes of an array in C order: its own memory, if it is large and lies like that."""
    if array.dtype.names is not None:
        return _without_padding(array).tobytes()
    if array.nbytes < LARGE_BYTES:
        return array.tobytes()
    # As plain bytes: arrays of dates, for one, do not offer a buffer.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _without_padding(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy of a structured array whose bytes between the fields are zeros."""
    if array.dtype.names is None:
        return array
    clean = np.frombuffer(bytearray(array.nbytes), array.dtype).reshape(array.shape)
    for name in array.dtype.names:
        clean[name] = _without_padding(array[name])
    return clean


def _array_pieces(dtype: np.dtype[Any]) -> list[bytes]:
    data = dtype_bytes(dtype)
    if data is None:
        raise UnfitError(f"is of the data type {dtype!r}, which is not stored{conversion_of_dtype(dtype)}")
    pieces = [bytes([sample_spec.KIND_ARRAY, ndim]) + data for ndim in range(sample_spec.MAX_NDIM + 1)]
    # numpy calls some types equal, as seconds and a thousand milliseconds: each is written as it is.
    if dtype.names is None and dtype.kind not in "mM":
        remember(ARRAY_PIECES, dtype, pieces)
    return pieces


LEAVES: Final[dict[type, Callable[[Any, Output, int], None]]] = {
    type(None): _add_none,
    bool: _add_bool,
    int: _add_int,
    float: _add_float,
    str: _add_text,
    bytes: _add_bytes,
    datetime.date: _add_date,
    datetime.datetime: _add_datetime,
    datetime.timedelta: _add_timedelta,
    np.ndarray: _add_array,
    np.memmap: _add_memmap,
}
