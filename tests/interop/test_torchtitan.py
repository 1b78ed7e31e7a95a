"""torchtitan builds its data loader from a config, keeps it in torch's distributed checkpoint, and takes batches.

It asks for a `datasets` below 4.8 and a nightly torch. Where it is not installed, what it asks of a data loader is
stood in for by the shape that its version 0.3.0 has. The loader is that of docs/frameworks.md.
"""

from __future__ import annotations

import json
import sys
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from splitdata import SplitWriter
from tests.command import ROOT
from tests.readme_blocks import blocks_of

torch: Any = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings(
    "ignore:torch.distributed is disabled, unavailable or uninitialized:UserWarning"
)

MODULE = "torchtitan.components.dataloader"
NUM_RECORDS = 53
BATCH_SIZE = 4

# Labels by input: each record once.
Numbers = list[int]


class BaseDataLoader(ABC):
    """What torchtitan 0.3.0 asks of a data loader: a config that builds it, batches, and torch's `Stateful`."""

    @dataclass(kw_only=True, slots=True)
    class Config:
        """The part of it that stands in a file of settings."""

        _owner: ClassVar[Any] = None
        dataset: str = ""
        dataset_path: str | None = None

        def build(self, **runtime: Any) -> Any:
            """Build the loader of this rank."""
            return self._owner(config=replace(self), **runtime)

    def __init_subclass__(cls) -> None:
        assert "__slots__" in vars(cls.Config)
        cls.Config._owner = cls

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Return an iterator over inputs by name, and labels."""


@pytest.fixture
def loader_class(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The class that the page shows, on torchtitan's own base where that is installed."""
    if find_spec("torchtitan") is None:
        for name in ("torchtitan", "torchtitan.components", MODULE):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setattr(sys.modules[MODULE], "BaseDataLoader", BaseDataLoader, raising=False)
    page = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    (code,) = [block.code for block in blocks_of(page) if MODULE in block.code]
    names: dict[str, Any] = {"__name__": __name__}
    exec(code, names)
    return names["TitanLoader"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_samples(
            {"input": np.array([number, number + 1]), "labels": number} for number in range(NUM_RECORDS)
        )
    return str(tmp_path / "data")


def build(loader_class: Any, path: str, dp_rank: int, dp_world_size: int) -> Any:
    """Build a rank's loader as torchtitan's trainer does."""
    return loader_class.Config(dataset_path=path).build(
        dp_world_size=dp_world_size,
        dp_rank=dp_rank,
        tokenizer=None,
        seq_len=2,
        local_batch_size=BATCH_SIZE,
        snapshot_every_n_steps=None,
    )


def train(loader: Any, num_steps: int) -> Numbers:
    """Take batches as the trainer does, and return their labels."""
    labels: Numbers = []
    for input_dict, of_batch in islice(iter(loader), num_steps):
        assert input_dict["input"].tolist() == [[label, label + 1] for label in of_batch.tolist()]
        labels += of_batch.tolist()
    return labels


def interleaved(of_ranks: list[Numbers]) -> Numbers:
    return [number for numbers in zip(*of_ranks, strict=True) for number in numbers]


def test_loader_goes_on_from_epoch_to_epoch_without_an_end(path: str, loader_class: Any) -> None:
    numbers = train(build(loader_class, path, 0, 1), 30)

    # Fourteen batches are an epoch, of which the last has one sample.
    epochs = numbers[:NUM_RECORDS], numbers[NUM_RECORDS : 2 * NUM_RECORDS]
    assert [sorted(epoch) for epoch in epochs] == [list(range(NUM_RECORDS))] * 2
    assert epochs[0] != epochs[1]
    assert len(numbers) == 2 * NUM_RECORDS + 2 * BATCH_SIZE


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 2)])
def test_torchtitans_checkpoint_resumes_a_loader_in_mid_epoch_at_another_world_size(
    path: str, tmp_path: Path, loader_class: Any, before: int, after: int
) -> None:
    from torch.distributed import checkpoint
    from torch.distributed.checkpoint.stateful import Stateful

    whole = train(build(loader_class, path, 0, 1), 14)
    firsts = [build(loader_class, path, rank, before) for rank in range(before)]
    taken = interleaved([train(loader, 3) for loader in firsts])
    # One process writes what is the same on all.
    assert len({json.dumps(loader.state_dict()) for loader in firsts}) == 1
    checkpoint.save({"dataloader": firsts[-1]}, checkpoint_id=str(tmp_path / "step-3"))

    seconds = [build(loader_class, path, rank, after) for rank in range(after)]
    for loader in seconds:
        assert isinstance(loader, Stateful)
        checkpoint.load({"dataloader": loader}, checkpoint_id=str(tmp_path / "step-3"))
    rest = interleaved([train(loader, 3) for loader in seconds])

    assert taken == whole[: len(taken)]
    assert rest == whole[len(taken) : len(taken) + len(rest)]
