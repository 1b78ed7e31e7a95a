"""Trainer of transformers: one method, and `resume_from_checkpoint` goes on with the very next sample.

Trainer counts the steps that are done, and the loader reads none of them again. Needs transformers and accelerate.
"""

from __future__ import annotations

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


def train(folder: Path, max_steps: int, checkpoint: str | None) -> list[int]:
    """Train, and return the records of all steps."""
    import torch
    from transformers import Trainer, TrainingArguments

    from splitdata.interop.torch import as_dataloader

    seen: list[int] = []

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, number: Any, x: Any) -> dict[str, Any]:
            seen.extend(number.tolist())
            return {"loss": (self.layer(x[:, None]) - 2 * x[:, None]).square().mean()}

    with DistributedLoader(
        folder / "data", batch_size=32, shuffle="global", transform=decode, as_tensors=True
    ) as loader:

        class LoaderTrainer(Trainer):
            def get_train_dataloader(self) -> Any:
                return as_dataloader(loader)

        arguments = TrainingArguments(
            output_dir=str(folder / "runs"),
            num_train_epochs=2,
            max_steps=max_steps,
            save_steps=20,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
        )
        LoaderTrainer(model=Line(), args=arguments).train(resume_from_checkpoint=checkpoint)
    return seen


def main(folder: Path) -> None:
    warnings.simplefilter("ignore")
    with SplitWriter(folder / "data") as writer:
        writer.write_many(str(number).encode() for number in range(NUM_RECORDS))
    first = train(folder, 20, None)
    rest = train(folder, -1, str(folder / "runs" / "checkpoint-20"))
    epochs = (first + rest)[:NUM_RECORDS], (first + rest)[NUM_RECORDS:]
    print(f"{len(first)} samples, then a checkpoint, then {len(rest)}")
    print(f"each record once in both epochs: {[sorted(e) == list(range(NUM_RECORDS)) for e in epochs]}")


if find_spec("transformers") is None or find_spec("accelerate") is None:
    print("this example needs transformers and accelerate: pip install 'transformers[torch]'")
else:
    with tempfile.TemporaryDirectory() as name:
        main(Path(name))
