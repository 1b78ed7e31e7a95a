"""Checksums of headers: frozen values, and the vectorised form against the scalar one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.format.checksum import bin_salt, frame_check, frame_checks, hash64, sync_word

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)


def test_frozen_values_of_salt_sync_word_and_check_hold() -> None:
    salt = bin_salt("00" * 16, 0)

    assert salt == 0x8F0FE27E7595924B
    assert bin_salt("0123456789abcdef" * 2, 7) == 0xCE84955F1CC73342
    assert sync_word(salt) == 0x7595924B
    assert sync_word(0) == 1
    assert frame_check(salt, 64, (1, 2, 3)) == 0x14BDFD54
    assert frame_check(salt, 64, (1, 2, 3, 4, 5)) == 0xC7BADE47


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"", 0x2D06800538D394C2), (b"a", 0xE6C632B61E964E1F), (b"123456789", 0x72DCB18B67A17DFF)],
)
def test_payload_hash_is_xxh3_with_seed_zero(data: bytes, expected: int) -> None:
    assert hash64(data) == expected


@given(st.lists(st.tuples(U64, st.integers(0, 2**43).map(lambda n: n * 8), U64, U64, U64, U64, U64), min_size=1))
@pytest.mark.parametrize("num_words", [3, 5])
def test_checks_of_many_frames_equal_the_checks_of_each(
    num_words: int, frames: list[tuple[int, int, int, int, int, int, int]]
) -> None:
    columns = np.array(frames, np.uint64).T
    checks = frame_checks(columns[0], columns[1], tuple(columns[2 : 2 + num_words]))

    assert checks.tolist() == [frame_check(row[0], row[1], row[2 : 2 + num_words]) for row in frames]


@given(salt=U64, place=st.integers(0, 2**40), words=st.tuples(U64, U64, U64), bit=st.integers(0, 191))
def test_check_changes_with_most_single_bits(salt: int, place: int, words: tuple[int, int, int], bit: int) -> None:
    """A 32-bit check may miss one flip in 2**32; none of these examples is such a one."""
    flipped = list(words)
    flipped[bit // 64] ^= 1 << bit % 64

    assert frame_check(salt, 8 * place, tuple(flipped)) != frame_check(salt, 8 * place, words)


def test_salts_of_bins_and_segments_differ() -> None:
    salts = {bin_salt(f"{segment:032x}", number) for segment in range(20) for number in range(200)}

    assert len(salts) == 4000
