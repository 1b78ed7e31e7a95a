"""Training is killed with kill -9 in the middle of an epoch; started again it goes on exactly behind its checkpoint.

this process:  start ──> read what is trained on ──> kill -9 ──> start again ──> compare
child:         load checkpoint ──> batch ──> train, print ──> batch ──> ... every tenth: checkpoint
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS = 4_000
KILL_AFTER = 57  # batches


def augment(record: bytes, rng: np.random.Generator) -> tuple[int, int]:
    return int(record), int(rng.integers(1_000_000))


def make_loader(folder: Path, num_workers: int) -> DistributedLoader:
    return DistributedLoader(
        folder / "data", batch_size=32, shuffle="global", seed=3, transform=augment, num_workers=num_workers
    )


def train(folder: Path, num_workers: int) -> None:
    checkpoint = folder / "checkpoint.json"
    with make_loader(folder, num_workers) as loader:
        if checkpoint.exists():
            loader.load_state_dict(json.loads(checkpoint.read_text()))
        for number, (records, draws) in enumerate(loader, 1):
            print(json.dumps([records.tolist(), draws.tolist()]), flush=True)
            if number % 10 == 0:
                # Beside it first: a kill in the middle of a write must not cost the old one.
                new = checkpoint.with_suffix(".new")
                new.write_text(json.dumps(loader.state_dict()))
                new.replace(checkpoint)


def run(folder: Path, num_workers: int, kill_after: int | None = None) -> list[tuple[int, int]]:
    """Train in a process of its own; return the samples that it has seen."""
    samples: list[tuple[int, int]] = []
    command = [sys.executable, __file__, str(folder), str(num_workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        for number, line in enumerate(process.stdout or (), 1):
            samples += zip(*json.loads(line), strict=True)
            if number == kill_after:
                process.kill()
    return samples


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with SplitWriter(folder / "data") as writer:
            writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
        whole = [sample for records, draws in make_loader(folder, 0) for sample in zip(records, draws, strict=True)]
        before = run(folder, num_workers=2, kill_after=KILL_AFTER)
        state = json.loads((folder / "checkpoint.json").read_text())
        print(f"killed after {len(before)} samples; the checkpoint stands behind {state['samples']} of {NUM_RECORDS}")
        after = run(folder, num_workers=1)
        print(f"started again, with one worker instead of two: {len(after)} samples to the end of the epoch")
        print("before the kill, the uninterrupted stream:", before == whole[: len(before)])
        print("from the checkpoint on, the rest of it:   ", after == whole[state["samples"] :])
        print("each record once, up to the checkpoint and from there:", end=" ")
        print(sorted(n for n, _ in before[: state["samples"]] + after) == list(range(NUM_RECORDS)))


if sys.argv[1:]:
    train(Path(sys.argv[1]), int(sys.argv[2]))
else:
    main()
