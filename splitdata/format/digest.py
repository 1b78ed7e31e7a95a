"""The digest of a sequence of records: 61 bits that compose when sequences are joined.

    digest(r0 r1 ... rn-1) = sum of (hash(ri) + 1) * BASE**(n-1-i)     modulo 2**61 - 1
    digest(A B)            = digest(A) * BASE**len(B) + digest(B)

So a segment's digest is made from its chunks, a dataset's from its segments, and neither
compression nor the number of bins nor the borders of segments change it. `hash` is xxh3-64
of the raw record. FORMAT.md section 5.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.format.checksum import hash64

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = [
    "EMPTY_DIGEST",
    "add_digests",
    "digest_factor",
    "digest_of_groups",
    "digest_of_hashes",
    "fingerprint",
    "is_digest",
    "join_digests",
    "shift_digest",
]

_PRIME: Final = (1 << 61) - 1
_BASE: Final = 0x0F1E2D3C4B5A6979
EMPTY_DIGEST: Final = 0
# Longest run whose powers are kept: the table is this many u64.
_BLOCK: Final = 1 << 14


def digest_of_hashes(hashes: NDArray[np.uint64], stride: int = 1) -> int:
    """Return the digest of a sequence, given the xxh3-64 of each raw record in order.

    With a stride it is the share of every `stride`-th record, the last of them at the end: the
    digest of a segment is the sum of its bins' shares, each moved into place by `shift_digest`.
    """
    base = pow(_BASE, stride, _PRIME)
    digest = EMPTY_DIGEST
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        digest = (digest * pow(base, len(block), _PRIME) + _block_digest(block, base)) % _PRIME
    return digest


def digest_of_groups(hashes: NDArray[np.uint64], stride: int) -> int:
    """Return the share of groups of records, `stride` records from the begin of one to that of the next.

    Args:
        hashes: Of the raw records, uint64[groups, records of one], in order; at most 2**14 records of one.
        stride: As for `digest_of_hashes`; the last record of the last group is at the end.
    """
    weights = _powers(_BASE)[_BLOCK - hashes.shape[1] :]
    base = pow(_BASE, stride, _PRIME)
    digest = EMPTY_DIGEST
    for start in range(0, len(hashes), _BLOCK):
        products = _multiply(_values(hashes[start : start + _BLOCK]), weights)
        # Halves are summed apart, as in `_block_digest`.
        high = _multiply((products >> np.uint64(32)).sum(axis=1), np.array([1 << 32], np.uint64))
        shares = _folded(high + (products & np.uint64(0xFFFFFFFF)).sum(axis=1))
        digest = (digest * pow(base, len(shares), _PRIME) + _weighted(shares, base)) % _PRIME
    return digest


def is_digest(number: int) -> bool:
    """Say whether a number may be a digest: those from 2**61 - 1 on are none."""
    return 0 <= number < _PRIME


def join_digests(left: int, right: int, num_right: int) -> int:
    """Return the digest of two sequences end to end; `num_right` is the length of the second."""
    return (shift_digest(left, num_right) + right) % _PRIME


def add_digests(shares: Iterable[int]) -> int:
    """Return the digest of a sequence from the shares of its parts, each in its place."""
    return sum(shares) % _PRIME


def shift_digest(digest: int, num_behind: int) -> int:
    """Return the share of a sequence in one that has so many further records behind it."""
    return digest * digest_factor(num_behind) % _PRIME


def digest_factor(num_behind: int) -> int:
    """Return what a digest is multiplied by where so many records come behind."""
    return pow(_BASE, num_behind, _PRIME)


def fingerprint(digest: int, num_records: int, schemas: bytes = b"") -> str:
    """Return digest and length as the text that checkpoints and caches compare.

    Args:
        digest: Of the records.
        num_records: How many there are.
        schemas: What `pack_lists` returns of their segments: the same records mean something else with others.
    """
    return f"{num_records}-{digest:016x}" + (f"-{hash64(schemas):016x}" if schemas else "")


@lru_cache(maxsize=4)
def _powers(base: int) -> NDArray[np.uint64]:
    """Return base**(BLOCK-1) ... base**0 modulo the prime."""
    powers = np.empty(_BLOCK, np.uint64)
    power = 1
    for place in range(_BLOCK - 1, -1, -1):
        powers[place] = power
        power = power * base % _PRIME
    return powers


def _block_digest(hashes: NDArray[np.uint64], base: int) -> int:
    return _weighted(_values(hashes), base)


def _values(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return what each hash counts: one more keeps a record whose hash is zero from vanishing at the head."""
    return _folded(hashes) + np.uint64(1)


def _folded(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return numbers modulo the prime, loosely: 2**61 is 1, so the high bits are folded onto the low ones."""
    return (numbers & np.uint64(_PRIME)) + (numbers >> np.uint64(61))


def _weighted(values: NDArray[np.uint64], base: int) -> int:
    """Return the sum of values, each times the power of the base that its place asks for."""
    products = _multiply(values, _powers(base)[_BLOCK - len(values) :])
    # Halves are summed apart: 2**14 terms of 61 bits do not fit into 64.
    low = int((products & np.uint64(0xFFFFFFFF)).sum())
    high = int((products >> np.uint64(32)).sum())
    return (low + (high << 32)) % _PRIME


def _multiply(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Multiply modulo 2**61 - 1 (loosely reduced) in 31-bit limbs; operands up to 2**61 + 7."""
    bits = np.uint64(31)
    mask = np.uint64((1 << 31) - 1)
    left_high, left_low = left >> bits, left & mask
    right_high, right_low = right >> bits, right & mask
    middle = left_high * right_low + left_low * right_high
    # high * 2**62 is high * 2; middle * 2**31 splits at bit 30, where 2**61 wraps to 1.
    total = (
        ((left_high * right_high) << np.uint64(1))
        + (middle >> np.uint64(30))
        + ((middle & np.uint64((1 << 30) - 1)) << bits)
    )
    total = (total & np.uint64(_PRIME)) + (total >> np.uint64(61))
    product = left_low * right_low
    total += (product & np.uint64(_PRIME)) + (product >> np.uint64(61))
    folded: NDArray[np.uint64] = (total & np.uint64(_PRIME)) + (total >> np.uint64(61))
    return folded
