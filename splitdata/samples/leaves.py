"""Encoders of the values that hold no others: what each adds to schema, extents, scalars and payloads.

7                        INT                  scalar 7
"cat"                    TEXT                 extent 3            payload "cat"
uint8[32, 32, 3]         ARRAY 3 "|u1"        extents 32, 32, 3   payload, 3072 bytes
"""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.samples import spec, tensors
from splitdata.samples.dtypes import dtype_bytes, has_kind
from splitdata.samples.output import UnfitError, remember, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata._types import BytesLike
    from splitdata.samples.output import Output

__all__ = ["LEAVES", "add_scalar", "add_tensor"]

# From this size on an array is handed on as it is; below, its bytes are quicker had.
_LARGE_BYTES: Final = 32 << 10
_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_BYTE: Final = [bytes([kind]) for kind in range(256)]
_NONE, _BOOL, _INT, _FLOAT = (_BYTE[kind] for kind in (spec.KIND_NONE, spec.KIND_BOOL, spec.KIND_INT, spec.KIND_FLOAT))
_TEXT, _BYTES = _BYTE[spec.KIND_TEXT], _BYTE[spec.KIND_BYTES]
_ARRAY: Final = [bytes([spec.KIND_ARRAY, ndim]) for ndim in range(spec.MAX_NDIM + 1)]

# What is written of a data type is worked out once.
_dtypes: Final[dict[np.dtype[Any], bytes]] = {}


# -- single values -------------------------------------------------------------------------------


def _add_none(value: None, output: Output) -> None:
    output.schema.append(_NONE)


def _add_bool(value: bool, output: Output) -> None:
    output.schema.append(_BOOL)
    output.scalars.append(value)


def _add_int(value: int, output: Output) -> None:
    if _INT64[0] <= value <= _INT64[1]:
        output.schema.append(_INT)
        output.scalars.append(value)
        return
    _add_payload(spec.KIND_BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True), output)


def _add_float(value: float, output: Output) -> None:
    output.schema.append(_FLOAT)
    output.scalars.append(value)


def _add_text(value: str, output: Output) -> None:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        data = value.encode("utf-8", "surrogatepass")
    output.schema.append(_TEXT)
    output.extents.append(len(data))
    output.payloads.append(data)


def _add_bytes(value: bytes, output: Output) -> None:
    output.schema.append(_BYTES)
    output.extents.append(len(value))
    output.payloads.append(value)


def _add_payload(kind: int, data: bytes, output: Output) -> None:
    output.schema.append(_BYTE[kind])
    output.extents.append(len(data))
    output.payloads.append(data)


def _add_date(value: datetime.date, output: Output) -> None:
    output.schema.append(_BYTE[spec.KIND_DATE])
    output.scalars.append(value.toordinal())


def _add_timedelta(value: datetime.timedelta, output: Output) -> None:
    output.schema.append(_BYTE[spec.KIND_TIMEDELTA])
    output.scalars += (value.days, value.seconds * 1_000_000 + value.microseconds)


def _add_datetime(value: datetime.datetime, output: Output) -> None:
    zone: Any = value.tzinfo
    wall = (value.replace(tzinfo=None) - datetime.datetime.min) // _MICROSECOND
    if zone is None:
        output.schema.append(_BYTE[spec.KIND_DATETIME])
        output.scalars += (wall, value.fold)
        return
    offset = value.utcoffset()
    zoneinfo = sys.modules.get("zoneinfo")
    key = zone.key if zoneinfo is not None and type(zone) is zoneinfo.ZoneInfo else None
    if offset is None or (key is None and type(zone) is not datetime.timezone):
        raise UnfitError(
            f"has a tzinfo of type {type_name(zone)}; those of datetime.timezone, and zoneinfo.ZoneInfo with a key, fit"
        )
    output.scalars += (wall, value.fold, offset // _MICROSECOND)
    if key is not None:
        _add_payload(spec.KIND_DATETIME_ZONE, key.encode("utf-8", "surrogatepass"), output)
        return
    name = zone.tzname(None) or ""
    is_default = name == datetime.timezone(offset).tzname(None)
    _add_payload(spec.KIND_DATETIME_OFFSET, b"" if is_default else name.encode("utf-8", "surrogatepass"), output)


# -- arrays --------------------------------------------------------------------------------------


def _add_array(value: np.ndarray[Any, Any], output: Output) -> None:
    dtype = value.dtype
    output.schema += (_ARRAY[value.ndim], _dtypes.get(dtype) or _dtype_bytes(dtype))
    output.extents += value.shape
    output.payloads.append(_memory(value))


def _add_memmap(value: np.memmap[Any, Any], output: Output) -> None:
    _add_array(value.view(np.ndarray), output)


def add_scalar(value: np.generic, output: Output) -> None:
    """Add a numpy scalar."""
    array = np.asarray(value)
    if array.dtype.kind in "SU" and array[()] != value:
        raise UnfitError(
            f"is a {type_name(value)} that ends with zeros, which numpy drops; use bytes or str", ValueError
        )
    output.schema += (_BYTE[spec.KIND_SCALAR], _dtypes.get(array.dtype) or _dtype_bytes(array.dtype))
    output.payloads.append(_memory(array))


def add_tensor(value: tensors.Tensor, output: Output) -> None:
    """Add a tensor of torch."""
    if reason := tensors.why_unfit(value):
        raise UnfitError(reason, ValueError)
    try:
        array, name = tensors.array_of(value)
    except (TypeError, RuntimeError) as error:
        raise UnfitError(f"is a tensor that cannot be stored: {error}") from None
    text = name or array.dtype.str
    output.schema.append(bytes([spec.KIND_TENSOR, array.ndim, len(text)]) + text.encode("ascii"))
    output.extents += array.shape
    output.payloads.append(_memory(array))


def _memory(array: np.ndarray[Any, Any]) -> BytesLike:
    """Return the bytes of an array in C order: its own memory, if it is large and lies like that."""
    if array.dtype.names is not None:
        return _without_padding(array).tobytes()
    if array.nbytes < _LARGE_BYTES:
        return array.tobytes()
    # As plain bytes: the types of dates, for one, are no buffers by themselves.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _without_padding(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy of a structured array whose bytes between the fields are zeros."""
    if array.dtype.names is None:
        return array
    clean = np.frombuffer(bytearray(array.nbytes), array.dtype).reshape(array.shape)
    for name in array.dtype.names:
        clean[name] = _without_padding(array[name])
    return clean


def _dtype_bytes(dtype: np.dtype[Any]) -> bytes:
    data = dtype_bytes(dtype)
    if data is None:
        hint = "; an array of objects has no plain bytes" if dtype.hasobject else ""
        raise UnfitError(f"is of the data type {dtype!r}, which is not stored{hint}")
    # Of two that numpy calls equal, as seconds and a thousand milliseconds, each is to be written as it is.
    if not has_kind(dtype, "mM"):
        remember(_dtypes, dtype, data)
    return data


LEAVES: Final[dict[type, Callable[[Any, Output], None]]] = {
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
