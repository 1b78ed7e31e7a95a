"""Samples put together by hand, as docs/format/samples.md says: schemas of nodes, and the records that have them.

dictionary(("image", shaped("|u1", 4, 4)), ("label", INT)) ──> schema
bound(0, small=[pixels], scalars=[i64(7)])                 ──> record, of the first schema of its segment
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Final

__all__ = [
    "BIG_INT",
    "BOOL",
    "BYTES",
    "DATE",
    "DATETIME",
    "FLOAT",
    "FLOATS",
    "FREE",
    "INT",
    "INTS",
    "NONE",
    "OFFSET",
    "TEXT",
    "TIMEDELTA",
    "ZONE",
    "alone",
    "array",
    "bound",
    "data_type",
    "dictionary",
    "f64",
    "i64",
    "named",
    "optional",
    "parts",
    "scalar",
    "shaped",
    "structure",
    "tensor",
    "text",
    "u64",
]

FREE: Final = (1 << 64) - 1
NONE, BOOL, INT, BIG_INT, FLOAT, TEXT, BYTES, DATE, TIMEDELTA, DATETIME, OFFSET, ZONE = (bytes([n]) for n in range(12))
INTS, FLOATS = bytes([21]), bytes([22])


def u64(value: int) -> bytes:
    """Return 8 bytes."""
    return pack("<Q", value)


def i64(value: int) -> bytes:
    """Return 8 bytes."""
    return pack("<q", value)


def f64(value: float) -> bytes:
    """Return 8 bytes."""
    return pack("<d", value)


def text(value: str | bytes) -> bytes:
    """Return a text of a schema, or bytes in the place of one."""
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return pack("<I", len(data)) + data


def dictionary(*pairs: tuple[str | int, bytes]) -> bytes:
    """Return a node."""
    keys = [b"\0" + text(key) if isinstance(key, str) else b"\1" + i64(key) for key, _ in pairs]
    return bytes([18]) + pack("<I", len(pairs)) + b"".join(k + node for k, (_, node) in zip(keys, pairs, strict=True))


def named(kind: int, name: str, *pairs: tuple[str, bytes]) -> bytes:
    """Return the node of a namedtuple, 19, or of an object, 20."""
    return bytes([kind]) + text(name) + pack("<I", len(pairs)) + b"".join(text(key) + node for key, node in pairs)


def parts(kind: int, *nodes: bytes) -> bytes:
    """Return the node of a list, 16, or of a tuple, 17."""
    return bytes([kind]) + pack("<I", len(nodes)) + b"".join(nodes)


def optional(node: bytes) -> bytes:
    """Return a node."""
    return bytes([48]) + node


def data_type(name: str) -> bytes:
    """Return a data type that is no structure."""
    return bytes([len(name)]) + name.encode("ascii")


def structure(size: int, *fields: tuple[int, str, Sequence[int], bytes]) -> bytes:
    """Return a data type of fields: offset, name, dimensions, data type."""
    packed = (
        pack("<I", offset) + text(name) + bytes([len(shape)]) + b"".join(pack("<I", one) for one in shape) + kind
        for offset, name, shape, kind in fields
    )
    return b"\0" + pack("<II", size, len(fields)) + b"".join(packed)


def array(kind: str | bytes, dimensions: int) -> bytes:
    """Return a node whose dimensions each sample says."""
    return bytes([32, dimensions]) + _type_of(kind)


def shaped(kind: str | bytes, *shape: int) -> bytes:
    """Return a node."""
    return bytes([35, len(shape)]) + b"".join(map(u64, shape)) + _type_of(kind)


def scalar(kind: str | bytes) -> bytes:
    """Return a node."""
    return bytes([33]) + _type_of(kind)


def tensor(name: str, dimensions: int) -> bytes:
    """Return a node."""
    return bytes([34, dimensions]) + data_type(name)


def _type_of(kind: str | bytes) -> bytes:
    return kind if isinstance(kind, bytes) else data_type(kind)


def bound(
    number: int,
    *,
    big: Sequence[bytes] = (),
    scalars: Sequence[bytes] = (),
    small: Sequence[bytes] = (),
    rest: bytes = b"",
    extents: Sequence[int] = (),
) -> bytes:
    """Return a record that is bound to a schema of its segment.

    Args:
        number: Of the schema.
        big: Arrays of 64 bytes and more.
        scalars: Of 8 bytes each.
        small: All other arrays.
        rest: Texts, bytes and integers, end to end.
        extents: Lengths and dimensions.
    """
    record = b""
    for one in big:
        record += bytes(-len(record) % 64) + one
    if scalars:
        record += bytes(-len(record) % 8) + b"".join(scalars)
    for one in small:
        record += bytes(-len(record) % 8) + one
    return record + rest + b"".join(pack("<I", one) for one in extents) + pack("<I", number)


def alone(
    schema: bytes,
    *,
    extents: Sequence[int] = (),
    scalars: Sequence[bytes] = (),
    payloads: Sequence[tuple[bytes, bool]] = (),
    version: int = 1,
) -> bytes:
    """Return a record that has its schema with it; of each payload it is told whether it is an array."""
    record = b"\x8dSM" + bytes([version]) + pack("<I", len(schema)) + schema
    record += bytes(-len(record) % 8) + b"".join(map(u64, extents)) + b"".join(scalars)
    for payload, is_array in payloads:
        alignment = (64 if len(payload) >= 64 else 8) if is_array else 1
        record += bytes(-len(record) % alignment) + payload
    return record
