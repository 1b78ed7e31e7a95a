"""The messages between the loader and its workers: a request holds numbers, a reply holds a batch.

A worker needs nothing else: neither the order nor the partition is known to it.

    StepRequest   ticket, step, parts: [(epoch, positions, records), ...]     one part, or more where a step
                                                                              crosses from one epoch into the next
    StepReply     ticket, batch, sizes, timings, skipped, cache
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BatchInfo",
    "CacheStats",
    "Part",
    "Position",
    "SkippedRecord",
    "StepReply",
    "StepRequest",
    "StepShape",
    "WorkerStats",
]


@dataclass(frozen=True, slots=True)
class Position:
    """The position of training, the same on every rank.

    Attributes:
        epoch: 0-based.
        samples: Samples of this epoch that all ranks together have been handed; batches with a batch sampler.
        origin: Samples of earlier epochs, where epochs of `num_steps` cut an endless stream; else 0.
    """

    epoch: int = 0
    samples: int = 0
    origin: int = 0


class StepShape(NamedTuple):
    """In what steps a position was reached; another loader may go on from it in others.

    `lanes` are those of the order, which stay as they were at first.
    """

    batch_size: int
    world_size: int
    lanes: int

    @property
    def samples(self) -> int:
        """Samples of one step, on all ranks together."""
        return self.batch_size * self.world_size


class StepFill(NamedTuple):
    """How full a batch by length is: its elements, and those that it takes with its padding."""

    elements: int = 0
    room: int = 0

    def plus(self, other: StepFill) -> StepFill:
        """Return both together."""
        return StepFill(self.elements + other.elements, self.room + other.room)


class Part(NamedTuple):
    """Samples of one step that belong to one epoch.

    `positions` are int64 places in the order of that epoch, `records` int64 numbers of the dataset, both [n]. With
    rotation a sample has one position, however often it is used: that in the order below. `fill` is known of batches by
    length, and `span` says which elements of the samples belong to the step where these are split (order/batching.py).
    """

    epoch: int
    positions: NDArray[np.int64]
    records: NDArray[np.int64]
    fill: StepFill | None = None
    span: tuple[int, int] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # As bytes: pickling an array costs several times as much, and this is done for every step.
        numbers = (np.asarray(part, np.int64).tobytes() for part in (self.positions, self.records))
        return _part_of, (self.epoch, *numbers, self.fill, self.span)


def _part_of(epoch: int, positions: bytes, records: bytes, fill: StepFill | None, span: tuple[int, int] | None) -> Part:
    # Of copies, which may be written to.
    copies = [np.frombuffer(bytearray(part), np.int64) for part in (positions, records)]
    return Part(epoch, copies[0], copies[1], fill, span)


class StepRequest(NamedTuple):
    """One batch to make.

    `ticket` counts all requests of a loader and never repeats; `step` counts those of one epoch.
    """

    ticket: int
    step: int
    parts: tuple[Part, ...]

    @property
    def num_samples(self) -> int:
        """Samples of the batch."""
        return sum(len(part.records) for part in self.parts)

    def __str__(self) -> str:
        """Name the step and its first records, for messages."""
        epoch, records = self.parts[0].epoch, self.parts[0].records
        shown = ", ".join(map(str, records[:4].tolist()))
        more = self.num_samples - len(records[:4])
        noun = "record" if self.num_samples == 1 else "records"
        return f"step {self.step} of epoch {epoch}, {noun} {shown}" + (f" and {more} more" if more else "")


class WorkerStats(NamedTuple):
    """The figures of one worker; times are sums over its batches, in seconds, without waiting for work or for room.

    Beside the time that a stage took stands how much of it the worker has computed (of sending it is not measured). The
    rest it has waited: for a disk, a network, another thread, or a free core. A reply brings those of its one batch.
    """

    num_batches: int = 0
    read: float = 0.0
    """Reading records of the dataset."""
    transform: float = 0.0
    cache: float = 0.0
    """Reading samples of a cache, and putting them there."""
    collate: float = 0.0
    send: float = 0.0
    read_processor: float = 0.0
    transform_processor: float = 0.0
    cache_processor: float = 0.0
    collate_processor: float = 0.0
    starved: float = 0.0
    """Ready to compute, in whichever stage, while no core was free; 0 where the system does not say."""

    @property
    def busy_seconds(self) -> float:
        """The time that it worked."""
        return self.read + self.transform + self.cache + self.collate + self.send

    @property
    def processor_seconds(self) -> float:
        """The part of that time in which it computed; sending counts as computing."""
        measured = self.read_processor + self.transform_processor + self.cache_processor + self.collate_processor
        return measured + self.send


class SkippedRecord(NamedTuple):
    """A record that could not be used, and what was taken in its place."""

    record: int
    epoch: int
    position: int
    replacement: int
    error: str


class CacheStats(NamedTuple):
    """The figures of the cache, for the samples that were handed out. A reply brings those of its one batch."""

    num_hits: int = 0
    """Samples that were read."""
    num_misses: int = 0
    """Samples that were computed."""
    num_damaged: int = 0
    """Entries that could not be read, and were computed again."""
    bytes_read: int = 0
    bytes_written: int = 0
    """Of samples that were kept. What waits to be committed is counted with a later batch."""
    problem: str | None = None
    """Why samples are not kept any more, None while all is well."""

    @property
    def hit_share(self) -> float:
        """The part of the samples that was read: 0 to 1."""
        return self.num_hits / max(1, self.num_hits + self.num_misses)


class BatchInfo(NamedTuple):
    """What goes with a batch to the loop: where training stands behind it, and what it is of."""

    position: Position
    num_samples: int
    num_bytes: int
    skipped: tuple[SkippedRecord, ...]
    fill: StepFill | None = None


class StepReply(NamedTuple):
    """One batch that was made. Plain tuples pickle fast: there is one of these for every step."""

    ticket: int
    batch: Any
    num_samples: int
    num_bytes: int
    timings: WorkerStats
    skipped: tuple[SkippedRecord, ...]
    cache: CacheStats | None
    fill: StepFill | None = None
