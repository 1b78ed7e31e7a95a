"""Trains a model that FSDP2 shards; model and loader are in one checkpoint of torch's, as torchtitan keeps them.

fsdp_program.py DATASET FOLDER STAGE:CHECKPOINT:LAST_STEP ...     "" is no checkpoint, or no last step
"""

from __future__ import annotations

import sys
from itertools import islice
from typing import Any

import torch
from torch import distributed
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.stateful import Stateful
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from splitdata import OrderOptions
from tests.interop.programs import leave_group, write_samples
from tests.interop.stream import Samples, make_loader, samples_of


class Trained(Stateful):
    """Model and optimizer, as torch's checkpoints and torchtitan have them."""

    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer

    def state_dict(self) -> dict[str, Any]:
        """Return both."""
        return dict(zip(("model", "optimizer"), get_state_dict(self.model, self.optimizer), strict=True))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        set_state_dict(self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def main(path: str, folder: str, *stages: str) -> None:
    """Run the stages one after the other."""
    distributed.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (distributed.get_world_size(),), mesh_dim_names=("dp",))
    for stage in stages:
        name, start, last_step = stage.split(":")
        torch.manual_seed(0)
        model = torch.nn.Linear(4, 4)
        fully_shard(model, mesh=mesh["dp"])
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        loader = make_loader(path, as_tensors=True, order=OrderOptions(mesh=mesh["dp"]))
        states = {"trained": Trained(model, optimizer), "dataloader": loader}
        if start:
            checkpoint.load(states, checkpoint_id=f"{folder}/{start}")
        samples: Samples = []
        for batch in islice(loader, int(last_step) if last_step else None):
            samples += samples_of([batch])
            model(batch["noise"].float()[:, None].expand(-1, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        if last_step:
            # It writes in the background, what the states were when it was called.
            saving = checkpoint.async_save(states, checkpoint_id=f"{folder}/{name}")
            next(iter(loader))
            saving.result()
        write_samples(folder, name, distributed.get_rank(), samples)
        del model, optimizer, states
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
