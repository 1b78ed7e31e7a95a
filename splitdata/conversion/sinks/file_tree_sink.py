"""A folder of files: each record is one, its key the path; one without a key is named by its position.

What the record is gives a name without a suffix one, on request: png, jpg, json, ... Files that `splitdata write` has
read come out under their own names.

    key a/1.jpg ──> a/1.jpg        key a/1, a PNG ──> a/1.png        position 7, a text ──> 000000007.txt
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from splitdata.conversion.sinks.safe_paths import NewFiles, parts_of_key
from splitdata.conversion.sinks.sink import ExportedRecord, refuse
from splitdata.samples.media import media_of

__all__ = ["FileTreeSink"]

_FORM: Final = "a file"
# Of records whose codec says what they are.
_SUFFIXES: Final[dict[str | None, str]] = {"text": "txt", "json": "json", "npy": "npy"}


class FileTreeSink:
    """Writes each record into a file of its own."""

    def __init__(self, folder: Path, codec: str | None, *, adds_suffix: bool = False) -> None:
        """Take the folder, the codec that the bytes are of, and whether keys without a suffix get one."""
        self._files = NewFiles(folder)
        self._suffix = _SUFFIXES.get(codec)
        self._adds_suffix = adds_suffix

    def write(self, record: ExportedRecord) -> None:
        """Write one file; a sample is none, but for one that is bytes or text."""
        value = record.value
        if isinstance(value, str):
            value = value.encode()
        if not isinstance(value, bytes):
            refuse(record, None, value, _FORM, "column=NAME (--column NAME) takes one field of each sample")
        with self._files.open(self._name(record, value)) as file:
            rest = memoryview(value)
            while rest:
                rest = rest[file.write(rest) :]

    def _name(self, record: ExportedRecord, data: bytes) -> list[str]:
        parts = [f"{record.position:09d}"] if record.key is None else parts_of_key(record.key)
        if record.key is None or (self._adds_suffix and not Path(parts[-1]).suffix):
            parts[-1] += f".{self._suffix or media_of(data).suffix}"
        return parts

    def finish(self) -> None:
        """Each file is whole when it was written."""

    def close(self) -> None:
        """No file is open between two records."""
