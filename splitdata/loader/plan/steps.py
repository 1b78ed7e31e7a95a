"""The messages between the loader and its workers: a request holds numbers, a reply holds a batch.

A worker needs nothing else: neither the order nor the partition is known to it.

    StepRequest   ticket, step, parts: [(epoch, positions, records), ...]     one part, or more where a step
                                                                              crosses from one epoch into the next
    StepReply     ticket, batch, sizes, timings, skipped, cache
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BatchInfo",
    "CacheCounts",
    "Part",
    "Position",
    "SkippedRecord",
    "StepReply",
    "StepRequest",
    "StepShape",
    "StepTimings",
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


class Part(NamedTuple):
    """Samples of one step that belong to one epoch.

    `positions` are int64 places in the order of that epoch, `records` int64 numbers of the dataset, both [n]. With
    rotation a sample has one position, however often it is used: that in the order below.
    """

    epoch: int
    positions: NDArray[np.int64]
    records: NDArray[np.int64]


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
        epoch, _, records = self.parts[0]
        shown = ", ".join(map(str, records[:4].tolist()))
        more = self.num_samples - len(records[:4])
        noun = "record" if self.num_samples == 1 else "records"
        return f"step {self.step} of epoch {epoch}, {noun} {shown}" + (f" and {more} more" if more else "")


class StepTimings(NamedTuple):
    """A worker's time for one batch by stage, in seconds; without the time it waited for work or for room."""

    read: float = 0.0
    transform: float = 0.0
    cache: float = 0.0
    collate: float = 0.0
    send: float = 0.0
    read_processor: float = 0.0
    transform_processor: float = 0.0
    cache_processor: float = 0.0
    collate_processor: float = 0.0
    starved: float = 0.0


class SkippedRecord(NamedTuple):
    """A record that could not be used, and what was taken in its place."""

    record: int
    epoch: int
    position: int
    replacement: int
    error: str


class CacheCounts(NamedTuple):
    """The figures of the cache for one step of a worker: samples that it got, and that it put there.

    `problem` says why samples are not kept any more, None while all is well.
    """

    hits: int
    misses: int
    damaged: int
    bytes_read: int
    bytes_written: int
    problem: str | None


class BatchInfo(NamedTuple):
    """What goes with a batch to the loop: where training stands behind it, and what it is of."""

    position: Position
    num_samples: int
    num_bytes: int
    skipped: tuple[SkippedRecord, ...]


class StepReply(NamedTuple):
    """One batch that was made. Plain tuples pickle fast: there is one of these for every step."""

    ticket: int
    batch: Any
    num_samples: int
    num_bytes: int
    timings: StepTimings
    skipped: tuple[SkippedRecord, ...]
    cache: CacheCounts | None
