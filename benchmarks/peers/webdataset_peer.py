"""WebDataset: tar files, read one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import webdataset

from benchmarks.peers.base import Peer, Reader, Unsupported, count_up_to

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Webdataset"]


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._shards = sorted(map(str, folder.glob("*.tar")))

    def _samples(self, *, shuffle: bool) -> Any:  # the package has no types
        dataset = webdataset.WebDataset(self._shards, shardshuffle=len(self._shards) if shuffle else False)
        return (dataset.shuffle(1000) if shuffle else dataset).to_tuple("bin")

    def get(self, position: int) -> bytes:
        for number, (record,) in enumerate(self._samples(shuffle=False)):
            if number == position:
                found: bytes = record
                return found
        raise IndexError(position)

    def scan(self, limit: int) -> int:
        return count_up_to(self._samples(shuffle=False), limit)

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        return count_up_to(self._samples(shuffle=True), limit)


class Webdataset(Peer):
    """A tar member for each record."""

    name = "webdataset"
    package = "webdataset"
    checks = "the header of each tar member"
    note = "no access by position; shuffles in a buffer of 1000 records"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        if durable:
            raise Unsupported("never syncs")
        folder.mkdir()
        with webdataset.ShardWriter(str(folder / "%06d.tar"), maxcount=100_000, maxsize=64 << 20, verbose=0) as writer:
            for number, record in enumerate(records):
                writer.write({"__key__": f"{number:09d}", "bin": record})

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
