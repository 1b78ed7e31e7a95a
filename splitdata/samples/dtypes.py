"""numpy's data types as bytes of a schema, and back.

    plain      length u8 | name, as in "<f4", "|b1", "<M8[ns]", "<U12"
    struct     0 | bytes of an element u32 | fields u32 |
               of each: offset u32 | length u32, name | dimensions u8, u32 each | data type

Names are held against a pattern before numpy sees them. Types of objects, of other packages and
of C that differ between machines are refused.
"""

from __future__ import annotations

import re
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.errors import FormatError, UnsupportedVersionError
from splitdata.samples import sample_spec

if TYPE_CHECKING:
    from splitdata.samples.cursor import Cursor

__all__ = ["check_text", "dtype_bytes", "has_kind", "read_dtype", "read_tensor_dtype", "text_bytes"]

_PLAIN: Final = re.compile(
    r"\|b1|\|[iu]1|[<>][iu][248]|[<>]f[248]|[<>]c(?:8|16)"
    r"|\|[SV][1-9]\d*|[<>]U[1-9]\d*"
    r"|[<>][mM]8(?:\[(?:[1-9]\d{0,8})?(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?"
)
# A field within a field within a field is enough for any header of C.
# Of the longest name that a data type can have: dates in units have 16 characters, sizes fewer.
_MAX_NAME: Final = 16
_MAX_DTYPE_DEPTH: Final = 8
_NEWER: Final = ": a newer splitdata may know it"


def dtype_bytes(dtype: np.dtype[Any]) -> bytes | None:
    """Return a data type as it stands in a schema, None if it cannot be stored."""
    try:
        return _packed(dtype)
    except (_UnfitError, struct.error, ValueError):
        return None


def text_bytes(text: str) -> bytes:
    """Return a text as UTF-8 behind its length, lone surrogates encoded as they are."""
    # The text itself, whatever a class that is derived from str makes of it.
    data = str.encode(text, "utf-8", "surrogatepass")
    return struct.pack("<I", len(data)) + data


def read_dtype(cursor: Cursor, depth: int = 0) -> np.dtype[Any]:
    """Read a data type from a schema.

    Raises:
        UnsupportedVersionError: If it is a name that is unknown here.
        FormatError: If it is not a data type, or its elements have no bytes.
    """
    length = cursor.byte()
    if length != sample_spec.DTYPE_STRUCT:
        name = cursor.take(length).decode("ascii", "replace")
        if not _PLAIN.fullmatch(name):
            raise UnsupportedVersionError(f"a sample has the data type {name!r}, which is unknown here{_NEWER}")
        if len(name) > _MAX_NAME:
            # Not shown to numpy, which counts in 32 or 64 bits.
            raise FormatError(f"a sample has the data type {name!r}: its elements are too large")
        try:
            return np.dtype(name)
        except (TypeError, ValueError) as error:
            raise FormatError(f"a sample has the data type {name!r}: {error}") from None
    if depth == _MAX_DTYPE_DEPTH:
        raise FormatError(f"a sample has a data type of more than {_MAX_DTYPE_DEPTH} levels")
    itemsize, count = cursor.u32(), cursor.u32()
    names, offsets, formats = [], [], []
    for _ in range(count):
        offsets.append(cursor.u32())
        names.append(cursor.text())
        shape = tuple(cursor.u32() for _ in range(cursor.byte()))
        base = read_dtype(cursor, depth + 1)
        formats.append((base, shape) if shape else base)
    try:
        # numpy checks that fields lie within the element and names differ.
        dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise FormatError(f"a sample has a structured data type that cannot be: {error}") from None
    if dtype.itemsize != itemsize or not itemsize:
        raise FormatError(f"a sample has a data type of {itemsize} bytes")
    return dtype


def read_tensor_dtype(cursor: Cursor) -> tuple[np.dtype[Any], str]:
    """Read the data type of a tensor; returns it, or that of its bits with the name of what numpy does not have."""
    name = cursor.take(cursor.byte()).decode("ascii", "replace")
    if name in sample_spec.TENSOR_DTYPES:
        return np.dtype(name), ""
    if name in sample_spec.TENSOR_BITS:
        return np.dtype(sample_spec.TENSOR_BITS[name]), name
    raise UnsupportedVersionError(f"a sample has a tensor of the data type {name!r}, which is unknown here{_NEWER}")


def has_kind(dtype: np.dtype[Any], kinds: str) -> bool:
    """Say whether a data type, or one of its fields, is of one of these kinds, as numpy's letters."""
    if dtype.names is None:
        return dtype.base.kind in kinds
    return any(has_kind(dtype[name], kinds) for name in dtype.names)


def check_text(array: np.ndarray[Any, Any]) -> None:
    """Raise unless all code points of an array are some: numpy would fail on others whenever it shows them.

    Raises:
        FormatError: If one is too great.
    """
    if array.dtype.names is not None:
        for name in array.dtype.names:
            if has_kind(array.dtype[name], "U"):
                check_text(array[name])
        return
    code_points = np.ascontiguousarray(array).reshape(-1).view(array.dtype.str[0] + "u4")
    if code_points.max(initial=0) > sys.maxunicode:
        raise FormatError(f"a sample has an array of text with the code point {code_points.max():#x}")


class _UnfitError(Exception):
    """A data type that the codec does not have."""


def _packed(dtype: np.dtype[Any], depth: int = 0) -> bytes:
    if dtype.hasobject or not dtype.itemsize or depth > _MAX_DTYPE_DEPTH:
        raise _UnfitError
    if dtype.names is None:
        # Types of other packages call themselves raw bytes.
        if not _PLAIN.fullmatch(dtype.str) or np.dtype(dtype.str) != dtype:
            raise _UnfitError
        return bytes([len(dtype.str)]) + dtype.str.encode("ascii")
    fields = dtype.fields
    parts = [struct.pack("<BII", sample_spec.DTYPE_STRUCT, dtype.itemsize, len(dtype.names))]
    for name in dtype.names:
        field, offset, *titles = fields[name]  # type: ignore[index]  # there are fields where there are names
        if titles:
            raise _UnfitError
        base, shape = field.subdtype or (field, ())
        parts += [struct.pack("<I", offset), text_bytes(name), struct.pack(f"<B{len(shape)}I", len(shape), *shape)]
        parts.append(_packed(base, depth + 1))
    return b"".join(parts)
