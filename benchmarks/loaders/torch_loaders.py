"""torch's DataLoader over the bare file: in this process, and with persistent workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

from benchmarks.loaders.bare_images import BareImages
from benchmarks.loaders.base import Batch, Feed, Images, LoaderPeer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TorchFeed", "TorchInProcess", "TorchWorkers", "torch_loader"]


def torch_loader(dataset: object, images: Images, num_workers: int, kind: Any = DataLoader) -> Any:
    """Return a DataLoader of torch, or of who has the same arguments."""
    return kind(
        dataset,
        batch_size=images.batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context=images.start_method if num_workers else None,
    )


class TorchFeed(Feed):
    """A DataLoader."""

    def __init__(self, loader: Any) -> None:  # torch has no types here
        self._loader: Any = loader

    def epoch(self) -> Iterator[Batch]:
        return iter(self._loader)

    def close(self) -> None:
        # Its workers end when their iterator is collected.
        self._loader = None


class TorchInProcess(LoaderPeer):
    """num_workers=0."""

    name = "torch, 0 workers"
    package = "torch"
    group = "in process"
    note = "slices one map, checks nothing"

    def open(self, images: Images) -> Feed:
        return TorchFeed(torch_loader(BareImages(images), images, 0))


class TorchWorkers(LoaderPeer):
    """Persistent workers."""

    name = "torch, 2 workers"
    package = "torch"
    group = "processes"
    note = "slices one map, checks nothing; persistent_workers=True"
    start_methods = ("spawn", "forkserver", "fork")

    def open(self, images: Images) -> Feed:
        return TorchFeed(torch_loader(BareImages(images), images, images.num_workers))
