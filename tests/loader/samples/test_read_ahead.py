"""Reading ahead: every cold step is asked for once, before it is read; warm data are hardly asked about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions


class Watched:
    """Notes what is asked for and what is read, in order."""

    def __init__(self, *, is_warm: bool) -> None:
        self._is_warm = is_warm
        self.asked: list[int] = []
        self.read: list[int] = []
        self.num_questions = 0
        self.late: list[int] = []

    def __len__(self) -> int:
        return 400

    def __getitem__(self, index: int) -> int:
        return index

    def __getitems__(self, indices: Sequence[int]) -> list[int]:
        self.read += indices
        self.late += [index for index in indices if index not in self.asked]
        return list(indices)

    def is_warm(self, indices: NDArray[np.int64]) -> bool:
        self.num_questions += 1
        return self._is_warm

    def prefetch(self, indices: NDArray[np.int64]) -> None:
        self.asked += indices.tolist()


def test_cold_records_are_asked_for_once_and_before_they_are_read() -> None:
    dataset = Watched(is_warm=False)
    list(DistributedLoader(dataset, batch_size=4, shuffle="global", workers=WorkerOptions(read_ahead=8)))

    assert dataset.late == []
    assert dataset.asked == dataset.read
    assert sorted(dataset.asked) == list(range(400))


def test_warm_records_are_not_asked_for_and_hardly_asked_about() -> None:
    dataset = Watched(is_warm=True)
    list(DistributedLoader(dataset, batch_size=4, shuffle="global", workers=WorkerOptions(read_ahead=8)))

    assert dataset.asked == []
    assert 5 <= dataset.num_questions <= 15


def test_records_that_turn_cold_are_asked_for_after_some_steps() -> None:
    dataset = Watched(is_warm=True)
    loader = DistributedLoader(dataset, batch_size=4, workers=WorkerOptions(read_ahead=8))
    for number, _ in enumerate(loader):
        dataset._is_warm = number < 40

    assert len(dataset.asked) >= 4 * (100 - 40 - 8 - 16)


def test_reading_ahead_can_be_turned_off() -> None:
    dataset = Watched(is_warm=False)
    list(DistributedLoader(dataset, batch_size=4, workers=WorkerOptions(read_ahead=0)))

    assert dataset.asked == []
    assert dataset.num_questions == 0
