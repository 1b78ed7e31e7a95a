"""Writes the records of a dataset in other formats, whole or not at all, and single records as files.

Each format is a sink; it is given one record after another, in the order of the dataset.

    DIR ──record by record──> sink (sinks/) ──> .DEST.partial ──the last record──> DEST
     `─ part by part, by several processes (parallel/export_parts.py) ─^
"""

from __future__ import annotations

import logging
import os
from contextlib import closing
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from splitdata._local_path import local_path
from splitdata._place import dataset_place, is_url
from splitdata._shown import one_line
from splitdata.conversion.sinks.choose_sink import ExportFormat, part_sizes, sink_maker
from splitdata.conversion.sinks.export_journal import ExportJournal
from splitdata.conversion.sinks.exported_records import ExportedRecords
from splitdata.conversion.sinks.file_tree_sink import FileTreeSink
from splitdata.conversion.sinks.staging import staged
from splitdata.conversion.sinks.table_sink import WidenedError
from splitdata.dataset.reader import SplitDataLoader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from splitdata.conversion.sinks.choose_sink import PartSizes

__all__ = ["ExportReport", "export", "extract"]

_logger = logging.getLogger(__name__)

# How often it is told how far an export is.
_PROGRESS_RECORDS: Final = 256
_PROGRESS_BYTES: Final = 16 << 20
# Of which codecs a format takes the bytes of records as they are.
_RAW: Final = {"files": ("text", "json", "npy"), "tfrecord": ("text", "json", "npy"), "jsonl": ("json",)}


@dataclass(frozen=True, slots=True)
class ExportReport:
    """The report of an export.

    Attributes:
        path: What was written, as an absolute path.
        num_records: In it.
        num_deleted: Records that were left out as they are marked as deleted.
    """

    path: str
    num_records: int
    num_deleted: int


