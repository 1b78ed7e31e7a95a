"""L cold: batches of a shuffled epoch after the page cache of the data was dropped.

    disk                  asks the kernel for the records of 18 steps ahead, always, then preads each: its own
                          random rate for records of that size, with as much on its way as the loader has
    splitdata, ...        DistributedLoader with its read-ahead; batches of bytes, verified

The first steps open files and start workers; a few that follow are left out, since workers may have made them;
then the cache is dropped, and the next steps are measured.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from benchmarks.measure import Result
from benchmarks.workloads.cold import drop
from splitdata import DistributedLoader, SplitDataLoader, WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.measure import Settings

__all__ = ["WORKLOAD", "measure_cold_loading"]

WORKLOAD: Final = "L cold"

_BATCH: Final = 64
_NUM_WORKERS: Final = 2
_NUM_STARTING: Final = 2
# More than workers make ahead: what they touch stays mapped. What is merely read ahead is dropped.
_FIRST_MEASURED: Final = 12
_SETTLING_SECONDS: Final = 0.3
_MAX_STEPS: Final = 100
_STEPS_AHEAD: Final = 18


def measure_cold_loading(
    data: str, bare: Path, offsets: NDArray[np.int64], dataset: Path, settings: Settings
) -> list[Result]:
    """Measure cold steps.

    Args:
        data: Name of the data set, for the results.
        bare: File of all records end to end.
        offsets: Where each record begins in it, and the end.
        dataset: The same records as splitdata has them.
        settings: How often.
    """
    num_steps = min(_MAX_STEPS, (len(offsets) - 1) // _BATCH - _FIRST_MEASURED)
    contenders: dict[str, Callable[[int], float]] = {
        "disk": lambda seed: _disk(bare, offsets, seed, num_steps),
        "splitdata, in process": lambda seed: _loader(dataset, 0, "process", seed, num_steps),
        "splitdata, 2 threads": lambda seed: _loader(dataset, _NUM_WORKERS, "thread", seed, num_steps),
        "splitdata, 2 processes": lambda seed: _loader(dataset, _NUM_WORKERS, "process", seed, num_steps),
    }
    if not hasattr(os, "posix_fadvise"):
        return [Result(WORKLOAD, data, name, answer="this system drops no page cache") for name in contenders]
    results = {name: Result(WORKLOAD, data, name, num_records=num_steps * _BATCH) for name in contenders}
    for repetition in range(settings.repeat):
        for name, contender in contenders.items():
            result = results[name]
            if not result.answer:
                try:
                    result.rates.append(num_steps * _BATCH / contender(repetition))
                except Exception as error:  # one that fails is reported, the others go on
                    result.answer = f"failed: {type(error).__name__}: {error}"
    return list(results.values())


def _as_it_is(samples: list[Any]) -> list[Any]:
    """Stand for a collate function where records differ in size."""
    return samples


def _loader(dataset: Path, num_workers: int, kind: Literal["process", "thread"], seed: int, num_steps: int) -> float:
    bins = sorted(dataset.rglob("*.bin"))
    # Its own: maps of another reader would keep pages.
    loader = DistributedLoader(
        SplitDataLoader(dataset),
        batch_size=_BATCH,
        shuffle="global",
        seed=seed,
        num_workers=num_workers,
        workers=WorkerOptions(kind=kind),
        collate_fn=_as_it_is,
    )
    with closing(loader):
        for _, batch in zip(range(_NUM_STARTING), loader, strict=False):
            del batch
        loader.seek(_FIRST_MEASURED)
        # What is still on its way would come after the drop.
        time.sleep(_SETTLING_SECONDS)
        drop(*bins)
        begin = time.perf_counter()
        batches = loader.resume()
        for _ in range(num_steps):
            next(batches)
        return time.perf_counter() - begin


def _disk(bare: Path, offsets: NDArray[np.int64], seed: int, num_steps: int) -> float:
    order = np.random.default_rng(seed).permutation(len(offsets) - 1)
    steps = [order[start : start + _BATCH] for start in range(0, num_steps * _BATCH, _BATCH)]
    drop(bare)
    descriptor = os.open(bare, os.O_RDONLY)
    begin = time.perf_counter()
    for places in _asked_ahead(descriptor, offsets, steps):
        [os.pread(descriptor, length, offset) for offset, length in places]
    seconds = time.perf_counter() - begin
    os.close(descriptor)
    return seconds


def _asked_ahead(
    descriptor: int, offsets: NDArray[np.int64], steps: list[NDArray[np.int64]]
) -> Iterator[list[tuple[int, int]]]:
    """Yield offset and length of the records of each step, when those of many steps behind it were asked for."""
    asked: deque[list[tuple[int, int]]] = deque()
    for records in steps:
        starts = offsets[records]
        places = list(zip(starts.tolist(), (offsets[records + 1] - starts).tolist(), strict=True))
        for offset, length in places:
            os.posix_fadvise(descriptor, offset, length, os.POSIX_FADV_WILLNEED)
        asked.append(places)
        if len(asked) > _STEPS_AHEAD:
            yield asked.popleft()
    yield from asked
