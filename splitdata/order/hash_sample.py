"""A random sample of numbers, without repeats: those of the least hashes, so that a smaller sample is part of it.

    number i ──> 64 random bits of (seed, i) ──> among the n least of all? then i is in the sample

It depends on the seed and the numbers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.permutation import derive_key, keys_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["hash_sample"]

_BLOCK: Final = 1 << 16


def hash_sample(numbers: NDArray[np.int64] | range, count: int, seed: int) -> NDArray[np.int64]:
    """Return so many of some numbers, int64, ascending; all if there are no more.

    Every set of `count` is equally likely. That of a smaller count, with the same seed, is part of it. Needs 16 bytes
    for each number of the sample.

    Args:
        numbers: From 0 on, ascending, each once.
        count: How many are taken.
        seed: Of the sample.

    Raises:
        TypeError, ValueError: If the seed is not an int of 0 or more.
    """
    key = derive_key(seed, "sample")
    kept, bits = np.empty(0, np.int64), np.empty(0, np.uint64)
    for start in range(0, len(numbers), _BLOCK):
        block = np.asarray(numbers[start : start + _BLOCK], np.int64)
        kept = np.concatenate([kept, block])
        bits = np.concatenate([bits, keys_of(block.astype(np.uint64), key)])
        if len(kept) > count:
            least = np.argpartition(bits, count)[:count] if count else np.empty(0, np.intp)
            kept, bits = kept[least], bits[least]
    return np.sort(kept)
