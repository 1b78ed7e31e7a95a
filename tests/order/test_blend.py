"""Mixtures: exact shares at every position, no sample lost or repeated where shares change, places found both ways."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order.blend import MAX_PERIOD, Blend, Stage, shares_of
from splitdata.order.mixture_order import MixedSource, Mixing, MixtureOrder, epoch_length
from splitdata.order.window import Window

SHARES = st.lists(st.integers(0, 40), min_size=1, max_size=12).map(tuple).filter(any)


@st.composite
def blends(draw: st.DrawFn) -> Blend:
    num_sources = draw(st.integers(1, 5))
    shares = st.lists(st.integers(0, 9), min_size=num_sources, max_size=num_sources).map(tuple).filter(any)
    steps = draw(st.lists(st.integers(1, 30), max_size=3))
    starts = np.cumsum([0, *steps]).tolist()
    return Blend([Stage(start, draw(shares)) for start in starts])


def mixing(counts: Sequence[int], shares: tuple[int, ...], length: int) -> Mixing:
    sources = tuple(MixedSource(f"s{number}", count) for number, count in enumerate(counts))
    return Mixing(Blend([Stage(0, shares)]), sources, length)


@given(SHARES)
def test_no_source_is_a_whole_sample_away_from_its_share_at_any_position(shares: tuple[int, ...]) -> None:
    period = sum(shares)
    sources, indexes = Blend([Stage(0, shares)]).locate(np.arange(3 * period))

    for source, share in enumerate(shares):
        counts = np.cumsum(sources == source)
        assert np.abs(counts * period - np.arange(1, 3 * period + 1) * share).max(initial=0) < 2 * period
        assert indexes[sources == source].tolist() == list(range(3 * share))


@pytest.mark.parametrize("shares", [(1, 1), (1, 1, 1, 1), (7, 2, 1)])
@pytest.mark.parametrize("world_size", [2, 4, 8, 10])
def test_rank_meets_each_source_as_often_as_its_share_says(shares: tuple[int, ...], world_size: int) -> None:
    sources, _ = Blend([Stage(0, shares)]).locate(np.arange(2000 * world_size))

    for rank in range(world_size):
        found = np.bincount(sources[rank::world_size], minlength=len(shares)) / 2000
        assert np.abs(found - np.array(shares) / sum(shares)).max() < 0.06


@given(blends())
def test_samples_run_on_over_stages_and_every_way_to_count_them_agrees(blend: Blend) -> None:
    sources, indexes = blend.locate(np.arange(150))

    for source in range(blend.num_sources):
        mine = np.flatnonzero(sources == source)
        assert indexes[mine].tolist() == list(range(len(mine)))
        for count, place in enumerate(mine.tolist(), 1):
            assert blend.position_of(source, count) == place + 1
        for num_positions in range(0, 150, 13):
            assert blend.counts(num_positions)[source] == np.count_nonzero(mine < num_positions)
        assert blend.position_of(source, 0) == 0
        if not blend.stages[-1].shares[source]:
            assert blend.position_of(source, len(mine) + 1) is None


@pytest.mark.parametrize(
    ("weights", "period", "shares"),
    [
        ([0.7, 0.2, 0.1], None, (7, 2, 1)),
        ([1 / 3, 2 / 3], None, (1, 2)),
        ([6, 2, 0], None, (3, 1, 0)),
        ([0.5, 0.3, 0.2], 64, (32, 19, 13)),
        ([1, 1, 1], 64, (22, 21, 21)),
        ([1e-3, 0.999], None, (1, 999)),
        ([3.0], None, (1,)),
    ],
)
def test_weights_become_the_smallest_shares_that_are_exact_or_are_rounded(
    weights: list[float], period: int | None, shares: tuple[int, ...]
) -> None:
    assert shares_of(weights, period) == shares


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.integers(3000, 70_000))
def test_rounded_shares_sum_up_to_the_period_and_are_next_to_the_weights(weights: list[float], period: int) -> None:
    shares = shares_of(weights, period)

    assert sum(shares) == period or all(weight == 1.0 for weight in weights)
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share / sum(shares) - weight / sum(weights)) < 1 / period


@pytest.mark.parametrize(
    ("weights", "period", "error", "message"),
    [
        ([], None, ValueError, "1 to 65536 sources"),
        ([0, 0.0], None, ValueError, "all weights are 0"),
        ([1, -1], None, ValueError, "weight 1 must be a number of 0 or more, got -1"),
        ([float("nan")], None, ValueError, "weight 0"),
        ([float("inf"), 1], None, ValueError, "weight 0"),
        ([True], None, TypeError, "weight 0"),
        (["1"], None, TypeError, "weight 0"),
        ([1, 1e-9], None, ValueError, "weight 1, 1e-09, is less than one sample in a period of 65536"),
        ([0.999, 0.001], 64, ValueError, "weight 1, 0.001, is less than one sample in a period of 64"),
        ([MAX_PERIOD, 1], None, ValueError, "a period of 1048577 samples, at most 1048576"),
    ],
)
def test_weights_that_mean_nothing_are_refused(
    weights: list[float], period: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        shares_of(weights, period)


@pytest.mark.parametrize("starts", [[], [1], [0, 5, 5], [0, 7, 3]])
def test_stages_that_do_not_follow_each_other_are_refused(starts: list[int]) -> None:
    with pytest.raises(ValueError, match="stage"):
        Blend([Stage(start, (1, 2)) for start in starts])


def test_stages_of_other_numbers_of_sources_are_refused() -> None:
    with pytest.raises(ValueError, match="shares for 3 sources, the one before for 2"):
        Blend([Stage(0, (1, 2)), Stage(6, (1, 2, 3))])


@pytest.mark.parametrize("shuffle", ["global", False, Window(5)])
def test_each_pass_of_a_source_has_every_record_once(shuffle: Window | str | bool) -> None:
    mixed = mixing([10, 7, 25], (5, 1, 2), 80)
    records = np.concatenate(
        [mixed.order(shuffle, seed=3, epoch=epoch, interleave=4)(np.arange(80)) for epoch in range(10)]  # type: ignore[arg-type]  # of a list
    )

    for first, count in ((0, 10), (10, 7), (17, 25)):
        mine = records[(records >= first) & (records < first + count)] - first
        for begin in range(0, len(mine) - count + 1, count):
            assert sorted(mine[begin : begin + count].tolist()) == list(range(count))
        passes = [mine[begin : begin + count].tolist() for begin in range(0, len(mine) - count + 1, count)]
        if shuffle is not False and len(passes) > 1:
            assert passes[0] != passes[1]


def test_what_a_position_has_does_not_depend_on_what_else_is_asked_for() -> None:
    order = mixing([10, 7, 25], (5, 1, 2), 300).order("global", seed=1, epoch=2, interleave=4)
    together = order(np.arange(300))

    mixed_up = np.random.default_rng(0).permutation(300)
    assert order(mixed_up).tolist() == together[mixed_up].tolist()
    assert [int(order(np.array([place]))[0]) for place in range(0, 300, 17)] == together[::17].tolist()


def test_order_of_a_mixture_stays_as_it_was_frozen() -> None:
    order = mixing([10, 7, 25], (5, 1, 2), 20).order("global", seed=0, epoch=1, interleave=4)

    assert order(np.arange(20)).tolist() == FROZEN


def test_positions_outside_of_the_epoch_are_refused() -> None:
    order = mixing([5], (1,), 20).order(False, seed=0, epoch=0, interleave=4)
    for place in (-1, 20):
        with pytest.raises(IndexError, match=f"position {place} is out of range: the epoch has 20"):
            order(np.array([3, place]))


@given(blends(), st.lists(st.integers(1, 12), min_size=5, max_size=5))
def test_epoch_ends_before_the_first_repeat_or_when_all_were_used_once(blend: Blend, counts: list[int]) -> None:
    counts = counts[: blend.num_sources]
    sources, indexes = blend.locate(np.arange(2000))
    repeats = [place for place in range(2000) if indexes[place] >= counts[sources[place]]]
    assert repeats[0] == epoch_length(blend, counts, "first")

    ends = [np.flatnonzero((sources == number) & (indexes == count - 1)) for number, count in enumerate(counts)]
    assert max(int(end[0]) for end in ends if len(end)) + 1 == epoch_length(blend, counts, "last")
    assert epoch_length(blend, counts, 77) == 77


@pytest.mark.parametrize("until", ["never", 0, -1])
def test_end_of_an_epoch_that_means_nothing_is_refused(until: int) -> None:
    with pytest.raises(ValueError, match="until must be"):
        epoch_length(Blend([Stage(0, (1,))]), [5], until)


def test_order_of_many_sources_of_billions_is_found_without_a_table() -> None:
    mixed = mixing([10**9] * 50, tuple(range(1, 51)), 10**10)
    records = mixed.order("global", seed=0, epoch=0, interleave=4)(np.arange(10**10 - 5000, 10**10))

    counts = np.bincount(records // 10**9, minlength=50)
    assert np.abs(counts - 5000 * np.arange(1, 51) / 1275).max() < 2


def test_stages_that_began_before_a_position_are_its_past() -> None:
    blend = Blend([Stage(0, (1, 2)), Stage(9, (2, 1)), Stage(20, (1, 1))])

    assert [len(blend.before(position)) for position in (0, 1, 9, 10, 20, 21)] == [0, 1, 1, 2, 2, 3]
    assert all(later.start > earlier.start for earlier, later in pairwise(blend.before(99)))


def test_order_is_of_the_class_that_knows_its_place_in_the_stream() -> None:
    order = mixing([5], (1,), 20).order(False, seed=0, epoch=3, interleave=4)
    assert isinstance(order, MixtureOrder)
    assert order.start == 60


FROZEN = [7, 27, 4, 8, 6, 33, 9, 3, 13, 2, 21, 1, 14, 3, 39, 4, 8, 30, 5, 9]
