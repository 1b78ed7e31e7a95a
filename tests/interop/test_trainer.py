"""Trainer of transformers: `resume_from_checkpoint` goes on with the very next sample, whatever it is trained from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.programs import read_samples, run
from tests.interop.stream import NUM_RECORDS, expected

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
pytestmark = [pytest.mark.slow, pytest.mark.time_limit(400)]


def test_trainer_resumes_from_a_loader_in_mid_epoch_and_at_its_end(path: str, tmp_path: Path) -> None:
    middle, end = "middle/checkpoint-5", "end/checkpoint-14"
    run(
        "trainer_program",
        1,
        path,
        tmp_path,
        "loader",
        "4",
        *("middle::5", f"from-middle:{middle}:", "end::14", f"from-end:{end}:", "later::19"),
        f"from-later:{'later/checkpoint-19'}:",
    )

    for stage, num_samples in (("middle", 20), ("end", NUM_RECORDS), ("later", NUM_RECORDS + 20)):
        first = read_samples(tmp_path, stage)
        assert len(first) == num_samples
        assert first + read_samples(tmp_path, f"from-{stage}") == expected(path, 2)


def test_trainer_resumes_with_other_processes_at_the_same_samples_a_step(path: str, tmp_path: Path) -> None:
    run("trainer_program", 2, path, tmp_path, "loader", "4", "two::5", "two-to-two:two/checkpoint-5:")
    run("trainer_program", 1, path, tmp_path, "loader", "8", "one::5", "two-to-one:two/checkpoint-5:")

    samples = expected(path, 2)
    epochs = samples[:NUM_RECORDS], samples[NUM_RECORDS:]
    padded = [sample for epoch in epochs for sample in [*epoch, epoch[0]]]
    two = read_samples(tmp_path, "two", 2)
    assert two == read_samples(tmp_path, "one") == samples[:40]
    assert two + read_samples(tmp_path, "two-to-two", 2) == padded
    assert two + read_samples(tmp_path, "two-to-one") == samples


def test_trainer_resumes_from_a_dataset_of_records_and_from_an_iterable(path: str, tmp_path: Path) -> None:
    for data in ("dataset", "iterable"):
        run(
            "trainer_program",
            1,
            path,
            tmp_path,
            data,
            "4",
            f"{data}-whole::",
            f"{data}::5",
            f"{data}-rest:{data}/checkpoint-5:",
        )
        whole = read_samples(tmp_path, f"{data}-whole")
        assert read_samples(tmp_path, data) + read_samples(tmp_path, f"{data}-rest") == whole
    numbers = [number for number, _ in read_samples(tmp_path, "iterable-whole")]
    assert numbers == [number for number, _ in expected(path)]
