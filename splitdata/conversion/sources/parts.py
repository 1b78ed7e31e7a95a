"""Sources whose records can be read in parts, by several processes at once.

A part is a source itself, which is sent to another process and read there from its beginning. Parts are cut in the same
way each time, by what is read alone, and are given one by one: there may be millions.

    source ──parts──> part 0 | part 1 | part 2 ...        their records, end to end, are those of the source
    files by the dozen      folder, list of files, zip
    pieces of one file      lines and JSONL that are not compressed, Parquet, Arrow, a dataset
    a whole file            everything else that lies in files; several sources: those of each
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Generator

    from splitdata.conversion.sources.source import RecordSource

__all__ = ["PartedSource", "has_parts"]


@runtime_checkable
class PartedSource(Protocol):
    """A source that can be read in parts."""

    @property
    def has_parts(self) -> bool:
        """Whether this one can: standard input, for one, cannot."""

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the parts, of about so many bytes each at most where they can be cut.

        What is left out between parts counts in `skipped` of this source, and what is left out in one in its own.
        Numbers of records in the errors of a part count from its beginning.

        Raises:
            SourceError, OSError: As reading does, where it can be told from here.
        """


def has_parts(source: object) -> bool:
    """Say whether a source can be read in parts."""
    return isinstance(source, PartedSource) and source.has_parts
