"""Batches by length: each sample once, within the budget, aligned over ranks, found without those before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitdata.order.batching import Batching, Buckets, TokenBudget
from splitdata.order.epoch_order import epoch_order
from splitdata.order.packs import Packed, in_order_packs
from splitdata.order.windowed_batches import WindowedBatches

LENGTHS = st.lists(st.integers(0, 50), min_size=1, max_size=120)
BATCHINGS = st.one_of(
    st.builds(
        TokenBudget, max_tokens=st.integers(50, 300), window=st.integers(1, 60), cost=st.sampled_from(["padded", "sum"])
    ),
    st.builds(
        Packed,
        size=st.integers(50, 99),
        window=st.integers(1, 60),
        strategy=st.sampled_from(["best-fit", "first-fit", "in-order"]),
    ),
    st.builds(Buckets, boundaries=st.sampled_from([(10,), (5, 20, 40)]), window=st.integers(1, 60)),
)


def batches_of(batching: Batching, lengths: list[int], **options: Any) -> list[NDArray[np.int64]]:
    """Return the records of each batch."""
    arranged = {"batch_size": 1 if isinstance(batching, TokenBudget) else 4, "lanes": 1, "key": 7} | options
    order = epoch_order("global", len(lengths), seed=1, epoch=0)
    values = np.array(lengths, np.int64)
    batches = WindowedBatches(batching, len(lengths), lambda positions: values[order(positions)], **arranged)
    assert [batch.tolist() for batch in batches[1:3]] == [batch.tolist() for batch in list(batches)[1:3]]
    # From the last on: each is found by itself.
    return [order(batches[number]) for number in reversed(range(len(batches)))][::-1]


@given(BATCHINGS, LENGTHS, st.integers(1, 5))
def test_every_sample_is_in_one_batch_which_is_as_large_as_allowed(
    batching: Batching, lengths: list[int], lanes: int
) -> None:
    found = list(batches_of(batching, lengths, lanes=lanes))

    assert sorted(np.concatenate(found).tolist()) == list(range(len(lengths)))
    for batch in found:
        mine = [lengths[record] for record in batch.tolist()]
        if isinstance(batching, TokenBudget):
            cost = max(mine) * len(mine) if batching.cost == "padded" else sum(mine)
            assert cost <= batching.max_tokens
        elif isinstance(batching, Packed):
            assert len(in_order_packs(mine, batching.size)) <= 4
        else:
            assert isinstance(batching, Buckets)
            assert len(mine) <= 4
            assert len(set(np.searchsorted(batching.boundaries, mine, "left").tolist())) == 1


@given(BATCHINGS, LENGTHS)
def test_samples_stay_in_their_window_and_each_batch_is_found_by_itself(batching: Batching, lengths: list[int]) -> None:
    whole = batches_of(batching, lengths)
    order = epoch_order("global", len(lengths), seed=1, epoch=0)(np.arange(len(lengths)))
    position = np.argsort(order)

    windows = [set((position[batch] // batching.window).tolist()) for batch in whole]
    assert all(len(window) == 1 for window in windows)
    assert [window for one in windows for window in one] == sorted(window for one in windows for window in one)


@pytest.mark.parametrize("lanes", [2, 3, 8])
def test_ranks_get_batches_of_like_length_and_as_many(lanes: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 2000).tolist()
    whole = batches_of(TokenBudget(max_tokens=800, window=500), lengths, lanes=lanes)

    assert len(whole) % lanes == 0
    longest = np.array([max(lengths[record] for record in batch) for batch in whole]).reshape(-1, lanes)
    assert np.ptp(longest, axis=1).mean() < np.ptp(longest) / 4
    # The order of the steps is mixed, in each of the four windows.
    assert np.abs(np.diff(longest.mean(axis=1))).mean() > 10


def test_order_of_batches_without_a_key_is_that_of_their_lengths() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 300).tolist()
    whole = batches_of(TokenBudget(max_tokens=400, window=300), lengths, key=None)

    longest = [max(lengths[record] for record in batch) for batch in whole]
    assert longest == sorted(longest)


def test_batch_size_is_the_most_of_a_budget() -> None:
    whole = batches_of(TokenBudget(max_tokens=100, window=50), [1] * 50, batch_size=7)
    assert sorted(map(len, whole)) == [1, *[7] * 7]


def test_padding_is_less_than_of_batches_in_the_order_of_the_epoch() -> None:
    lengths = np.minimum(np.exp(np.random.default_rng(0).normal(5, 1, 20_000)).astype(int) + 1, 4000)
    whole = batches_of(TokenBudget(max_tokens=16_384, window=4096), lengths.tolist())

    def fill(batches: list[NDArray[np.int64]]) -> float:
        return float(lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in batches))

    assert fill(list(whole)) > 0.9
    assert fill(np.array_split(np.arange(20_000), len(whole))) < 0.5


@given(LENGTHS, st.integers(50, 99))
def test_packs_hold_what_fits_and_best_fit_needs_few_of_them(lengths: list[int], size: int) -> None:
    def packs(strategy: Any) -> list[list[int]]:
        batching = Packed(size=size, strategy=strategy, window=len(lengths))
        return [
            [lengths[sample] for sample in batch] for batch in batches_of(batching, lengths, batch_size=1, key=None)
        ]

    best, in_order = packs("best-fit"), packs("in-order")
    assert all(sum(pack) <= size for pack in best + in_order)
    # At most 11/9 of the fewest that are possible.
    assert len(best) <= 11 / 9 * len(in_order) + 1
    assert sorted(length for pack in best for length in pack) == sorted(lengths)
    order = epoch_order("global", len(lengths), seed=1, epoch=0)(np.arange(len(lengths)))
    assert [length for pack in in_order for length in pack] == [lengths[place] for place in order]


@pytest.mark.parametrize(("strategy", "most_moved"), [("best-fit", 8192), ("first-fit", 30)])
def test_packs_are_filled_and_first_fit_moves_samples_little(strategy: Any, most_moved: int) -> None:
    lengths = np.minimum(np.exp(np.random.default_rng(0).normal(5, 1, 20_000)).astype(int) + 1, 4096)
    batching = Packed(size=4096, window=8192, strategy=strategy)
    whole = WindowedBatches(batching, 20_000, lengths.__getitem__, batch_size=1, lanes=1, key=None)

    assert lengths.sum() / (len(whole) * 4096) > 0.99
    order = np.concatenate(list(whole))
    assert sorted(order.tolist()) == list(range(20_000))
    assert np.abs(order - np.arange(20_000)).mean() < most_moved


@given(LENGTHS, st.integers(1, 60), st.integers(1, 3), st.integers(1, 4), st.integers(1, 60))
def test_samples_that_are_split_keep_every_element_in_order_and_leave_one_pack_of_a_window_open(
    lengths: list[int], size: int, batch_size: int, lanes: int, window: int
) -> None:
    batching = Packed(size=size, strategy="concat", window=window)
    values = np.array(lengths, np.int64)
    whole = WindowedBatches(
        batching, len(lengths), lambda positions: values[positions], batch_size=batch_size, lanes=lanes, key=None
    )
    elements: list[tuple[int, int]] = []
    for number in range(len(whole)):
        cut = whole.cut(number)
        assert cut.span is not None
        laid = [(place, element) for place in cut.positions.tolist() for element in range(lengths[place])]
        elements += laid[cut.span[0] : sum(cut.span)]
        assert 0 < cut.num_elements <= batch_size * size
        assert cut.num_elements <= batching.room(cut) < cut.num_elements + size

    assert elements == [(place, element) for place, length in enumerate(lengths) for element in range(length)]
    fewest = -(-sum(lengths) // (size * batch_size))
    if window >= len(lengths) and sum(lengths) >= fewest + lanes:
        assert len(whole) == -(-fewest // lanes) * lanes


def test_batches_of_split_samples_are_halved_between_packs() -> None:
    batching = Packed(size=10, strategy="concat", window=100)
    whole = WindowedBatches(batching, 30, lambda positions: np.full(len(positions), 3), batch_size=3, lanes=4, key=None)
    assert [whole.cut(number).num_elements for number in range(4)] == [10, 20, 30, 30]


def test_room_of_a_batch_is_what_it_takes_with_its_padding() -> None:
    lengths = [3, 9, 4]
    rooms = [
        (TokenBudget(max_tokens=30, window=5), 27),
        (TokenBudget(max_tokens=30, window=5, cost="sum"), 30),
        (Buckets(boundaries=(10,), window=5), 27),
        (Packed(size=9, window=5), 18),
        (Packed(size=7, strategy="concat", window=5), 21),
    ]
    for batching, room in rooms:
        whole = WindowedBatches(
            batching, 3, lambda positions: np.array(lengths)[positions], batch_size=5, lanes=1, key=1
        )
        assert (len(whole), whole.cut(0).num_elements) in ((1, 16), (3, 3))
        assert sum(batching.room(whole.cut(number)) for number in range(len(whole))) == room


@pytest.mark.parametrize(
    "empty", [Packed(size=5), Packed(size=5, strategy="concat"), TokenBudget(max_tokens=5), Buckets(boundaries=(3,))]
)
def test_no_samples_make_no_batches(empty: Batching) -> None:
    whole = WindowedBatches(empty, 0, lambda positions: positions, batch_size=1, lanes=1, key=7)
    assert len(whole) == 0
    with pytest.raises(IndexError, match="there is no batch 0, the epoch has 0"):
        whole[0]


def test_sample_beyond_the_budget_is_an_error_that_counts_such() -> None:
    with pytest.raises(ValueError, match="2 samples of a window of 3 are longer than max_tokens, 5; the longest has 9"):
        batches_of(TokenBudget(max_tokens=5), [3, 9, 6])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenBudget(max_tokens=0), "max_tokens must be 1 or more"),
        (lambda: TokenBudget(max_tokens=4, cost="both"), "cost must be"),  # type: ignore[arg-type]  # as a user may
        (lambda: TokenBudget(max_tokens=4, window=0), "window must be 1 or more"),
        (lambda: Packed(size=0), "size of packs must be 1 or more"),
        (lambda: Packed(size=9, strategy="worst"), "strategy must be"),  # type: ignore[arg-type]  # as a user may
        (lambda: Buckets(boundaries=()), "boundaries must be one number or more"),
        (lambda: Buckets(boundaries=(5, 5)), "ascending"),
        (lambda: Buckets(boundaries=(5, 3)), "ascending"),
        (lambda: Buckets(boundaries=(-1,)), "0 or more"),
    ],
)
def test_batching_that_means_nothing_is_refused(make: Callable[[], Batching], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_batches_stay_as_they_were_frozen() -> None:
    lengths = [9, 3, 7, 1, 5, 2, 8, 4, 6, 10]
    assert [batch.tolist() for batch in batches_of(TokenBudget(max_tokens=20, window=6), lengths, lanes=2)] == FROZEN


FROZEN = [[7, 4], [1], [6, 0], [9], [2], [3, 5, 8]]
