"""A scheduler takes the machine away: SIGTERM to every process of the job. Training saves its state, ends, and resumes.

this process:  start ──> "batch 20" ──> SIGTERM to the whole job ──> start again ──> compare
child:         SIGTERM ──> handler notes it ──> the batch is finished ──> checkpoint ──> exit
               its workers are left at work by the signal, and end with it
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS = 16_000
PREEMPT_AFTER = 20  # batches


def make_loader(folder: Path, num_workers: int) -> DistributedLoader:
    return DistributedLoader(folder / "data", batch_size=32, shuffle="global", transform=int, num_workers=num_workers)


def train(folder: Path) -> None:
    asked_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_stop.append(number))
    checkpoint = folder / "checkpoint.json"
    with make_loader(folder, num_workers=2) as loader:
        if checkpoint.exists():
            loader.load_state_dict(json.loads(checkpoint.read_text()))
        for records in loader:
            print(json.dumps(records.tolist()), flush=True)
            if asked_to_stop:
                checkpoint.write_text(json.dumps(loader.state_dict()))
                sys.exit(0)


def run(folder: Path, preempt_after: int | None = None) -> tuple[list[int], int]:
    """Train in a job of its own; return the samples that it has seen and how it ended."""
    samples: list[int] = []
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        for number, line in enumerate(process.stdout or (), 1):
            samples += json.loads(line)
            if number == preempt_after:
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                workers = map(int, children.read_text().split()) if children.exists() else []
                for pid in [*workers, process.pid]:
                    os.kill(pid, signal.SIGTERM)
    return samples, process.returncode


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with SplitWriter(folder / "data") as writer:
            writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
        whole = [record for records in make_loader(folder, 0) for record in records.tolist()]
        before, code = run(folder, PREEMPT_AFTER)
        print("preempted: exit code", code, "after a checkpoint:", (folder / "checkpoint.json").exists())
        after, code = run(folder)
        print("started again: exit code", code)
        print("both runs together, the uninterrupted stream:", before + after == whole)


if sys.argv[1:]:
    train(Path(sys.argv[1]))
else:
    main()
