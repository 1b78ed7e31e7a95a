"""Lightning's Trainer takes the loader as it is: its own checkpoints in mid-epoch, with one process and with two.

Two processes repeat the last sample of an epoch of 53: `whole(2)` is what they must have.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.programs import read_samples, run
from tests.interop.stream import NUM_RECORDS, Samples, expected, interleaved, make_loader, samples_of

pytest.importorskip("lightning.pytorch")
pytestmark = [pytest.mark.slow, pytest.mark.time_limit(400)]


def whole(path: str, processes: int) -> Samples:
    """Return two epochs as so many processes see them, with what is repeated."""
    samples = expected(path, 2)
    epochs = samples[:NUM_RECORDS], samples[NUM_RECORDS:]
    more = -NUM_RECORDS % processes
    return [sample for epoch in epochs for sample in epoch + epoch[:more]]


def test_trainer_resumes_in_mid_epoch_by_its_own_checkpoint_also_with_other_processes(
    path: str, tmp_path: Path
) -> None:
    run("lightning_program", 2, path, tmp_path, "2", "two::5", "two-to-two:two:", own_launcher=True)
    run("lightning_program", 1, path, tmp_path, "1", "one::5", "one-to-one:one:", "two-to-one:two:", own_launcher=True)
    run("lightning_program", 2, path, tmp_path, "2", "one-to-two:one:", own_launcher=True)

    one, two = read_samples(tmp_path, "one"), read_samples(tmp_path, "two", 2)
    assert one == expected(path)[:20]
    assert two == expected(path)[:40]
    assert one + read_samples(tmp_path, "one-to-one") == whole(path, 1)
    assert two + read_samples(tmp_path, "two-to-two", 2) == whole(path, 2)
    assert two + read_samples(tmp_path, "two-to-one") == whole(path, 1)
    assert one + read_samples(tmp_path, "one-to-two", 2) == whole(path, 2)


def test_fabric_keeps_a_loader_in_its_checkpoint_for_another_number_of_processes(path: str, tmp_path: Path) -> None:
    from lightning.fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    first = make_loader(path)
    running = iter(first)
    taken = samples_of(next(running) for _ in range(3))
    fabric.save(tmp_path / "c", {"loader": first, "step": 3})
    seconds = [make_loader(path, rank=rank, world_size=2) for rank in range(2)]

    for second in seconds:
        fabric.load(tmp_path / "c", {"loader": second})

    assert (taken + interleaved([samples_of(second) for second in seconds]))[:NUM_RECORDS] == expected(path)
