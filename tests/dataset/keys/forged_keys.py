"""Different keys of one xxh3-64, which anybody can make."""

from __future__ import annotations

from typing import Final

__all__ = ["keys_of_one_hash"]

_LENGTH: Final = 768
# Where a key has these bytes, half of a word, they cancel out that half of the secret of xxh3; the first needs a byte
# before it to be UTF-8.
_PLACES: Final = (172, bytes.fromhex("813a264c")), (620, bytes.fromhex("cdb45931"))


def keys_of_one_hash(count: int) -> list[str]:
    """Return keys with one xxh3-64.

    A word of a key adds its two halves, mixed with the secret and multiplied, to one sum, and itself to another. Where
    one half cancels the secret out the product is 0 whatever the other is; and what that adds to the other sum in one
    stripe of 64 bytes is taken away in another, in the same word of it.
    """
    keys = []
    for number in range(count):
        # Two digits up, and down: the sums of their bytes stay the same.
        high, low = divmod(number, 60)
        lower = bytes((48 + high, 48 + low)), bytes((110 - high, 110 - low))
        key = bytearray(b"k" * _LENGTH)
        for (place, upper), digits in zip(_PLACES, lower, strict=True):
            key[place - 3 : place - 1] = digits
            key[place : place + 4] = upper
        key[_PLACES[0][0] - 1] = 0xC3
        keys.append(key.decode())
    return keys
