"""splitdata itself: as it comes, and without the check of the payload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to
from splitdata import SplitDataLoader, SplitWriter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Splitdata", "SplitdataUnverified"]

_LONG_RECORD_BYTES = 1024


class _Reader(Reader):
    def __init__(self, loader: SplitDataLoader) -> None:
        self._loader = loader

    def get(self, position: int) -> bytes:
        return self._loader[position]

    def read_each(self, positions: Sequence[int]) -> None:
        loader = self._loader
        for position in positions:
            loader[position]

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        loader = self._loader
        for batch in batches:
            loader[batch]

    def gather_batches(self, batches: Sequence[NDArray[np.int64]]) -> None:
        loader = self._loader
        for batch in batches:
            loader.gather(batch)

    def scan(self, limit: int) -> int:
        # A memoryview is an object of 200 bytes: of a short record the copy is cheaper.
        is_long = self._loader.sizes[0] >= _LONG_RECORD_BYTES
        records = self._loader.iterate_binwise(as_views=True) if is_long else self._loader.iterate_binwise()
        return count_up_to(records, limit)

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        return count_up_to(self._loader.iterate_binwise(shuffle=True, seed=seed), limit)

    def close(self) -> None:
        self._loader.close()


class Splitdata(Peer):
    """With every check on, as by default."""

    name = "splitdata"
    package = ""
    checks = "every record: place, lengths, xxh3-64"
    note = "64 bins, as by default above 64 MiB; scans bytes of D1, memoryviews of D2; shuffles 4 bins at a time"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        with SplitWriter(folder, durability="commit" if durable else "none") as writer:
            writer.write_many(records)

    def open(self, folder: Path) -> Reader:
        return _Reader(SplitDataLoader(folder))


class SplitdataUnverified(Peer):
    """The same files, read without the hash."""

    name = "splitdata-unverified"
    checks = "place and lengths"
    note = "verify=False"
    files_of = "splitdata"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        raise Unsupported("reads the files of splitdata")

    def open(self, folder: Path) -> Reader:
        return _Reader(SplitDataLoader(folder, verify=False))
