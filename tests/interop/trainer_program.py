"""Trains with Trainer of transformers: to its own checkpoint in mid-epoch, or on from one to the end of two epochs.

trainer_program.py DATASET FOLDER DATA BATCH_SIZE STAGE:CHECKPOINT:LAST_STEP ...     "" is none
DATA: "loader" is get_train_dataloader, "dataset" a train_dataset of records, "iterable" one of the loader's samples
"""

from __future__ import annotations

import os
import sys
from operator import itemgetter
from typing import Any

import torch
from transformers import Trainer, TrainingArguments, set_seed

from splitdata import SplitDataLoader
from splitdata.interop.torch import as_dataloader, as_iterable
from tests.interop.programs import leave_group, write_samples
from tests.interop.stream import Samples, make_loader, samples_of


class Model(torch.nn.Module):
    """One weight; notes the samples of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.samples: Samples = []

    def forward(self, number: Any, noise: Any) -> dict[str, Any]:
        """Return a loss."""
        self.samples += samples_of([{"number": number, "noise": noise}])
        return {"loss": self.layer(noise.float()[:, None]).square().mean()}


class LoaderTrainer(Trainer):
    """Trains from a loader: all that a user writes."""

    loader: Any

    def get_train_dataloader(self) -> Any:
        """Return the loader of this rank."""
        return as_dataloader(self.loader)


def collated(records: list[bytes]) -> dict[str, Any]:
    """Return a batch of records."""
    numbers = torch.tensor([int(record) for record in records])
    return {"number": numbers, "noise": numbers.double()}


def make_trainer(path: str, data: str, batch_size: int, arguments: TrainingArguments, model: Model) -> Any:
    """Return the trainer."""
    set_seed(0)
    if data == "dataset":
        return Trainer(model=model, args=arguments, train_dataset=SplitDataLoader(path), data_collator=collated)
    if data == "iterable":
        single = make_loader(path, batch_size=1, collate_fn=itemgetter(0), rank=0, world_size=1)
        return Trainer(model=model, args=arguments, train_dataset=as_iterable(single))
    trainer = LoaderTrainer(model=model, args=arguments)
    trainer.loader = make_loader(path, batch_size=batch_size, as_tensors=True)
    return trainer


def train(path: str, folder: str, data: str, batch_size: int, stage: str) -> None:
    """Run a stage."""
    name, checkpoint, last_step = stage.split(":")
    arguments = TrainingArguments(
        output_dir=f"{folder}/{name}",
        per_device_train_batch_size=batch_size,
        num_train_epochs=2,
        max_steps=int(last_step or (14 if data == "iterable" else -1)),
        save_steps=int(last_step or 1_000),
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
    )
    model = Model()
    trainer = make_trainer(path, data, batch_size, arguments, model)
    trainer.train(resume_from_checkpoint=f"{folder}/{checkpoint}" if checkpoint else None)
    write_samples(folder, name, int(os.environ.get("RANK", "0")), model.samples)


def main(path: str, folder: str, data: str, batch_size: str, *stages: str) -> None:
    """Run the stages one after the other."""
    for stage in stages:
        train(path, folder, data, int(batch_size), stage)
    leave_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
