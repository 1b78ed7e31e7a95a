"""Which sink writes a format, and how what it writes of parts of a dataset is put together, if it can be.

Shards are parts themselves, so they are the same whoever writes them.

    jsonl, csv, tfrecord     files, end to end                  webdataset, mds    shards, numbered through
    files                    folders, one into the other        all others         cannot: one process writes them
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from splitdata.conversion.sinks.csv_sink import CsvSink
from splitdata.conversion.sinks.file_tree_sink import FileTreeSink
from splitdata.conversion.sinks.json_line_sink import JsonLineSink
from splitdata.conversion.sinks.mds_sink import MdsSink
from splitdata.conversion.sinks.npy_sink import NpySink, NpzSink
from splitdata.conversion.sinks.table_sink import TableSink
from splitdata.conversion.sinks.tfrecord_sink import TFRecordSink
from splitdata.conversion.sinks.webdataset_sink import WebDatasetSink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from splitdata.conversion.sinks.sink import Sink

__all__ = ["ExportFormat", "PartSizes", "part_sizes", "sink_maker"]

ExportFormat: TypeAlias = Literal[
    "files", "jsonl", "csv", "parquet", "arrow", "webdataset", "tfrecord", "mds", "npy", "hf"
]

_SINKS: Final[dict[str, Callable[..., Sink]]] = {
    "csv": CsvSink,
    "files": FileTreeSink,
    "jsonl": JsonLineSink,
    "mds": MdsSink,
    "tfrecord": TFRecordSink,
}


def sink_maker(to: ExportFormat, dest: Path, codec: str | None) -> Callable[..., Sink]:
    """Return what makes a sink for a place, given where the export goes in the end and the codec of the records."""
    if to in ("parquet", "arrow", "hf"):
        return lambda place, types=None: TableSink(place, codec, form=to, types=types)
    if to == "webdataset":
        return lambda place: WebDatasetSink(place, codec, is_one=dest.suffix == ".tar")
    if to == "npy":
        return lambda place: (NpzSink if dest.suffix == ".npz" else NpySink)(place, codec)
    return partial(_SINKS[to], codec=codec)


@dataclass(frozen=True, slots=True)
class PartSizes:
    """The sizes of the parts that an export is made of.

    Attributes:
        records: At most.
        bytes: Of records, at most.
        record_bytes: That each record takes more.
        has_shards: Its parts are seen in what is written: they are the same whoever makes them.
    """

    records: int
    bytes: int
    record_bytes: int = 0
    has_shards: bool = False


_PARTS: Final = {
    "csv": PartSizes(1 << 16, 32 << 20),
    "files": PartSizes(1 << 12, 64 << 20, 1 << 12),
    "jsonl": PartSizes(1 << 16, 32 << 20),
    # A little below what a shard takes, so that a part is one.
    "mds": PartSizes(1 << 24, 60 << 20, 16, has_shards=True),
    "tfrecord": PartSizes(1 << 16, 32 << 20),
    "webdataset": PartSizes(10_000, 1 << 30, 3 << 10, has_shards=True),
}


def part_sizes(to: ExportFormat, dest: Path) -> PartSizes | None:
    """Return how a format is cut into parts, None if it cannot be."""
    return None if to == "webdataset" and dest.suffix == ".tar" else _PARTS.get(to)
