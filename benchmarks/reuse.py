"""Reuse: samples per second where making one takes 2 ms, without and with reuse, beside torch's DataLoader.

    torch               DataLoader, as many workers                    5 epochs of n samples
    splitdata           DistributedLoader                              5 epochs of n samples
    rotation memory     the same, Rotation(times=5, medium="memory")   1 epoch of 5 n samples
    rotation disk       the same, medium="disk"                        1 epoch of 5 n samples
    cache filling       the same, Cache(refresh_every=1): a new generation in each of 5 epochs
    cache of 5          the same, Cache(refresh_every=5): 5 epochs, of which one fills
    cache disk          the same, Cache(...): 5 epochs that are read

    python -m benchmarks.reuse             medians of five rounds, some four minutes
    python -m benchmarks.reuse --quick     one short round
    python -m benchmarks.reuse --json out.json

Making a sample takes 2 ms of the processor's time, so a busy machine takes longer for it, for all alike: all cases
run in every round, one after the other, and what counts are the ratios. Workers are started, and an epoch is gone
through, before a case is timed. torch is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from splitdata import Cache, DistributedLoader, Rotation

__all__ = ["main"]

# Batches of several libraries.
Anything: TypeAlias = Any
# Opens a loader; it is gone through once for each epoch.
Case: TypeAlias = Callable[["Setting"], AbstractContextManager[Iterable[Any]]]

_CPU_SECONDS: Final = 0.002
_TIMES: Final = 5
# Case, what it is compared with, the least ratio that we want.
_GOALS: Final = {
    "rotation memory": ("torch", 0.9 * _TIMES),
    "rotation disk": ("torch", 0.9 * _TIMES),
    "cache filling": ("splitdata", 0.9),
    "cache disk": ("splitdata", 20.0),
}
_BATCH_SIZE: Final = 32
_NUM_WORKERS: Final = 2
_SHAPES: Final = {"64x64": (64, 64, 3), "224x224": (224, 224, 3)}


@dataclass(frozen=True, slots=True)
class Setting:
    """What all cases have in common.

    Attributes:
        num_samples: In the data.
        shape: Of the image that a sample has.
    """

    num_samples: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """A dataset whose records are numbers, and for torch, which has no transform, samples."""

    setting: Setting
    is_made: bool = False

    def __len__(self) -> int:
        return self.setting.num_samples

    def __getitem__(self, index: int) -> Anything:
        return Make(self.setting.shape)(index) if self.is_made else index


@dataclass(frozen=True, slots=True)
class Make:
    """The transform: 2 ms of work, and an image."""

    shape: tuple[int, ...]

    def __call__(self, record: int) -> dict[str, Any]:
        end = time.thread_time() + _CPU_SECONDS
        image = np.full(self.shape, record % 251, np.uint8)
        while time.thread_time() < end:
            pass
        return {"image": image, "label": record}


@contextmanager
def torch_loader(setting: Setting) -> Iterator[Iterable[Any]]:
    """Open torch's DataLoader."""
    from torch.utils.data import DataLoader

    dataset: Any = Samples(setting, is_made=True)
    yield DataLoader(dataset, batch_size=_BATCH_SIZE, shuffle=True, num_workers=_NUM_WORKERS, persistent_workers=True)


def splitdata_loader(reuse: Callable[[Path], Cache | Rotation | None]) -> Case:
    """Return a case that opens a DistributedLoader with what is made for a folder that is empty."""

    @contextmanager
    def case(setting: Setting) -> Iterator[Iterable[Any]]:
        with tempfile.TemporaryDirectory(prefix="splitdata-reuse-") as folder:
            reused = reuse(Path(folder))
            with DistributedLoader(
                Samples(setting),
                batch_size=_BATCH_SIZE,
                shuffle="global",
                num_workers=_NUM_WORKERS,
                transform=Make(setting.shape),
                rotation=reused if isinstance(reused, Rotation) else None,
                cache=reused if isinstance(reused, Cache) else None,
            ) as loader:
                yield loader

    return case


def cases(group_size: int) -> dict[str, Case]:
    """Return all cases by name; torch's only where it is installed."""
    found: dict[str, Case] = {}
    if importlib.util.find_spec("torch") is not None:
        found["torch"] = torch_loader
    return found | {
        "splitdata": splitdata_loader(lambda folder: None),
        "rotation memory": splitdata_loader(lambda folder: Rotation(_TIMES, group_size, "memory")),
        "rotation disk": splitdata_loader(lambda folder: Rotation(_TIMES, group_size, "disk")),
        "cache filling": splitdata_loader(lambda folder: Cache(folder / "cache", refresh_every=1, version="1")),
        "cache of 5": splitdata_loader(lambda folder: Cache(folder / "cache", refresh_every=5, version="1")),
        "cache disk": splitdata_loader(lambda folder: Cache(folder / "cache", version="1")),
    }


def rate(case: Case, setting: Setting) -> float:
    """Return samples per second over as many as five epochs have, workers running and memory warm."""
    with case(setting) as loader:
        for _ in loader:
            pass
        begin, num_samples = time.perf_counter(), 0
        while num_samples < _TIMES * setting.num_samples:
            num_samples += sum(len(batch["label"]) for batch in loader)
        return num_samples / (time.perf_counter() - begin)


def measure(num_rounds: int, num_samples: int) -> dict[str, dict[str, list[float]]]:
    """Return the rates of all rounds, by shape and case."""
    rates: dict[str, dict[str, list[float]]] = {name: {} for name in _SHAPES}
    for number in range(num_rounds):
        for name, shape in _SHAPES.items():
            for case, run in cases(num_samples // 4).items():
                rates[name].setdefault(case, []).append(rate(run, Setting(num_samples, shape)))
        print(f"round {number + 1} of {num_rounds}", flush=True)
    return rates


def show(rates: dict[str, dict[str, list[float]]]) -> None:
    """Print medians, and medians of the ratios within a round."""
    for shape, of_cases in rates.items():
        peers = [name for name in ("torch", "splitdata") if name in of_cases]
        print(f"\n{shape} images, {_CPU_SECONDS * 1e3:g} ms each, {_NUM_WORKERS} workers")
        print(f"  {'':16}{'samples/s':>11}" + "".join(f"{'/ ' + name:>12}" for name in peers))
        for case, found in of_cases.items():
            ratios = {name: _ratio(found, of_cases[name]) for name in peers}
            peer, least = _GOALS.get(case, ("", 0.0))
            goal = f"   goal {least:g} x {peer}" if peer in ratios else ""
            columns = "".join(f"{ratio:12.2f}" for ratio in ratios.values())
            print(f"  {case:16}{statistics.median(found):11.0f}{columns}{goal}")


def _ratio(found: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(found, others, strict=True))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--json", type=Path, help="where to write the rates")
    arguments = parser.parse_args()
    rates = measure(1, 400) if arguments.quick else measure(5, 1000)
    show(rates)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
