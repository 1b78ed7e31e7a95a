"""Samplers of the user's own: asked once an epoch, their answer is kept for it.

The loader cuts what they give into shares of ranks; so each rank must get the same from them. A sampler is a
function of the epoch, or an object that is iterated once an epoch, after `set_epoch` where it has one.

    sampler         epoch ──> the records of the whole epoch, all ranks together     int64[n]
    batch_sampler   epoch ──> batches of records                                     a list of int64 arrays
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np
import xxhash

from splitdata.order.positions import are_several, checked_positions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BatchSampler", "BatchSampling", "Sampler", "Sampling", "SequenceOrder"]

Sampler: TypeAlias = "Iterable[int] | Callable[[int], Iterable[int]]"
# The records of one batch.
_Records: TypeAlias = "Sequence[int] | NDArray[Any]"
BatchSampler: TypeAlias = "Iterable[_Records] | Callable[[int], Iterable[_Records]]"


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

Sequences = TypeVar("Sequences")


class _RememberedEpochs(ABC, Generic[Sequences]):
    """The answers of a sampler for the epochs that were asked for last, with their digests."""

    def __init__(self) -> None:
        self._known: dict[int, Sequences] = {}
        self._digests: dict[int, str] = {}

    @abstractmethod
    def _ask(self, epoch: int) -> Sequences:
        """Return what the sampler gives for an epoch, checked."""

    @abstractmethod
    def _name(self, given: Sequences) -> str:
        """Return text that names it."""

    def _given(self, epoch: int) -> Sequences:
        if epoch not in self._known:
            given = self._ask(epoch)
            while len(self._known) >= _REMEMBERED:
                self._digests.pop(min(self._known), None)
                del self._known[min(self._known)]
            self._known[epoch] = given
        return self._known[epoch]

    def digest(self, epoch: int) -> str:
        """Return text that names what was given for an epoch; computed once."""
        given = self._given(epoch)
        if epoch not in self._digests:
            self._digests[epoch] = self._name(given)
        return self._digests[epoch]


class Sampling(_RememberedEpochs["NDArray[np.int64]"]):
    """Asks a sampler once an epoch."""

    def __init__(self, sampler: Sampler, num_records: int) -> None:
        super().__init__()
        self._sampler = sampler
        self._num_records = num_records

    def records(self, epoch: int) -> NDArray[np.int64]:
        """Return the records of an epoch.

        Raises:
            IndexError, TypeError: The sampler gave something else than records of this dataset.
        """
        return self._given(epoch)

    def _ask(self, epoch: int) -> NDArray[np.int64]:
        return _checked(_iterate(self._sampler, epoch), self._num_records, "sampler")

    def _name(self, given: NDArray[np.int64]) -> str:
        return f"{len(given)} records {xxhash.xxh3_64_hexdigest(given.astype('<i8').tobytes())}"


class BatchSampling(_RememberedEpochs["list[NDArray[np.int64]]"]):
    """Asks a batch sampler once an epoch."""

    def __init__(self, sampler: BatchSampler, num_records: int) -> None:
        super().__init__()
        self._sampler = sampler
        self._num_records = num_records

    def batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the batches of an epoch; errors as in Sampling, and ValueError for an empty batch."""
        return self._given(epoch)

    def _ask(self, epoch: int) -> list[NDArray[np.int64]]:
        batches = [_checked(one, self._num_records, "batch_sampler") for one in _iterate(self._sampler, epoch)]
        for number, batch in enumerate(batches):
            if not len(batch):
                raise ValueError(
                    f"batch_sampler gave an empty batch as number {number} of {len(batches)} in epoch {epoch}: a batch "
                    "has one record or more, so leave it out"
                )
        return batches

    def _name(self, given: list[NDArray[np.int64]]) -> str:
        lengths = np.array([len(batch) for batch in given], "<i8")
        records = np.concatenate([np.empty(0, np.int64), *given]).astype("<i8")
        return f"{len(given)} batches {xxhash.xxh3_64_hexdigest(lengths.tobytes() + records.tobytes())}"


def _iterate(sampler: Sampler | BatchSampler, epoch: int) -> Iterable[Any]:
    if isinstance(sampler, Iterable):
        set_epoch = getattr(sampler, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        return iter(sampler)
    given: Iterable[Any] = sampler(epoch)
    return given


def _checked(given: Iterable[Any], num_records: int, name: str) -> NDArray[np.int64]:
    row = given if are_several(given) else list(given)
    return checked_positions(row, num_records, name=f"the records that {name} gave", from_end=False)
