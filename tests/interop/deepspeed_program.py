"""Trains with DeepSpeed (ZeRO 2, on the CPU): the loader's state is in the client state of its checkpoints.

deepspeed_program.py DATASET FOLDER STAGE:CHECKPOINT:LAST_STEP ...     "" is no checkpoint, or no last step
"""

from __future__ import annotations

import os
import sys
from itertools import islice
from typing import Any

os.environ["DS_ACCELERATOR"] = "cpu"

import deepspeed
import torch

from tests.interop.programs import leave_group, write_samples
from tests.interop.stream import BATCH_SIZE, Samples, make_loader, samples_of

CONFIG = {
    "train_micro_batch_size_per_gpu": BATCH_SIZE,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.01, "torch_adam": True}},
    "zero_optimization": {"stage": 2},
}


def main(path: str, folder: str, *stages: str) -> None:
    """Run the stages one after the other."""
    # It would compile a faster way between processes.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo")
    world_size = torch.distributed.get_world_size()
    for stage in stages:
        name, checkpoint, last_step = stage.split(":")
        model = torch.nn.Linear(4, 4)
        engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=CONFIG)
        loader = make_loader(path, as_tensors=True)
        if checkpoint:
            # It shards its optimizer for one number of processes; everything else goes on at another.
            is_same = checkpoint.startswith(str(world_size))
            _, client_state = engine.load_checkpoint(f"{folder}/{checkpoint}", load_optimizer_states=is_same)
            loader.load_state_dict(client_state["loader"])
        samples: Samples = []
        for batch in islice(loader, int(last_step) if last_step else None):
            samples += samples_of([batch])
            loss: Any = engine(batch["noise"].float()[:, None].expand(-1, 4)).square().mean()
            engine.backward(loss)
            engine.step()
        if last_step:
            engine.save_checkpoint(f"{folder}/{name}", client_state={"loader": loader.state_dict()})
        write_samples(folder, name, torch.distributed.get_rank(), samples)
        engine.destroy()
        del engine, model
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
