"""SPDL: a pipeline of threads, each of which makes a whole batch from the bare file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from spdl.pipeline import PipelineBuilder

from benchmarks.loaders.bare_images import BareImages
from benchmarks.loaders.base import Batch, Feed, Images, LoaderPeer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SpdlThreads"]


class _Feed(Feed):
    def __init__(self, images: Images) -> None:
        self._images = images
        self._dataset = BareImages(images)
        self._num_epochs = 0

    def epoch(self) -> Iterator[Batch]:
        images = self._images
        self._num_epochs += 1
        builder: Any = PipelineBuilder()
        pipeline = (
            builder.add_source(_batches(images, self._num_epochs))
            .pipe(self._make, concurrency=images.num_workers)
            .add_sink(2 * images.num_workers)
            .build(num_threads=images.num_workers)
        )
        with pipeline.auto_stop():
            yield from pipeline

    def _make(self, indices: list[int]) -> Batch:
        dataset = self._dataset
        return torch.stack([torch.from_numpy(dataset[index]) for index in indices])

    def close(self) -> None:
        pass


def _batches(images: Images, epoch: int) -> list[list[int]]:
    order = np.random.default_rng(epoch).permutation(images.num_samples)
    size = images.batch_size
    return [order[start : start + size].tolist() for start in range(0, len(order), size)]


class SpdlThreads(LoaderPeer):
    """Two threads."""

    name = "SPDL, 2 threads"
    package = "spdl"
    group = "threads"
    note = "slices one map, checks nothing; a batch for each task"

    def open(self, images: Images) -> Feed:
        return _Feed(images)
