"""torch's DataLoader with our SplitDataLoader as its dataset: what reads costs the same, what loads differs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from benchmarks.loaders.base import Feed, Images, LoaderPeer, to_image
from benchmarks.loaders.torch_loaders import TorchFeed, torch_loader
from splitdata import SplitDataLoader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TorchInProcessOnSplitdata", "TorchWorkersOnSplitdata"]

# Collated at once, and never written to.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


class _SplitdataImages:
    def __init__(self, images: Images) -> None:
        self._loader = SplitDataLoader(images.folder / "splitdata")
        self._num_samples = images.num_samples

    def __len__(self) -> int:
        return self._num_samples

    def __getitems__(self, indices: list[int]) -> list[NDArray[np.uint8]]:
        count = len(self._loader)
        return [to_image(record) for record in self._loader[[index % count for index in indices]]]


class TorchInProcessOnSplitdata(LoaderPeer):
    """num_workers=0."""

    name = "torch on splitdata, 0 workers"
    package = "torch"
    group = "in process"
    reads = "splitdata"
    note = "batches of records read by splitdata, verified"

    def open(self, images: Images) -> Feed:
        return TorchFeed(torch_loader(_SplitdataImages(images), images, 0))


class TorchWorkersOnSplitdata(LoaderPeer):
    """Persistent workers."""

    name = "torch on splitdata, 2 workers"
    package = "torch"
    group = "processes"
    reads = "splitdata"
    note = "batches of records read by splitdata, verified"

    def open(self, images: Images) -> Feed:
        return TorchFeed(torch_loader(_SplitdataImages(images), images, images.num_workers))
