"""Orders by weights: in each epoch every record comes as often as its share says, up to one, and all are pure."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order.weighted_order import WeightedOrder, Weighting

INTEGERS = st.lists(st.integers(0, 50), min_size=1, max_size=40).filter(any)
FLOATS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40)
# Frozen: a run that goes on with a later version meets the same order.
FROZEN = [0, 0, 2, 6, 4, 4, 4, 1]
FROZEN_ONCE = [6, 2, 7, 3, 9, 8]


def epoch_of(weighting: Weighting, epoch: int = 0) -> list[int]:
    records: list[int] = weighting.order(epoch)(np.arange(weighting.length)).tolist()
    return records


@given(INTEGERS, st.integers(1, 300), st.booleans(), st.integers(0, 3))
def test_each_record_comes_as_often_as_its_share_rounded_down_or_up(
    weights: list[int], num_samples: int, scatters: bool, epoch: int
) -> None:
    weighting = Weighting(np.array(weights), num_samples=num_samples, scatters=scatters, seed=5)
    counts = np.bincount(epoch_of(weighting, epoch), minlength=len(weights)).tolist()

    for weight, count in zip(weights, counts, strict=True):
        assert abs(count - Fraction(weight * num_samples, sum(weights))) < 1


@given(FLOATS, st.integers(1, 300))
def test_weights_of_any_size_have_their_share(weights: list[float], num_samples: int) -> None:
    counts = np.bincount(epoch_of(Weighting(np.array(weights), num_samples=num_samples)), minlength=len(weights))

    assert np.abs(counts - np.array(weights) * num_samples / sum(weights)).max() < 1 + 1e-6


@given(INTEGERS, st.data())
def test_without_replacement_none_comes_twice_and_the_heaviest_always(weights: list[int], data: st.DataObject) -> None:
    possible = sum(weight > 0 for weight in weights)
    num_samples = data.draw(st.integers(1, possible))
    weighting = Weighting(np.array(weights), num_samples=num_samples, replacement=False, seed=2)
    found = epoch_of(weighting)

    assert len(set(found)) == num_samples
    assert all(weights[record] for record in found)
    for record, weight in enumerate(weights):
        if weight * num_samples >= sum(weights):
            assert record in found


def test_over_many_epochs_each_record_has_its_share_also_without_replacement() -> None:
    weights = np.array([1, 2, 3, 4, 5, 6, 7, 8, 40])
    num_epochs, num_samples = 1000, 4
    weighting = Weighting(weights, num_samples=num_samples, replacement=False, seed=1)
    counts = np.bincount(np.concatenate([epoch_of(weighting, epoch) for epoch in range(num_epochs)]))

    # The last comes for certain, and the others share the three places that are left.
    assert counts[-1] == num_epochs
    expected = num_epochs * 3 * weights[:-1] / weights[:-1].sum()
    assert (np.abs(counts[:-1] - expected) < 4 * np.sqrt(expected)).all()


def test_equal_weights_give_each_record_once() -> None:
    assert sorted(epoch_of(Weighting(np.full(1000, 0.1)))) == list(range(1000))


def test_place_in_the_epoch_says_nothing_of_the_record() -> None:
    weights = np.array([1.0, 2.0, 3.0, 6.0])
    weighting = Weighting(weights, num_samples=12)
    table = np.zeros((12, 4))
    for epoch in range(1500):
        table[np.arange(12), epoch_of(weighting, epoch)] += 1

    expected = 1500 * weights / 12
    assert ((table - expected) ** 2 / expected).sum() < 75  # 33 degrees of freedom, chance exceeds it once in 50,000


def test_epochs_and_seeds_differ_and_positions_do_not_depend_on_each_other() -> None:
    weights = np.random.default_rng(0).random(500)
    weighting = Weighting(weights, seed=1)
    first = epoch_of(weighting)

    assert first != epoch_of(weighting, 1)
    assert first != epoch_of(Weighting(weights, seed=2))
    mixed_up = np.random.default_rng(1).permutation(500)
    assert weighting.order(0)(mixed_up).tolist() == [first[place] for place in mixed_up]
    assert [int(weighting.order(0)(np.array([place]))[0]) for place in range(0, 500, 37)] == first[::37]


def test_records_that_are_not_scattered_come_in_their_order_as_often_as_they_weigh() -> None:
    weighting = Weighting(np.array([1, 0, 3, 2]), num_samples=12, scatters=False)

    assert epoch_of(weighting) == [0, 0, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3]
    assert epoch_of(weighting) == epoch_of(weighting, 1)


def test_order_by_weights_stays_as_it_was_frozen() -> None:
    assert epoch_of(Weighting(np.array([3, 1, 2, 0.5, 4, 0, 1.25]), num_samples=8, seed=4), 2) == FROZEN
    assert epoch_of(Weighting(np.arange(10), num_samples=6, replacement=False, seed=4), 2) == FROZEN_ONCE


def test_order_knows_its_place_in_the_stream_and_refuses_other_positions() -> None:
    order = Weighting(np.array([1, 2]), num_samples=7).order(3)
    assert isinstance(order, WeightedOrder)
    assert (order.start, order.num_positions) == (21, 7)
    with pytest.raises(IndexError, match="position 7 is out of range: the epoch has 7"):
        order(np.array([7]))


@pytest.mark.parametrize(
    ("weights", "options", "error", "message"),
    [
        ([1, -1], {}, ValueError, "weight 1 must be a number of 0 or more, got -1"),
        ([1, np.nan], {}, ValueError, "weight 1 must be a number"),
        ([0, 0], {}, ValueError, "all weights are 0"),
        (["a"], {}, TypeError, "one number for each record"),
        ([1, 0], {"num_samples": 2, "replacement": False}, ValueError, "with a weight, 1, got num_samples=2"),
        ([1, 0], {"num_samples": 0}, ValueError, "num_samples must be 1 or more"),
        ([1, 0], {"num_samples": 1 << 32}, ValueError, "at most 2147483648"),
    ],
)
def test_weights_that_mean_nothing_are_refused(
    weights: list[float], options: dict[str, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Weighting(np.array(weights), **options)  # type: ignore[arg-type]  # of a list


def test_greatest_and_smallest_weights_keep_their_place() -> None:
    weights = np.array([1e300, 1e-300, 1e300, 0.0])
    counts = np.bincount(epoch_of(Weighting(weights, num_samples=1001)), minlength=4).tolist()

    assert counts[3] == 0
    assert abs(counts[0] - counts[2]) <= 1
    assert counts[1] <= 1
