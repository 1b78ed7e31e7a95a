"""Hugging Face datasets: one Arrow table, memory-mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import datasets

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["HuggingfaceDatasets"]

_SCAN_BATCH = 1000


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._dataset: Any = datasets.load_from_disk(str(folder))

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
            dataset[batch]["record"]

    def _records(self) -> Iterator[bytes]:
        for table in self._dataset.with_format("arrow").iter(_SCAN_BATCH):
            yield from table["record"].to_pylist()

    def scan(self, limit: int) -> int:
        return count_up_to(self._records(), limit)

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        return count_up_to(self._dataset.shuffle(seed=seed, keep_in_memory=True), limit)


class HuggingfaceDatasets(Peer):
    """One column of large binaries."""

    name = "datasets"
    package = "datasets"
    note = "scans in batches of 1000 as Arrow, made into bytes"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        datasets.disable_progress_bars()
        features = datasets.Features({"record": datasets.Value("large_binary")})
        datasets.Dataset.from_dict({"record": records}, features=features).save_to_disk(str(folder))

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
