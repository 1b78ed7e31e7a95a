"""LitData: its own chunks of 64 MB, StreamingDataset in its StreamingDataLoader."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from litdata.streaming.cache import Cache
from litdata.streaming.dataloader import StreamingDataLoader
from litdata.streaming.dataset import StreamingDataset

from benchmarks.loaders.base import Batch, Feed, Images, LoaderPeer, to_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LitdataWorkers"]

# Collated at once, and never written to.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


class _Images(StreamingDataset):  # type: ignore[misc]  # without types
    def __getitem__(self, index: Any) -> NDArray[np.uint8]:  # its own class
        return to_image(super().__getitem__(index))


class _Feed(Feed):
    def __init__(self, images: Images) -> None:
        dataset = _Images(str(images.folder / "litdata"), shuffle=True)
        self._passes = images.passes
        self._loader: Any = StreamingDataLoader(
            dataset, batch_size=images.batch_size, num_workers=images.num_workers, persistent_workers=True
        )

    def epoch(self) -> Iterator[Batch]:
        for _ in range(self._passes):
            yield from self._loader

    def close(self) -> None:
        self._loader = None


class LitdataWorkers(LoaderPeer):
    """Two workers."""

    name = "LitData, 2 workers"
    package = "litdata"
    group = "processes"
    reads = "litdata"
    note = "no hashes; its epochs are one pass each, and begin anew"

    def write(self, folder: Path, records: list[bytes]) -> None:
        cache: Any = Cache(str(folder / "litdata"), chunk_bytes="64MB")
        for number, record in enumerate(records):
            cache[number] = record
        cache.done()
        cache.merge()

    def open(self, images: Images) -> Feed:
        return _Feed(images)
