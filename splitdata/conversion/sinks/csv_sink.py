"""CSV: each record is a row: a sample with fields of text and numbers, or bytes that are a JSON object of these.

CSV has text alone: numbers come back as text unless the reader is told their types.

    {"id": 7, "text": "a,b"}    ──> id,text
                                    7,"a,b"
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from splitdata.conversion.sinks.sink import ExportedRecord, fields_of, refuse

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CsvSink"]

_FORM = "CSV"


class CsvSink:
    """Writes one file with a header."""

    def __init__(self, path: Path, codec: str | None) -> None:
        """Take its path, and the codec of the records."""
        self._file = path.open("x", encoding="utf-8", newline="", buffering=1 << 20)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._codec = codec
        self._types: dict[str, type] | None = None

    def begin_like(self, first: ExportedRecord) -> None:
        """Take the columns of a record that another file has in front: this one goes on, without the header."""
        if self._codec in (None, "bytes"):
            first = ExportedRecord(first.position, first.key, self._object_of(first))
        self._types = {name: type(value) for name, value in fields_of(first, _FORM).items()}

    def write(self, record: ExportedRecord) -> None:
        """Write one row."""
        if self._codec in (None, "bytes"):
            record = ExportedRecord(record.position, record.key, self._object_of(record))
        fields = fields_of(record, _FORM)
        if self._types is None:
            self._types = {name: type(value) for name, value in fields.items()}
            self._rows.writerow(self._types)
        if list(fields) != list(self._types):
            refuse(record, None, record.value, _FORM, f"its fields are not {', '.join(self._types)}")
        for name, value in fields.items():
            if type(value) not in (str, int, float, bool):
                refuse(record, name, value, _FORM)
            if type(value) is not self._types[name]:
                refuse(record, name, value, _FORM, f"before it was {self._types[name].__name__}")
            if type(value) is str and ("\0" in value or not _is_text(value)):
                refuse(record, name, value, _FORM, "it is no text that UTF-8 has")
        self._rows.writerow(fields.values())

    @staticmethod
    def _object_of(record: ExportedRecord) -> Any:
        try:
            return json.loads(record.value.decode())
        except (ValueError, RecursionError):
            refuse(record, None, record.value, _FORM, "it takes samples, and bytes that are JSON objects")

    def finish(self) -> None:
        """Write what is left."""
        self._file.close()

    close = finish


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
