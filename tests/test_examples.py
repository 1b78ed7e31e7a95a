"""The examples: each is short, and runs as it is, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import ROOT, run_python

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINE_LIMIT = 80

# What an example proves to its reader, as it prints it.
PROOFS = {
    "single_process.py": [
        "images of each label [500 500 500 500",
        "the first batch without workers and with two: identical",
    ],
    "torchrun_two_ranks.py": [
        "epoch 1: 16 batches on each rank, 501 + 501 records",
        "all 1001 records of 1001, 1 of them twice",
    ],
    "preemption.py": [
        "preempted: exit code 0 after a checkpoint: True",
        "started again: exit code 0",
        "both runs together, the uninterrupted stream: True",
    ],
    "reuse_augmented.py": [
        "plain, epoch 1: 300 augmented, 300 seen of 300 images, 300 different",
        "Cache, epoch 1:   0 augmented, 300 seen of 300 images, 300 different",
        "Cache, epoch 2: 300 augmented, 300 seen of 300 images, 300 different",
        "Rotation, epoch 1: 300 augmented, 900 seen of 300 images, 300 different",
    ],
    "demo.py": ["is intact: ", "nats a byte; guessing blindly is 5.55", "the weights are equal to the last bit."],
    "fabric_checkpoint.py": ["1000 samples on both ranks, 1000 different of 1000"],
    "images.py": ["the weights are equal to the last bit: True"],
    "character_lm.py": ["learned: True"],
    "two_corpora_lm.py": ["together the uninterrupted stream: True", "learned: True"],
    "balanced_images.py": [
        "balanced_by: 50 steps, lynxes in a step: [4]",
        "stopped and resumed: the same: True",
        "weights: 36 lynxes in 600",
    ],
    "tabular.py": ["they are found: True"],
    "lightning_trainer.py": [
        "640 samples, then a checkpoint, then 1360",
        "each record once in both epochs: [True, True]",
    ],
    "transformers_trainer.py": [
        "640 samples, then a checkpoint, then 1360",
        "each record once in both epochs: [True, True]",
    ],
    "ray_convert.py": [
        "the same records in the same order as by one process: True",
        "called again, with resume: 0 units written",
    ],
    "ray_train.py": [
        "workers: [2, 1, 2]",
        "together the order of a run without interruption: True",
    ],
    "accelerate_checkpoint.py": ["320 samples, then a checkpoint, then 680", "each record once: True"],
    "keras_fit.py": ["stopped in epoch 1 behind 256 samples and resumed: the same weights: True"],
    "jax_mesh.py": ["8 devices; stopped behind step 5 and resumed: the same to the last bit: True"],
    "resume_after_kill.py": [
        "before the kill, the uninterrupted stream: True",
        "from the checkpoint on, the rest of it:    True",
        "up to the checkpoint and from there: True",
    ],
}

TRAINERS = ("fabric_checkpoint.py", "lightning_trainer.py", "transformers_trainer.py", "accelerate_checkpoint.py")
# What frameworks warn of is theirs.
FRAMEWORKS = (*TRAINERS, "keras_fit.py", "jax_mesh.py", "ray_convert.py", "ray_train.py")

# They are longer: the demo converts real files and shows a part of everything, the other is a whole reader.
DEMO = "demo.py"
# ray_train.py plays the cluster, too.
LONG = {DEMO, "read_with_stdlib_only.py", "ray_train.py"}


def test_there_are_examples_beside_the_demo() -> None:
    names = [example.name for example in EXAMPLES]

    assert DEMO in names
    assert len(names) > 1


@pytest.mark.slow
@pytest.mark.time_limit(480)
@pytest.mark.parametrize("example", EXAMPLES, ids=[example.name for example in EXAMPLES])
def test_example_runs_in_an_empty_folder(example: Path, tmp_path: Path) -> None:
    if example.name in TRAINERS:
        pytest.importorskip("torchdata", reason="starts processes that load a trainer: make test-interop")
    ended = run_python(example, cwd=tmp_path, warnings="ignore" if example.name in FRAMEWORKS else "error")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout
    missing = [proof for proof in PROOFS.get(example.name, []) if proof not in ended.stdout]
    assert "this example needs" in ended.stdout or not missing, ended.stdout


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.name not in LONG], ids=lambda example: example.name)
def test_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= LINE_LIMIT
