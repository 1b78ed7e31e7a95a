"""torchdata's StatefulDataLoader: torch's DataLoader with a state that resumes in mid-epoch."""

from __future__ import annotations

from torchdata.stateful_dataloader import StatefulDataLoader

from benchmarks.loaders.bare_images import BareImages
from benchmarks.loaders.base import Feed, Images, LoaderPeer
from benchmarks.loaders.torch_loaders import TorchFeed, torch_loader

__all__ = ["TorchdataWorkers"]


class TorchdataWorkers(LoaderPeer):
    """Persistent workers."""

    name = "torchdata, 2 workers"
    package = "torchdata"
    group = "processes"
    note = "slices one map, checks nothing"

    def open(self, images: Images) -> Feed:
        return TorchFeed(torch_loader(BareImages(images), images, images.num_workers, StatefulDataLoader))
