"""Makes a batch of kept samples: takes the bytes of each use, decodes and collates them.

    shares of a step ──> bytes, in place or read into one buffer
                           |
                           |── unpacked ──> samples ──collate──> batch
                           `── a column at a time ─────────────> the same batch, sooner, where all are of one kind

The default collate copies out of the samples, so it gets views of what is kept. A collate function of the user's
gets samples of its own, which it may change and keep.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from splitdata.loader.pipeline.worker_job import make_batch
from splitdata.loader.samples.packing import SampleUnpacker, aligned, kind_of_sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.loader.pipeline.worker_job import Job
    from splitdata.loader.plan.steps import StepRequest
    from splitdata.loader.rotation.groups import Share

__all__ = ["RotatedBatches"]


_ALIGNMENT = 64
_MAX_KINDS = 4096


class RotatedBatches:
    """Makes batches of samples that are kept. Belongs to one thread."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._random = job.global_random(puts_back=True)
        self.unpacker = SampleUnpacker()
        self._are_private = job.collate_fn is not None
        self._scratch = np.empty(0, np.uint8)
        # Kinds of samples that were no batch by columns.
        self._one_by_one: set[bytes] = set()

    def make(self, shares: Sequence[Share], request: StepRequest) -> Any:
        """Return the batch of a step.

        Raises:
            OSError: What was kept on disk cannot be read.
            Exception: What the collate function raised.
        """
        views = self._views(shares, request.num_samples)
        if self._job.collate_fn is not None or self._job.as_tensors:
            return self._collate(views, request)
        kind = kind_of_sample(views[0])
        if kind not in self._one_by_one:
            try:
                return self.unpacker.unpack_batch(views)
            except ValueError:
                # Several kinds, or shapes that differ: collate takes them, or says what is wrong.
                if len(self._one_by_one) >= _MAX_KINDS:
                    self._one_by_one.clear()
                self._one_by_one.add(kind)
        return self._collate(views, request)

    def _collate(self, views: list[memoryview], request: StepRequest) -> Any:
        unpack = self.unpacker.unpack
        try:
            return make_batch(self._job, [unpack(view) for view in views], request, self._random)
        except StopIteration as error:
            # Raised as it is, it would look like the end of the epoch.
            raise RuntimeError(f"the collate function raised StopIteration at {request}") from error

    def _views(self, shares: Sequence[Share], num_samples: int) -> list[memoryview]:
        views: list[memoryview] = [memoryview(b"")] * num_samples
        unread: list[tuple[int, Share, int, int]] = []
        for share in shares:
            addresses = share.group.addresses[share.numbers].tolist()
            lengths = share.group.lengths[share.numbers].tolist()
            for place, address, length in zip(share.places.tolist(), addresses, lengths, strict=True):
                view = None if self._are_private else share.row.store.view(address, length)
                if view is None:
                    unread.append((place, share, address, length))
                else:
                    views[place] = view
        if unread:
            self._read(unread, views)
        return views

    def _read(self, unread: list[tuple[int, Share, int, int]], views: list[memoryview]) -> None:
        """Read samples into one buffer, each its own part of it."""
        starts = np.cumsum(aligned(np.array([0, *(length for *_, length in unread)], np.int64))).tolist()
        room = self._room(starts[-1]).data
        for (place, share, address, length), start in zip(unread, starts, strict=False):
            views[place] = room[start : start + length]
            share.row.store.read_into(address, views[place])

    def _room(self, num_bytes: int) -> NDArray[np.uint8]:
        """Return an aligned buffer: a new one where samples may be kept, else the one that is used each time."""
        if self._are_private or len(self._scratch) < num_bytes:
            memory = np.empty(num_bytes + _ALIGNMENT, np.uint8)
            skipped = -memory.ctypes.data % _ALIGNMENT
            if self._are_private:
                return memory[skipped : skipped + num_bytes]
            self._scratch = memory[skipped:]
        return self._scratch
