"""Datasets and transforms that run in the workers of the tests. Imported there by name.

Numbers(n)[i] -> i  --rows-->  {"record": i, "row": int32[size] full of i}  --collate-->  is_batch_of(batch, records)
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from splitdata.loader.distributed_loader import DistributedLoader
from tests.watchdog import descendants

__all__ = [
    "Fails",
    "Hangs",
    "Numbers",
    "Rows",
    "Sample",
    "Stream",
    "end",
    "is_batch_of",
    "worker_pids",
]

# A sample or a batch, as a transform or collate function returns it.
Sample: TypeAlias = Any


class Numbers:
    """A dataset whose records are their own numbers."""

    def __init__(self, num_records: int) -> None:
        self._num_records = num_records

    def __len__(self) -> int:
        return self._num_records

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self._num_records:
            raise IndexError(index)
        return index


@dataclass(frozen=True)
class Rows:
    """A transform: number -> its number and a row of `size` numbers."""

    size: int = 3

    def __call__(self, record: int) -> Sample:
        return {"record": record, "row": np.full(self.size, record, np.int32)}


def is_batch_of(batch: Sample, records: Sequence[int]) -> bool:
    """Tell whether a batch is what `Rows` and the default collate make of these records."""
    numbers = np.asarray(records)
    return bool(np.array_equal(batch["record"], numbers) and (np.asarray(batch["row"]) == numbers[:, np.newaxis]).all())


@dataclass(frozen=True)
class Fails(Rows):
    """Rows, but one record ends badly for as long as a file exists."""

    record: int = 0
    how: str | Callable[[], BaseException] = "SIGKILL"
    switch: Path = Path("/nonexistent")

    def __call__(self, record: int) -> Sample:
        if record == self.record and self.switch.exists():
            self._fail()
        return super().__call__(record)

    def _fail(self) -> None:
        if not isinstance(self.how, str):
            raise self.how()
        if self.how == "sys.exit":
            sys.exit(3)
        if self.how == "os._exit":
            os._exit(0)
        # Its dump belongs to crashes that nobody ordered.
        faulthandler.disable()
        os.kill(os.getpid(), getattr(signal, self.how))
        time.sleep(60)


@dataclass(frozen=True)
class Hangs(Rows):
    """Rows, but one record takes for ever, as long as a file exists."""

    record: int = 0
    how: str = "sleep"
    switch: Path = Path("/nonexistent")

    def __call__(self, record: int) -> Sample:
        if record == self.record and self.switch.exists():
            self._hang()
        return super().__call__(record)

    def _hang(self) -> None:
        if self.how == "holding the GIL":
            ctypes.PyDLL(None).sleep(600)
        # In short steps: a thread can only be left, and leaves by itself when the test removes the file.
        while self.switch.exists():
            if self.how == "sleep":
                time.sleep(0.01)


class Stream:
    """Follows a loader over its epochs, and checks that every batch is the next one: none twice, none left out.

    The loader's transform is `Rows`; the batches of each step are those that `loader.records` foretells.
    """

    def __init__(self, loader: DistributedLoader) -> None:
        self.loader = loader
        self.epoch = 0
        self.step = 0
        self.samples = 0
        self.num_batches = 0

    def take(self, batches: Iterator[Sample], limit: int = sys.maxsize) -> None:
        """Take batches, up to a limit or the end of the epoch."""
        for _ in range(limit):
            batch = next(batches, None)
            if batch is None:
                assert self.step == 0, f"the epoch ended early, before step {self.step}"
                return
            self.check(batch)

    def check(self, batch: Sample) -> None:
        """Check one batch, and that the loader's position is behind it."""
        expected = self.loader.records(self.epoch, self.step).tolist()
        found = batch["record"].tolist()
        assert is_batch_of(batch, expected), f"epoch {self.epoch}, step {self.step}: {found}, expected {expected}"
        self.num_batches += 1
        self.skip_one()
        self.check_position()

    def skip_one(self) -> None:
        """Go on behind a batch that could not be looked at."""
        self.samples += len(self.loader.records(self.epoch, self.step))
        self.step += 1
        if self.step == len(self.loader):
            self.epoch, self.step, self.samples = self.epoch + 1, 0, 0

    def check_position(self) -> None:
        """Check that the loader stands where this stream does, for a loader that is alone in its world."""
        assert self.loader.position == (self.epoch, self.samples)

    def follow(self, limit: int = sys.maxsize) -> None:
        """Take batches from wherever the loader stands, over as many epochs as it needs."""
        stop = self.num_batches + limit
        while self.num_batches < stop:
            self.take(self.loader.resume(), stop - self.num_batches)


def worker_pids(spared: frozenset[int]) -> list[int]:
    """Return the live processes below this one that are not spared, oldest first."""
    return sorted(one.pid for one in descendants() if one.pid not in spared and not one.is_zombie)


def end(pid: int) -> bool:
    """Kill a process; tell whether it was there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
