"""Lightning's Trainer: the loader as it is, and Lightning's own checkpoint resumes it in mid-epoch.

    fit to step 20 ──> step20.ckpt holds the loader's state ──> fit(ckpt_path=...) goes on with the very next sample

Needs lightning. With `devices=8` each process has its share; nothing else changes.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from splitdata import DistributedLoader, SplitWriter

NUM_RECORDS = 1_000


def decode(record: bytes) -> dict[str, Any]:
    return {"number": int(record), "x": np.float32(int(record) / NUM_RECORDS)}


def fit(folder: Path, max_steps: int, checkpoint: Path | None) -> list[int]:
    """Train, and return the records of all steps."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    from splitdata.interop.lightning import ElasticEpoch

    class Line(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)
            self.seen: list[int] = []

        def training_step(self, batch: dict[str, Any], index: int) -> Any:
            self.seen += batch["number"].tolist()
            return (self.layer(batch["x"][:, None]) - 2 * batch["x"][:, None]).square().mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    model = Line()
    with DistributedLoader(
        folder / "data", batch_size=32, shuffle="global", transform=decode, as_tensors=True
    ) as loader:
        saving = ModelCheckpoint(dirpath=folder, filename="step20", every_n_train_steps=20)
        quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        callbacks = [saving, ElasticEpoch(loader)]
        trainer = Trainer(accelerator="cpu", max_epochs=2, max_steps=max_steps, callbacks=callbacks, **quiet)
        trainer.fit(model, loader, ckpt_path=checkpoint)
    return model.seen


def main(folder: Path) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    with SplitWriter(folder / "data") as writer:
        writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    first = fit(folder, 20, None)
    rest = fit(folder, -1, folder / "step20.ckpt")
    epochs = (first + rest)[:NUM_RECORDS], (first + rest)[NUM_RECORDS:]
    print(f"{len(first)} samples, then a checkpoint, then {len(rest)}")
    print(f"each record once in both epochs: {[sorted(e) == list(range(NUM_RECORDS)) for e in epochs]}")


if find_spec("lightning") is None:
    print("this example needs Lightning: pip install lightning")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
