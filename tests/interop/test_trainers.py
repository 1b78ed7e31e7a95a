"""Lightning, accelerate and Trainer in this process: a plain run of each, and its own checkpoint in mid-epoch.

What takes several processes is in the modules of each, and runs with `make test-interop`.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.interop.programs import take
from tests.interop.stream import NUM_RECORDS, Samples, expected, make_loader

pytest.importorskip("torch")

# What frameworks warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")


class TestLightning:
    @pytest.fixture(autouse=True)
    def needs_lightning(self) -> None:
        pytest.importorskip("lightning.pytorch")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def fit(self, path: str, folder: Path, last_step: int, checkpoint: Path | None) -> Samples:
        """Train to a step or, with -1, to the end of two epochs; return the samples of all steps."""
        from lightning.pytorch import Trainer
        from lightning.pytorch.callbacks import ModelCheckpoint

        from tests.interop.lightning_program import Model

        model = Model()
        saving = ModelCheckpoint(dirpath=folder, filename="last", every_n_train_steps=max(last_step, 1))
        trainer = Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=2,
            max_steps=last_step,
            callbacks=[saving] if last_step > 0 else [],
            logger=False,
            enable_checkpointing=last_step > 0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, make_loader(path, as_tensors=True, rank=0, world_size=1), ckpt_path=checkpoint)
        return model.samples

    def test_trainer_trains_from_a_loader(self, path: str, tmp_path: Path) -> None:
        assert self.fit(path, tmp_path, -1, None) == expected(path, 2)

    def test_trainer_resumes_in_mid_epoch_by_its_own_checkpoint(self, path: str, tmp_path: Path) -> None:
        begun = self.fit(path, tmp_path, 5, None)

        rest = self.fit(path, tmp_path, -1, tmp_path / "last.ckpt")

        assert len(begun) == 20
        assert begun + rest == expected(path, 2)


class TestAccelerate:
    @pytest.fixture(autouse=True)
    def needs_accelerate(self) -> None:
        self.accelerate: Any = pytest.importorskip("accelerate")

    def prepared(self, path: str) -> tuple[Any, Any]:
        accelerator = self.accelerate.Accelerator(cpu=True)
        given = make_loader(path, as_tensors=True, device=accelerator.device, rank=0, world_size=1)
        loader = accelerator.prepare(given)
        assert loader is given
        accelerator.register_for_checkpointing(loader)
        return accelerator, loader

    def test_prepared_loader_gives_its_batches(self, path: str) -> None:
        _, loader = self.prepared(path)

        assert take(loader) + take(loader) == expected(path, 2)

    def test_accelerator_resumes_in_mid_epoch_by_its_own_checkpoint(self, path: str, tmp_path: Path) -> None:
        accelerator, loader = self.prepared(path)
        begun = take(loader, 5)
        accelerator.save_state(str(tmp_path / "state"))
        accelerator, loader = self.prepared(path)

        accelerator.load_state(str(tmp_path / "state"))

        assert begun + take(loader) == expected(path)


class TestTrainerOfTransformers:
    @pytest.fixture(autouse=True)
    def needs_transformers(self) -> None:
        pytest.importorskip("transformers")
        pytest.importorskip("accelerate")

    def train(self, path: str, folder: Path, last_step: int, checkpoint: Path | None) -> Samples:
        """Train to a step or, with -1, to the end of two epochs; return the samples of all steps."""
        from transformers import TrainingArguments

        from tests.interop.trainer_program import Model, make_trainer

        arguments = TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=4,
            num_train_epochs=2,
            max_steps=last_step,
            save_strategy="steps" if last_step > 0 else "no",
            save_steps=max(last_step, 1),
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
        )
        model = Model()
        trainer = make_trainer(path, "loader", 4, arguments, model)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return model.samples

    def test_trainer_trains_from_a_loader(self, path: str, tmp_path: Path) -> None:
        samples = self.train(path, tmp_path, -1, None)

        assert len(samples) == 2 * NUM_RECORDS
        assert samples == expected(path, 2)

    def test_trainer_resumes_in_mid_epoch_by_its_own_checkpoint(self, path: str, tmp_path: Path) -> None:
        begun = self.train(path, tmp_path, 5, None)

        rest = self.train(path, tmp_path, -1, tmp_path / "checkpoint-5")

        assert len(begun) == 20
        assert begun + rest == expected(path, 2)
