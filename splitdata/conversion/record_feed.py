"""Passes the records of a source to a writer, whole files with their paths as keys.

Plain and resumable conversions share it: it goes on from any position, up to any number of records.

    source ──from a position, up to a limit──> records ──(counted, paced)──> write ──> SplitWriter
       `─ paths of the files, one step ahead ────────────────────────────────^ keys
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from splitdata.conversion.sources.seek import records_from
from splitdata.conversion.sources.source import KeyedSource, storable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from splitdata.conversion.sources.source import Record, RecordSource, SourcePosition
    from splitdata.dataset.writer import SplitWriter

__all__ = ["RecordFeed"]


class RecordFeed:
    """One iteration over a source.

    Attributes:
        records: The records, to be passed on to `write` one by one.
    """

    def __init__(
        self, source: RecordSource, position: SourcePosition | None = None, *, limit: int | None = None
    ) -> None:
        """Begin behind a position, and end after so many records."""
        self._paths: deque[str | None] | None = None
        if isinstance(source, KeyedSource):
            self._paths = deque()
            self._opened: Generator[object, None, None] = (pairs := source.keyed_records(position))
            records: Iterator[Record] = self._noting(pairs, self._paths)
        else:
            self._opened = records = records_from(source, position)
        self.records = islice(records, limit)

    def write(self, writer: SplitWriter, records: Iterable[Record]) -> int:
        """Write records that were passed on from here; returns how many there were."""
        # A sample takes its schema along from the source to the dataset, where all share it.
        write_many = writer.write_encoded if writer.codec == "sample" else writer.write_many
        if self._paths is None:
            return write_many(records)
        count = 0
        for record in records:
            write_many([record], keys=[self.next_key()])
            count += 1
        return count

    def next_key(self) -> str | None:
        """Return the key of the record that was passed on last; to be asked for once each, in their order."""
        path = None if self._paths is None else self._paths.popleft()
        return None if path is None else storable(path)

    def close(self) -> None:
        """Release files at once, so that they are closed before an error is looked at."""
        self._opened.close()

    @staticmethod
    def _noting(pairs: Iterable[tuple[str | None, Record]], paths: deque[str | None]) -> Iterator[Record]:
        """Pass on records, and put their paths aside."""
        for path, record in pairs:
            paths.append(path)
            yield record
