"""Window: a bijection that moves no record further than its size, in every epoch, at every length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import Window
from splitdata.order.epoch_order import Order, epoch_order


def window_order(num_records: int, size: int, seed: int = 0, epoch: int = 0) -> Order:
    return epoch_order(Window(size), num_records, seed=seed, epoch=epoch)


def test_every_small_length_is_a_bijection_within_the_window() -> None:
    for num_records in range(41):
        positions = np.arange(num_records)
        for size in [*range(1, 25), 39, 40, 100]:
            for epoch in range(3):
                records = window_order(num_records, size, epoch=epoch)(positions)
                assert np.array_equal(np.sort(records), positions)
                assert np.abs(records - positions).max(initial=0) <= size


@given(st.integers(1, 200_000), st.integers(1, 300_000), st.integers(0, 2**64))
def test_record_moves_no_further_than_the_size(num_records: int, size: int, seed: int) -> None:
    positions = np.arange(num_records)
    records = window_order(num_records, size, seed)(positions)

    assert np.abs(records - positions).max() <= size
    assert np.array_equal(np.sort(records), positions)


@pytest.mark.parametrize("size", [2, 5, 20, 300, 5000])
def test_size_is_used_to_the_full_and_evenly(size: int) -> None:
    """A record may come to lie nearly `size` away on both sides, and a third of it on average."""
    num_records = 400 * size
    moved = window_order(num_records, size)(np.arange(num_records)) - np.arange(num_records)
    reach = max(2, (size + 1) // 3 * 2) * 3 // 2 - 1

    assert moved.max() > 0.9 * reach
    assert moved.min() < -0.9 * reach
    assert 0.25 < np.abs(moved).mean() / size < (0.45 if size > 2 else 0.55)
    # To and fro alike; what is left is chance.
    assert abs(moved.mean()) < 0.02 * size


def test_neighbours_do_not_stay_neighbours() -> None:
    records = window_order(1_000_000, 1000)(np.arange(1_000_000))

    # Drawn from some 1,300 records each, two are neighbours about once in 650.
    assert (np.abs(np.diff(records)) == 1).mean() < 1 / 400


def test_borders_of_blocks_do_not_show() -> None:
    """Of each two neighbours the first comes later half the time, also where blocks meet."""
    size, epochs = 29, 400
    later = np.zeros(999)
    for epoch in range(epochs):
        places = np.argsort(window_order(1000, size, epoch=epoch)(np.arange(1000)))
        later += places[1:] < places[:-1]
    share = later[size:-size] / epochs

    assert abs(share.mean() - 0.5) < 0.02
    assert share.min() > 0.5 - 6 * np.sqrt(0.25 / epochs)


def test_first_epoch_is_shuffled_too_and_each_epoch_otherwise() -> None:
    orders = [window_order(1000, 10, epoch=epoch)(np.arange(1000)).tolist() for epoch in range(4)]

    assert all(order != list(range(1000)) for order in orders)
    assert len(set(map(tuple, orders))) == 4


def test_two_records_come_in_both_orders() -> None:
    for size in (1, 2, 50):
        orders = [tuple(window_order(2, size, epoch=epoch)(np.arange(2)).tolist()) for epoch in range(100)]
        assert 25 < orders.count((1, 0)) < 75


def test_window_of_one_swaps_neighbours() -> None:
    records = window_order(1000, 1)(np.arange(1000))

    assert 200 < int((records != np.arange(1000)).sum()) < 800


def test_window_that_holds_all_is_a_global_shuffle() -> None:
    for size in (99_999, 10**30):
        moved = window_order(100_000, size)(np.arange(100_000)) - np.arange(100_000)
        assert abs(np.abs(moved).mean() / 100_000 - 1 / 3) < 0.005


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (-3, ValueError), (1.5, TypeError), (True, TypeError), (None, TypeError)]
)
def test_wrong_size_is_refused(size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="window"):
        Window(size)
