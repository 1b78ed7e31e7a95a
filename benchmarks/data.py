"""The data that is measured with, the same bytes in every run.

    D1    1,000,000 records of 128 random bytes
    D2      100,000 records of random bytes, lognormal sizes around 10 KB, 1.0 GB in all

Made from a seed in about a second each, which is as fast as reading them from a disk would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

__all__ = ["NAMES", "Data", "make"]

NAMES: Final = ("D1", "D2")

_D1_BYTES: Final = 128
# Of the underlying normal distribution: a mean of 10 KB, and one record in a hundred above 28 KB.
_D2_MEAN_BYTES: Final = 10_240
_D2_SIGMA: Final = 0.5
_SEED: Final = 20261121


@dataclass(frozen=True, slots=True)
class Data:
    """One data set in memory.

    Attributes:
        name: "D1" or "D2".
        records: All records, each an object of its own.
        num_bytes: Their sum.
        record_bytes: Their size, where all have one.
    """

    name: str
    records: list[bytes]
    num_bytes: int
    record_bytes: int | None

    @property
    def mean_bytes(self) -> float:
        """Mean size of a record."""
        return self.num_bytes / len(self.records)


def make(name: str, share: float = 1.0) -> Data:
    """Return a data set, or its first part.

    Args:
        name: One of `NAMES`.
        share: Part of the records, above 0 to 1.
    """
    generator = np.random.default_rng([_SEED, NAMES.index(name)])
    if name == "D1":
        count = max(1000, int(1_000_000 * share))
        block = np.frombuffer(generator.bytes(count * _D1_BYTES), f"V{_D1_BYTES}")
        return Data(name, block.tolist(), count * _D1_BYTES, _D1_BYTES)
    count = max(1000, int(100_000 * share))
    mean = np.log(_D2_MEAN_BYTES) - _D2_SIGMA**2 / 2
    sizes = np.maximum(1, generator.lognormal(mean, _D2_SIGMA, count).astype(np.int64))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    data = generator.bytes(offsets[-1])
    return Data(name, [data[start:stop] for start, stop in pairwise(offsets)], offsets[-1], None)
