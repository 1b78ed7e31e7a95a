"""SampleDataset under the loaders: this library's, with worker processes and by bins, and torch's.

SampleDataset ── pickled to each worker ──> samples ──collated──> batches of every sample once
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import DistributedLoader, SampleDataset, SplitWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Forty samples in three bins."""
    with SplitWriter(tmp_path / "d", bins=3) as writer:
        for number in range(40):
            writer.write_sample({"image": np.full((4, 4), number, np.uint8), "label": number})
    return tmp_path / "d"


def check(batches: Any) -> None:  # any iterable of dicts
    labels: list[int] = []
    for batch in batches:
        assert batch["image"].shape == (8, 4, 4)
        assert (batch["image"][:, 0, 0] == batch["label"]).all()
        labels += batch["label"].tolist()
    assert sorted(labels) == list(range(40))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_distributed_loader_reads_samples_by_bins(path: Path, num_workers: int) -> None:
    dataset = SampleDataset(path)
    with DistributedLoader(dataset, batch_size=8, num_workers=num_workers, shuffle="bins") as loader:
        check(loader)
        assert dataset.fingerprint in str(loader.state_dict())


def test_torch_loader_reads_copies_without_a_warning(path: Path) -> None:
    data: Any = pytest.importorskip("torch.utils.data")
    check(data.DataLoader(SampleDataset(path, copy=True), batch_size=8, num_workers=1))
