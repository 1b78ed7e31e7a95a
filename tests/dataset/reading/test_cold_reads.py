"""Cold data are asked for, before a batch and ahead of it, and warm data are hardly asked about."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from splitdata import SplitDataLoader
from splitdata.dataset.segments import segment_reader
from splitdata.storage import file_source
from splitdata.storage.file_source import PreadSource
from tests.dataset.disk import bins_of, drop_from_page_cache, written

Step: TypeAlias = "NDArray[np.int64]"
RECORDS = [b"%d" % number * (1 + number % 9) for number in range(400)]


class Disk:
    """Stands before the files that are read by `pread`: says what is cold, counts questions and requests."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.is_cold = True
        self.num_questions = 0
        self.num_requests = 0
        patch.setattr(PreadSource, "is_resident", lambda _source, _offset: self._answer())
        patch.setattr(PreadSource, "prefetch", lambda _source, _offset, _length: self._request())

    def _answer(self) -> bool:
        self.num_questions += 1
        return not self.is_cold

    def _request(self) -> None:
        self.num_requests += 1

    def counts_of(self, action: Callable[[Step], object], step: Step) -> tuple[int, int]:
        """Return how many questions and requests an action on the records of a step causes."""
        before = self.num_questions, self.num_requests
        action(step)
        return self.num_questions - before[0], self.num_requests - before[1]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    # No read takes long.
    monkeypatch.setattr(segment_reader, "perf_counter", lambda: 0.0)
    return Disk(monkeypatch)


@pytest.fixture(params=[1, 3], ids=["one segment", "three segments"])
def loader(request: pytest.FixtureRequest, tmp_path: Path) -> SplitDataLoader:
    parts = [RECORDS] if request.param == 1 else [RECORDS[:100], RECORDS[100:250], RECORDS[250:]]
    paths = [str(written(tmp_path / f"{number}", part, bins=4)) for number, part in enumerate(parts)]
    return SplitDataLoader(paths, io="pread")


def steps(num_steps: int) -> list[Step]:
    chance = np.random.default_rng(0)
    return [chance.permutation(len(RECORDS))[:32] for _ in range(num_steps)]


def test_cold_records_are_asked_about_once_by_read_ahead_and_once_by_their_batch(
    loader: SplitDataLoader, disk: Disk
) -> None:
    touched = loader._snapshot.num_segments
    for step in steps(5):
        # One cold record is enough to know; the batch looks at those of each segment.
        assert disk.counts_of(loader.read_ahead, step) == (1, 32)
        assert disk.counts_of(loader.__getitem__, step) == (touched, 32)


def test_batches_that_find_records_asked_for_are_not_asked_about_again(loader: SplitDataLoader, disk: Disk) -> None:
    for step in steps(5):
        assert disk.counts_of(loader.read_ahead, step) == (1, 32)
        # The kernel has brought them by now.
        disk.is_cold = False
        assert disk.counts_of(loader.__getitem__, step)[1] == 0
        disk.is_cold = True
    # Every read was fast.
    assert disk.counts_of(loader.__getitem__, steps(1)[0]) == (0, 0)


def test_warm_records_are_asked_about_in_one_step_of_sixteen(loader: SplitDataLoader, disk: Disk) -> None:
    disk.is_cold = False
    asked = [disk.counts_of(loader.read_ahead, step) for step in steps(80)]

    assert {num_requests for _, num_requests in asked} == {0}
    looks = [number for number, (num_questions, _) in enumerate(asked) if num_questions]
    assert looks == [0, 2, 6, 14, 30, 46, 62, 78]
    assert {num_questions for num_questions, _ in asked} == {0, 8}


def test_records_that_turn_cold_are_noticed_within_sixteen_steps(loader: SplitDataLoader, disk: Disk) -> None:
    disk.is_cold = False
    for step in steps(80):
        loader.read_ahead(step)
    disk.is_cold = True
    asked = [disk.counts_of(loader.read_ahead, step)[1] for step in steps(40)]

    assert asked.index(32) < 16
    assert set(asked[16:]) == {32}


def test_batch_found_cold_has_the_next_step_looked_at(loader: SplitDataLoader, disk: Disk) -> None:
    disk.is_cold = False
    for step in steps(79):
        loader.read_ahead(step)
    disk.is_cold = True

    assert disk.counts_of(loader.__getitem__, steps(1)[0])[1] == 32
    assert disk.counts_of(loader.read_ahead, steps(1)[0]) == (1, 32)


def test_prefetch_asks_for_warm_records_too_without_a_question(loader: SplitDataLoader, disk: Disk) -> None:
    disk.is_cold = False
    for step in steps(5):
        assert disk.counts_of(loader.prefetch, step) == (0, 32)


@pytest.mark.parametrize(("positions", "error"), [([0.5], TypeError), ([400], IndexError), ([-401], IndexError)])
def test_positions_that_are_none_are_refused_where_they_are_looked_at(
    loader: SplitDataLoader, positions: list[int], error: type[Exception]
) -> None:
    with pytest.raises(error):
        loader.read_ahead(positions)


def test_nothing_is_asked_for_ahead_where_the_system_cannot_tell(
    loader: SplitDataLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: list[int] = []
    monkeypatch.setattr(file_source, "_RWF_NOWAIT", None)
    monkeypatch.setattr(PreadSource, "prefetch", lambda _source, offset, _length: requests.append(offset))
    for step in steps(5):
        loader.read_ahead(step)

    assert requests == []
    loader.prefetch([1, 2])
    assert len(requests) == 2


@pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="the system cannot tell what is in memory")
def test_only_records_that_were_dropped_from_memory_are_asked_for(
    loader: SplitDataLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = np.arange(400)
    records = loader[everything]
    requests: list[int] = []
    monkeypatch.setattr(PreadSource, "prefetch", lambda _source, offset, _length: requests.append(offset))
    loader.read_ahead([])
    loader.read_ahead(everything)
    warm = len(requests)
    for path in loader.paths:
        for one in bins_of(Path(path)):
            drop_from_page_cache(one)
    for _ in range(16):
        loader.read_ahead(everything)

    assert warm == 0
    assert len(requests) >= 400
    assert loader[everything] == records
