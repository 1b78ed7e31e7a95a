"""Checksums: xxh3 for payloads and tables, a multiply-and-mix for frame headers.

The header check is not xxh3 because the headers of a whole chunk of frames are made, and
checked in a scan, as one numpy array; xxh3 would take a Python call for each. It finds
damage, it does not stop an attacker. FORMAT.md section 8.

    payload hash   xxh3-64, seed 0, of the stored bytes
    header check   32 bits of   words of the header -> mix with salt and place
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash
from xxhash import xxh3_64_intdigest as hash64

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bin_salt", "frame_check", "frame_checks", "hash64", "sync_word", "sync_words"]

_SALT_SEED: Final = 0x5D
_MASK64: Final = 0xFFFFFFFFFFFFFFFF
# Odd 64-bit constants with well spread bits: 2**64 / golden ratio, and digits of pi made odd.
_MULTIPLIERS: Final = (
    0x9E3779B97F4A7C15,
    0xC90FDAA22168C235,
    0xA4093822299F31D1,
    0x452821E638D01377,
)
_HALF: Final = np.uint64(32)


def bin_salt(segment_id: str, bin_index: int) -> int:
    """Return the 64-bit salt of one bin: what makes its frames recognisable as its own.

    A record may itself be a bin of another dataset; its frames carry another salt.
    """
    return xxhash.xxh3_64_intdigest(bytes.fromhex(segment_id) + bin_index.to_bytes(4, "little"), _SALT_SEED)


def sync_word(salt: int) -> int:
    """Return the 32-bit word with which every frame of the bin begins; never zero."""
    return (salt & 0xFFFFFFFF) | 1


def sync_words(salts: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Return `sync_word` of many salts."""
    return salts.astype(np.uint32) | np.uint32(1)


def frame_check(salt: int, offset: int, words: tuple[int, ...]) -> int:
    """Return the 32-bit check of one frame header.

    Args:
        salt: Of the bin.
        offset: Byte in the bin at which the frame begins.
        words: The header's u64 words from byte 8 on: 3 of a record's, 7 of a large record's.
    """
    mixed = salt ^ (offset * _MULTIPLIERS[0] & _MASK64)
    for number, word in enumerate(words):
        mixed = (mixed ^ (mixed >> 32) ^ word) * _MULTIPLIERS[1 + number % 3] & _MASK64
    return mixed >> 32


def frame_checks(
    salts: NDArray[np.uint64], offsets: NDArray[np.uint64], words: tuple[NDArray[np.uint64], ...]
) -> NDArray[np.uint64]:
    """Return `frame_check` of many frames at once; all arrays have one shape, values below 2**32."""
    mixed = salts ^ (offsets * np.uint64(_MULTIPLIERS[0]))
    for number, word in enumerate(words):
        mixed = (mixed ^ (mixed >> _HALF) ^ word) * np.uint64(_MULTIPLIERS[1 + number % 3])
    return mixed >> _HALF
