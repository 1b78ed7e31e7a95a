"""The types of samples as those of Arrow, such that each value comes back as what it was.

A list of text is no array, and an array of numbers is no list: Arrow has one type for both, so a column is one of them.

    int, float, bool, str, bytes, date     int64, double, bool, string, binary, date32
    numpy scalars, but int64 and float64   their own type; datetime64 timestamp, timedelta64 duration
    arrays of one dimension of numbers     list            lists of what is no number    list
    dict                                   struct          None                          null
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sinks.sink import ExportedRecord, refuse

if TYPE_CHECKING:
    import pyarrow

__all__ = ["NULL", "ArrowType", "type_in_arrow"]

_FORM: Final = "a table"
_UNITS: Final = ("s", "ms", "us", "ns")
_INT64: Final = 1 << 63


@dataclass(frozen=True)
class ArrowType:
    """One type.

    Attributes:
        kind: "null", "leaf", "array", "list" or "struct".
        leaf: What a leaf or the elements of an array are in Arrow.
        parts: Of a struct its fields, of a list its elements under "".
    """

    kind: str
    leaf: pyarrow.DataType | None = None
    parts: tuple[tuple[str, ArrowType], ...] = ()

    def in_arrow(self) -> pyarrow.DataType:
        """Return it as Arrow has it."""
        import pyarrow as pa

        if self.kind == "null":
            return pa.null()
        if self.kind == "leaf":
            return self.leaf
        if self.kind == "array":
            return pa.list_(self.leaf)
        if self.kind == "list":
            return pa.list_(self.parts[0][1].in_arrow())
        return pa.struct([(name, part.in_arrow()) for name, part in self.parts])

    def joined(self, other: ArrowType) -> ArrowType | None:
        """Return the type that holds the values of both, None if there is none."""
        if self == other or other.kind == "null":
            return self
        if self.kind == "null":
            return other
        if self.kind != other.kind or self.kind not in ("list", "struct") or len(self.parts) != len(other.parts):
            return None
        parts = []
        for (name, part), (other_name, other_part) in zip(self.parts, other.parts, strict=True):
            both = part.joined(other_part)
            if both is None or name != other_name:
                return None
            parts.append((name, both))
        return ArrowType(self.kind, None, tuple(parts))


NULL: Final = ArrowType("null")


def type_in_arrow(record: ExportedRecord, field: str, value: Any) -> ArrowType:
    """Return the type of a value; raises SchemaError for one that would come back as another."""
    import pyarrow as pa

    cls = type(value)
    if value is None:
        return NULL
    if cls is int and not -_INT64 <= value < _INT64:
        refuse(record, field, value, _FORM, "it has more than 64 bits")
    plain = {bool: pa.bool_, int: pa.int64, float: pa.float64, str: pa.string, bytes: pa.binary}.get(cls)
    if plain is not None:
        return ArrowType("leaf", plain())
    if cls is datetime.date:
        return ArrowType("leaf", pa.date32())
    if cls is dict and value:
        return _struct(record, field, value)
    if cls is list:
        return _list(record, field, value)
    if isinstance(value, np.ndarray):
        return _array(record, field, value)
    if isinstance(value, np.generic):
        return _scalar(record, field, value)
    refuse(record, field, value, _FORM)


def _struct(record: ExportedRecord, field: str, value: dict[Any, Any]) -> ArrowType:
    for name in value:
        if type(name) is not str:
            refuse(record, field, name, _FORM, "the names of fields are text")
    parts = ((name, type_in_arrow(record, f"{field}.{name}", child)) for name, child in value.items())
    return ArrowType("struct", None, tuple(parts))


def _list(record: ExportedRecord, field: str, value: list[Any]) -> ArrowType:
    inner = NULL
    has_null = any(one is None for one in value)
    for number, one in enumerate(value):
        found = type_in_arrow(record, f"{field}[{number}]", one)
        both = inner.joined(found)
        if both is None:
            refuse(record, f"{field}[{number}]", one, _FORM, "the elements of a list are of one type")
        if found.kind == "leaf" and not has_null and isinstance(one, (bool, int, float, np.number)):
            refuse(record, field, value, _FORM, "a list of numbers comes back as an array, which is taken")
        inner = both
    return ArrowType("list", None, (("", inner),))


def _array(record: ExportedRecord, field: str, value: np.ndarray[Any, Any]) -> ArrowType:
    import pyarrow as pa

    if value.ndim != 1 or value.dtype.kind not in "iufb" or not value.dtype.isnative or value.dtype.itemsize > 8:
        refuse(record, field, value, _FORM, "arrays of one dimension, of numbers, are taken")
    return ArrowType("array", pa.from_numpy_dtype(value.dtype))


def _scalar(record: ExportedRecord, field: str, value: np.generic) -> ArrowType:
    import pyarrow as pa

    kind, name = value.dtype.kind, value.dtype.name
    if kind in "iuf" and name not in ("int64", "float64") and value.dtype.itemsize <= 8:
        return ArrowType("leaf", pa.from_numpy_dtype(value.dtype))
    if kind in "Mm":
        unit, count = np.datetime_data(value.dtype.str)
        if unit in _UNITS and count == 1:
            return ArrowType("leaf", pa.timestamp(unit) if kind == "M" else pa.duration(unit))
    why = "it comes back as Python's, which is taken" if name in ("int64", "float64", "bool") else ""
    refuse(record, field, value, _FORM, why)
