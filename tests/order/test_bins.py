"""The shuffle by bins: every record once, few bins at a time, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order.bins import BinShuffle

COUNTS = st.lists(st.integers(0, 60), max_size=20)


def order_of(shuffle: BinShuffle) -> list[tuple[int, int]]:
    """Return (bin, ordinal) of every position of the epoch."""
    found: list[tuple[int, int]] = []
    for group in range(len(shuffle.groups)):
        start, stop = shuffle.group_range(group)
        bins, ordinals = shuffle.locate(group, shuffle.group_permutation(group), np.arange(start, stop))
        found += zip(bins.tolist(), ordinals.tolist(), strict=True)
    return found


def shuffle_of(counts: list[int], interleave: int = 2, seed: int = 0, epoch: int = 0) -> BinShuffle:
    return BinShuffle(np.array(counts, np.int64), interleave=interleave, seed=seed, epoch=epoch)


def test_frozen_order_holds() -> None:
    shuffle = shuffle_of([3, 2, 0, 4])

    assert [group.tolist() for group in shuffle.groups] == [[3, 2], [0, 1]]
    assert order_of(shuffle) == [(3, 3), (3, 1), (3, 0), (3, 2), (1, 1), (0, 0), (0, 1), (1, 0), (0, 2)]


@given(COUNTS, st.integers(1, 25), st.integers(0, 2**70), st.integers(0, 5))
def test_every_record_of_every_bin_comes_once(counts: list[int], interleave: int, seed: int, epoch: int) -> None:
    shuffle = shuffle_of(counts, interleave, seed, epoch)
    found = order_of(shuffle)

    assert sorted(found) == [(number, ordinal) for number, count in enumerate(counts) for ordinal in range(count)]
    assert shuffle.num_records == len(found)
    assert all(len(group) <= interleave for group in shuffle.groups)


@given(COUNTS.filter(lambda counts: sum(counts) > 0), st.integers(1, 25), st.data())
def test_one_position_is_found_where_it_is_in_the_whole(
    counts: list[int], interleave: int, data: st.DataObject
) -> None:
    shuffle = shuffle_of(counts, interleave, seed=3)
    position = data.draw(st.integers(0, shuffle.num_records - 1))
    group = shuffle.group_of(position)

    bins, ordinals = shuffle.locate(group, shuffle.group_permutation(group), np.array([position]))

    assert (int(bins[0]), int(ordinals[0])) == order_of(shuffle)[position]


def test_order_is_the_same_for_the_same_seed_and_epoch_only() -> None:
    counts = [30] * 8
    orders = {
        (seed, epoch): tuple(order_of(shuffle_of(counts, 2, seed, epoch))) for seed in range(4) for epoch in range(4)
    }

    assert len(set(orders.values())) == 16
    assert orders[1, 2] == tuple(order_of(shuffle_of(counts, 2, 1, 2)))


@pytest.mark.parametrize("interleave", [0, -1])
def test_interleave_below_one_is_refused(interleave: int) -> None:
    with pytest.raises(ValueError, match="interleave"):
        shuffle_of([1], interleave)


def test_no_bins_give_no_groups() -> None:
    assert shuffle_of([]).groups == []
    assert shuffle_of([]).num_records == 0
