"""splitdataloader 0.0.1, which splitdata grew out of: 256 bins of length-prefixed records and one index file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splitdataloader import SplitDataLoader, write_split_data

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Splitdataloader"]


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._loader: Any = SplitDataLoader(str(folder))

    def get(self, position: int) -> bytes:
        record: bytes = self._loader[position]
        return record

    def read_each(self, positions: Sequence[int]) -> None:
        loader = self._loader
        for position in positions:
            loader[position]

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        loader = self._loader
        for batch in batches:
            [loader[position] for position in batch]

    def scan(self, limit: int) -> int:
        return count_up_to(self._loader.iterate_binwise(), limit)

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        return count_up_to(self._loader.iterate_binwise(shuffle=True), limit)


class Splitdataloader(Peer):
    """Opens two files for each record; iterates a bin in memory at a time."""

    name = "splitdataloader"
    package = "splitdataloader"
    checks = "the length, stored twice"
    note = "a whole bin in memory when iterating"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        write_split_data(str(folder), records)

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
