"""Workloads Q and S: batches from another process per second, and the time until the first one.

    Q  large   float32 batches of 9.6 MB, the consumer looks at one number of each
       small   dicts of three ints and 1 KB of bytes
    S  first   from asking for the batches to holding the first, each start method

    python benchmarks/queue_workload.py            medians of five rounds
    python benchmarks/queue_workload.py --quick    one round, to see that it runs
    python benchmarks/queue_workload.py --json     the figures for a program

All peers run in every round, one after the other, so that a busy machine is busy for all of them; what
counts are the ratios. Starting is left out of Q: the clock runs from the first batch to the last. Peers
that are not installed are left out: splitdataloader==0.0.1, torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import mmap
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from splitdata.process.mpqitr import MpQItr

# Queues, events and contexts of several libraries.
Anything: TypeAlias = Any

LARGE_SHAPE = (64, 37_500)
LARGE_BYTES = 4 * LARGE_SHAPE[0] * LARGE_SHAPE[1]
DEPTH = 16
RING_SLOTS = 4

Case = Callable[[int], Iterable[Any]]


def large(n: int) -> Iterator[Any]:
    """Yield one array over and over: making it is not what is measured."""
    batch = np.random.default_rng(0).random(LARGE_SHAPE, np.float32)
    for _ in range(n):
        yield batch


def small(n: int) -> Iterator[dict[str, Any]]:
    """Yield a fresh dict each time."""
    blob = os.urandom(1024)
    for number in range(n):
        yield {"index": number, "label": number % 10, "epoch": 0, "data": blob}


def large_tensors(n: int) -> Iterator[Any]:
    """Yield fresh tensors: torch moves the memory of a tensor that it sends, so one cannot be sent twice."""
    import torch

    batch = torch.from_numpy(next(large(1)))
    for _ in range(n):
        yield batch.clone()


def _fill(queue: Anything, generator: Callable[[int], Iterator[Any]], n: int, done: Anything) -> None:
    for batch in generator(n):
        queue.put(batch)
    queue.put(None)
    # torch's shared memory lives in the sender until the receiver has it.
    done.wait()


def _from_queue(context: Anything, generator: Callable[[int], Iterator[Any]], n: int) -> Iterator[Any]:
    queue, done = context.Queue(DEPTH), context.Event()
    process = context.Process(target=_fill, args=(queue, generator, n, done))
    process.start()
    while (batch := queue.get()) is not None:
        yield batch
    done.set()
    process.join()


def multiprocessing_queue(generator: Callable[[int], Iterator[Any]]) -> Case:
    """Return the standard library's queue as a case."""
    return lambda n: _from_queue(multiprocessing.get_context("fork"), generator, n)


def torch_queue(generator: Callable[[int], Iterator[Any]]) -> Case:
    """Return torch's queue as a case."""
    import torch.multiprocessing

    return lambda n: _from_queue(torch.multiprocessing.get_context("fork"), generator, n)


def splitdataloader_itr(generator: Callable[[int], Iterator[Any]]) -> Case:
    """Return the MpQItr of splitdataloader 0.0.1 as a case."""
    import splitdataloader

    return lambda n: iter(splitdataloader.MpQItr(generator, n))


def torch_loader(generator: Callable[[int], Iterator[Any]], method: str = "fork") -> Case:
    """Return torch's DataLoader with one worker as a case."""
    from torch.utils.data import DataLoader

    stream = getattr(sys.modules[__name__], "Stream")  # noqa: B009 - made by __getattr__
    return lambda n: iter(
        DataLoader(stream(generator, n), batch_size=None, num_workers=1, multiprocessing_context=method)
    )


def __getattr__(name: str) -> Anything:
    """Make the class that torch asks for when it is first used: workers that need no torch load none."""
    if name != "Stream":
        raise AttributeError(name)
    from torch.utils.data import IterableDataset

    class Stream(IterableDataset):  # type: ignore[misc]
        """What a generator yields, as torch's DataLoader wants it."""

        def __init__(self, generator: Callable[[int], Iterator[Any]], n: int) -> None:
            self.generator = generator
            self.n = n

        def __iter__(self) -> Iterator[Any]:
            return self.generator(self.n)

    # A fresh interpreter finds it here by name.
    Stream.__qualname__ = "Stream"
    globals()["Stream"] = Stream
    return Stream


def splitdata_itr(generator: Callable[[int], Iterator[Any]], method: Anything = "spawn") -> Case:
    """Return ours as a case."""
    return lambda n: iter(MpQItr.options(start_method=method, max_batches=DEPTH)(generator, n))


def bare_ring(n: int) -> Iterator[Any]:
    """Yield views of four slots that a forked process copies into: no pickling, no checks, no safety."""
    block = mmap.mmap(-1, RING_SLOTS * LARGE_BYTES)
    slots = np.frombuffer(block, np.float32).reshape(RING_SLOTS, *LARGE_SHAPE)
    filled, emptied = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        for number, batch in enumerate(large(n)):
            if number >= RING_SLOTS:
                os.read(emptied[0], 1)
            slots[number % RING_SLOTS] = batch
            os.write(filled[1], b"x")
        os._exit(0)
    for number in range(n):
        os.read(filled[0], 1)
        yield slots[number % RING_SLOTS]
        os.write(emptied[1], b"x")
    os.waitpid(pid, 0)
    for descriptor in (*filled, *emptied):
        os.close(descriptor)


