"""LitData: binary chunks of 64 MB, written through its cache and read through StreamingDataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litdata.streaming.cache import Cache
from litdata.streaming.dataset import StreamingDataset

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Litdata"]


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dataset: Any = StreamingDataset(str(folder), shuffle=False)

    def get(self, position: int) -> bytes:
        record: bytes = self._dataset[position]
        return record

    def read_each(self, positions: Sequence[int]) -> None:
        dataset = self._dataset
        for position in positions:
            dataset[position]

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        dataset = self._dataset
        for batch in batches:
            [dataset[position] for position in batch]

    def scan(self, limit: int) -> int:
        return count_up_to(iter(self._dataset), limit)

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        return count_up_to(iter(StreamingDataset(str(self._folder), shuffle=True, seed=seed)), limit)


class Litdata(Peer):
    """Records pass through its serializers, as they do for its users."""

    name = "litdata"
    package = "litdata"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        cache: Any = Cache(str(folder), chunk_bytes="64MB")
        for number, record in enumerate(records):
            cache[number] = record
        cache.done()
        cache.merge()

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
