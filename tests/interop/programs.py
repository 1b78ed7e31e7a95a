"""Programs that train under a framework, on one process or two, and write the samples that each rank has had.

run(program, processes, ...)   by torchrun, or by the framework's own launcher ──> folder/<stage>-<rank>.json
train(batches, limit)          the loop of a program: samples of the batches until the limit
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT
from tests.interop.stream import Samples, interleaved, samples_of

__all__ = ["leave_group", "read_samples", "run", "take", "write_samples"]


def run(program: str, processes: int, *arguments: str | Path, own_launcher: bool = False) -> None:
    """Run a program of this folder, by its name, and wait; AssertionError with what it printed if it fails.

    Skips the test where not all frameworks are installed: each process loads one, which takes seconds.
    """
    pytest.importorskip("torchdata", reason="starts processes that load a framework: make test-interop")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = ROOT / "tests" / "interop" / f"{program}.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
    ended = subprocess.run(
        [*([sys.executable] if own_launcher else launch), script, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


def take(batches: Iterable[Any], limit: int | None = None) -> Samples:
    """Return the samples of so many batches at most."""
    taken: Samples = []
    for number, batch in enumerate(batches, 1):
        taken += samples_of([batch])
        if number == limit:
            break
    return taken


def leave_group() -> None:
    """End the process group of torch, if there is one, after all that may hold it.

    Threads of gloo that outlive the interpreter's end abort the process: https://github.com/pytorch/pytorch/pull/179291
    """
    from torch import distributed

    gc.collect()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    gc.collect()


def write_samples(folder: str | Path, stage: str, rank: int, samples: Samples) -> None:
    """Write what a rank has had in a stage."""
    Path(folder, f"{stage}-{rank}.json").write_text(json.dumps(samples))


def read_samples(folder: Path, stage: str, processes: int = 1) -> Samples:
    """Return what all ranks together have had in a stage, in the order of positions."""
    of_ranks = [json.loads((folder / f"{stage}-{rank}.json").read_text()) for rank in range(processes)]
    return [(number, noise) for number, noise in interleaved(of_ranks)]
