"""JSONL: each record is a line; bytes that are a line of JSON go out as they are, samples as JSON.

JSON has null, true, numbers, text, lists and objects: what else a sample may hold is refused, as are NaN and infinity.

    b'{"a": 1}'           ──> {"a": 1}
    {"a": 1, "b": [2]}    ──> {"a":1,"b":[2]}          {"a": array} ──> SchemaError names a and its type
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from splitdata.conversion.sinks.sink import ExportedRecord, refuse

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["JsonLineSink", "json_of"]

_FORM = "JSON"


class JsonLineSink:
    """Writes one file."""

    def __init__(self, path: Path, codec: str | None) -> None:
        """Take its path, and the codec of the records."""
        self._file = path.open("xb", buffering=1 << 20)
        self._codec = codec

    def write(self, record: ExportedRecord) -> None:
        """Write one line."""
        value = record.value
        if self._codec in (None, "bytes", "json"):
            line = self._line_of(record, value)
        elif self._codec == "text":
            line = json.dumps(value).encode()
        else:
            line = json_of(record, None, value).encode()
        self._file.write(line + b"\n")

    @staticmethod
    def _line_of(record: ExportedRecord, data: bytes) -> bytes:
        try:
            json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            refuse(record, None, data, _FORM, f"these bytes are none: {error}")
        if b"\n" in data or data[-1:].isspace() or data.startswith(b"\xef\xbb\xbf"):
            refuse(record, None, data, _FORM, "a record that is a line has no line ending in it")
        return data

    def finish(self) -> None:
        """Write what is left."""
        self._file.close()

    close = finish


def json_of(record: ExportedRecord, field: str | None, value: Any) -> str:
    """Return a value as JSON that gives it back the same; raises SchemaError for one that has none."""
    _check(record, field, value)
    # Escaped, as lone surrogates have no bytes.
    return json.dumps(value, separators=(",", ":"))


def _check(record: ExportedRecord, field: str | None, value: Any) -> None:
    cls = type(value)
    if cls is dict:
        for name, child in value.items():
            if type(name) is not str:
                refuse(record, field, name, _FORM, "the names in objects are text")
            _check(record, name if field is None else f"{field}.{name}", child)
    elif cls is list:
        for number, child in enumerate(value):
            _check(record, f"{field or ''}[{number}]", child)
    elif cls is float:
        if not math.isfinite(value):
            refuse(record, field, value, _FORM, f"{value} is no JSON number")
    elif value is not None and cls not in (bool, int, str):
        refuse(record, field, value, _FORM)
