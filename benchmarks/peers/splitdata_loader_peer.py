"""Our own loader as a way through a shuffled epoch: it reads the files of splitdata, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from benchmarks.peers.base import Peer, Reader, Unsupported
from splitdata import DistributedLoader, SplitDataLoader

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LoaderBins", "LoaderGlobal"]

_BATCH = 256


def _as_it_is(samples: list[Any]) -> list[Any]:
    """Stand for a collate function: the other peers collate nothing."""
    return samples


class _Reader(Reader):
    def __init__(self, path: Path, shuffle: Literal["global", "bins"]) -> None:
        self._dataset = SplitDataLoader(path)
        self._shuffle: Literal["global", "bins"] = shuffle

    def get(self, position: int) -> bytes:
        return self._dataset[position]

    def shuffled_epoch(self, limit: int, seed: int) -> int:
        loader = DistributedLoader(
            self._dataset, batch_size=_BATCH, shuffle=self._shuffle, seed=seed, collate_fn=_as_it_is
        )
        count = 0
        for batch in loader:
            count += len(batch)
            if count >= limit:
                break
        loader.close()
        return count

    def close(self) -> None:
        self._dataset.close()


class LoaderGlobal(Peer):
    """Every record may come at any time."""

    name = "splitdata-loader"
    checks = "every record: place, lengths, xxh3-64"
    note = 'DistributedLoader in process, shuffle="global", lists of 256'
    files_of = "splitdata"
    shuffle: ClassVar[Literal["global", "bins"]] = "global"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        raise Unsupported("reads the files of splitdata")

    def open(self, folder: Path) -> Reader:
        return _Reader(folder, self.shuffle)


class LoaderBins(LoaderGlobal):
    """Bins in random order, four mixed at a time."""

    name = "splitdata-loader-bins"
    note = 'DistributedLoader in process, shuffle="bins", lists of 256'
    shuffle = "bins"
