"""R2 cold: batches of 256 random positions after the page cache of the data was dropped.

    splitdata             lists
    willneed-then-read    the bare file: ask the kernel for the whole batch, then pread each record
    plain-mmap            the bare file: slices of a map, a page fault at a time
    lmdb                  its file dropped too

Indexes stay in memory, of splitdata as of the others; LMDB has none beside its tree.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.measure import Result
from benchmarks.workloads.reading import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.measure import Settings
    from benchmarks.peers.base import Peer

__all__ = ["drop", "read_cold"]

_NUM_BATCHES: Final = 8
_SEED: Final = 11
_WORKLOAD: Final = "R2 cold"


def read_cold(data: str, peers: dict[str, Peer], folder: Path, num_records: int, settings: Settings) -> list[Result]:
    """Measure cold batches; `folder` holds a dataset of each peer."""
    contenders: dict[str, Callable[[list[list[int]]], float]] = {}
    for name in ("splitdata", "lmdb"):
        if name in peers:
            contenders[name] = lambda batches, peer=peers[name]: _peer(peer, folder / peer.name, batches)  # type: ignore[misc]  # mypy cannot infer defaults of a lambda
    if "bare-file" in peers:
        contenders["willneed-then-read"] = lambda batches: _willneed(folder / "bare-file", batches)
        contenders["plain-mmap"] = lambda batches: _plain_mmap(folder / "bare-file", batches)
    results = {name: Result(_WORKLOAD, data, name, num_records=_NUM_BATCHES * BATCH) for name in contenders}
    if not hasattr(os, "posix_fadvise"):
        return [Result(_WORKLOAD, data, name, answer="this system drops no page cache") for name in contenders]
    for repetition in range(settings.repeat):
        positions = np.random.default_rng([_SEED, repetition]).permutation(num_records)[: _NUM_BATCHES * BATCH]
        batches = [positions[start : start + BATCH].tolist() for start in range(0, len(positions), BATCH)]
        for name, contender in contenders.items():
            results[name].rates.append(len(positions) / contender(batches))
    return list(results.values())


def drop(*files: Path) -> None:
    """Write files to the medium and drop them from the page cache."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _peer(peer: Peer, folder: Path, batches: list[list[int]]) -> float:
    files = sorted(folder.rglob("*.bin")) or [file for file in folder.rglob("*") if file.is_file()]
    drop(*files)
    reader = peer.open(folder)
    # Opens every bin, which a training run does once. The kernel reads far around the pages that are
    # touched; all but those themselves, which are mapped, are dropped again.
    reader.read_each(range(len(files)))
    drop(*files)
    start = time.perf_counter()
    reader.read_batches(batches)
    seconds = time.perf_counter() - start
    reader.close()
    return seconds


def _willneed(folder: Path, batches: list[list[int]]) -> float:
    offsets: list[int] = np.fromfile(folder / "offsets", np.int64).tolist()
    drop(folder / "data")
    descriptor = os.open(folder / "data", os.O_RDONLY)
    start = time.perf_counter()
    for batch in batches:
        for position in batch:
            length = offsets[position + 1] - offsets[position]
            os.posix_fadvise(descriptor, offsets[position], length, os.POSIX_FADV_WILLNEED)
        [os.pread(descriptor, offsets[position + 1] - offsets[position], offsets[position]) for position in batch]
    seconds = time.perf_counter() - start
    os.close(descriptor)
    return seconds


def _plain_mmap(folder: Path, batches: list[list[int]]) -> float:
    offsets: list[int] = np.fromfile(folder / "offsets", np.int64).tolist()
    drop(folder / "data")
    with (folder / "data").open("rb") as file:
        map_ = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = time.perf_counter()
    for batch in batches:
        [map_[offsets[position] : offsets[position + 1]] for position in batch]
    seconds = time.perf_counter() - start
    map_.close()
    return seconds
