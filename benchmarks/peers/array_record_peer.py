"""ArrayRecord: Riegeli chunks with a footer of offsets, read and checked in C++."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from benchmarks.peers.base import Peer, Reader, Unsupported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["ArrayRecord"]

# What the library's documentation recommends for random access.
_RANDOM_ACCESS = "readahead_buffer_size:0,max_parallelism:0"
_SCAN_BATCH = 4096


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._path = str(folder / "data")
        self._reader: Any = ArrayRecordReader(self._path, _RANDOM_ACCESS)

    def get(self, position: int) -> bytes:
        record: bytes = self._reader.read([position])[0]
        return record

    def read_each(self, positions: Sequence[int]) -> None:
        read = self._reader.read
        for position in positions:
            read([position])

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        read = self._reader.read
        for batch in batches:
            read(batch)

    def scan(self, limit: int) -> int:
        reader: Any = ArrayRecordReader(self._path)
        total = min(limit, int(reader.num_records()))
        for start in range(0, total, _SCAN_BATCH):
            for _ in reader.read(start, min(start + _SCAN_BATCH, total)):
                pass
        reader.close()
        return total

    def close(self) -> None:
        self._reader.close()


class ArrayRecord(Peer):
    """One record a group: the layout for random access."""

    name = "array_record"
    package = "array_record"
    checks = "every chunk: HighwayHash"
    note = "group_size 1, uncompressed; many threads of its own"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        folder.mkdir()
        writer = ArrayRecordWriter(str(folder / "data"), "group_size:1,uncompressed")
        for record in records:
            writer.write(record)
        writer.close()

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
