"""MosaicML streaming: MDS shards of 64 MB, read through StreamingDataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streaming import MDSWriter, StreamingDataset

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["MosaicmlStreaming"]


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._dataset: Any = StreamingDataset(local=str(folder), batch_size=1, shuffle=False)

    def get(self, position: int) -> bytes:
        record: bytes = self._dataset[position]["record"]
        return record

    def read_each(self, positions: Sequence[int]) -> None:
        dataset = self._dataset
        for position in positions:
            dataset[position]["record"]

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        dataset = self._dataset
        for batch in batches:
            [dataset[position]["record"] for position in batch]

    def scan(self, limit: int) -> int:
        dataset = self._dataset
        return count_up_to((dataset[position]["record"] for position in range(len(dataset))), limit)

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        dataset: Any = StreamingDataset(local=str(self._folder), batch_size=1, shuffle=True, shuffle_seed=seed)
        return count_up_to(iter(dataset), limit)


class MosaicmlStreaming(Peer):
    """No compression, no hashes."""

    name = "mosaicml-streaming"
    package = "mosaicml-streaming"
    note = "no hashes, as by default; needs xxhash below 4, so an environment of its own, see README.md"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        with MDSWriter(out=str(folder), columns={"record": "bytes"}) as writer:
            for record in records:
                writer.write({"record": record})

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
