"""What travels between the loader and whoever computes a step: numbers one way, a batch the other.

StepRequest   ticket, step, parts: [(epoch, positions, records), ...]     one part, or more where a step
crosses from one epoch into the next
StepReply     ticket, batch, sizes, timings, skipped, cache
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from splitdata.loader.stats.stats import StepTimings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CacheCounts", "Part", "SkippedRecord", "StepReply", "StepRequest"]

# What the collate function returns: its type is the user's.
Batch: TypeAlias = Any


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


class SkippedRecord(NamedTuple):
    """A record that could not be used, and what was taken in its place."""

    record: int
    epoch: int
    position: int
    replacement: int
    error: str


class CacheCounts(NamedTuple):
    """What a worker got from the cache for one step, and put there.

    `problem` says why samples are not kept any more, None while all is well.
    """

    hits: int
    misses: int
    damaged: int
    bytes_read: int
    bytes_written: int
    problem: str | None


class StepReply(NamedTuple):
    """One batch that was made. Plain tuples pickle fast: there is one of these for every step."""

    ticket: int
    batch: Batch
    num_samples: int
    num_bytes: int
    timings: StepTimings
    skipped: tuple[SkippedRecord, ...]
    cache: CacheCounts | None
