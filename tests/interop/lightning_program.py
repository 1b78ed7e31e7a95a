"""Trains with Lightning's Trainer: to a checkpoint of its own in mid-epoch, or on from one to the end of two epochs.

lightning_program.py DATASET FOLDER PROCESSES STAGE:CHECKPOINT:LAST_STEP ...     "" is no checkpoint, or no last step
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from splitdata.interop.lightning import ElasticEpoch
from tests.interop.programs import write_samples
from tests.interop.stream import Samples, make_loader, samples_of


class Model(LightningModule):
    """One weight; notes the samples of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.samples: Samples = []
        self.epochs: list[int] = []

    def training_step(self, batch: dict[str, Any], index: int) -> Any:
        """Learn nothing of use."""
        self.samples += samples_of([batch])
        self.epochs.append(self.current_epoch)
        return self.layer(batch["noise"].float()[:, None]).square().mean()

    def configure_optimizers(self) -> Any:
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


def main(path: str, folder: str, processes: str, *stages: str) -> None:
    """Run the stages one after the other."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for stage in stages:
        name, checkpoint, last_step = stage.split(":")
        # No rank is told: Trainer starts the processes.
        loader = make_loader(path, as_tensors=True, num_workers=1)
        model = Model()
        saving = ModelCheckpoint(dirpath=folder, filename=name, every_n_train_steps=int(last_step or 1_000))
        trainer = Trainer(
            accelerator="cpu",
            devices=int(processes),
            strategy="ddp" if processes != "1" else "auto",
            max_epochs=2,
            max_steps=int(last_step or -1),
            callbacks=[saving, ElasticEpoch(loader)],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, loader, ckpt_path=f"{folder}/{checkpoint}.ckpt" if checkpoint else None)
        loader.close()
        write_samples(folder, name, trainer.global_rank, model.samples)
        assert last_step or trainer.current_epoch == 2
        assert not checkpoint or model.epochs == sorted(model.epochs)


if __name__ == "__main__":
    main(*sys.argv[1:])
