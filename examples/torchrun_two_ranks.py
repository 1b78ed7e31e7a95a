"""Two ranks share a dataset: each record once, as many batches on each, gradients that meet.

    torchrun --nproc-per-node 2 torchrun_two_ranks.py        or just: python torchrun_two_ranks.py

Needs torch; uses the gloo backend, so no GPU. The loader asks torch.distributed for its rank: nothing is configured.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS = 1_001


def decode(record: bytes) -> dict[str, np.float32 | np.int64]:
    number = np.int64(int(record))
    return {"number": number, "x": np.float32(number / NUM_RECORDS)}


def train() -> None:
    import torch
    from torch import distributed

    distributed.init_process_group("gloo")
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    with tempfile.TemporaryDirectory() as own:
        folder = [str(Path(own) / "data")]
        if rank == 0:
            with SplitWriter(folder[0]) as writer:
                writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
        distributed.broadcast_object_list(folder)
        model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(1, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with DistributedLoader(
            folder[0], batch_size=32, shuffle="global", transform=decode, num_workers=1, device="cpu"
        ) as loader:
            for epoch in range(2):
                numbers: list[int] = []
                for batch in loader:
                    numbers += batch["number"].tolist()
                    loss = (model(batch["x"][:, None]) - 2 * batch["x"][:, None]).square().mean()
                    optimizer.zero_grad()
                    # Meets the other rank: with unequal numbers of batches it would wait for ever.
                    loss.backward()
                    optimizer.step()
                total_loss = loss.detach()
                distributed.all_reduce(total_loss)
                seen: list[list[int]] = [[] for _ in range(world_size)]
                distributed.all_gather_object(seen, numbers)
                if rank == 0:
                    report(epoch, seen, len(loader), float(total_loss) / world_size)
        distributed.barrier()
    distributed.destroy_process_group()


def report(epoch: int, seen: list[list[int]], num_batches: int, loss: float) -> None:
    everything = [number for numbers in seen for number in numbers]
    repeated = len(everything) - len(set(everything))
    shares = " + ".join(str(len(numbers)) for numbers in seen)
    print(f"epoch {epoch}: {num_batches} batches on each rank, {shares} records; mean loss {loss:.4f}")
    print(f"  all {len(set(everything))} records of {NUM_RECORDS}, {repeated} of them twice, so that shares are equal")


if "RANK" in os.environ:
    train()
elif find_spec("torch") is None:
    print("this example needs torch: pip install 'splitdata[torch]'")
else:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    sys.exit(subprocess.run([*launch, __file__], env={"OMP_NUM_THREADS": "1", **os.environ}).returncode)
