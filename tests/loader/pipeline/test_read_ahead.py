"""Reading ahead: the dataset, or the cache, is told of every step once, before it is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from splitdata import Cache, SplitDataLoader
from splitdata.dataset.segments import segment_reader
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.storage.file_source import MappedSource, PreadSource
from tests.loader.counting import write_numbers


class Watched:
    """A dataset of a user's: notes what is asked for and what is read, in order."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.read: list[int] = []
        self.late: list[int] = []

    def __len__(self) -> int:
        return 400

    def __getitem__(self, index: int) -> int:
        return index

    def __getitems__(self, indices: Sequence[int]) -> list[int]:
        self.read += indices
        self.late += [index for index in indices if index not in self.asked]
        return list(indices)


class Prefetching(Watched):
    """It has what other readers have."""

    def prefetch(self, indices: NDArray[np.int64]) -> None:
        self.asked += indices.tolist()


class Deciding(Watched):
    """It has both, and decides itself what is worth asking for."""

    def read_ahead(self, indices: NDArray[np.int64]) -> None:
        self.asked += indices.tolist()

    def prefetch(self, indices: NDArray[np.int64]) -> None:
        raise AssertionError("read_ahead is there")


@pytest.mark.parametrize("kind", [Prefetching, Deciding])
def test_records_are_asked_for_once_and_before_they_are_read(kind: type[Watched]) -> None:
    dataset = kind()
    list(DistributedLoader(dataset, batch_size=4, shuffle="global", workers=WorkerOptions(read_ahead=8)))

    assert dataset.late == []
    assert dataset.asked == dataset.read
    assert sorted(dataset.asked) == list(range(400))


@pytest.mark.parametrize("kind", [Prefetching, Deciding])
def test_reading_ahead_can_be_turned_off(kind: type[Watched]) -> None:
    dataset = kind()
    list(DistributedLoader(dataset, batch_size=4, workers=WorkerOptions(read_ahead=0)))

    assert dataset.asked == []
    assert len(dataset.read) == 400


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("cached", [False, True], ids=["dataset", "cache"])
def test_cold_steps_of_a_dataset_or_its_cache_are_asked_for_and_warm_ones_are_not(
    tmp_path: Path, cached: bool, is_cold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_numbers(tmp_path / "data", 400)
    options: dict[str, Any] = {"transform": bytes, "cache": Cache(tmp_path / "cache")} if cached else {}
    # Through the cache the second epoch reads entries alone.
    with DistributedLoader(SplitDataLoader(path), batch_size=4, num_workers=0, **options) as loader:
        if cached:
            list(loader)
        requests: list[int] = []
        questions: list[int] = []
        # No read takes long.
        monkeypatch.setattr(segment_reader, "perf_counter", lambda: 0.0)
        for kind in (MappedSource, PreadSource):
            monkeypatch.setattr(kind, "is_resident", lambda _, offset: (questions.append(offset), not is_cold)[1])  # type: ignore[func-returns-value]
            monkeypatch.setattr(kind, "prefetch", lambda _, offset, _length: requests.append(offset))
        list(loader)

    # Cold data are noticed within sixteen steps of four records.
    assert len(requests) >= 336 if is_cold else not requests
    # A hundred steps: each of four records, in one step of sixteen, and those of the first batch.
    assert questions
    assert is_cold or len(questions) < 100
