"""Lance: a columnar format with random access."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import lance
import pyarrow

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Lance"]


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._dataset: Any = lance.dataset(str(folder))

    def get(self, position: int) -> bytes:
        record: bytes = self._dataset.take([position])["record"][0].as_py()
        return record

    def read_each(self, positions: Sequence[int]) -> None:
        take = self._dataset.take
        for position in positions:
            take([position])["record"][0].as_py()

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        take = self._dataset.take
        for batch in batches:
            take(batch)["record"].to_pylist()

    def _records(self) -> Iterator[bytes]:
        for batch in self._dataset.to_batches():
            yield from batch["record"].to_pylist()

    def scan(self, limit: int) -> int:
        return count_up_to(self._records(), limit)


class Lance(Peer):
    """One column of large binaries, default settings."""

    name = "lance"
    package = "pylance"
    note = "scans as Arrow, made into bytes; threads of its own"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        table = pyarrow.table({"record": pyarrow.array(records, pyarrow.large_binary())})
        lance.write_dataset(table, str(folder))

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
