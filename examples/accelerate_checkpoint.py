"""accelerate: the loader goes through `prepare` as it is, and `save_state` and `load_state` hold where it stands.

Run by `accelerate launch` each process has its share. Needs torch and accelerate.
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS = 1_000


def decode(record: bytes) -> dict[str, Any]:
    return {"number": int(record), "x": np.float32(int(record) / NUM_RECORDS)}


def train(folder: Path, *, stop_at: int | None = None, resume: bool = False) -> list[int]:
    """Train for the rest of an epoch, or to a checkpoint; return the records of all steps."""
    import torch
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    layer = torch.nn.Linear(1, 1)
    given = DistributedLoader(
        folder / "data", batch_size=32, shuffle="global", transform=decode, device=accelerator.device
    )
    model, optimizer, loader = accelerator.prepare(layer, torch.optim.SGD(layer.parameters(), lr=0.1), given)
    accelerator.register_for_checkpointing(loader)
    if resume:
        accelerator.load_state(str(folder / "checkpoint"))
    seen: list[int] = []
    for step, batch in enumerate(loader, 1):
        seen += batch["number"].tolist()
        x = batch["x"][:, None]
        optimizer.zero_grad()
        accelerator.backward((model(x) - 2 * x).square().mean())
        optimizer.step()
        if step == stop_at:
            accelerator.save_state(str(folder / "checkpoint"))
            break
    loader.close()
    return seen


def main(folder: Path) -> None:
    with SplitWriter(folder / "data") as writer:
        writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    first = train(folder, stop_at=10)
    rest = train(folder, resume=True)
    print(f"{len(first)} samples, then a checkpoint, then {len(rest)}")
    print(f"each record once: {sorted(first + rest) == list(range(NUM_RECORDS))}")


if find_spec("accelerate") is None:
    print("this example needs accelerate: pip install accelerate")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
