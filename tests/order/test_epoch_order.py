"""The order of an epoch, of every kind: complete, frozen, the same however it is asked, small at any length."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitdata import Window
from splitdata.order.bin_layout import BinLayout, BinTable
from splitdata.order.epoch_order import Order, Shuffle, epoch_order
from splitdata.order.rotation import RotationOrder
from tests.stable_ids import stable_id

KINDS = ["as written", "global", "window", "narrow window", "bins", "bins in lanes", "rotation"]
SHUFFLES: dict[str, Shuffle] = {
    "as written": False,
    "global": "global",
    "window": Window(2000),
    "narrow window": Window(7),
    "bins": "bins",
    "bins in lanes": "bins",
    "rotation": "bins",
}
TIMES = 3


def layout(num_records: int, num_bins: int = 8) -> BinLayout:
    bins = np.arange(min(num_bins, num_records), dtype=np.int64)
    counts = (num_records - bins + num_bins - 1) // num_bins
    return BinLayout([BinTable(bins, np.full(len(bins), num_bins, np.int64), counts)])


def order_of(kind: str, num_records: int, seed: int = 0, epoch: int = 0) -> Order:
    """Return the order of an epoch; that of rotation has each record three times."""
    lanes = 1 if kind == "bins" else 3
    order = epoch_order(
        SHUFFLES[kind], num_records, seed=seed, epoch=epoch, lanes=lanes, interleave=2, bins=layout(num_records)
    )
    if kind == "rotation":
        return RotationOrder(order, times=TIMES, size=50, seed=seed, epoch=epoch, lanes=lanes)
    return order


def all_of(order: Order) -> NDArray[np.int64]:
    return order(np.arange(order.num_positions))


# Of 1000 records the first positions; of 10^9 + 7 the first, one in the middle, the last.
FROZEN: dict[str, tuple[list[int], list[int]]] = {
    "as written": ([0, 1, 2, 3, 4, 5, 6, 7], [0, 500000003, 1000000006]),
    "global": ([130, 968, 413, 676, 598, 974, 495, 208], [993891457, 250600893, 79707403]),
    "window": ([280, 572, 904, 509, 867, 814, 155, 176], [1178, 499999393, 999998967]),
    "narrow window": ([4, 5, 1, 0, 2, 7, 3, 8], [4, 499999999, 1000000006]),
    "bins": ([149, 645, 781, 799, 47, 639, 549, 71], [482956919, 280277888, 263059363]),
    "bins in lanes": ([149, 706, 475, 645, 906, 640, 781, 185], [482956919, 11412187, 416827716]),
    "rotation": ([175, 273, 907, 357, 914, 251, 357, 793], [417761285, 718158804, 416827716]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_order_holds(kind: str) -> None:
    """A resumed run of a later version, on any system and with any numpy, must meet the same order."""
    small, large = order_of(kind, 1000, seed=1, epoch=2), order_of(kind, 10**9 + 7, seed=1, epoch=2)
    few = np.array([0, large.num_positions // 2, large.num_positions - 1])

    assert (small(np.arange(8)).tolist(), large(few).tolist()) == FROZEN[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_comes_once_at_every_small_length(kind: str) -> None:
    for num_records in range(41):
        records = all_of(order_of(kind, num_records, seed=num_records))
        assert np.array_equal(np.sort(records), np.repeat(np.arange(num_records), TIMES if kind == "rotation" else 1))
        assert records.dtype == np.int64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_records", [65_536, 65_537, 100_000])
def test_every_record_comes_once_in_large_epochs(kind: str, num_records: int) -> None:
    counts = np.bincount(all_of(order_of(kind, num_records)), minlength=num_records)

    assert (counts == (TIMES if kind == "rotation" else 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_order_does_not_depend_on_the_pattern_of_calls(kind: str) -> None:
    for num_records in (1, 40, 3000, 70_000):
        order = order_of(kind, num_records)
        expected = all_of(order)
        positions = np.arange(order.num_positions)
        shuffled = np.random.default_rng(0).permutation(order.num_positions)

        assert np.array_equal(order(positions[::-1]), expected[::-1])
        assert np.array_equal(order(shuffled), expected[shuffled])
        for block in (1, 7, 1000):
            asked = positions[: 50 * block]
            parts = [order(asked[start : start + block]) for start in range(0, len(asked), block)]
            assert np.array_equal(np.concatenate(parts), expected[: len(asked)])
        # Twice the same in one call, and none.
        assert order(np.zeros(3, np.int64)).tolist() == [expected[0]] * 3
        assert order(np.empty(0, np.int64)).tolist() == []


@pytest.mark.parametrize("kind", KINDS)
@given(num_records=st.integers(1, 2**40), seed=st.integers(0, 2**70), epoch=st.integers(0, 10**6), data=st.data())
def test_positions_of_huge_epochs_have_records_of_their_own(
    kind: str, num_records: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    order = order_of(kind, num_records, seed, epoch)
    positions = np.array(
        data.draw(st.lists(st.integers(0, order.num_positions - 1), min_size=1, max_size=6, unique=True)), np.int64
    )

    records = order(positions)

    assert records.min() >= 0
    assert records.max() < num_records
    assert kind == "rotation" or len(set(records.tolist())) == len(positions)
    assert records.tolist() == [int(order(positions[one : one + 1])[0]) for one in range(len(positions))]


@pytest.mark.parametrize("kind", KINDS[1:])
def test_seed_and_epoch_are_not_added_or_exchanged(kind: str) -> None:
    orders = {
        (seed, epoch): tuple(all_of(order_of(kind, 100, seed, epoch)).tolist())
        for seed in range(5)
        for epoch in range(5)
    }

    assert len(set(orders.values())) == 25
    assert orders[1, 2] != orders[2, 1]
    assert orders[1, 2] == tuple(all_of(order_of(kind, 100, 1, 2)).tolist())


def test_kinds_differ_under_one_seed() -> None:
    orders = {tuple(all_of(order_of(kind, 60)).tolist()) for kind in KINDS}

    assert len(orders) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_does_not_grow_with_the_number_of_records(kind: str) -> None:
    tracemalloc.start()
    try:
        order = order_of(kind, 2 * 10**9)
        for start in range(0, 10**9, 10**8):
            order(np.arange(start, start + 4096))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 4 << 20


@pytest.mark.parametrize("kind", KINDS)
def test_threads_that_share_an_order_find_what_one_finds(kind: str) -> None:
    expected = all_of(order_of(kind, 5000))
    order = order_of(kind, 5000)
    positions = np.arange(order.num_positions)

    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(order, np.array_split(positions, 200)))

    assert np.array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("position", [-1, 120, 2**62])
def test_position_outside_the_epoch_is_refused(kind: str, position: int) -> None:
    order = order_of(kind, 40 if kind == "rotation" else 120)

    with pytest.raises(IndexError, match=f"position {position} is out of range: the epoch has 120"):
        order(np.array([0, position, 5]))


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"shuffle": True}, ValueError, "shuffle must be False, 'global', 'bins' or Window"),
        ({"shuffle": "Global"}, ValueError, "got 'Global'"),
        ({"shuffle": 100}, ValueError, "got 100"),
        ({"shuffle": None}, ValueError, "got None"),
        ({"num_records": -1}, ValueError, "num_records"),
        ({"num_records": 1.0}, TypeError, "num_records"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": float("nan")}, TypeError, "seed"),
        ({"seed": 1.5, "shuffle": False}, TypeError, "seed"),
        ({"epoch": -1}, ValueError, "epoch"),
        ({"epoch": True}, TypeError, "epoch"),
        ({"shuffle": "bins"}, ValueError, "bins=None"),
        ({"shuffle": "bins", "bins": layout(9)}, ValueError, "hold 9 records, not the 10"),
        ({"shuffle": "bins", "bins": layout(10), "lanes": 0}, ValueError, "lanes"),
        ({"shuffle": "bins", "bins": layout(10), "interleave": 0}, ValueError, "interleave"),
    ],
    ids=stable_id,
)
def test_wrong_argument_is_refused(changed: dict[str, Any], error: type[Exception], said: str) -> None:
    options: dict[str, Any] = {"shuffle": "global", "num_records": 10, "seed": 0, "epoch": 0} | changed

    with pytest.raises(error, match=said):
        epoch_order(cast("Shuffle", options.pop("shuffle")), options.pop("num_records"), **options)
