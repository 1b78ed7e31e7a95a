"""Grain: a MapDataset of the bare file, batched, read by threads or by processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grain.python as grain
import torch

from benchmarks.loaders.bare_images import BareImages
from benchmarks.loaders.base import Batch, Feed, Images, LoaderPeer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GrainProcesses", "GrainThreads"]

_SEED = 0
# Of its own defaults, per thread.
_BUFFERED = 8


class _Feed(Feed):
    def __init__(self, images: Images, *, by_processes: bool) -> None:
        dataset: Any = grain.MapDataset.source(BareImages(images)).shuffle(seed=_SEED).batch(images.batch_size)
        # Two threads work on two batches: it counts elements, and these are batches.
        options = grain.ReadOptions(num_threads=images.num_workers, prefetch_buffer_size=2 * images.num_workers)
        self._dataset: Any = dataset.to_iter_dataset(grain.ReadOptions(1, 2) if by_processes else options)
        if by_processes:
            processes = grain.MultiprocessingOptions(images.num_workers, per_worker_buffer_size=2)
            self._dataset = self._dataset.mp_prefetch(processes)
        self._running: Any = None

    def epoch(self) -> Iterator[Batch]:
        self._running = iter(self._dataset)
        return map(torch.from_numpy, self._running)

    def close(self) -> None:
        close = getattr(self._running, "close", None)
        if close is not None:
            close()
        self._running = None


class GrainThreads(LoaderPeer):
    """Two threads."""

    name = "Grain, 2 threads"
    package = "grain"
    group = "threads"
    note = "slices one map, checks nothing"

    def open(self, images: Images) -> Feed:
        return _Feed(images, by_processes=False)


class GrainProcesses(LoaderPeer):
    """Two processes, each with a reading thread."""

    name = "Grain, 2 processes"
    package = "grain"
    group = "processes"
    note = "slices one map, checks nothing"

    def open(self, images: Images) -> Feed:
        return _Feed(images, by_processes=True)
