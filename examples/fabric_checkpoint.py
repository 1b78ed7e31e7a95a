"""DistributedLoader under Lightning Fabric: used as it is, and saved in Fabric's own checkpoint.

fabric.launch ──> two processes; the loader asks torch.distributed for its rank
fabric.save   ──> {"model": ..., "loader": loader}: Fabric calls state_dict() and load_state_dict() by itself

Needs lightning. Not fabric.setup_dataloaders: there is no sampler to replace.
"""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS = 1_000


def decode(record: bytes) -> dict[str, Any]:
    number = int(record)
    return {"number": number, "x": np.float32(number / NUM_RECORDS)}


def train(fabric: Any, folder: Path) -> None:
    import torch

    if fabric.is_global_zero:
        with SplitWriter(folder / "data") as writer:
            writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    fabric.barrier()
    layer = torch.nn.Linear(1, 1)
    model, optimizer = fabric.setup(layer, torch.optim.SGD(layer.parameters(), lr=0.1))
    seen: list[int] = []
    for attempt in ("stopped after 5 steps", "resumed to the end"):
        # The second one is new, as in a job that was started again.
        loader = DistributedLoader(folder / "data", batch_size=32, shuffle="global", transform=decode, device="cpu")
        state = {"model": model, "optimizer": optimizer, "loader": loader, "step": 0}
        if (folder / "checkpoint").exists():
            fabric.load(folder / "checkpoint", state)
        with loader:
            for step, batch in enumerate(loader, state["step"] + 1):
                seen += batch["number"].tolist()
                x = batch["x"][:, None]
                loss = (model(x) - 2 * x).square().mean()
                optimizer.zero_grad()
                fabric.backward(loss)
                optimizer.step()
                if attempt.startswith("stopped") and step == 5:
                    fabric.save(folder / "checkpoint", state | {"step": step})
                    break
        fabric.print(f"{attempt}: step {step} of {len(loader)} on each rank")
    shares: list[list[int]] = [[], []]
    torch.distributed.all_gather_object(shares, seen)
    everything = [number for share in shares for number in share]
    fabric.print(f"{len(everything)} samples on both ranks, {len(set(everything))} different of {NUM_RECORDS}")


def main(folder: Path) -> None:
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp")
    fabric.launch()
    train(fabric, folder)
    fabric.barrier()


if find_spec("lightning") is None:
    print("this example needs Lightning Fabric: pip install lightning")
elif "EXAMPLE_FOLDER" in os.environ:
    # The second process: Fabric starts this script once more, with the same environment.
    main(Path(os.environ["EXAMPLE_FOLDER"]))
else:
    with tempfile.TemporaryDirectory() as name:
        os.environ["EXAMPLE_FOLDER"] = name
        main(Path(name))
