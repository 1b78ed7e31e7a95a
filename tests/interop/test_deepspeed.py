"""DeepSpeed keeps a loader's state in its checkpoints, for another number of processes too."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.programs import read_samples, run
from tests.interop.stream import expected

pytest.importorskip("deepspeed")
pytestmark = [pytest.mark.slow, pytest.mark.time_limit(400)]


def test_deepspeed_resumes_in_mid_epoch_by_its_own_checkpoint_at_another_world_size(path: str, tmp_path: Path) -> None:
    # A checkpoint is named by the number of processes that it is of.
    run("deepspeed_program", 2, path, tmp_path, "2::5", "two-to-two:2:")
    run("deepspeed_program", 1, path, tmp_path, "1::5", "two-to-one:2:")
    run("deepspeed_program", 2, path, tmp_path, "one-to-two:1:")

    one, two = read_samples(tmp_path, "1"), read_samples(tmp_path, "2", 2)
    everything = expected(path)
    assert two + read_samples(tmp_path, "two-to-one") == everything
    assert two + read_samples(tmp_path, "two-to-two", 2) == [*everything, everything[0]]
    assert one + read_samples(tmp_path, "one-to-two", 2) == [*everything, everything[0]]
