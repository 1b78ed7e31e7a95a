"""The types of fields by their names, and values of JSON or texts of CSV as values of these types.

A value never depends on the rows around it; but types that are not given for CSV are told by its first rows.

    int, float, bool, str       Python's             int8, float32, ...    numpy scalars
    float32[]                   an array             json                  what a JSON text says
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata._shown import shown
from splitdata.conversion.sources.text.json_text import json_value, json_value_of_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["JsonFields", "RowFields", "check_types", "told_types"]

_PLAIN: Final = ("int", "float", "bool", "str", "json")
_NUMBERS: Final = (
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
# What Python writes again as it stands: "007" and "1_000" are texts.
_INT: Final = re.compile(r"0|-?[1-9][0-9]{0,999}")
_FLOAT: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf)", re.IGNORECASE)
_BOOLS: Final = {"true": True, "false": False, "1": True, "0": False}


def check_types(types: Mapping[str, str]) -> None:
    """Raise ValueError for the name of a type that is none."""
    for name, kind in types.items():
        if kind not in _PLAIN and kind.removesuffix("[]") not in (*_NUMBERS, "bool"):
            known = ", ".join((*_PLAIN, *_NUMBERS, "float32[] and the like"))
            raise ValueError(f"the type of {name} must be one of {known}; got {kind!r}")


def told_types(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the type of each column: int or float if all texts are such numbers or empty, else str."""
    types: dict[str, str] = {}
    seen: set[str] = set()
    for row in rows:
        for name, text in row.items():
            before = types.setdefault(name, "int")
            if text and before != "str":
                seen.add(name)
                is_int, is_float = bool(_INT.fullmatch(text)), bool(_FLOAT.fullmatch(text))
                has_zeros = is_float and re.match(r"[+-]?0[0-9]", text)
                types[name] = before if is_int else "float" if is_float and not has_zeros else "str"
    return {name: kind if name in seen else "str" for name, kind in types.items()}


class JsonFields:
    """Makes a value of a line of JSON; some of its fields are of types that are given."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = dict(types)

    def __call__(self, record: bytes) -> Any:
        """Return the value; ValueError if the line is no JSON, or a field is missing or of another type."""
        value = json_value_of_line(record)
        if not self._types:
            return value
        if not isinstance(value, dict):
            raise ValueError(f"it is no object with fields but {type(value).__name__}")
        for name, kind in self._types.items():
            if name not in value:
                raise ValueError(f"it has no field {name!r}")
            value[name] = None if value[name] is None else _typed(value[name], kind, name)
        return value


class RowFields:
    """Makes a dict of a row, whose columns are of types; an empty text is None where it is of no text."""

    def __init__(self, types: Mapping[str, str]) -> None:
        self._types = dict(types)

    def __call__(self, record: bytes) -> dict[str, Any]:
        """Return the values; ValueError if one is not of its type."""
        row: dict[str, Any] = json.loads(record)
        for name in self._types:
            if name not in row:
                raise ValueError(f"it has no column {name!r}; it has {shown(list(row))}")
        return {name: self._value(text, name) for name, text in row.items()}

    def _value(self, text: str, name: str) -> Any:
        kind = self._types.get(name, "str")
        if kind == "str":
            return text
        if not text:
            return None
        if kind.endswith("[]") or kind == "json":
            return _typed(json_value(text), kind, name)
        if kind == "bool":
            if text.lower() not in _BOOLS:
                raise _unfit(text, kind, name)
            return _BOOLS[text.lower()]
        pattern = _FLOAT if kind.startswith("float") else _INT
        if not pattern.fullmatch(text):
            raise _unfit(text, kind, name)
        return _typed(float(text) if pattern is _FLOAT else int(text), kind, name)


def _typed(value: Any, kind: str, name: str) -> Any:
    """Return a value of JSON as one of a type."""
    if kind == "json":
        return value
    if kind.endswith("[]"):
        try:
            array = np.array(value)
        except ValueError:
            raise _unfit(value, kind, name) from None
        wanted = np.dtype(kind.removesuffix("[]"))
        if array.size and not (array.dtype.kind in "iuf" and _holds(array, wanted)) and array.dtype != wanted:
            raise _unfit(value, kind, name)
        return array.astype(wanted)
    expected: tuple[type, ...] = {"bool": (bool,), "str": (str,), "float": (int, float), "int": (int,)}.get(
        kind.rstrip("0123456789").removeprefix("u"), ()
    )
    if type(value) not in expected:
        raise _unfit(value, kind, name)
    if kind == "float":
        return float(value)
    if kind in _PLAIN:
        return value
    if not _holds(np.array(value), np.dtype(kind)):
        raise _unfit(value, kind, name)
    return np.dtype(kind).type(value)


def _holds(array: np.ndarray[Any, Any], wanted: np.dtype[Any]) -> bool:
    """Say whether a data type holds numbers: of whole ones all in their range, of others any, but only as such."""
    if array.dtype.kind not in "iuf" or wanted.kind not in "iuf":
        return False
    if wanted.kind == "f":
        finite = array[np.isfinite(array)]
        return not finite.size or float(np.abs(finite).max()) <= float(np.finfo(wanted).max)
    if array.dtype.kind == "f":
        return False
    about = np.iinfo(wanted)
    return not array.size or (int(array.min()) >= about.min and int(array.max()) <= about.max)


def _unfit(value: object, kind: str, name: str) -> ValueError:
    return ValueError(
        f"the field {name!r} is {shown(value)}, which is no {kind}; say its type: types={{{name!r}: 'str'}}"
    )
