"""The data of these tests, and the samples that must come of it: numbers, with noise that tells a replay from a resume.

write(folder)           53 records
make_loader(path)       batches {"number": int64[4], "noise": float64[4]}, keyed by (seed, epoch, record)
expected(path, epochs)  all samples in order, as one rank alone gets them
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter

__all__ = [
    "BATCH_SIZE",
    "NUM_RECORDS",
    "Samples",
    "expected",
    "interleaved",
    "make_loader",
    "numbered",
    "samples_of",
    "write",
]

NUM_RECORDS = 53
BATCH_SIZE = 4

# (number, noise) of each.
Samples = list[tuple[int, float]]


def write(folder: Path) -> str:
    """Write the records and return the path."""
    with SplitWriter(folder, bins=4) as writer:
        writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    return str(folder)


def numbered(record: bytes, rng: np.random.Generator) -> dict[str, Any]:
    """Return a sample: its number, and noise of its own."""
    return {"number": int(record), "noise": rng.normal()}


def make_loader(path: str, **options: Any) -> DistributedLoader:
    """Return the loader that all of these tests use."""
    arguments: dict[str, Any] = {"batch_size": BATCH_SIZE, "shuffle": "global", "transform": numbered} | options
    return DistributedLoader(path, **arguments)


def samples_of(batches: Iterable[Any]) -> Samples:
    """Return the samples of batches, in their order."""
    return [
        sample
        for batch in batches
        for sample in zip(np.asarray(batch["number"]).tolist(), np.asarray(batch["noise"]).tolist(), strict=True)
    ]


def expected(path: str, num_epochs: int = 1) -> Samples:
    """Return the samples of the first epochs, as one rank alone gets them."""
    with make_loader(path, rank=0, world_size=1) as loader:
        return [sample for _ in range(num_epochs) for sample in samples_of(loader)]


def interleaved(of_ranks: list[Samples]) -> Samples:
    """Return what ranks have had in the order of positions: rank r of W has every W-th."""
    return [sample for of_all in zip(*of_ranks, strict=True) for sample in of_all]
