"""HDF5 through h5py: one array of rows where records have one size, else one array of variable length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Hdf5"]

_SCAN_BATCH = 4096


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._file: Any = h5py.File(folder / "data.h5", "r")
        self._rows: Any = self._file["records"]

    def get(self, position: int) -> bytes:
        record: bytes = self._rows[position].tobytes()
        return record

    def read_each(self, positions: Sequence[int]) -> None:
        rows = self._rows
        for position in positions:
            rows[position].tobytes()

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        for batch in batches:
            # h5py takes ascending positions only, each once.
            places, back = np.unique(batch, return_inverse=True)
            found = self._rows[places]
            [found[place].tobytes() for place in back.tolist()]

    def gather_batches(self, batches: Sequence[NDArray[np.int64]]) -> None:
        if self._rows.ndim != 2:
            raise Unsupported("records differ in size")
        for batch in batches:
            places, back = np.unique(batch, return_inverse=True)
            self._rows[places][back]

    def _records(self) -> Iterator[bytes]:
        for start in range(0, len(self._rows), _SCAN_BATCH):
            for row in self._rows[start : start + _SCAN_BATCH]:
                yield row.tobytes()

    def scan(self, limit: int) -> int:
        return count_up_to(self._records(), limit)

    def close(self) -> None:
        self._file.close()


class Hdf5(Peer):
    """Contiguous, uncompressed, without the Fletcher checksum, as by default."""

    name = "h5py"
    package = "h5py"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        folder.mkdir()
        with h5py.File(folder / "data.h5", "w") as file:
            size = len(records[0])
            if all(len(record) == size for record in records):
                rows = np.frombuffer(b"".join(records), np.uint8).reshape(-1, size)
                file.create_dataset("records", data=rows)
                return
            table = file.create_dataset("records", (len(records),), h5py.vlen_dtype(np.uint8))
            for start in range(0, len(records), _SCAN_BATCH):
                part = records[start : start + _SCAN_BATCH]
                cells = np.empty(len(part), object)
                cells[:] = [np.frombuffer(record, np.uint8) for record in part]
                table[start : start + len(part)] = cells

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
