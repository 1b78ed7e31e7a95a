"""The permutation: a bijection for every length, the same however it is asked, even enough."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order import permutation as permutation_module
from splitdata.order.permutation import Network, Permutation, derive_key

TABLE = 1 << 16
KEYS = st.integers(0, 2**64 - 1)


def images(count: int, key: int) -> list[int]:
    found: list[int] = Permutation(count, key)(np.arange(count)).tolist()
    return found


def test_frozen_values_hold() -> None:
    """A resumed run of a later version must meet the same order."""
    key = derive_key(0)

    assert key == 0x8439CCBD1C202210
    assert images(10, key) == [3, 1, 6, 9, 2, 8, 4, 5, 0, 7]
    assert Permutation(TABLE, key)(np.array([0, 1, 65535])).tolist() == [32158, 17834, 57637]
    assert Permutation(TABLE + 1, key)(np.array([0, 1, 65535, 65536])).tolist() == [48904, 40967, 53425, 6131]
    assert Permutation(10**9, key)(np.arange(4)).tolist() == [71589554, 410678986, 252858217, 819192288]


def test_frozen_keys_hold() -> None:
    assert derive_key(1, 2) == 0x8463D985DF23B4A9
    assert derive_key(2, 1) == 0x5C2F88F1D11318B6
    assert derive_key(2**80, "bins", 3) == 0xC1C70574A94F6DD4


@pytest.mark.parametrize("limit", [0, TABLE], ids=["network", "table"])
def test_every_length_up_to_300_is_a_bijection(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(permutation_module, "_TABLE_RECORDS", limit)
    for count in range(1, 301):
        assert sorted(images(count, derive_key(7, count))) == list(range(count))


@pytest.mark.parametrize("bits", range(9, 19))
def test_lengths_around_powers_of_two_are_bijections(monkeypatch: pytest.MonkeyPatch, bits: int) -> None:
    for limit in (0, TABLE):
        monkeypatch.setattr(permutation_module, "_TABLE_RECORDS", limit)
        for count in (2**bits - 1, 2**bits, 2**bits + 1):
            found = Permutation(count, 99)(np.arange(count))
            assert np.array_equal(np.sort(found), np.arange(count))


@given(KEYS, st.integers(2, 2**20), st.data())
def test_one_position_has_the_image_that_it_has_among_others(key: int, count: int, data: st.DataObject) -> None:
    permutation = Permutation(count, key)
    positions = np.array(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=30)), np.int64)

    together = permutation(positions)

    assert together.tolist() == [int(permutation(np.array([one]))[0]) for one in positions.tolist()]
    assert together.dtype == np.int64


@given(KEYS, st.integers(TABLE + 1, 2**62))
def test_images_of_huge_lengths_are_in_range_and_differ(key: int, count: int) -> None:
    positions = np.unique(np.linspace(0, count - 1, 50).astype(np.int64).clip(0, count - 1))
    found = Permutation(count, key)(positions)

    assert len(np.unique(found)) == len(positions)
    assert found.min() >= 0
    assert found.max() < count


@pytest.mark.parametrize("count", [0, 1])
def test_trivial_lengths(count: int) -> None:
    assert images(count, 5) == list(range(count))


def test_negative_length_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        Permutation(-1, 0)


def test_seed_and_epoch_are_not_added() -> None:
    orders = {tuple(images(50, derive_key(seed, epoch))) for seed in range(20) for epoch in range(20)}

    assert len(orders) == 400


def test_context_is_not_concatenated() -> None:
    keys = [derive_key(1, 23), derive_key(12, 3), derive_key(123), derive_key(1, 2, 3), derive_key(1, "2", "3x")]

    assert len(set(keys)) == 5


@pytest.mark.parametrize(
    "seed", [float("nan"), float("inf"), 1.0, None, True, np.bool_(True), "1", b"1", [1]], ids=repr
)
def test_seed_that_is_no_int_is_refused(seed: Any) -> None:
    with pytest.raises(TypeError, match="seed must be an int"):
        derive_key(seed)


@pytest.mark.parametrize("seed", [-1, np.int64(-1), -(2**70)], ids=repr)
def test_negative_seed_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        derive_key(seed)


def test_numpy_ints_and_ints_above_64_bits_are_seeds() -> None:
    assert derive_key(np.int64(5)) == derive_key(np.uint8(5)) == derive_key(5)  # type: ignore[arg-type]  # as users pass them
    assert len({derive_key(2**64), derive_key(2**64 + 1), derive_key(0), derive_key(2**200)}) == 4


# Not a network over few bits: it is uneven, which is why small lengths take a table.
@pytest.mark.parametrize(("limit", "count"), [(TABLE, 6), (TABLE, 100), (0, 100)])
def test_each_place_is_taken_by_each_record_about_equally_often(
    monkeypatch: pytest.MonkeyPatch, limit: int, count: int
) -> None:
    """Chi-square over 3,000 fixed keys: far above its mean means a bias, far below no randomness."""
    monkeypatch.setattr(permutation_module, "_TABLE_RECORDS", limit)
    keys = 3000
    table = np.zeros((count, count))
    for seed in range(keys):
        table[np.arange(count), images(count, derive_key(seed))] += 1
    expected = keys / count
    statistic = ((table - expected) ** 2 / expected).sum()
    freedom = (count - 1) ** 2

    assert abs(statistic - freedom) < 6 * np.sqrt(2 * freedom)


def test_small_table_yields_every_order_about_equally_often() -> None:
    seen = Counter(tuple(images(4, derive_key(seed))) for seed in range(24 * 200))

    assert len(seen) == 24
    assert sum((times - 200) ** 2 / 200 for times in seen.values()) < 23 + 6 * np.sqrt(46)


def test_neighbours_do_not_stay_neighbours() -> None:
    """Of a million uniform records two neighbours stay side by side about twice."""
    found = Permutation(1_000_000, derive_key(3))(np.arange(1_000_000))

    assert int((np.abs(np.diff(found)) == 1).sum()) < 20
    assert abs(float(np.corrcoef(found[:-1], found[1:])[0, 1])) < 0.01


@given(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(0, 30)), min_size=1, max_size=8), st.integers(0, 9))
def test_several_permutations_asked_together_give_what_each_gives(sizes: list[tuple[int, int]], seed: int) -> None:
    permutations = [Permutation(size, derive_key(seed, number)) for number, (size, _) in enumerate(sizes)]
    positions = [np.random.default_rng(seed).integers(0, size, count) for size, count in sizes]
    counts = np.array([count for _, count in sizes])

    images = Permutation.of_several(permutations, counts, np.concatenate(positions))
    expected = [permutation(some) for permutation, some in zip(permutations, positions, strict=True)]
    assert images.tolist() == np.concatenate(expected).tolist()


def test_limits_of_a_network_make_bijections_of_their_own() -> None:
    limits = np.repeat([1, 5, 64, 40], [1, 5, 64, 40])
    positions = np.concatenate([np.arange(limit) for limit in (1, 5, 64, 40)])
    images = Network(64, 7)(positions, limits=limits)

    for limit in (1, 5, 64, 40):
        assert sorted(images[limits == limit].tolist()) == list(range(limit))
    assert images[limits == 64].tolist() == Network(64, 7)(np.arange(64)).tolist()
