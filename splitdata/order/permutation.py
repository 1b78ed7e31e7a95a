"""A keyed permutation of range(n), evaluated anywhere without being stored.

    position ──> Feistel rounds on the bits of n ──> below n? that is the record
                        ^                                no ──┐  (cycle walking)
                        └─────────────────────────────────────┘

Small n take a table instead: n random keys, sorted; that is exactly uniform, and a Feistel
network over a handful of bits is not. Either way the result depends on (key, n) alone: not
on the platform, numpy's version, or how many positions are asked for at once.

Source: J. Black, P. Rogaway, Ciphers with Arbitrary Finite Domains, 2002.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Permutation", "derive_key", "random_keys"]

# Up to here a table of 8 bytes a record; beyond, a quarter of it would no longer fit a processor's cache.
_TABLE_RECORDS: Final = 1 << 16
_ROUNDS: Final = 6
_MASK64: Final = 0xFFFFFFFFFFFFFFFF
_STEP: Final = 0x9E3779B97F4A7C15


def derive_key(seed: int, *context: int | str) -> int:
    """Return 64 bits that depend on the seed and on every part of the context, and on their order.

    Raises:
        TypeError, ValueError: If the seed is no int of 0 or more.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an int of 0 or more, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must be an int of 0 or more, got {seed!r}")
    # Each part ends in a byte that no part contains, so (1, 23) and (12, 3) differ.
    text = "".join(f"{part}\x00" for part in (int(seed), *context))
    return xxhash.xxh3_64_intdigest(text.encode())


def random_keys(first: int, count: int, key: int) -> NDArray[np.uint64]:
    """Return 64 random bits for each integer from `first` on; no two integers have the same.

    To sort by them is a shuffle of any number of records, known or not, that needs no table: the bits
    of one depend on it and the key alone. Every step that makes them can be undone, so none collide
    (the generator is splitmix64; G. Steele, D. Lea, C. Flood, 2014).
    """
    numbers = np.arange(first, first + count, dtype=np.uint64)
    return _mix(_mix(np.array([key], np.uint64)) + numbers * np.uint64(_STEP))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over all output bits (the finaliser of splitmix64; S. Vigna, 2015)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Permutation:
    """A bijection of range(n) onto itself, chosen by a 64-bit key. Safe to share between threads."""

    def __init__(self, num_positions: int, key: int) -> None:
        if num_positions < 0:
            raise ValueError(f"a permutation of {num_positions} positions")
        self.num_positions = num_positions
        steps = (key + np.arange(1, 1 + max(_ROUNDS, 1), dtype=np.uint64) * np.uint64(_STEP)).astype(np.uint64)
        self._round_keys = _mix(steps)
        self._table: NDArray[np.int64] | None = None
        if num_positions <= _TABLE_RECORDS:
            draws = _mix(self._round_keys[0] + np.arange(num_positions, dtype=np.uint64) * np.uint64(_STEP))
            self._table = np.argsort(draws, kind="stable").astype(np.int64)
        bits = max(2, (num_positions - 1).bit_length())
        self._left_bits, self._right_bits = bits // 2, bits - bits // 2

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the image of each position; all must lie in range(n). About 0.1 us each."""
        if self._table is not None:
            return self._table[positions]
        values = self._encrypt(positions.astype(np.uint64))
        outside = np.flatnonzero(values >= self.num_positions)
        while len(outside):
            values[outside] = self._encrypt(values[outside])
            outside = outside[values[outside] >= self.num_positions]
        return values.astype(np.int64)

    def _encrypt(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Permute the numbers of `left + right` bits: halves take turns in being masked by the other."""
        left_bits, right_bits = self._left_bits, self._right_bits
        for key in self._round_keys:
            # After each round the halves change places, and so do their widths.
            left = values >> np.uint64(right_bits)
            right = values & np.uint64((1 << right_bits) - 1)
            masked = left ^ (_mix(right ^ key) >> np.uint64(64 - left_bits))
            values = (right << np.uint64(left_bits)) | masked
            left_bits, right_bits = right_bits, left_bits
        return values
