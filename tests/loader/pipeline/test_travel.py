"""How batches of worker processes reach the loop: in shared memory, as tensors where they are asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from splitdata import SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import RecordOptions, WorkerOptions
from tests.process.test_memory import is_shared

LENGTH = 40_000


def write(path: Path, num_records: int = 24) -> Path:
    with SplitWriter(path, durability="none") as writer:
        writer.write_many([bytes([number]) * LENGTH for number in range(num_records)])
    return path


def decode(record: bytes | memoryview) -> dict[str, Any]:
    return {"pixels": np.frombuffer(record, np.uint8), "number": record[0], "has_torch": "torch" in sys.modules}


@pytest.mark.parametrize("as_views", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_are_the_same_bytes_with_views_and_with_workers(
    tmp_path: Path, num_workers: int, as_views: bool
) -> None:
    path = write(tmp_path / "data")
    loader = DistributedLoader(
        path,
        batch_size=5,
        transform=decode,
        num_workers=num_workers,
        records=RecordOptions(as_views=as_views),
        shuffle="global",
    )
    with loader:
        batches = list(loader)
        assert [len(batch["number"]) for batch in batches] == [5, 5, 5, 5, 4]
        for batch in batches:
            assert batch["pixels"].shape == (len(batch["number"]), LENGTH)
            assert (batch["pixels"] == batch["number"][:, None]).all()
            assert batch["pixels"].flags.writeable
            assert is_shared(batch["pixels"]) == (num_workers > 0)


def test_tensors_of_worker_processes_are_made_over_shared_memory_without_torch_there(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    loader = DistributedLoader(
        write(tmp_path / "data"),
        batch_size=8,
        transform=decode,
        num_workers=1,
        as_tensors=True,
        workers=WorkerOptions(start_method="spawn"),
    )
    with loader:
        for batch in loader:
            assert batch["pixels"].dtype == torch.uint8
            assert is_shared(batch["pixels"].numpy())
            assert not batch["has_torch"].any()


def one_hot(record: bytes) -> NDArray[np.str_]:
    return np.array([str(record[0])])


def test_batch_that_torch_cannot_hold_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = write(tmp_path / "data")
    loader = DistributedLoader(
        path,
        batch_size=8,
        transform=one_hot,
        num_workers=1,
        as_tensors=True,
        workers=WorkerOptions(start_method="fork"),
    )
    with loader, pytest.raises(TypeError, match="sample: torch has no dtype for an array of"):
        next(iter(loader))