def export(
    path: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    to: ExportFormat,
    column: str | None = None,
    limit: int | None = None,
    keys: bool = True,
    overwrite: bool = False,
    workers: int = 1,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write all records of a dataset in another format, in their order.

    All or nothing: `dest` is there only once it is whole. What a killed export has left beside it is removed by the
    next one. Records come back the same, types included, when they are converted again; what a format cannot hold is
    an error. Bounded memory: a few records, of tables a batch of up to 32 MiB, of MDS a shard.

    Args:
        path: The dataset.
        dest: A file; a folder for "files", "hf", "mds", and for "webdataset" unless it ends with .tar.
        to: The format. "files": each record a file, named by its key or position. "npy": rows of an array, or of one
            for each field if `dest` ends with .npz. "parquet", "arrow" and "hf" need pyarrow.
        column: Of samples: take this field of each as the record.
        limit: At most so many records, from the front.
        keys: Name files by the keys of records, where the format has names; else by their positions.
        overwrite: Replace what is at `dest`.
        workers: Processes that write; what is written is the same for every number. One writes tables, arrays and a
            single tar, as these have no parts.
        resume: Note what is done, and go on where the same call was interrupted or killed; tables, arrays and a single
            tar are begun again.
        progress: Called with the records that are done, and all of them.

    Raises:
        SchemaError: If the format cannot hold a record; the message names field and type.
        StateMismatchError: If an export to resume was of other records, or to another format.
        WorkerCrashedError: If a worker has died.
        FileExistsError: If there is something at `dest`.
        BlockingIOError: If another export to `dest` is at work.
        FormatError: If a record is damaged.
        ModuleNotFoundError: If the library of the format is not installed.
        ValueError: If an argument is invalid.
    """
    if to not in get_args(ExportFormat):
        raise ValueError(f"to must be one of {', '.join(map(repr, get_args(ExportFormat)))}, got {to!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more records, got {limit}")
    if workers < 1:
        raise ValueError(f"workers must be 1 or more processes, got {workers}")
    target = Path(local_path(dest, "what is exported"))
    place = dataset_place(path, "the dataset")
    folder = place if is_url(place) else os.path.realpath(place)
    if not is_url(place) and Path(os.path.realpath(target)).is_relative_to(folder):
        raise ValueError(f"{target} would lie inside the dataset {folder}; choose a place outside of it")
    with SplitDataLoader(path) as loader:
        is_raw = loader.record_codec in _RAW.get(to, ()) if column is None else False
        records = ExportedRecords(loader, column=column, has_keys=keys, is_raw=is_raw)
        run = _Export(records, to, target, limit=limit, overwrite=overwrite, progress=progress)
        sizes = part_sizes(to, target)
        if sizes is None or records.first_position() is None:
            if workers > 1 or resume:
                _logger.info(
                    "%s is written by one process, from its beginning: %s has no parts", one_line(target), one_line(to)
                )
            return run.at_once()
        if workers == 1 and not resume and not sizes.has_shards:
            return run.at_once()
        return run.in_parts(sizes, num_workers=workers, is_resumed=resume)


class _Export:
    """One export, in one of the ways that there are."""

    def __init__(
        self,
        records: ExportedRecords,
        to: ExportFormat,
        dest: Path,
        *,
        limit: int | None,
        overwrite: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._records = records
        self._to = to
        self._dest = dest
        self._limit = limit
        self._overwrite = overwrite
        self._progress = progress

    def at_once(self) -> ExportReport:
        """Write all records into one sink; a table whose types turn out to be others is begun again."""
        make = sink_maker(self._to, self._dest, self._records.codec)
        while True:
            try:
                with staged(self._dest, overwrite=self._overwrite) as (place, _), closing(make(place)) as sink:
                    num_records = 0
                    for part in self._records.cut(_PROGRESS_RECORDS, _PROGRESS_BYTES, 0, self._limit):
                        for record in self._records.given(part):
                            sink.write(record)
                            num_records += 1
                        self._tell(num_records)
                    sink.finish()
            except WidenedError as widened:
                make = partial(make, types=widened.types)
                continue
            return self._report(num_records)

    def in_parts(self, sizes: PartSizes, *, num_workers: int, is_resumed: bool) -> ExportReport:
        """Write it in parts, by so many processes."""
        # Loads what other exports do not need.
        from splitdata.conversion.parallel.export_parts import ExportJob, export_parts

        first = self._records.first_position() or 0
        identity = self._records.identity() | {"to": self._to, "limit": self._limit, "sizes": list(astuple(sizes))}
        with staged(self._dest, overwrite=self._overwrite, is_resumed=is_resumed) as (place, folder):
            num_records = export_parts(
                ExportJob(self._records, self._to, self._dest, folder, first, is_resumed),
                place,
                sizes,
                limit=self._limit,
                num_workers=num_workers,
                journal=ExportJournal(folder, identity) if is_resumed else None,
                progress=self._tell,
            )
        return self._report(num_records)

    def _tell(self, num_records: int) -> None:
        if self._progress:
            self._progress(num_records, min(self._records.num_records, self._limit or self._records.num_records))

    def _report(self, num_records: int) -> ExportReport:
        all_positions = range(self._records.num_records)
        num_deleted = self._records.num_deleted(all_positions) if self._limit is None else 0
        return ExportReport(str(self._dest), num_records, num_deleted)


def extract(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    positions: Iterable[int] | None = None,
    column: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportReport:
    """Write records as files into a folder: keys are their paths, and what they are tells a suffix that is missing.

    Never outside of the folder, through no link, and never over a file that is there; those before an error stay.

    Args:
        path: The dataset.
        folder: It is made where it does not exist.
        positions: Of the records; negative ones count from the end. None for all.
        column: Of samples: take this field of each.
        progress: As `export` has it.

    Raises:
        SchemaError: If a record is a sample with fields, or its key is no path that stays in a folder on every system.
        FileExistsError: If there is such a file.
        IndexError: If there is no such position; nothing was written.
        FormatError: If a record is damaged.
    """
    target = Path(local_path(folder, "the folder"))
    with SplitDataLoader(path) as loader:
        is_raw = column is None and loader.record_codec in _RAW["files"]
        records = ExportedRecords(loader, column=column, is_raw=is_raw)
        wanted: Sequence[int] = range(len(loader))
        if positions is not None:
            wanted = [_checked(one, len(loader)) for one in positions]
        sink = FileTreeSink(target, records.codec, adds_suffix=True)
        num_records = 0
        for start in range(0, len(wanted), _PROGRESS_RECORDS):
            for record in records.given(wanted[start : start + _PROGRESS_RECORDS]):
                sink.write(record)
                num_records += 1
            if progress:
                progress(num_records, len(wanted))
        return ExportReport(str(target), num_records, len(wanted) - num_records)


def _checked(position: int, num_records: int) -> int:
    if not -num_records <= position < num_records:
        raise IndexError(f"there is no record {position}: the dataset has {num_records} records")
    return position % num_records
