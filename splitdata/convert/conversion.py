"""A source becomes a dataset, whole or not at all.

source ──record by record──> SplitWriter ──end of the source──> one commit ──> ConversionReport
  │                  `─> progress, every 256 records and every MiB
  `─ in random order (shuffle.py) on request; without a writer (dry_run.py) on request
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from splitdata.convert.choose import open_source
from splitdata.convert.dry_run import DryRun
from splitdata.convert.folder import FolderSource
from splitdata.convert.shuffle import ShuffledSource
from splitdata.dataset.writer import SplitWriter
from splitdata.order.permutation import derive_key

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping

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
        source_bytes: Bytes of the source that were read, compressed where it is. A shuffle counts them
            twice: it reads all of them before it gives the first record.
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
        num_bins: That the new records were written to.
        skipped: What the source left out: what each thing is, and how many there were.
        is_dry_run: Nothing was written; this is what would have been.
    """

    path: str
    kind: str
    positions: range
    num_bytes: int
    num_bins: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    is_dry_run: bool = False

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
    dictionary: bool = False,
    durability: Literal["commit", "none"] = "commit",
    metadata: dict[str, Any] | None = None,
    reproducible: bool = False,
    limit: int | None = None,
    shuffle: int | None = None,
    dry_run: bool = False,
    progress: Callable[[ConversionProgress], None] | None = None,
) -> ConversionReport:
    """Write all records of a source into a dataset and commit once, at the end.

    The files of a folder get their paths in it as keys.

    All or nothing: after any error, and after Ctrl-C, the dataset is as it was before.

    Args:
        source: What `open_source` gave, or takes.
        dest: The dataset; not inside a folder that is read.
        bins: As `SplitWriter` takes it, and so are the next four.
        mode: Whether there must be no dataset yet.
        compression: Of each record.
        compression_level: Of zstd.
        dictionary: Compress with what the first records have in common, where that pays.
        durability: Whether to wait for the medium.
        metadata: Stored with the dataset. None stores kind and name of the source as "source", except
            when appending, which leaves what is there.
        reproducible: Equal options and an equal source of equal name give equal files.
        limit: Take only so many records from the front.
        shuffle: Write the records in a random order that this seed and their number alone decide; every
            order is equally likely. About 256 MiB of memory are used for it; what does not fit waits in a
            temporary file beside `dest`, as large as all records uncompressed.
        dry_run: Read the source to its end and report what would be written, but write nothing.
        progress: Called in this thread while records are written.

    Raises:
        SourceError: If the source is damaged, truncated or of another kind.
        DatasetExistsError: If the mode does not allow what is there.
        ValueError, TypeError: If an argument is none.
        OSError: If reading or writing fails.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more records, got {limit}")
    if shuffle is not None:
        derive_key(shuffle)
    if isinstance(source, (str, os.PathLike, Sequence)):
        source = open_source(source)
    _check_apart(source, dest)
    watch = _Watch(source, progress)
    if dry_run:
        return _try_out(watch, dest, mode=mode, bins=bins, limit=limit)
    if shuffle is not None:
        folder = str(Path(dest).resolve().parent)
        source = watch.source = ShuffledSource(source, shuffle, folder=folder, limit=limit, tick=watch.report)
    if metadata is None and mode != "append":
        metadata = {"source": {"kind": source.kind, "name": _storable(source.name)}}
        if shuffle is not None:
            metadata["source"]["shuffle"] = shuffle
    with SplitWriter(
        dest,
        bins=bins,
        mode=mode,
        compression=compression,
        compression_level=compression_level,
        dictionary=dictionary,
        durability=durability,
        metadata=metadata,
        reproducible=source.identity() if reproducible else False,
    ) as writer:
        _write(source, limit, writer, watch)
        positions = writer.commit()
        num_bins = writer.num_bins or 0
    return watch.final_report(dest, positions, num_bins=num_bins)


def _try_out(
    watch: _Watch, dest: str | os.PathLike[str], *, mode: str, bins: int | None, limit: int | None
) -> ConversionReport:
    """Read a source to its end, and report what would be written."""
    run = DryRun(dest, mode=mode, bins=bins)
    with closing(iter(watch.source)) as records:
        run.take(watch.watched(islice(records, limit)))
    return watch.final_report(dest, run.positions, num_bins=run.num_bins, is_dry_run=True)


def _write(source: RecordSource, limit: int | None, writer: SplitWriter, watch: _Watch) -> None:
    """Write the records of a source, those of a folder with their relative paths as keys."""
    # Closed at once, so that files are released before the error is looked at.
    if not isinstance(source, FolderSource):
        with closing(iter(source)) as records:
            writer.write_many(watch.watched(islice(records, limit)))
        return
    with closing(source.keyed_records()) as pairs:
        # A path is one step ahead of the file that the watch passes on.
        paths: deque[str] = deque()
        for record in watch.watched(_noting(islice(pairs, limit), paths)):
            writer.write(record, key=_storable(paths.popleft()))


def _noting(pairs: Iterable[tuple[str, Record]], paths: deque[str]) -> Iterator[Record]:
    """Pass on records, and put their paths aside."""
    for path, record in pairs:
        paths.append(path)
        yield record


class _Watch:
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
            self._progress(ConversionProgress(self.num_records, self.num_bytes, self.source.bytes_read))

    def final_report(
        self, dest: str | os.PathLike[str], positions: range, *, num_bins: int, is_dry_run: bool = False
    ) -> ConversionReport:
        """Tell for the last time how far it has come, and return what was done."""
        self.report()
        return ConversionReport(
            path=os.fspath(dest),
            kind=self.source.kind,
            positions=positions,
            num_bytes=self.num_bytes,
            num_bins=num_bins,
            skipped=dict(self.source.skipped),
            is_dry_run=is_dry_run,
        )


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
