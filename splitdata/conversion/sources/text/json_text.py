"""What a JSON text says: each field once, numbers as Python has them; by orjson where it is installed.

orjson takes less time, and says nothing of a few things that matter here. What it refuses, or may be one of them,
is read by json, which makes every error and stays the truth.

    text ──orjson──> value ── as many fields as colons that may stand behind a name? no large float, not deep? ──> value
             `─ refused: NaN, lone surrogates                     `─ no: twice the same field, 2^64 as a float
    text ──json────> value, or ValueError
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from splitdata._shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["json_value", "json_value_of_line"]

# Before a colon behind a name JSON has the quote that ends it, or a blank.
_NAME_ENDS: Final = (b'"', b" ", b"\t", b"\r", b"\n")
# As a float it may have been an integer of more than 64 bits, which orjson makes one.
_LARGE: Final = 9e18
# Samples are no deeper, and json knows another limit.
_MAX_DEPTH: Final = 64


def json_value(text: str) -> Any:
    """Return what a text says; ValueError if it is no JSON, has a field twice, or is nested too deeply."""
    try:
        try:
            # `decode` looks for blanks around it, which takes as long as a short text itself.
            value, end = _DECODER.raw_decode(text)
        except ValueError:
            end = -1
        return value if end == len(text) else _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_value_of_line(line: bytes) -> Any:
    """Return what a text in UTF-8 says; raises as `json_value`."""
    loads = _orjson()
    if loads is None:
        return json_value(line.decode())
    try:
        value = loads(line)
        num_fields = _num_fields(value, 0)
    except ValueError:
        return json_value(line.decode())
    # Each field has one colon, and those in texts only add to it: equal numbers leave none for a field of equal name.
    if num_fields == line.count(b":") or num_fields == _num_colons_behind_names(line):
        return value
    return json_value(line.decode())


def _num_colons_behind_names(line: bytes) -> int:
    """Return how many colons may stand behind a name: all that do, and some in texts."""
    *before, _ = line.split(b":")
    return sum([part.endswith(_NAME_ENDS) for part in before])


def _num_fields(value: Any, depth: int) -> int:
    """Return how many fields there are in all; ValueError where orjson may have read it otherwise than json."""
    kind = type(value)
    if kind is float:
        if not -_LARGE < value < _LARGE:
            raise ValueError("it may have been an integer")
        return 0
    if kind is dict:
        count, parts = len(value), value.values()
    elif kind is list:
        count, parts = 0, value
    else:
        return 0
    if depth > _MAX_DEPTH:
        raise ValueError("it is deep")
    for part in parts:
        if type(part) in _LOOKED_INTO:
            count += _num_fields(part, depth + 1)
    return count


_LOOKED_INTO: Final = frozenset({float, dict, list})


@cache
def _orjson() -> Callable[[bytes], Any] | None:
    try:
        import orjson
    except ImportError:
        return None
    loads: Callable[[bytes], Any] = orjson.loads
    return loads


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has the field {shown(next(name for name in names if names.count(name) > 1))} twice")
    return found


# `json.loads` makes one for each text, which takes as long as a short text itself.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_distinct)
