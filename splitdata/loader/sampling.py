"""Samplers of the user's own, asked once an epoch and then known by heart.

    sampler         epoch ──> the records of the whole epoch, all ranks together     int64[n]
    batch_sampler   epoch ──> batches of records                                     a list of int64 arrays

The loader cuts what they give into shares of ranks; so each rank must get the same from them. A sampler is a
function of the epoch, or an object that is iterated once an epoch, after `set_epoch` where it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchSampler", "BatchSampling", "Sampler", "Sampling", "SequenceOrder"]

Sampler: TypeAlias = "Iterable[int] | Callable[[int], Iterable[int]]"
BatchSampler: TypeAlias = "Iterable[Sequence[int]] | Callable[[int], Iterable[Sequence[int]]]"


class SequenceOrder:
    """An order that is simply a list."""

    def __init__(self, records: NDArray[np.int64]) -> None:
        self._records = records
        self.num_positions = len(records)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the records at these positions."""
        return self._records[positions]


# An endless stream looks at two epochs at a time; a sampler that draws at random may not be asked twice.
_REMEMBERED = 3


class Sampling:
    """Remembers what a sampler gave for the epochs that were asked for last."""

    def __init__(self, sampler: Sampler, num_records: int) -> None:
        self._sampler = sampler
        self._num_records = num_records
        self._known: dict[int, NDArray[np.int64]] = {}

    def records(self, epoch: int) -> NDArray[np.int64]:
        """Return the records of an epoch.

        Raises:
            IndexError, TypeError: The sampler gave something else than records of this dataset.
        """
        if epoch not in self._known:
            records = _checked(_ask(self._sampler, epoch), self._num_records, "sampler")
            while len(self._known) >= _REMEMBERED:
                del self._known[min(self._known)]
            self._known[epoch] = records
        return self._known[epoch]

    def digest(self, epoch: int) -> str:
        """Return text that names the sequence of an epoch."""
        records = self.records(epoch)
        return f"{len(records)} records {xxhash.xxh3_64_hexdigest(records.astype('<i8').tobytes())}"


class BatchSampling:
    """Remembers the batches of the epoch that was asked for last."""

    def __init__(self, sampler: BatchSampler, num_records: int) -> None:
        self._sampler = sampler
        self._num_records = num_records
        self._epoch: int | None = None
        self._batches: list[NDArray[np.int64]] = []

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the batches of an epoch; errors as in Sampling."""
        if epoch != self._epoch:
            given = _ask(self._sampler, epoch)
            self._batches = [_checked(batch, self._num_records, "batch_sampler") for batch in given]
            self._epoch = epoch
        return self._batches

    def digest(self, epoch: int) -> str:
        """Return text that names the batches of an epoch."""
        hasher = xxhash.xxh3_64()
        for batch in self.batches(epoch):
            hasher.update(np.int64(len(batch)).astype("<i8").tobytes())
            hasher.update(batch.astype("<i8").tobytes())
        return f"{len(self._batches)} batches {hasher.hexdigest()}"


def _ask(sampler: Sampler | BatchSampler, epoch: int) -> Iterable[Any]:
    if isinstance(sampler, Iterable):
        set_epoch = getattr(sampler, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        return iter(sampler)
    given: Iterable[Any] = sampler(epoch)
    return given


def _checked(given: Iterable[Any], num_records: int, name: str) -> NDArray[np.int64]:
    array = np.asarray(given if isinstance(given, np.ndarray) else list(given))
    if not array.size:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise TypeError(f"{name} must give ints, one for each record; got an array of {array.dtype}, {array.ndim}-d")
    least, most = int(array.min()), int(array.max())
    if least < 0 or most >= num_records:
        raise IndexError(
            f"{name} gave record {least if least < 0 else most}; the dataset has {num_records} records, from 0"
        )
    return array.astype(np.int64)
