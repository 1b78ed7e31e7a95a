"""Balanced classes: every stretch of as many samples as classes has each once, and each class runs through itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitdata.order.balanced_order import Balance, BalancedOrder

SIZES = st.lists(st.integers(1, 70), min_size=1, max_size=5)
# Frozen: a run that goes on with a later version meets the same order.
FROZEN = [1, 5, 10, 9, 7, 5, 4, 0, 8]
FROZEN_LARGE = [265, 30, 235, 206]


def classes_of(sizes: list[int]) -> NDArray[np.int64]:
    """Return classes of such sizes, mixed up."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))


@given(SIZES, st.booleans(), st.integers(40, 100))
def test_every_class_comes_once_in_every_block_and_gives_all_before_it_repeats(
    sizes: list[int], mixes: bool, num_samples: int
) -> None:
    classes = classes_of(sizes)
    balance = Balance(classes, num_samples=num_samples, mixes=mixes, seed=3)
    num_epochs = -(-2 * max(sizes) * len(sizes) // num_samples)
    found = np.concatenate([balance.order(epoch)(np.arange(num_samples)) for epoch in range(num_epochs)])

    whole = len(found) // len(sizes) * len(sizes)
    assert (np.sort(classes[found[:whole]].reshape(-1, len(sizes))) == np.arange(len(sizes))).all()
    for number, size in enumerate(sizes):
        mine = found[classes[found] == number]
        members = np.flatnonzero(classes == number).tolist()
        for begin in range(0, len(mine) - size + 1, size):
            stretch = mine[begin : begin + size].tolist()
            assert (sorted(stretch) if mixes else stretch) == members


@pytest.mark.parametrize("size", [2, 5, 17, 32, 33, 40])
def test_order_in_a_class_shows_what_chance_shows(size: int) -> None:
    num_passes = 3000
    balance = Balance(np.zeros(size, np.int64), seed=3)
    passes = balance.records_at(np.arange(size * num_passes)).reshape(num_passes, size)
    places, pairs = np.zeros((size, size)), np.zeros((size, size))
    np.add.at(places, (np.arange(size), passes), 1)
    np.add.at(pairs, (passes[:, :-1], passes[:, 1:]), 1)

    for counts, freedom in ((places, (size - 1) ** 2), (pairs[~np.eye(size, dtype=bool)], size * (size - 1) - 1)):
        excess = ((counts - counts.mean()) ** 2 / counts.mean()).sum() - freedom
        assert abs(excess) < 12 + 5 * np.sqrt(2 * freedom)


def test_classes_have_no_fixed_turn_so_that_no_rank_meets_one_class_alone() -> None:
    classes = classes_of([50] * 4)
    found = Balance(classes).order(0)(np.arange(0, 200, 4))

    assert (np.bincount(classes[found], minlength=4) > 4).all()


def test_epochs_and_seeds_differ_and_positions_do_not_depend_on_each_other() -> None:
    classes = classes_of([70, 3, 200])
    balance = Balance(classes, seed=1)
    first = balance.order(0)(np.arange(273)).tolist()

    assert first != balance.order(1)(np.arange(273)).tolist()
    assert first != Balance(classes, seed=2).order(0)(np.arange(273)).tolist()
    mixed_up = np.random.default_rng(1).permutation(273)
    assert balance.order(0)(mixed_up).tolist() == [first[place] for place in mixed_up]
    assert [int(balance.order(0)(np.array([place]))[0]) for place in range(0, 273, 19)] == first[::19]


def test_order_of_balanced_classes_stays_as_it_was_frozen() -> None:
    balance = Balance(np.array([0, 0, 1, 1, 1, 2, 1, 0, 2, 1, 1]), num_samples=9, seed=5)
    assert balance.order(1)(np.arange(9)).tolist() == FROZEN
    # Classes whose members a network permutes.
    large = Balance(np.arange(300) % 2, num_samples=4, seed=5)
    assert large.order(10)(np.arange(4)).tolist() == FROZEN_LARGE


def test_order_knows_its_place_in_the_stream_and_refuses_other_positions() -> None:
    order = Balance(np.array([0, 1, 0])).order(2)
    assert isinstance(order, BalancedOrder)
    assert (order.start, order.num_positions) == (6, 3)
    with pytest.raises(IndexError, match="position -1 is out of range"):
        order(np.array([-1]))


def test_no_records_and_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        Balance(np.array([], np.int64))
    with pytest.raises(ValueError, match="num_samples must be 1 or more"):
        Balance(np.array([0]), num_samples=0)
