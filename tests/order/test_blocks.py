"""Block permutations: in each block a bijection, the same whatever else is asked for, even enough."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order import blocks as blocks_module
from splitdata.order.blocks import BlockPermutation
from splitdata.order.permutation import derive_key

# Below and above the size from which on a network takes over.
SIZES = [1, 2, 3, 10, 64, 65, 1023, 1024, 1025, 3000]


def images(permutation: BlockPermutation, block: int) -> list[int]:
    places = np.arange(permutation.num_places)
    found: list[int] = permutation(np.full(permutation.num_places, block), places).tolist()
    return found


def test_frozen_values_hold() -> None:
    key = derive_key(0)

    assert images(BlockPermutation(7, key), 0) == [4, 0, 6, 3, 5, 1, 2]
    assert images(BlockPermutation(7, key), 10**12) == [6, 5, 2, 3, 1, 4, 0]
    assert BlockPermutation(5000, key)(np.array([0, 0, 9]), np.array([0, 4999, 0])).tolist() == [3548, 1244, 2853]


@pytest.mark.parametrize("size", SIZES)
def test_each_block_is_permuted_in_itself(size: int) -> None:
    permutation = BlockPermutation(size, derive_key(1, size))
    numbers = [0, 1, 2, 77, 10**15]

    assert all(sorted(images(permutation, number)) == list(range(size)) for number in numbers)
    assert size < 10 or len({tuple(images(permutation, number)) for number in numbers}) == len(numbers)


@given(st.sampled_from(SIZES), st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=30))
def test_place_has_the_image_that_it_has_among_others(size: int, asked: list[tuple[int, int]]) -> None:
    permutation = BlockPermutation(size, derive_key(2, size))
    blocks = np.array([block for block, _ in asked], np.int64)
    places = np.array([place % size for _, place in asked], np.int64)

    together = permutation(blocks, places)

    assert together.dtype == np.int64
    assert together.tolist() == [
        int(permutation(blocks[one : one + 1], places[one : one + 1])[0]) for one in range(len(asked))
    ]


def test_scattered_blocks_have_the_images_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are made for all blocks at once where they lie close, and for some at a time where not."""
    permutation = BlockPermutation(10, derive_key(3))
    blocks, places = np.repeat(np.arange(200), 10), np.tile(np.arange(10), 200)
    expected = permutation(blocks, places).tolist()
    shuffled = np.random.default_rng(0).permutation(2000)

    for limit in (1, 25, 300):
        monkeypatch.setattr(blocks_module, "_CALL_PLACES", limit)
        assert permutation(blocks, places).tolist() == expected
        assert permutation(blocks[shuffled], places[shuffled]).tolist() == np.array(expected)[shuffled].tolist()


@pytest.mark.parametrize("size", [3, 50, 1100], ids=["sorted", "sorted, larger", "network"])
def test_each_place_is_taken_by_each_about_equally_often(size: int) -> None:
    """Chi-square over 3,000 blocks of one key; ten parts of larger blocks."""
    permutation = BlockPermutation(size, derive_key(4))
    num_blocks, parts = 3000, min(size, 10)
    blocks, places = np.repeat(np.arange(num_blocks), size), np.tile(np.arange(size), num_blocks)
    found = permutation(blocks, places)
    table = np.zeros((parts, parts))
    np.add.at(table, (places * parts // size, found * parts // size), 1)
    sizes = np.bincount(np.arange(size) * parts // size)
    expected = num_blocks * np.outer(sizes, sizes) / size
    statistic = ((table - expected) ** 2 / expected).sum()

    # In a block the places exclude each other, which leaves (parts - 1)^2 to chance.
    assert abs(statistic - (parts - 1) ** 2) < 6 * np.sqrt(2 * (parts - 1) ** 2)


def test_small_blocks_have_every_order_about_equally_often() -> None:
    permutation = BlockPermutation(4, derive_key(5))
    blocks, places = np.repeat(np.arange(4800), 4), np.tile(np.arange(4), 4800)
    orders, times = np.unique(permutation(blocks, places).reshape(-1, 4), axis=0, return_counts=True)

    assert len(orders) == 24
    assert ((times - 200) ** 2 / 200).sum() < 23 + 6 * np.sqrt(46)


def test_block_without_places_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places"):
        BlockPermutation(0, 1)
