"""The key of a record: text outside, UTF-8 of 1 to 65,535 bytes inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.format import spec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["encode_key", "encode_keys"]


def encode_key(key: str) -> bytes:
    """Return a key as it is stored.

    Raises:
        TypeError: If it is not text.
        ValueError: If it is empty, too long, or holds half of a surrogate pair.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the key {key!r} cannot be stored as UTF-8: {error}") from None
    if not 0 < len(encoded) <= spec.MAX_KEY_BYTES:
        raise ValueError(f"a key has 1 to {spec.MAX_KEY_BYTES} bytes of UTF-8, not {len(encoded)}: {key[:40]!r}")
    return encoded


def encode_keys(keys: Sequence[object]) -> list[bytes] | None:
    """Return keys that are all usual as they are stored, None where `encode_key` is to look at each."""
    if set(map(type, keys)) != {str}:
        return None
    try:
        encoded = list(map(str.encode, keys))  # type: ignore[arg-type]  # all are text
    except UnicodeEncodeError:
        return None
    lengths = list(map(len, encoded))
    return encoded if min(lengths) and max(lengths) <= spec.MAX_KEY_BYTES else None
