"""R1 to R4: what is read from a page cache that holds everything.

R1        single records at random positions
R2        batches of 256 random positions, as lists
gather    the same, as one array: records of one size
R3        all records in the order of the files
R4        all records, shuffled, in the way that the peer offers
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.measure import Result, take_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from benchmarks.measure import Settings
    from benchmarks.peers.base import Reader

__all__ = ["BATCH", "WORKLOADS", "read_all"]

BATCH: Final = 256
WORKLOADS: Final = ("R1", "R2", "gather", "R3", "R4")
_SEED: Final = 7


def read_all(
    workload: str, data: str, readers: Mapping[str, Reader], num_records: int, settings: Settings
) -> list[Result]:
    """Measure one of `WORKLOADS` with readers of all peers."""
    positions = np.random.default_rng(_SEED).permutation(num_records)
    make = {"R1": _single, "R2": _batches, "gather": _gather, "R3": _scan, "R4": _shuffled}[workload]
    operations = {name: make(reader, positions) for name, reader in readers.items()}
    return take_turns(workload, data, operations, num_records, settings)


def _single(reader: Reader, positions: np.ndarray) -> Callable[[int], int]:
    listed: list[int] = positions.tolist()

    def run(count: int) -> int:
        reader.read_each(listed[:count])
        return count

    return run


def _batches(reader: Reader, positions: np.ndarray) -> Callable[[int], int]:
    batches: list[list[int]] = [part.tolist() for part in _cut(positions)]

    def run(count: int) -> int:
        wanted = batches[: max(1, count // BATCH)]
        reader.read_batches(wanted)
        return len(wanted) * BATCH

    return run


def _gather(reader: Reader, positions: np.ndarray) -> Callable[[int], int]:
    batches = _cut(positions)

    def run(count: int) -> int:
        wanted = batches[: max(1, count // BATCH)]
        reader.gather_batches(wanted)
        return len(wanted) * BATCH

    return run


def _scan(reader: Reader, _: np.ndarray) -> Callable[[int], int]:
    return reader.scan


def _shuffled(reader: Reader, _: np.ndarray) -> Callable[[int], int]:
    return lambda count: reader.shuffled_epoch(count, _SEED)


def _cut(positions: np.ndarray) -> list[np.ndarray]:
    return [positions[start : start + BATCH] for start in range(0, len(positions) - BATCH + 1, BATCH)]
