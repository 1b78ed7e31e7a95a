"""The shuffle by bins: every record once, few bins at a time, the same for the same seed, lanes of exact lengths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order.bin_shuffle import BinShuffle

COUNTS = st.lists(st.integers(0, 60), max_size=20)
LANES = st.integers(1, 9)


def shuffle_of(counts: list[int], interleave: int = 2, seed: int = 0, epoch: int = 0, lanes: int = 1) -> BinShuffle:
    return BinShuffle(np.array(counts, np.int64), interleave=interleave, seed=seed, epoch=epoch, lanes=lanes)


def order_of(shuffle: BinShuffle) -> list[tuple[int, int]]:
    """Return (bin, ordinal) of every position of the epoch."""
    bins, ordinals = shuffle.locate(np.arange(shuffle.num_records))
    return list(zip(bins.tolist(), ordinals.tolist(), strict=True))


def groups_of(shuffle: BinShuffle) -> list[list[int]]:
    return [shuffle.group_bins(group).tolist() for group in range(shuffle.num_groups)]


def test_frozen_order_holds() -> None:
    shuffle = shuffle_of([3, 2, 0, 4])

    assert groups_of(shuffle) == [[3, 2], [0, 1]]
    assert order_of(shuffle) == [(3, 3), (3, 1), (3, 0), (3, 2), (1, 1), (0, 0), (0, 1), (1, 0), (0, 2)]


def test_frozen_order_of_two_lanes_holds() -> None:
    shuffle = shuffle_of([3, 2, 0, 4], lanes=2)

    assert groups_of(shuffle) == [[3, 2], [0], [0, 1]]
    assert order_of(shuffle) == [(3, 3), (1, 0), (3, 1), (0, 2), (3, 0), (0, 1), (3, 2), (1, 1), (0, 0)]


@given(COUNTS, st.integers(1, 25), st.integers(0, 2**70), st.integers(0, 5), LANES)
def test_every_record_of_every_bin_comes_once(
    counts: list[int], interleave: int, seed: int, epoch: int, lanes: int
) -> None:
    shuffle = shuffle_of(counts, interleave, seed, epoch, lanes)
    found = order_of(shuffle)

    assert sorted(found) == [(number, ordinal) for number, count in enumerate(counts) for ordinal in range(count)]
    assert shuffle.num_records == len(found)
    assert all(1 <= len(group) <= interleave for group in groups_of(shuffle))


@given(COUNTS, st.integers(1, 25), LANES)
def test_each_lane_reads_a_stretch_of_the_shuffled_bins_group_after_group(
    counts: list[int], interleave: int, lanes: int
) -> None:
    """What one lane reads lies beside what the next one reads, and no group is taken up again."""
    shuffle = shuffle_of(counts, interleave, 3, lanes=lanes)
    line = [number for group in groups_of(shuffle_of(counts, 1, 3)) for number in group]
    slot_of = {pair: slot for slot, pair in enumerate((b, o) for b in line for o in range(counts[b]))}
    slots = np.array([slot_of[pair] for pair in order_of(shuffle)], np.int64)
    ends = [shuffle.group_range(group)[1] for group in range(shuffle.num_groups)]

    start = 0
    for lane in range(lanes):
        mine = slots[lane::lanes]
        assert sorted(mine.tolist()) == list(range(start, start + len(mine)))
        groups = np.searchsorted(ends, mine, "right")
        assert (np.diff(groups) >= 0).all()
        start += len(mine)


@given(COUNTS, st.integers(1, 25), LANES)
def test_groups_cover_the_line_and_name_the_bins_that_they_hold(counts: list[int], interleave: int, lanes: int) -> None:
    shuffle = shuffle_of(counts, interleave, 4, lanes=lanes)
    line = [number for group in groups_of(shuffle_of(counts, 1, 4)) for number in group]
    bin_at = [number for number in line for _ in range(counts[number])]
    end = 0
    for group in range(shuffle.num_groups):
        start, stop = shuffle.group_range(group)
        assert start == end
        assert {number for number in shuffle.group_bins(group).tolist() if counts[number]} == set(bin_at[start:stop])
        end = stop
    assert end == len(bin_at)


def test_only_bins_at_cuts_are_in_more_than_one_lane() -> None:
    for lanes in (2, 3, 7, 16):
        shuffle = shuffle_of([100] * 16, 4, 9, lanes=lanes)
        bins = np.array([number for number, _ in order_of(shuffle)])
        readers = sum(len(set(bins[lane::lanes].tolist())) for lane in range(lanes))

        assert readers <= 16 + lanes - 1
    # With as many bins as lanes nothing is cut.
    assert readers == 16


@given(COUNTS.filter(lambda counts: sum(counts) > 0), st.integers(1, 25), LANES, st.data())
def test_order_does_not_depend_on_what_is_asked_together(
    counts: list[int], interleave: int, lanes: int, data: st.DataObject
) -> None:
    whole = order_of(shuffle_of(counts, interleave, seed=3, lanes=lanes))
    shuffle = shuffle_of(counts, interleave, seed=3, lanes=lanes)
    asked = data.draw(st.lists(st.lists(st.integers(0, shuffle.num_records - 1), max_size=9), max_size=5))

    for positions in asked:
        bins, ordinals = shuffle.locate(np.array(positions, np.int64))
        assert list(zip(bins.tolist(), ordinals.tolist(), strict=True)) == [whole[place] for place in positions]


def test_order_is_the_same_for_the_same_seed_epoch_and_lanes_only() -> None:
    counts = [30] * 8
    orders = {
        (seed, epoch, lanes): tuple(order_of(shuffle_of(counts, 2, seed, epoch, lanes)))
        for seed, epoch, lanes in product(range(4), range(4), (1, 2, 3))
    }

    assert len(set(orders.values())) == 48
    assert orders[1, 2, 1] == tuple(order_of(shuffle_of(counts, 2, 1, 2)))


def test_many_groups_at_once_are_the_same_as_one_after_another() -> None:
    """More of them than are kept."""
    shuffle = shuffle_of([50] * 400, 1, 5, lanes=200)
    together = order_of(shuffle)

    assert [pair for start in range(0, 20_000, 777) for pair in part_of(shuffle, start)] == together


def part_of(shuffle: BinShuffle, start: int) -> list[tuple[int, int]]:
    bins, ordinals = shuffle.locate(np.arange(start, min(start + 777, shuffle.num_records)))
    return list(zip(bins.tolist(), ordinals.tolist(), strict=True))


def test_billion_records_in_64_bins_are_in_range_and_differ() -> None:
    shuffle = shuffle_of([10**9 // 64 + 1] * 64, 4, 1, lanes=8)
    bins, ordinals = shuffle.locate(np.linspace(0, shuffle.num_records - 1, 5000).astype(np.int64))

    assert len(set(zip(bins.tolist(), ordinals.tolist(), strict=True))) == 5000
    assert ordinals.min() >= 0
    assert ordinals.max() <= 10**9 // 64


@pytest.mark.parametrize("name", ["interleave", "lanes"])
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_wrong_number_is_refused(name: str, value: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        shuffle_of([1], **{name: value})


def test_interleave_above_the_number_of_bins_mixes_all() -> None:
    assert groups_of(shuffle_of([3, 2, 4], 10**30)) == groups_of(shuffle_of([3, 2, 4], 3))
    assert len(groups_of(shuffle_of([3, 2, 4], 10**30))) == 1


def test_no_bins_give_no_groups() -> None:
    for lanes in (1, 3):
        assert groups_of(shuffle_of([], lanes=lanes)) == []
        assert order_of(shuffle_of([], lanes=lanes)) == []
