"""The figures of a loader: what it did and where the time went, in numbers.

verdict.py says what they mean, stats_text.py how they look; stats.py is what a user gets.

    time of the training loop   |start| use | wait | use | wait | use |      start: for the first batch of an epoch,
                                              `--- transfer is a part        launch: for the very first
    time of each worker         | read | transform | cache | collate | send | idle |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from splitdata.loader.plan.steps import CacheStats, WorkerStats

__all__ = ["STAGES", "LoaderFigures", "RotationStats", "percent", "share"]

STAGES: Final = ("read", "transform", "cache", "collate", "send")


@dataclass(frozen=True, slots=True)
class RotationStats:
    """The figures of rotation: sizes in bytes, of samples as they are kept."""

    num_made: int
    """Samples that were made; each is handed out several times."""
    memory_bytes: int
    """At the time of the call."""
    disk_bytes: int
    """At the time of the call."""
    peak_bytes: int
    """The most of both together, since the start."""
    collate_seconds: float
    """Of this process, spent on decoding and collating kept samples; training waits for it."""


@dataclass(frozen=True, slots=True)
class LoaderFigures:
    """The numbers of `LoaderStats`, without what follows from them: that says when they count."""

    num_batches: int
    num_samples: int
    num_bytes: int
    """Of arrays, tensors and strings in the batches."""
    seconds: float
    num_epochs: int
    """How many iterators were begun."""
    launch_seconds: float
    """Waiting for the very first batch, while the workers start; also where they had to be started anew."""
    starting_seconds: float
    """Waiting for the first batch of each other iterator."""
    waiting_seconds: float
    """Waiting for all other batches, their transfer included."""
    transfer_seconds: float
    """Of this process, spent on moving batches to the device; copies that run meanwhile cost nothing here."""
    num_workers: int
    """0: this process does the work, while training waits."""
    workers: tuple[WorkerStats, ...]
    """One for each worker, or one for this process."""
    num_ready: int
    """Batches that were ready and not handed out, at the time of the call."""
    memory_bytes: int
    """Shared memory that batches lie in, at the time of the call."""
    num_skipped: int
    """Records that were replaced because of an error."""
    num_cores: int
    """Cores that this process may use."""
    cache: CacheStats | None = None
    """None without a cache."""
    rotation: RotationStats | None = None
    """What rotation does; None before it has made a sample, and without it."""
    epoch: int | None = None
    """The epoch that is counted, None for all since the start."""
    last_epoch: int | None = None
    """The epoch of the newest iterator, None before the first."""
    waiting_processor: float = 0.0
    """How much of `waiting_seconds` this thread computed: transfer, collating for rotation, work without workers."""
    transfer_processor: float = 0.0
    """How much of `transfer_seconds` this thread computed."""
    worker_kind: Literal["process", "thread", "ray"] = "process"
    num_elements: int = 0
    """Of batches by length, in the unit of their lengths; 0 of others."""
    num_padded_elements: int = 0
    """The same with the padding that makes them batches or sequences; with cost="sum" the budgets."""

    @property
    def fill_ratio(self) -> float:
        """How full batches by length are: elements without padding as a share of those with it, 0 to 1."""
        return share(self.num_elements, self.num_padded_elements)

    @property
    def batches_per_second(self) -> float:
        """The mean over the time that is counted."""
        return share(self.num_batches, self.seconds)

    @property
    def samples_per_second(self) -> float:
        """The mean over the time that is counted."""
        return share(self.num_samples, self.seconds)

    @property
    def bytes_per_second(self) -> float:
        """The mean over the time that is counted."""
        return share(self.num_bytes, self.seconds)

    @property
    def running_seconds(self) -> float:
        """The time without the first batches of iterators."""
        return self.seconds - self.launch_seconds - self.starting_seconds

    @property
    def waiting_share(self) -> float:
        """The part of its time that training waited, the starts of epochs left out: 0 to 1."""
        return share(self.waiting_seconds, self.running_seconds)


def share(part: float, whole: float) -> float:
    """Return which part of a whole something is; 0 of nothing."""
    return part / whole if whole > 0 else 0.0


def percent(part: float) -> str:
    """Return a share in percent, with a decimal where it is small."""
    return f"{100 * part:.1f} %" if part < 0.0995 else f"{100 * part:.0f} %"
