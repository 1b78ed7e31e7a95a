"""A sum over keys that does not depend on their order: if two sums are equal, the tables hold the same keys.

It needs two numbers, however many keys there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["KeySum"]

_U64: Final = np.uint64
# Odd numbers with well spread bits, as in format/checksum.py.
_FACTORS: Final = (0x9E3779B97F4A7C15, 0xC90FDAA22168C235)
_MASK: Final = 0xFFFFFFFFFFFFFFFF


class KeySum:
    """Count and sum of keys, the same in whatever order they come.

    Attributes:
        num_keys: Keys added.
        total: Sum over a mix of hash and sequence number of each.
    """

    def __init__(self, num_keys: int = 0, total: int = 0) -> None:
        self.num_keys = num_keys
        self.total = total

    @classmethod
    def of(cls, parts: Iterable[KeySum]) -> KeySum:
        """Return the sum of several."""
        parts = list(parts)
        return cls(sum(part.num_keys for part in parts), sum(part.total for part in parts) & _MASK)

    def add(self, hashes: NDArray[np.uint64], sequences: NDArray[np.unsignedinteger]) -> None:
        """Add keys by their hashes and the sequence numbers of their records."""
        mixed = hashes ^ (sequences.astype(_U64) * _U64(_FACTORS[0]))
        mixed = (mixed ^ (mixed >> _U64(32))) * _U64(_FACTORS[1])
        mixed ^= mixed >> _U64(29)
        self.join(len(hashes), int(mixed.sum(dtype=_U64)))

    def join(self, num_keys: int, total: int) -> None:
        """Add keys by count and sum."""
        self.num_keys += num_keys
        self.total = (self.total + total) & _MASK
