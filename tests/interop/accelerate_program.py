"""Trains with accelerate: the loader comes through `prepare` as it is, and its state is in accelerate's checkpoints.

accelerate_program.py DATASET FOLDER STAGE:CHECKPOINT:LAST_STEP ...     "" is no checkpoint, or no last step
"""

from __future__ import annotations

import sys

import torch
from accelerate import Accelerator, skip_first_batches

from splitdata.interop.torch import as_dataloader
from tests.interop.programs import leave_group, take, write_samples
from tests.interop.stream import make_loader


def main(path: str, folder: str, *stages: str) -> None:
    """Run the stages one after the other."""
    rank = 0
    for stage in stages:
        name, checkpoint, last_step = stage.split(":")
        accelerator = Accelerator(cpu=True)
        rank = accelerator.process_index
        layer = torch.nn.Linear(1, 1)
        given = make_loader(path, as_tensors=True, device=accelerator.device)
        layer, optimizer, loader = accelerator.prepare(layer, torch.optim.SGD(layer.parameters(), lr=0.1), given)
        assert loader is given
        accelerator.register_for_checkpointing(loader)
        if checkpoint:
            accelerator.load_state(f"{folder}/{checkpoint}")
        samples = take(loader, int(last_step or 0))
        if last_step:
            accelerator.save_state(f"{folder}/{name}")
        write_samples(folder, name, rank, samples)
        accelerator.backward(layer(torch.ones(1, 1)).sum())
        optimizer.step()
        # Without a state: its own function leaves out steps of this rank.
        skipped = skip_first_batches(as_dataloader(make_loader(path)), 5)
        write_samples(folder, f"{name}-skipped", rank, take(skipped))
        accelerator.free_memory()
        del accelerator, layer, optimizer, loader, given
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
