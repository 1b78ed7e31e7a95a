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
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Network", "Permutation", "derive_key", "keys_of", "random_keys"]

# Up to here a table of 8 bytes a record; beyond, a quarter of it would no longer fit a processor's cache.
_TABLE_RECORDS: Final = 1 << 16
# Positions that are computed at once: their arrays stay in a processor's cache.
_BLOCK: Final = 1 << 15
# So many of one permutation are worth a call of their own.
_ALONE: Final = 1 << 12
_ROUNDS: Final = 6
_MASK64: Final = 0xFFFFFFFFFFFFFFFF
_STEP: Final = 0x9E3779B97F4A7C15


def derive_key(seed: int, *context: int | str) -> int:
    """Return 64 bits that depend on the seed and on every part of the context, and on their order.

    Raises:
        TypeError, ValueError: If the seed is not an int of 0 or more.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an int of 0 or more, got {seed!r}")
    if seed < 0:
        raise ValueError(f"seed must be an int of 0 or more, got {seed!r}")
    # Each part ends in a byte that no part contains, so (1, 23) and (12, 3) differ.
    text = "\x00".join(map(str, (int(seed), *context, "")))
    return xxhash.xxh3_64_intdigest(text.encode())


def random_keys(first: int, count: int, key: int) -> NDArray[np.uint64]:
    """Return 64 random bits for each integer from `first` on; no two integers have the same.

    To sort by them is a shuffle of any number of records, known or not, that needs no table: the bits
    of one depend on it and the key alone. Every step that makes them can be undone, so none collide
    (the generator is splitmix64; G. Steele, D. Lea, C. Flood, 2014).
    """
    return keys_of(np.arange(first, first + count, dtype=np.uint64), key)


def keys_of(numbers: NDArray[np.uint64], key: int | NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 random bits for each number, as `random_keys` does; an array of keys broadcasts with the numbers."""
    return _mix(_mix(np.atleast_1d(np.asarray(key, np.uint64))) + numbers * np.uint64(_STEP))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread every input bit over all output bits (the finaliser of splitmix64; S. Vigna, 2015)."""
    mixed = values.copy()
    _mix_in_place(mixed, np.empty_like(mixed))
    return mixed


def _mix_in_place(values: NDArray[np.uint64], spare: NDArray[np.uint64]) -> None:
    """Mix, with an array of the same length to work in."""
    np.right_shift(values, np.uint64(30), out=spare)
    values ^= spare
    values *= np.uint64(0xBF58476D1CE4E5B9)
    np.right_shift(values, np.uint64(27), out=spare)
    values ^= spare
    values *= np.uint64(0x94D049BB133111EB)
    np.right_shift(values, np.uint64(31), out=spare)
    values ^= spare


class Permutation:
    """A bijection of range(n) onto itself, chosen by a 64-bit key. Safe to share between threads."""

    def __init__(self, num_positions: int, key: int) -> None:
        if num_positions < 0:
            raise ValueError(f"a permutation of {num_positions} positions")
        self.num_positions = num_positions
        self._network = Network(num_positions, key)
        self._table: NDArray[np.unsignedinteger] | None = None
        if num_positions <= _TABLE_RECORDS:
            first_key = self._network.round_keys[0]
            draws = _mix(first_key + np.arange(num_positions, dtype=np.uint64) * np.uint64(_STEP))
            # All differ, so every way to sort gives the same.
            self._table = np.argsort(draws).astype(np.uint16)

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the image of each position; all must lie in range(n). About 0.05 us each, in blocks."""
        if self._table is not None:
            return self._table[positions].astype(np.int64)
        return self._network(positions)

    @staticmethod
    def of_several(
        permutations: Sequence[Permutation], counts: NDArray[np.int64], positions: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the images of positions of several permutations, as each of them would.

        Hundreds of permutations cost little more than one does: what numpy costs per call is spread over all of them.

        Args:
            permutations: Those that are asked.
            counts: How many positions each is asked for.
            positions: Of the first permutation, then of the second, and so on.
        """
        images = np.empty_like(positions)
        stops = np.cumsum(counts)
        with_network: dict[int, list[int]] = {}
        for number, (permutation, count, stop) in enumerate(
            zip(permutations, counts.tolist(), stops.tolist(), strict=True)
        ):
            if permutation._table is not None or count >= _ALONE:
                images[stop - count : stop] = permutation(positions[stop - count : stop])
            else:
                with_network.setdefault(permutation._network.bits, []).append(number)
        for bits, numbers in with_network.items():
            networks = [permutations[number]._network for number in numbers]
            here = np.concatenate([np.arange(stops[number] - counts[number], stops[number]) for number in numbers])
            keys = np.array([network.round_keys for network in networks]).T
            bounds = np.array([network.num_positions for network in networks], np.uint64)
            of_network = np.repeat(np.arange(len(numbers)), counts[numbers])
            images[here] = _walk_in_blocks(bits, positions[here], keys, None, bounds, of_network)
        return images


class Network:
    """A keyed bijection of range(n) that needs no table: uneven over a few positions, and no test tells over many.

    Attributes:
        num_positions: The n.
        bits: Of the numbers that its rounds permute.
        round_keys: One for each round, uint64.
    """

    def __init__(self, num_positions: int, key: int) -> None:
        self.num_positions = num_positions
        steps = (key + np.arange(1, 1 + _ROUNDS, dtype=np.uint64) * np.uint64(_STEP)).astype(np.uint64)
        self.round_keys = _mix(steps)
        self.bits = max(2, (num_positions - 1).bit_length())

    def __call__(
        self,
        positions: NDArray[np.int64],
        tweaks: NDArray[np.uint64] | None = None,
        limits: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Return the image of each position.

        Args:
            positions: Below n, or each below its limit.
            tweaks: 64 random bits for each; those with equal ones, and equal limits, share a bijection.
            limits: For each an n of its own, at most that of the network; far below it costs many rounds.
        """
        bounds = np.array([self.num_positions] if limits is None else limits, np.uint64)
        return _walk_in_blocks(self.bits, positions, self.round_keys, tweaks, bounds, None)


def _walk_in_blocks(
    bits: int,
    positions: NDArray[np.int64],
    keys: NDArray[np.uint64],
    tweaks: NDArray[np.uint64] | None,
    bounds: NDArray[np.uint64],
    of_network: NDArray[np.intp] | None,
) -> NDArray[np.int64]:
    """Return images below their bounds.

    Args:
        bits: Of the numbers that rounds permute.
        positions: Each below its bound.
        keys: One for each round; with `of_network` of several networks, uint64[rounds, networks].
        tweaks: One for each position, or none.
        bounds: One for all positions, or for each; with `of_network` for each network.
        of_network: Which of several networks a position is of.
    """
    values = np.empty(len(positions), np.uint64)
    for start in range(0, len(positions), _BLOCK):
        part = slice(start, start + _BLOCK)
        block_keys, block_bounds = keys, bounds
        if of_network is not None:
            block_keys, block_bounds = np.take(keys, of_network[part], axis=1), bounds[of_network[part]]
        elif len(bounds) > 1:
            block_bounds = bounds[part]
        values[part] = _walk(
            bits,
            positions[part].astype(np.uint64),
            block_keys,
            None if tweaks is None else tweaks[part],
            block_bounds,
        )
    return values.view(np.int64)


def _walk(
    bits: int,
    values: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    tweaks: NDArray[np.uint64] | None,
    bounds: NDArray[np.uint64],
) -> NDArray[np.uint64]:
    """Encrypt, and what falls outside once more, until all are below their bounds."""
    values = _encrypt(bits, values, keys, tweaks)
    outside = np.flatnonzero(values >= bounds)
    while len(outside):
        again = _encrypt(
            bits,
            values[outside],
            keys if keys.ndim == 1 else np.take(keys, outside, axis=1),
            None if tweaks is None else tweaks[outside],
        )
        values[outside] = again
        outside = outside[again >= (bounds if len(bounds) == 1 else bounds[outside])]
    return values


def _encrypt(
    bits: int, values: NDArray[np.uint64], keys: NDArray[np.uint64], tweaks: NDArray[np.uint64] | None
) -> NDArray[np.uint64]:
    """Permute numbers of so many bits: halves take turns in being masked by the other."""
    left_bits, right_bits = bits // 2, bits - bits // 2
    left = values >> np.uint64(right_bits)
    right = values & np.uint64((1 << right_bits) - 1)
    # Three arrays take turns, so that no round asks for memory.
    mask, spare = np.empty_like(values), np.empty_like(values)
    for key in keys:
        np.bitwise_xor(right, key, out=mask)
        if tweaks is not None:
            mask ^= tweaks
        _mix_in_place(mask, spare)
        mask >>= np.uint64(64 - left_bits)
        mask ^= left
        # After each round the halves change places, and so do their widths.
        left, right, mask = right, mask, left
        left_bits, right_bits = right_bits, left_bits
    left <<= np.uint64(right_bits)
    left |= right
    return left
