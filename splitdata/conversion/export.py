"""Writes the records of a dataset in other formats, whole or not at all, and single records as files.

Each format is a sink; it is given one record after another, in the order of the dataset.

    DIR ──record by record──> sink (sinks/) ──> .DEST.partial ──the last record──> DEST
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from splitdata._local_path import local_path
from splitdata.conversion.sinks.csv_sink import CsvSink
from splitdata.conversion.sinks.file_tree_sink import FileTreeSink
from splitdata.conversion.sinks.json_line_sink import JsonLineSink
from splitdata.conversion.sinks.mds_sink import MdsSink
from splitdata.conversion.sinks.npy_sink import NpySink, NpzSink
from splitdata.conversion.sinks.sink import ExportedRecord, refuse
from splitdata.conversion.sinks.staging import staged
from splitdata.conversion.sinks.table_sink import TableSink, WidenedError
from splitdata.conversion.sinks.tfrecord_sink import TFRecordSink
from splitdata.conversion.sinks.webdataset_sink import WebDatasetSink
from splitdata.dataset.reader import SplitDataLoader
from splitdata.dataset.sample_dataset import SampleDataset

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from splitdata.conversion.sinks.sink import Sink

__all__ = ["ExportReport", "export", "extract"]

ExportFormat: TypeAlias = Literal[
    "files", "jsonl", "csv", "parquet", "arrow", "webdataset", "tfrecord", "mds", "npy", "hf"
]
_CHUNK_RECORDS: Final = 256
_CHUNK_BYTES: Final = 16 << 20
# Their records are bytes as they are.
_OF_BYTES: Final = (None, "bytes")
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
        progress: Called with the records that are done, and all of them.

    Raises:
        SchemaError: If the format cannot hold a record; the message names field and type.
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
    target = Path(local_path(dest, "what is exported"))
    folder = Path(local_path(path, "the dataset")).resolve()
    if target.resolve().is_relative_to(folder):
        raise ValueError(f"{target} would lie inside the dataset {folder}; choose a place outside of it")
    with SplitDataLoader(path) as loader:
        is_raw = loader.record_codec in _RAW.get(to, ()) if column is None else False
        records = _Records(loader, path, column=column, limit=limit, has_keys=keys, is_raw=is_raw)
        make = _maker(to, target, records.codec)
        while True:
            try:
                with staged(target, overwrite=overwrite) as place, closing(make(place)) as sink:
                    for record in records.given(progress):
                        sink.write(record)
                    sink.finish()
            except WidenedError as widened:
                make = partial(make, types=widened.types)
                continue
            return ExportReport(str(target), records.num_given, records.num_deleted)


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
        records = _Records(loader, path, column=column, positions=positions, is_raw=is_raw)
        sink = FileTreeSink(target, records.codec, adds_suffix=True)
        for record in records.given(progress):
            sink.write(record)
        return ExportReport(str(target), records.num_given, records.num_deleted)


def _maker(to: ExportFormat, target: Path, codec: str | None) -> Callable[..., Sink]:
    """Return what makes a sink for a place."""
    if to in ("parquet", "arrow", "hf"):
        return lambda place, types=None: TableSink(place, codec, form=to, types=types)
    if to == "webdataset":
        return lambda place: WebDatasetSink(place, codec, is_one=target.suffix == ".tar")
    if to == "npy":
        return lambda place: (NpzSink if target.suffix == ".npz" else NpySink)(place, codec)
    return partial(_SINKS[to], codec=codec)


_SINKS: Final[dict[str, Callable[..., Sink]]] = {
    "csv": CsvSink,
    "files": FileTreeSink,
    "jsonl": JsonLineSink,
    "mds": MdsSink,
    "tfrecord": TFRecordSink,
}


class _Records:
    """The records to export.

    Attributes:
        codec: Of what is given.
        num_given: Records that the newest iteration gave.
        num_deleted: Records that it left out.
    """

    def __init__(
        self,
        loader: SplitDataLoader,
        path: str | os.PathLike[str],
        *,
        column: str | None = None,
        limit: int | None = None,
        has_keys: bool = True,
        is_raw: bool = False,
        positions: Iterable[int] | None = None,
    ) -> None:
        self._loader = loader
        is_raw = is_raw or loader.record_codec in _OF_BYTES
        self._samples = None if is_raw else SampleDataset(path)
        self._column = column
        self._limit = limit
        self._has_keys = has_keys
        self._positions = range(len(loader)) if positions is None else [_checked(one, len(loader)) for one in positions]
        self.codec = loader.record_codec if column is None else None
        self.num_given = 0
        self.num_deleted = 0

    def given(self, progress: Callable[[int, int], None] | None) -> Iterator[ExportedRecord]:
        """Yield the records; those that are marked as deleted are left out."""
        self.num_given = self.num_deleted = 0
        deleted = set(self._loader.deleted.tolist())
        for chunk in self._chunks(deleted):
            values: list[Any] = (self._samples or self._loader)[chunk]
            for position, key, value in zip(chunk, self._loader.keys_of(chunk), values, strict=True):
                if self._limit is not None and self.num_given >= self._limit:
                    return
                yield self._record(position, key, value)
                self.num_given += 1
            if progress:
                progress(self.num_given, len(self._positions))

    def _chunks(self, deleted: set[int]) -> Iterator[list[int]]:
        chunk: list[int] = []
        num_bytes = 0
        for position in self._positions:
            if position in deleted:
                self.num_deleted += 1
                continue
            chunk.append(position)
            num_bytes += int(self._loader.sizes[position])
            if len(chunk) >= _CHUNK_RECORDS or num_bytes >= _CHUNK_BYTES:
                yield chunk
                chunk, num_bytes = [], 0
        if chunk:
            yield chunk

    def _record(self, position: int, key: str | None, value: Any) -> ExportedRecord:
        key = key if self._has_keys else None
        record = ExportedRecord(position, key, value)
        if self._column is None:
            return record
        if not isinstance(value, dict) or self._column not in value:
            refuse(record, None, value, "one field of it", f"it has no field {self._column!r}")
        return ExportedRecord(position, key, value[self._column])


def _checked(position: int, num_records: int) -> int:
    if not -num_records <= position < num_records:
        raise IndexError(f"there is no record {position}: the dataset has {num_records} records")
    return position % num_records
