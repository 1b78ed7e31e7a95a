"""Takes plain data apart, and makes one digest of parts: one step of `code_identity`.

Data that a function reaches decide what it does, as its code does.

    list, dict, set      their items; a set in no order, a dict in its own
    array, tensor        type, shape, bytes
    text, numbers, ...   leaves: nothing in them to take apart
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = [
    "Named",
    "Parts",
    "Unidentifiable",
    "by_name",
    "digest_of",
    "leaf_of",
    "of_array",
    "of_bytes",
    "of_mapping",
    "of_sequence",
    "of_set",
    "of_slice",
    "of_tensor",
]

Named: TypeAlias = tuple[str, Any]


class Unidentifiable(Exception):
    """An object that does not tell what it will do; the text says why."""


class Parts(NamedTuple):
    """One object: a digest of what it is without its parts, and these, by their names in messages."""

    token: bytes
    children: Sequence[Named] = ()
    is_ordered: bool = True


def digest_of(*parts: str | bytes) -> bytes:
    """Return 16 bytes that tell these parts from others, and from the same cut otherwise."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hashed.update(b"%d:" % len(data))
        hashed.update(data)
    return hashed.digest()


def leaf_of(value: Any) -> bytes | None:
    """Return the digest of a plain value, None for anything that has parts."""
    kind = type(value)
    if kind is str or kind is bytes:
        return digest_of(kind.__name__, value)
    if kind is float:
        return digest_of("float", struct.pack("<d", value))
    if kind is complex:
        return digest_of("complex", struct.pack("<2d", value.real, value.imag))
    if value is None or kind in (bool, int, range) or value is Ellipsis or value is NotImplemented:
        return digest_of(kind.__name__, repr(value) if kind is not int else hex(value))
    return None


def of_sequence(value: Sequence[Any]) -> Parts:
    """Take a list or tuple apart."""
    return Parts(
        digest_of(type(value).__name__, str(len(value))), [(f"[{place}]", one) for place, one in enumerate(value)]
    )


def of_mapping(value: dict[Any, Any]) -> Parts:
    """Take a dict apart."""
    children: list[Named] = []
    for key, one in value.items():
        # A key of the user's own class may take long to show, or fail to.
        shown = f"{key!r:.60}" if leaf_of(key) else "..."
        children += [(f" key {shown}", key), (f"[{shown}]", one)]
    return Parts(digest_of("dict", str(len(value))), children)


def of_set(value: Iterable[Any]) -> Parts:
    """Take a set apart, whose order depends on the hash seed."""
    return Parts(digest_of(type(value).__name__), [("{}", one) for one in value], is_ordered=False)


def of_bytes(value: bytearray | memoryview) -> Parts:
    """Return what changeable bytes are."""
    form = repr((value.format, value.shape)) if isinstance(value, memoryview) else ""
    return Parts(digest_of(type(value).__name__, form, bytes(value)))


def of_slice(value: slice) -> Parts:
    """Take a slice apart."""
    return Parts(digest_of("slice"), [(f".{name}", getattr(value, name)) for name in ("start", "stop", "step")])


def by_name(names: Iterable[str], values: dict[str, Any]) -> list[Named]:
    """Return children in the order of their names, each behind its name."""
    children: list[Named] = []
    for name in sorted(names):
        children += [("", name), (f".{name}", values[name])]
    return children


def of_array(value: np.ndarray[Any, Any] | np.generic) -> Parts:
    """Return what an array is."""
    array = np.asarray(value)
    token = digest_of("array", type(value).__name__, repr(array.dtype), repr(array.shape))
    if array.dtype.hasobject:
        return Parts(token, [("", array.tolist())])
    return Parts(digest_of(token, np.ascontiguousarray(array).tobytes()))


def of_tensor(value: Any) -> Parts:
    """Return what a tensor is."""
    kind = type(value)
    token = digest_of("tensor", kind.__name__, str(value.dtype), repr(tuple(value.shape)))
    try:
        plain = value.detach().cpu().contiguous().flatten()
        data = plain.view(sys.modules["torch"].uint8).numpy().tobytes() if len(plain) else b""
    except (RuntimeError, TypeError) as error:
        raise Unidentifiable(str(error)) from None
    return Parts(digest_of(token, data))
