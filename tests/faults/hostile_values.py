"""Hostile inputs from a seed: bytes that were valid once, and JSON of any shape.

Mutations(seed).of(data)       cut, flipped, overwritten, grown, with numbers and words that parsers trip over
Mutations(seed).json(value)    one place of a value replaced by another value, of whatever type and size
"""

from __future__ import annotations

import copy
import random
from typing import Any

__all__ = ["Mutations"]

_WORDS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 30, b"9" * 5000, b"1099511627776", b"(1099511627776, 0)"),
    *(b"(1,)", b"True", b"None", b"null", b"''", b"'''", b'"', b"'O'", b"'S0'", b"'|V0'", b"'<U9'", b"'M8[s]'", b"\\"),
    *(
        b"[('a','<i4'),('a','<i4')]",
        b"[('a','S0',(4294967295,))]",
        b"[" * 300,
        b"(" * 90,
        b"-" * 3000,
        b"{",
        b"}",
        b"#",
    ),
    *(b"lambda:0", b"f'{1}'", b"0x1", b"1_0", b"\xff\xff\xff\xff", b"\0" * 8, b"\xff" * 8, b"\xff" * 7 + b"\x7f"),
    *(b"\n", b"\r", b"\xed\xb2\x80", b"\x1b[2J", b"\xe2\x80\xae", b"\\ud800", b"\\udc80"),
)
_NUMBERS = (0, 1, -1, 2**31, 2**32, 2**40, 2**53 + 1, 2**62, 2**63, 2**64, -(2**63), 10**30, 10**4000, 10**5000)
_FLOATS = (0.5, -0.0, 1e308, float("inf"), float("nan"))
_TEXTS = ("", "x", "\0", "\x1b[2J", "\udc80", "\u202e", "a" * 3000, "epoch", "9" * 5000, "../../etc")


class Mutations:
    """Changes values at random; the same seed gives the same changes."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)

    def of(self, data: bytes) -> bytes:
        """Return valid bytes with some changes."""
        changed = bytearray(data)
        for _ in range(self._random.choice((1, 1, 1, 2, 4))):
            place = self._random.randrange(len(changed) + 1)
            stop = min(len(changed), place + self._random.choice((0, 1, 2, 4, 8, 30)))
            kind = self._random.randrange(5)
            if kind == 0:
                del changed[place:]
            elif kind == 1 and place < len(changed):
                changed[place] ^= 1 << self._random.randrange(8)
            elif kind == 2:
                changed[place:stop] = self._random.randbytes(stop - place)
            else:
                # In the place of as many bytes, or of others: what follows moves then.
                word = self._random.choice(_WORDS)
                changed[place : stop if kind == 3 else place + len(word)] = word
        return bytes(changed)

    def value(self, depth: int = 0) -> Any:  # any JSON
        """Return a value that JSON has, or that Python's parser makes of what is none."""
        kind = self._random.randrange(8 if depth < 3 else 6)
        if kind < 6:
            return self._random.choice((*_NUMBERS, *_FLOATS, *_TEXTS, None, True, False))
        parts = [self.value(depth + 1) for _ in range(self._random.randrange(4))]
        return parts if kind == 6 else {self._random.choice(_TEXTS): part for part in parts}

    def json(self, value: Any) -> Any:  # any JSON
        """Return a value with one place of it replaced, left out, or added."""
        changed = copy.deepcopy(value)
        holder, key = self._place(changed)
        if holder is None:
            return self.value()
        if self._random.random() < 0.1:
            del holder[key]
        elif isinstance(holder, dict) and self._random.random() < 0.1:
            holder[self._random.choice(_TEXTS)] = self.value()
        else:
            holder[key] = self.value()
        return changed

    def _place(self, value: Any) -> tuple[Any, Any]:  # any JSON
        """Return a container in a value, and a key of it; None and None for the value as a whole."""
        holder, key = None, None
        while isinstance(value, (dict, list)) and value and (holder is None or self._random.random() < 0.8):
            holder, key = value, self._random.choice(list(value) if isinstance(value, dict) else range(len(value)))
            value = value[key]
        return holder, key
