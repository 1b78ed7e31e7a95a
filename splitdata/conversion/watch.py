"""How far a conversion has come, and what it has done in the end.

Records are counted as they go by, so that a shuffle or a commit on the way changes nothing here.

    source ──records──> watched: counts ──> writer          every 256 records and every MiB: ConversionProgress
                                                            at the end: ConversionReport
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from splitdata._payload import is_file, payload
from splitdata.conversion.steps.failures import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from splitdata._types import BytesLike, ReadableFile
    from splitdata.conversion.dry_run import FirstRecord
    from splitdata.conversion.resumable import ResumedConversion
    from splitdata.conversion.sources.source import Record, RecordSource

__all__ = ["ConversionProgress", "ConversionReport", "ConversionWatch"]

_RECORDS_PER_REPORT: Final = 256
_BYTES_PER_REPORT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ConversionProgress:
    """The progress of a conversion.

    Attributes:
        num_records: Records taken.
        num_bytes: Their bytes.
        source_bytes: Bytes of the source that were read, compressed where it is. A shuffle counts them
            twice: it reads all of them before it gives the first record.
    """

    num_records: int
    num_bytes: int
    source_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """The report of a conversion.

    Attributes:
        path: The dataset, as an absolute path.
        kind: How the source was read.
        positions: Of the new records in the dataset.
        num_bytes: Of the new records together.
        num_bins: That the new records were written to.
        skipped: What the source left out: what each thing is, and how many there were.
        is_dry_run: Nothing was written; this is what would have been.
        first_records: Of a dry run: the first three records, in the order of the source.
        num_resumed: Records that earlier calls of a resumed conversion had committed.
        was_finished: It was finished before, and nothing was done.
        num_between: Records among the positions that another program has appended meanwhile.
    """

    path: str
    kind: str
    positions: range
    num_bytes: int
    num_bins: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    is_dry_run: bool = False
    first_records: tuple[FirstRecord, ...] = ()
    num_resumed: int = 0
    was_finished: bool = False
    num_between: int = 0

    @property
    def num_records(self) -> int:
        """Records added."""
        return len(self.positions) - self.num_between

    @property
    def num_failed(self) -> int:
        """Records that were left out as `transform` or `where` failed on them; among those skipped."""
        return self.skipped.get(FAILED, 0)


class ConversionWatch:
    """Counts what goes by and reports it now and then."""

    def __init__(self, source: RecordSource, progress: Callable[[ConversionProgress], None] | None) -> None:
        self.num_records = 0
        self.num_bytes = 0
        self.source = source
        self._progress = progress
        self._next_bytes = 0

    def watched(self, records: Iterable[Record]) -> Generator[BytesLike | ReadableFile, None, None]:
        """Pass records on."""
        for record in records:
            if type(record) is bytes:
                self.num_bytes += len(record)
            elif is_file(record):
                record = _WatchedFile(record, self)
            else:
                self.num_bytes += len(payload(record))
            yield record
            self.num_records += 1
            if self.num_bytes >= self._next_bytes or not self.num_records % _RECORDS_PER_REPORT:
                self.report()

    def report(self) -> None:
        """Tell how far it has come."""
        self._next_bytes = self.num_bytes + _BYTES_PER_REPORT
        if self._progress:
            self._progress(ConversionProgress(self.num_records, self.num_bytes, self.source.bytes_read))

    def final_report(self, dest: str, positions: range, *, num_bins: int) -> ConversionReport:
        """Tell for the last time how far it has come, and return what was done."""
        self.report()
        return ConversionReport(
            path=dest,
            kind=self.source.kind,
            positions=positions,
            num_bytes=self.num_bytes,
            num_bins=num_bins,
            skipped=dict(self.source.skipped),
        )

    def resumed_report(self, dest: str, resumed: ResumedConversion) -> ConversionReport:
        """Tell for the last time how far it has come, and return what a resumable conversion has done."""
        return replace(
            self.final_report(dest, resumed.positions, num_bins=resumed.num_bins),
            num_resumed=resumed.num_resumed,
            was_finished=resumed.was_finished,
            num_between=resumed.num_between,
        )


class _WatchedFile:
    """A record that is read as a file: one of many gigabytes shows progress too."""

    def __init__(self, file: Any, watch: ConversionWatch) -> None:  # may also have tell and seek
        self._file = file
        self._watch = watch

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._file.read(size)
        self._watch.num_bytes += len(data)
        self._watch.report()
        return data

    def tell(self) -> int:
        place: int = self._file.tell()
        return place

    def seek(self, offset: int, whence: int = 0, /) -> int:
        place: int = self._file.seek(offset, whence)
        return place
