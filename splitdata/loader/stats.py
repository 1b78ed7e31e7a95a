"""What a loader did and where the time went, in numbers and in one sentence.

time of the training loop   |start| use | wait | use | wait | use |      start: for the first batch of an epoch,
                                                                                launch: for the very first
                                          `--- transfer is a part of this
time of each worker         | read | transform | collate | send | idle |

waits little                                 -> the loader is ahead
waits for first batches above all            -> start
waits, and the transfer is most of it        -> transfer
waits, and half of the workers are busy      -> the stage that takes them longest
waits, and they are not                      -> batches come late one by one
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["CacheStats", "LoaderStats", "RotationStats", "StepTimings", "WorkerStats"]

# Less waiting than this cannot be told from the cost of asking for a batch.
_LITTLE = 0.05
# Of its time; the rest is noise of the machine.
_BUSY = 0.75
_FEWEST_BATCHES = 10

_ADVICE = {
    "read": 'give the data faster storage or more memory, or read in order of bins (shuffle="bins")',
    "transform": "make the transform cheaper",
    "collate": "let the transform return smaller samples, or pass a cheaper collate_fn",
    "send": "make batches smaller: uint8 images, for instance, that become float on the device",
}


class StepTimings(NamedTuple):
    """Where a worker's time went for one batch, in seconds; waiting for work or for room is in none of them."""

    read: float
    transform: float
    collate: float
    send: float


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """What one worker did; times are sums over its batches, in seconds."""

    num_batches: int = 0
    read: float = 0.0
    transform: float = 0.0
    collate: float = 0.0
    send: float = 0.0

    @property
    def busy_seconds(self) -> float:
        """How long it worked."""
        return self.read + self.transform + self.collate + self.send


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the cache gave and took, of the samples that were handed out."""

    num_hits: int = 0
    """Samples that were read."""
    num_misses: int = 0
    """Samples that were computed."""
    num_damaged: int = 0
    """Entries that could not be read, and were computed again."""
    bytes_read: int = 0
    bytes_written: int = 0

    @property
    def hit_share(self) -> float:
        """The part of the samples that was read: 0 to 1."""
        return _share(self.num_hits, self.num_hits + self.num_misses)


@dataclass(frozen=True, slots=True)
class RotationStats:
    """What rotation keeps: sizes in bytes, of samples as they are kept."""

    num_made: int
    """Samples that were made since the start; each is handed out several times."""
    memory_bytes: int
    """At the time of the call."""
    disk_bytes: int
    """At the time of the call."""
    peak_bytes: int
    """The most of both together."""
    collate_seconds: float
    """Of this process, spent on decoding and collating kept samples; training waits for it."""


@dataclass(frozen=True, slots=True)
class LoaderStats:
    """What a loader did since its start. Times are in seconds, sizes in bytes.

    Counted is what was handed to the training loop; workers are ahead of that. Time passes only while an iterator
    of the loader is in use, not between epochs.
    """

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
    mean_ready: float
    """The mean of that number over the moments at which a batch was asked for."""
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

    @property
    def batches_per_second(self) -> float:
        """The mean since the start."""
        return _share(self.num_batches, self.seconds)

    @property
    def samples_per_second(self) -> float:
        """The mean since the start."""
        return _share(self.num_samples, self.seconds)

    @property
    def bytes_per_second(self) -> float:
        """The mean since the start."""
        return _share(self.num_bytes, self.seconds)

    @property
    def waiting_share(self) -> float:
        """The part of its time that training waited, the starts of epochs left out: 0 to 1."""
        return _share(self.waiting_seconds, self.seconds - self.launch_seconds - self.starting_seconds)

    @property
    def verdict(self) -> str:
        """One sentence: whether training is held back, by what, and what to do."""
        if self.num_batches < _FEWEST_BATCHES:
            return f"Too early to tell: {self.num_batches} batches, {_FEWEST_BATCHES} are needed."
        # The launch comes once, whatever comes after it.
        starting = _share(self.starting_seconds, self.seconds - self.launch_seconds)
        if starting >= 2 * _LITTLE and self.starting_seconds > self.waiting_seconds:
            return (
                f"Training waits {_percent(starting)} of the time for the first batch of an epoch: make epochs longer, "
                "or let workers begin the next one early (prefetch_epochs=True)."
            )
        if self.waiting_share < _LITTLE:
            return f"The loader is ahead: training waits {_percent(self.waiting_share)} of the time."
        return f"Training waits for data {_percent(self.waiting_share)} of the time; {self._cause()}."

    def _cause(self) -> str:
        transfer = _share(self.transfer_seconds, self.waiting_seconds)
        if transfer > 0.5:
            return (
                f"{_percent(min(transfer, 1.0))} of that is the transfer to the device: make batches smaller (uint8 "
                "images, for instance, that become float there)"
            )
        stage, share = self._longest_stage()
        if self.num_workers == 0:
            return (
                f"this process spends {_percent(share)} of its loading in {stage}: set num_workers, or {_ADVICE[stage]}"
            )
        running = self.seconds - self.launch_seconds
        num_busy = sum(_share(worker.busy_seconds, running) >= _BUSY for worker in self.workers)
        if 2 * num_busy < self.num_workers:
            return (
                f"{num_busy} of {self.num_workers} workers are busy, so single batches come late: let more be made "
                "ahead (prefetch, max_bytes), or take them as they come (in_order=False)"
            )
        busy = f"{num_busy} of {self.num_workers} busy"
        more = (
            f"add workers ({busy}) or {_ADVICE[stage]}"
            if self.num_workers < self.num_cores
            else f"{_ADVICE[stage]} ({busy}, and as many workers as cores)"
        )
        return f"workers spend {_percent(share)} in {stage}: {more}"

    def _longest_stage(self) -> tuple[str, float]:
        totals = {stage: sum(getattr(worker, stage) for worker in self.workers) for stage in StepTimings._fields}
        stage = max(totals, key=lambda each: totals[each])
        return stage, _share(totals[stage], sum(totals.values()))

    def as_dict(self) -> dict[str, Any]:
        """Return everything as a dict of JSON values, rates and verdict included."""
        derived = ("batches_per_second", "samples_per_second", "bytes_per_second", "waiting_share", "verdict")
        return dataclasses.asdict(self) | {name: getattr(self, name) for name in derived}

    def __str__(self) -> str:
        """The verdict, then a table."""
        rows = [
            self.verdict,
            f"  {self.num_batches} batches, {self.num_samples} samples, {_size(self.num_bytes)} in "
            f"{self.seconds:.1f} s: {self.batches_per_second:.1f} batches/s, "
            f"{self.samples_per_second:.0f} samples/s, {_size(self.bytes_per_second)}/s",
            f"  waited {self.waiting_seconds:.2f} s, {self.launch_seconds:.2f} s for the very first batch, "
            f"{self.starting_seconds:.2f} s for those of later epochs ({self.num_epochs} begun); "
            f"{self.transfer_seconds:.2f} s of transfer",
            f"  {self.num_ready} batches ready now, {self.mean_ready:.1f} on average, in {_size(self.memory_bytes)}; "
            f"{self.num_skipped} records skipped",
            *self._cache_rows(),
            f"  {'':11}{'batches':>8}{'read s':>10}{'transform s':>13}{'collate s':>11}{'send s':>9}",
        ]
        if self.rotation is not None:
            kept = self.rotation
            rows.insert(
                -1,
                f"  rotation: {kept.num_made} samples made; it holds {_size(kept.memory_bytes)} in memory and "
                f"{_size(kept.disk_bytes)} on disk, {_size(kept.peak_bytes)} at most",
            )
        for number, worker in enumerate(self.workers):
            name = f"worker {number}" if self.num_workers else "in process"
            rows.append(
                f"  {name:11}{worker.num_batches:8}{worker.read:10.2f}{worker.transform:13.2f}"
                f"{worker.collate:11.2f}{worker.send:9.2f}"
            )
        return "\n".join(rows)

    def _cache_rows(self) -> list[str]:
        cache = self.cache
        if cache is None:
            return []
        return [
            f"  cache: {cache.num_hits} samples read ({_percent(cache.hit_share)}), {cache.num_misses} computed, "
            f"{cache.num_damaged} damaged; {_size(cache.bytes_read)} read, {_size(cache.bytes_written)} written"
        ]


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.0f} {unit}" if unit == "B" else f"{num_bytes:.1f} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.1f} GiB"
