"""Advice at the end of an error's message: into what to convert a value that a sample cannot hold.

    OrderedDict     "; store dict(x)"     pandas.Timestamp      "; store x.to_datetime64()"
    bytearray       "; store bytes(x)"    array of a JAX type   "; store x.astype('float32')"

Each was tried: the result of each is stored. Classes of other packages are recognised by what they offer.
"""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import mmap
import os
import uuid
from collections.abc import Iterable, Mapping, Set
from typing import Any, Final

import numpy as np

__all__ = ["conversion_of", "conversion_of_dtype"]

# The first that fits counts: what is more than one thing stands where it loses least.
_BY_CLASS: Final[tuple[tuple[type, str], ...]] = (
    (enum.Enum, "x.value"),
    (np.bool_, "bool(x)"),
    (np.floating, "float(x)"),
    (np.integer, "int(x)"),
    # A package whose scalars have no class above.
    (np.generic, "float(x)"),
    (Mapping, "dict(x)"),
    (array.array, "numpy.array(x)"),
    (bytearray, "bytes(x)"),
    (bytes, "bytes(x)"),
    (memoryview, "bytes(x)"),
    (mmap.mmap, "x[:]"),
    (str, "str(x)"),
    (int, "int(x)"),
    (float, "float(x)"),
    (complex, "numpy.complex128(x)"),
    (decimal.Decimal, "str(x)"),
    (fractions.Fraction, "float(x)"),
    (uuid.UUID, "str(x)"),
    (datetime.time, "x.isoformat()"),
    (tuple, "tuple(x)"),
    (Set, "sorted(x)"),
    (collections.deque, "list(x)"),
    (os.PathLike, "os.fspath(x)"),
)
_BY_OFFER: Final = (
    ("to_datetime64", "x.to_datetime64()"),
    ("to_timedelta64", "x.to_timedelta64()"),
    ("detach", "x.detach().cpu()"),
    ("filled", "x.filled()"),
    ("__array__", "numpy.asarray(x)"),
)

_OF_ANOTHER_PACKAGE: Final = 2


def conversion_of(value: object) -> str:
    """Return what a message about a value of no known class ends with; empty if nobody knows."""
    return _says(_conversion(value))


def conversion_of_dtype(dtype: np.dtype[Any]) -> str:
    """Return what a message about an array of an unknown data type ends with; empty if nobody knows."""
    if dtype.kind == "T":
        return _says("x.tolist()")
    if dtype.hasobject:
        return "; an array of objects has no plain bytes" + _says("x.astype('float64'), or x.tolist() of a mixture")
    if dtype.char in "gG":
        return _says(f"x.astype('{'complex128' if dtype.char == 'G' else 'float64'}')")
    if dtype.isbuiltin == _OF_ANOTHER_PACKAGE:
        # bfloat16 and its like, as JAX has them.
        return _says(f"x.astype('float32'), or of the bits x.view('uint{8 * dtype.itemsize}')")
    return ""


def _conversion(value: object) -> str:
    if isinstance(value, type):
        return ""
    for name, conversion in _BY_OFFER:
        if hasattr(value, name) and not isinstance(value, np.generic):
            return conversion
    for cls, conversion in _BY_CLASS:
        if isinstance(value, cls):
            return conversion
    return "list(x)" if isinstance(value, Iterable) else ""


def _says(conversion: str) -> str:
    return f"; store {conversion}" if conversion else ""
