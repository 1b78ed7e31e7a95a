"""No format at all: one file of bytes, one of offsets, mapped. What a format can at best come near to."""

from __future__ import annotations

import mmap
import os
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["BareFile", "NumpyRows"]


class _MappedRecords:
    """A list-like over the mapped file, without any check."""

    def __init__(self, map_: mmap.mmap, offsets: list[int]) -> None:
        self.map = map_
        self.offsets = offsets

    def __getitem__(self, position: int) -> bytes:
        offsets = self.offsets
        return self.map[offsets[position] : offsets[position + 1]]


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        with (folder / "data").open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._offsets: list[int] = np.fromfile(folder / "offsets", np.int64).tolist()
        self._records = _MappedRecords(self._map, self._offsets)

    def get(self, position: int) -> bytes:
        return self._records[position]

    def read_each(self, positions: Sequence[int]) -> None:
        records = self._records
        for position in positions:
            records[position]

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        map_, offsets = self._map, self._offsets
        for batch in batches:
            [map_[offsets[position] : offsets[position + 1]] for position in batch]

    def scan(self, limit: int) -> int:
        map_ = self._map
        return count_up_to((map_[start:stop] for start, stop in pairwise(self._offsets)), limit)

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        records = self._records
        order = np.random.default_rng(seed).permutation(len(self._offsets) - 1)
        return count_up_to((records[position] for position in order.tolist()), limit)

    def close(self) -> None:
        self._map.close()


class BareFile(Peer):
    """Offsets in a Python list, records as slices of a map."""

    name = "bare-file"
    note = "an upper bound in Python, not a format: offsets lie in memory as a list, and nothing can be recovered"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        folder.mkdir()
        offsets = np.zeros(len(records) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, records), np.int64, len(records)), out=offsets[1:])
        for name, data in (("data", records), ("offsets", [offsets.tobytes()])):
            with (folder / name).open("wb", buffering=1 << 20) as file:
                file.writelines(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)


class _RowsReader(Reader):
    def __init__(self, folder: Path) -> None:
        offsets = np.fromfile(folder / "offsets", np.int64)
        size = int(offsets[1])
        self._rows = np.memmap(folder / "data", np.uint8, "r", shape=(len(offsets) - 1, size)).view(np.ndarray)

    def get(self, position: int) -> bytes:
        return bytes(self._rows[position])

    def gather_batches(self, batches: Sequence[NDArray[np.int64]]) -> None:
        rows = self._rows
        for batch in batches:
            rows[batch]


class NumpyRows(Peer):
    """One mapped array whose rows are the records, gathered by fancy indexing: for records of one size."""

    name = "numpy-rows"
    package = "numpy"
    note = "an upper bound for gather: one array, no format"
    files_of = "bare-file"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        raise Unsupported("reads the files of bare-file")

    def open(self, folder: Path) -> Reader:
        sizes = np.diff(np.fromfile(folder / "offsets", np.int64))
        if (sizes != sizes[0]).any():
            raise Unsupported("records differ in size")
        return _RowsReader(folder)
