"""R1 with 256 bins under `ulimit -n 1024`: more maps than a careless reader could hold, in a process of its own.

parent ── starts ──> child: limit lowered, 64 and 256 bins in turn ── JSON ──> parent
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.measure import Result, Settings, take_turns
from splitdata import SplitDataLoader, SplitWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.data import Data

__all__ = ["read_with_few_descriptors"]

_LIMIT: Final = 1024
_BINS: Final = 256
_WORKLOAD: Final = "R1, ulimit -n 1024"
_SEED: Final = 7


def read_with_few_descriptors(data: Data, folder: Path, settings: Settings) -> list[Result]:
    """Write a dataset of 256 bins and read it beside that of 64 bins in `folder / "splitdata"`."""
    many = folder / "splitdata-256-bins"
    if not many.exists():
        with SplitWriter(many, bins=_BINS, durability="none") as writer:
            writer.write_many(data.records)
    names = {"splitdata": folder / "splitdata", "splitdata, 256 bins": many}
    if sys.platform == "win32":
        return [Result(_WORKLOAD, data.name, name, answer="this system has no such limit") for name in names]
    arguments = [str(settings.repeat), str(settings.seconds), *map(str, names.values())]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workloads.many_bins", *arguments],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=600,
        cwd=Path(__file__).parents[2],
    )
    rates = json.loads(done.stdout)
    return [
        Result(_WORKLOAD, data.name, name, rates=rates[str(path)], num_records=len(data.records))
        for name, path in names.items()
    ]


def _child(repeat: int, seconds: float, paths: list[str]) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (_LIMIT, _LIMIT))
    loaders = {path: SplitDataLoader(path) for path in paths}
    num_records = len(loaders[paths[0]])
    positions: list[int] = np.random.default_rng(_SEED).permutation(num_records).tolist()
    operations = {path: _reading(loader, positions) for path, loader in loaders.items()}
    settings = Settings(share=1.0, repeat=repeat, seconds=seconds, patience=0.0)
    results = take_turns(_WORKLOAD, "", operations, num_records, settings)
    open_files = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    print(json.dumps({result.peer: result.rates for result in results} | {"open_files": open_files}))


def _reading(loader: SplitDataLoader, positions: list[int]) -> Callable[[int], int]:
    def run(count: int) -> int:
        for position in positions[:count]:
            loader[position]
        return count

    return run


if __name__ == "__main__":
    _child(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
