"""A source becomes a dataset, whole or not at all.

source ──record by record──> SplitWriter ──end of the source──> one commit ──> ConversionReport
                     `─> progress, every 256 records and every MiB
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from splitdata.convert.choose import open_source
from splitdata.dataset.writer import SplitWriter

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    from splitdata._types import BytesLike, ReadableFile
    from splitdata.convert.source import Record, RecordSource

__all__ = ["ConversionProgress", "ConversionReport", "convert"]

_RECORDS_PER_REPORT: Final = 256
_BYTES_PER_REPORT: Final = 1 << 20
_DEFAULT_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class ConversionProgress:
    """How far a conversion has come.

    Attributes:
        num_records: Records taken.
        num_bytes: Their bytes.
        source_bytes: Bytes of the source that were read, compressed where it is.
    """

    num_records: int
    num_bytes: int
    source_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """What a conversion did.

    Attributes:
        path: The dataset.
        kind: How the source was read.
        positions: Of the new records in the dataset.
        num_bytes: Of the new records together.
        skipped: What the source left out: what each thing is, and how many there were.
    """

    path: str
    kind: str
    positions: range
    num_bytes: int
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_records(self) -> int:
        """Records added."""
        return len(self.positions)


def convert(
    source: RecordSource | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    bins: int | None = None,
    mode: Literal["create", "append", "overwrite"] = "create",
    compression: Literal["zstd"] | None = None,
    compression_level: int = _DEFAULT_LEVEL,
    durability: Literal["commit", "none"] = "commit",
    metadata: dict[str, Any] | None = None,
    reproducible: bool = False,
    limit: int | None = None,
    progress: Callable[[ConversionProgress], None] | None = None,
) -> ConversionReport:
    """Write all records of a source into a dataset and commit once, at the end.

    All or nothing: after any error, and after Ctrl-C, the dataset is as it was before.

    Args:
        source: What `open_source` gave, or takes.
        dest: The dataset; not inside a folder that is read.
        bins: As `SplitWriter` takes it, and so are the next four.
        mode: Whether there must be no dataset yet.
        compression: Of each record.
        compression_level: Of zstd.
        durability: Whether to wait for the medium.
        metadata: Stored with the dataset. None stores kind and name of the source as "source", except
            when appending, which leaves what is there.
        reproducible: Equal options and an equal source of equal name give equal files.
        limit: Take only so many records from the front.
        progress: Called in this thread while records are written.

    Raises:
        SourceError: If the source is damaged, truncated or of another kind.
        DatasetExistsError: If the mode does not allow what is there.
        ValueError, TypeError: If an argument is none.
        OSError: If reading or writing fails.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more records, got {limit}")
    if isinstance(source, (str, os.PathLike, Sequence)):
        source = open_source(source)
    _check_apart(source, dest)
    if metadata is None and mode != "append":
        metadata = {"source": {"kind": source.kind, "name": _storable(source.name)}}
    watch = _Watch(source, progress)
    with SplitWriter(
        dest,
        bins=bins,
        mode=mode,
        compression=compression,
        compression_level=compression_level,
        durability=durability,
        metadata=metadata,
        reproducible=source.identity() if reproducible else False,
    ) as writer:
        # Closed at once, so that files are released before the error is looked at.
        with closing(iter(source)) as records:
            writer.write_many(watch.watched(islice(records, limit)))
        positions = writer.commit()
    watch.report()
    return ConversionReport(
        path=os.fspath(dest),
        kind=source.kind,
        positions=positions,
        num_bytes=watch.num_bytes,
        skipped=dict(source.skipped),
    )


class _Watch:
    """Counts what goes by and reports it now and then."""

    def __init__(self, source: RecordSource, progress: Callable[[ConversionProgress], None] | None) -> None:
        self.num_records = 0
        self.num_bytes = 0
        self._source = source
        self._progress = progress
        self._next_bytes = 0

    def watched(self, records: Iterable[Record]) -> Generator[BytesLike | ReadableFile, None, None]:
        """Pass records on."""
        for record in records:
            if type(record) is bytes:
                self.num_bytes += len(record)
            elif hasattr(record, "read"):
                record = _WatchedFile(record, self)
            else:
                self.num_bytes += memoryview(record).nbytes
            yield record
            self.num_records += 1
            if self.num_bytes >= self._next_bytes or not self.num_records % _RECORDS_PER_REPORT:
                self.report()

    def report(self) -> None:
        """Tell how far it has come."""
        self._next_bytes = self.num_bytes + _BYTES_PER_REPORT
        if self._progress:
            self._progress(ConversionProgress(self.num_records, self.num_bytes, self._source.bytes_read))


class _WatchedFile:
    """A record that is read as a file: one of many gigabytes shows progress too."""

    def __init__(self, file: Any, watch: _Watch) -> None:  # noqa: ANN401  # may also have tell and seek
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


def _check_apart(source: RecordSource, dest: str | os.PathLike[str]) -> None:
    """Raise if the dataset would lie within what is read, and so be read itself."""
    target = Path(dest).resolve()
    for path in source.inputs:
        if target.is_relative_to(Path(path).resolve()):
            raise ValueError(
                f"the dataset {os.fspath(dest)} would lie inside the source {path}; choose a place outside of it"
            )


def _storable(name: str) -> str:
    """Return a name as text that JSON can hold, whatever bytes the file system allows in it."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
