"""MosaicML streaming: its own shards, StreamingDataset in torch's DataLoader, as its documentation has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader

from benchmarks.loaders.base import Batch, Feed, Images, LoaderPeer, to_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MosaicmlWorkers"]


class _Images(StreamingDataset):  # type: ignore[misc]  # without types
    def __getitem__(self, index: Any) -> NDArray[np.uint8]:  # its own class
        return to_image(super().__getitem__(index)["record"])


class _Feed(Feed):
    def __init__(self, images: Images) -> None:
        self._passes = images.passes
        dataset = _Images(local=str(images.folder / "mosaicml"), batch_size=images.batch_size, shuffle=True)
        self._loader: Any = DataLoader(
            dataset, batch_size=images.batch_size, num_workers=images.num_workers, persistent_workers=True
        )

    def epoch(self) -> Iterator[Batch]:
        for _ in range(self._passes):
            yield from self._loader

    def close(self) -> None:
        self._loader = None


class MosaicmlWorkers(LoaderPeer):
    """Two workers."""

    name = "MosaicML in torch, 2 workers"
    package = "mosaicml-streaming"
    group = "processes"
    reads = "mosaicml"
    note = "no hashes, as by default; needs xxhash below 4, so an environment of its own, see README.md"

    def write(self, folder: Path, records: list[bytes]) -> None:
        with MDSWriter(out=str(folder / "mosaicml"), columns={"record": "bytes"}) as writer:
            for record in records:
                writer.write({"record": record})

    def open(self, images: Images) -> Feed:
        return _Feed(images)
