"""What sources have in common that read records with keys from one file.

The number of a record is the position behind those before it.

    keyed_records(position) ──> records, and their number is the position
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

from splitdata.conversion.sources.files.input_file import FileSource, InputFile
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Generator

    from splitdata.conversion.sources.source import Record, SourcePosition

__all__ = ["ArchiveFile"]


class ArchiveFile(FileSource, ABC):
    """One file of records with keys."""

    def __init__(self, path: str) -> None:
        """Take a path; raises as `InputFile` does."""
        self._input = InputFile(path, is_archive=True)
        self.skipped: Counter[str] = Counter()
        self._bytes_read = 0

    @property
    def bytes_read(self) -> int:
        """Bytes of the file read so far."""
        return self._bytes_read

    @abstractmethod
    def keyed_records(self, position: SourcePosition | None = None) -> Generator[tuple[Any, Record], None, None]:
        """Yield the key of each record behind a position, and the record."""

    def __iter__(self) -> Generator[Record, None, None]:
        """Yield the records; raises as `keyed_records` does."""
        with closing(self.keyed_records()) as pairs:
            for _, record in pairs:
                yield record

    def _refusal(self, what: str) -> SourceError:
        return SourceError(f"{self._input.shown} {what}", path=self._input.path)
