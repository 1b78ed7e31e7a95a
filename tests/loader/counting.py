"""A transform that writes down each call of it, so that calls are counted over processes, kills and restarts.

Counting(log)(record, rng=...)  ──>  a line in the log: the record's number      and a sample with random bytes
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import SplitWriter
from splitdata.loader.samples.sample_rng import sample_generator

__all__ = ["Counting", "calls", "expected_sample", "samples_of", "write_numbers"]


class Counting:
    """Returns {"number": ..., "noise": 6 random bytes, "image": uint8[2, 3]}, and logs the number."""

    def __init__(self, log: Path, *, seconds: float = 0.0) -> None:
        self.log = log
        self.seconds = seconds

    def __call__(self, record: bytes, rng: np.random.Generator) -> dict[str, Any]:
        number = int.from_bytes(record[:8], "little")
        if self.seconds:
            time.sleep(self.seconds)
        # One write to a file that is opened for appending is never torn.
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, b"%d\n" % number)
        finally:
            os.close(descriptor)
        return sample_of(number, rng)


def sample_of(number: int, rng: np.random.Generator) -> dict[str, Any]:
    return {"number": number, "noise": rng.bytes(6), "image": np.full((2, 3), number % 251, np.uint8)}


def expected_sample(number: int, epoch: int, seed: int = 0) -> tuple[int, bytes]:
    """Return number and noise of the sample that a loader without a cache makes in an epoch."""
    sample = sample_of(number, sample_generator(seed, epoch, number))
    return sample["number"], sample["noise"]


def samples_of(batches: Any) -> list[tuple[int, bytes]]:  # batches of any loader
    """Return number and noise of all samples in batches of the default collate."""
    found = []
    for batch in batches:
        assert (batch["image"] == (batch["number"] % 251).astype(np.uint8)[:, None, None]).all()
        found += list(zip(batch["number"].tolist(), batch["noise"], strict=True))
    return found


def calls(log: Path) -> Counter[int]:
    """Return how often each number was made."""
    return Counter(map(int, log.read_text().split())) if log.exists() else Counter()


def write_numbers(path: Path, count: int, *, first: int = 0) -> Path:
    """Write a dataset whose record i says first + i."""
    with SplitWriter(path, bins=3, durability="none") as writer:
        writer.write_many([number.to_bytes(8, "little") for number in range(first, first + count)])
    return path
