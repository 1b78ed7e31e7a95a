"""The digest of a sequence: frozen values, a plain reference, and composition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.format.checksum import hash64
from splitdata.format.digest import (
    EMPTY_DIGEST,
    add_digests,
    digest_of_hashes,
    fingerprint,
    join_digests,
    shift_digest,
)
from splitdata.format.schemas import fit_together, joined_lists, longest, pack_lists

PRIME = 2**61 - 1
BASE = 0x0F1E2D3C4B5A6979
HASHES = st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([0, PRIME - 1, PRIME, PRIME + 1, 2**64 - 1]), max_size=40)


def reference(hashes: list[int]) -> int:
    digest = 0
    for one in hashes:
        digest = (digest * BASE + one + 1) % PRIME
    return digest


def digest_of(hashes: list[int]) -> int:
    return digest_of_hashes(np.array(hashes, np.uint64))


def test_frozen_digest_and_fingerprint_hold() -> None:
    digest = digest_of([hash64(b"a"), hash64(b"")])

    assert digest == 0x63A6BAE9E9880D9
    assert fingerprint(digest, 2) == "2-063a6bae9e9880d9"
    assert digest_of([]) == EMPTY_DIGEST == 0


@given(HASHES)
def test_digest_equals_plain_arithmetic(hashes: list[int]) -> None:
    assert digest_of(hashes) == reference(hashes)


def test_digest_of_several_blocks_equals_plain_arithmetic() -> None:
    for count in (2**14 - 1, 2**14, 2**14 + 1, 40_000):
        hashes = np.random.default_rng(count).integers(0, 2**64, count, np.uint64)
        assert digest_of_hashes(hashes) == reference(hashes.tolist())


@given(HASHES, HASHES, HASHES)
def test_digest_composes_under_concatenation(a: list[int], b: list[int], c: list[int]) -> None:
    joined = join_digests(join_digests(digest_of(a), digest_of(b), len(b)), digest_of(c), len(c))

    assert joined == digest_of(a + b + c)


@given(HASHES.filter(bool), st.integers(1, 7))
def test_shares_of_the_bins_add_up_to_the_digest(hashes: list[int], num_bins: int) -> None:
    shares = []
    for number in range(min(num_bins, len(hashes))):
        share = digest_of_hashes(np.array(hashes[number::num_bins], np.uint64), num_bins)
        last = number + (len(hashes) - 1 - number) // num_bins * num_bins
        shares.append(shift_digest(share, len(hashes) - 1 - last))

    assert add_digests(shares) == digest_of(hashes)


@given(st.lists(st.integers(0, PRIME - 1), min_size=2, max_size=20, unique=True))
def test_digest_depends_on_the_order(hashes: list[int]) -> None:
    """Of hashes that differ modulo the prime; eight hashes in 2**64 share each remainder."""
    ordered = sorted(hashes)

    assert digest_of(ordered) != digest_of(ordered[::-1])


def test_records_with_a_hash_of_zero_count() -> None:
    assert len({digest_of([0] * count) for count in range(50)}) == 50


A, B, C = b"one", b"two", b"three"


@pytest.mark.parametrize(
    ("lists", "joined"),
    [
        ([], [()]),
        ([(), ()], [()]),
        ([(A,), (A, B), (A,)], [(A, B)]),
        ([(), (A,), ()], [(A,)]),
        ([(A,), (B,), (B, A)], [(A,), (B, A)]),
        ([(A, B), (A,), (A, C)], [(A, B), (A, C)]),
    ],
)
def test_lists_of_schemas_that_go_on_with_each_other_count_as_one(
    lists: list[tuple[bytes, ...]], joined: list[tuple[bytes, ...]]
) -> None:
    assert joined_lists(lists) == joined


@given(st.lists(st.lists(st.sampled_from([A, B, C]), max_size=3, unique=True).map(tuple), max_size=8), st.data())
def test_lists_of_segments_that_are_folded_are_the_same(lists: list[tuple[bytes, ...]], draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(lists)))
    stop = draw.draw(st.integers(start, len(lists)))
    group = lists[start:stop]
    if group and all(fit_together(one, longest(group)) for one in group):
        assert joined_lists([*lists[:start], longest(group), *lists[stop:]]) == joined_lists(lists)


def test_frozen_bytes_of_lists_of_schemas_hold() -> None:
    packed = pack_lists([(A, B), (C,)])
    assert packed == b"\2\0\0\0\3\0\0\0one\3\0\0\0two\1\0\0\0\5\0\0\0three"
    assert pack_lists([()]) == b""
    assert fingerprint(0, 0, packed) == f"0-0000000000000000-{hash64(packed):016x}"
