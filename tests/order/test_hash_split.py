"""HashSplit: stable under append, disjoint where the ranges are, about as large as asked."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import HashSplit
from splitdata.order import hash_split

SHARES = st.floats(0, 1, allow_subnormal=False)


def test_frozen_records_hold() -> None:
    """A record that was held out stays so with every later version."""
    assert HashSplit(0.9, 1).records(60).tolist() == [12, 24, 52]
    assert HashSplit(0, 0.25, seed=7).records(30).tolist() == [8, 9, 21, 29]


@given(st.integers(0, 300), st.integers(0, 300), SHARES, SHARES, st.integers(0, 2**70))
def test_records_appended_move_none(count: int, more: int, one: float, two: float, seed: int) -> None:
    start, stop = sorted((one, two))
    if start == stop:
        return
    split = HashSplit(start, stop, seed)

    records = split.records(count)

    assert records.dtype == np.int64
    assert records.tolist() == [record for record in split.records(count + more).tolist() if record < count]


@given(st.lists(SHARES, max_size=5), st.integers(0, 500), st.integers(0, 2**70))
def test_parts_of_the_whole_hold_each_record_once(cuts: list[float], count: int, seed: int) -> None:
    ends = sorted({0.0, 1.0, *cuts})
    parts = [HashSplit(start, stop, seed).records(count) for start, stop in pairwise(ends)]

    assert np.sort(np.concatenate(parts)).tolist() == list(range(count))


def test_share_is_met_as_by_drawing() -> None:
    for seed in range(20):
        assert abs(len(HashSplit(0.2, 0.3, seed).records(100_000)) - 10_000) < 5 * np.sqrt(9_000)


def test_neighbours_do_not_belong_together() -> None:
    belongs = np.zeros(100_000, np.bool_)
    belongs[HashSplit(0, 0.5).records(100_000)] = True

    assert abs(int((belongs[1:] == belongs[:-1]).sum()) - 50_000) < 5 * np.sqrt(25_000)


def test_seeds_divide_otherwise() -> None:
    splits = {tuple(HashSplit(0, 0.5, seed).records(200).tolist()) for seed in range(50)}

    assert len(splits) == 50


def test_records_do_not_depend_on_how_many_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = HashSplit(0.1, 0.6, 3).records(1000).tolist()
    monkeypatch.setattr(hash_split, "_BLOCK", 7)

    assert HashSplit(0.1, 0.6, 3).records(1000).tolist() == expected


def test_ends_are_whole_and_a_sliver_is_empty() -> None:
    assert HashSplit(0, 1).records(10).tolist() == list(range(10))
    assert HashSplit(0, 1e-30).records(1000).tolist() == []
    assert HashSplit(0.5, np.nextafter(0.5, 1)).records(1000).tolist() == []


@pytest.mark.parametrize(
    ("start", "stop", "seed", "error"),
    [
        (0.5, 0.5, 0, ValueError),
        (0.6, 0.5, 0, ValueError),
        (-0.1, 0.5, 0, ValueError),
        (0.5, 1.1, 0, ValueError),
        (float("nan"), 0.5, 0, ValueError),
        (0.1, float("nan"), 0, ValueError),
        ("0", 0.5, 0, TypeError),
        (False, True, 0, TypeError),
        (0, None, 0, TypeError),
        (0, 0.5, -1, ValueError),
        (0, 0.5, 1.0, TypeError),
    ],
    ids=repr,
)
def test_wrong_split_is_refused(start: Any, stop: Any, seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        HashSplit(start, stop, seed)