def per_second(case: Case, n: int) -> float:
    """Return batches per second after the first tenth, which starts and warms up."""
    warm = max(1, n // 10)
    begun = 0.0
    for count, batch in enumerate(case(n), start=1):
        if isinstance(batch, dict):
            batch["index"]
        else:
            batch[0, 0]
        if count == warm:
            begun = time.perf_counter()
    return (n - warm) / (time.perf_counter() - begun)


def seconds_to_first(case: Case) -> float:
    """Return the seconds from asking for batches to holding the first."""
    begun = time.perf_counter()
    running = iter(case(3))
    next(running)
    taken = time.perf_counter() - begun
    # Left at its end, where every peer cleans up.
    for _ in running:
        pass
    return taken


def q_cases() -> dict[str, dict[str, tuple[Case, int]]]:
    """Return for both kinds of batches: name -> case and number of batches."""
    cases: dict[str, dict[str, tuple[Case, int]]] = {
        "large": {
            "bare reused ring": (bare_ring, 2000),
            "multiprocessing.Queue": (multiprocessing_queue(large), 40),
            "splitdata MpQItr": (splitdata_itr(large), 2000),
        },
        "small": {
            "multiprocessing.Queue": (multiprocessing_queue(small), 60_000),
            "splitdata MpQItr": (splitdata_itr(small), 300_000),
        },
    }
    if importlib.util.find_spec("splitdataloader") is not None:
        cases["large"]["splitdataloader MpQItr"] = (splitdataloader_itr(large), 40)
        cases["small"]["splitdataloader MpQItr"] = (splitdataloader_itr(small), 60_000)
    if importlib.util.find_spec("torch") is not None:
        cases["large"]["torch.multiprocessing.Queue"] = (torch_queue(large_tensors), 120)
        cases["large"]["torch DataLoader"] = (torch_loader(large), 150)
        cases["small"]["torch.multiprocessing.Queue"] = (torch_queue(small), 60_000)
        cases["small"]["torch DataLoader"] = (torch_loader(small), 20_000)
    return cases


def s_cases() -> dict[str, Case]:
    """Return the cases of the start: name -> case."""
    cases: dict[str, Case] = {}
    for method in ("spawn", "fork"):
        cases[f"splitdata MpQItr, {method}"] = splitdata_itr(small, method)
        if importlib.util.find_spec("torch") is not None:
            cases[f"torch DataLoader, {method}"] = torch_loader(small, method)
    return cases


def measure(rounds: int, scale: float) -> dict[str, dict[str, float]]:
    """Return the median figures: batches per second for Q, seconds for S."""
    queue, start = q_cases(), s_cases()
    seen: dict[str, dict[str, list[float]]] = {"large": {}, "small": {}, "first": {}}
    for _ in range(rounds):
        for kind, cases in queue.items():
            for name, (case, n) in cases.items():
                figure = per_second(case, max(10, int(n * scale)))
                seen[kind].setdefault(name, []).append(figure)
        for name, case in start.items():
            seen["first"].setdefault(name, []).append(seconds_to_first(case))
    return {kind: {name: statistics.median(values) for name, values in of.items()} for kind, of in seen.items()}


# Workload, what it is compared with, and the least ratio that we want.
GOALS = [
    ("large", "multiprocessing.Queue", 20.0),
    ("large", "torch DataLoader", 6.0),
    ("large", "bare reused ring", 0.4),
    ("small", "multiprocessing.Queue", 2.5),
]
OURS = "splitdata MpQItr"


def ratios(figures: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Return for each goal what was reached."""
    return [
        {"workload": kind, "peer": peer, "goal": goal, "reached": figures[kind][OURS] / figures[kind][peer]}
        for kind, peer, goal in GOALS
        if peer in figures[kind]
    ]


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print the figures for a person."""
    print(f"{'Q, batches of 9.6 MB':36} {'batches/s':>12} {'GB/s':>8}")
    for name, figure in sorted(figures["large"].items(), key=lambda entry: entry[1]):
        print(f"  {name:34} {figure:12,.0f} {figure * LARGE_BYTES / 1e9:8.2f}")
    print(f"{'Q, dict of three ints and 1 KB':36} {'batches/s':>12}")
    for name, figure in sorted(figures["small"].items(), key=lambda entry: entry[1]):
        print(f"  {name:34} {figure:12,.0f}")
    print(f"{'S, first batch':36} {'ms':>12}")
    for name, figure in figures["first"].items():
        print(f"  {name:34} {figure * 1000:12.1f}")
    print(f"{'goals':36} {'reached':>12} {'goal':>8}")
    for ratio in ratios(figures):
        print(f"  {ratio['workload'] + ' / ' + ratio['peer']:34} {ratio['reached']:12.2f} {ratio['goal']:8.2f}")


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=None)
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    figures = measure(rounds, 0.1 if arguments.quick else 1.0)
    if arguments.json:
        print(json.dumps({"figures": figures, "ratios": ratios(figures), "rounds": rounds}, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
