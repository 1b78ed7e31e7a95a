"""The schemas of a segment as a file: what its samples are, kept a second time beside the manifest.

What counts is as many as the manifest says; the file serves where that is lost. docs/format/samples.md.

    0        header, 64 bytes: which segment, and whether its first schema is the declared one of the dataset
    64       item, item, ...        length u32 | zeros u32 | hash of the schema u64 | schema | zeros to 8
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from splitdata.errors import BadMagicError, FormatError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.version import check_flags, check_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "SchemasHeader",
    "fit_together",
    "joined_lists",
    "longest",
    "pack_lists",
    "pack_schemas",
    "unpack_schemas",
]

_HEADER: Final = struct.Struct("<8sHHI16sII16x")
_ITEM: Final = struct.Struct("<IIQ")
_DECLARED: Final = 1


@dataclass(frozen=True, slots=True)
class SchemasHeader:
    """The header of a file of schemas.

    Attributes:
        segment_id: Whose they are.
        is_declared: Whether the first is what the dataset declares for all of its samples.
    """

    segment_id: str
    is_declared: bool = False

    def pack(self) -> bytes:
        """Return the 64 bytes with which the file begins."""
        body = _HEADER.pack(
            spec.SCHEMAS_MAGIC,
            spec.MAJOR,
            spec.MINOR,
            spec.SCHEMAS_HEADER_BYTES,
            bytes.fromhex(self.segment_id),
            0,
            _DECLARED * self.is_declared,
        )
        return body + hash64(body).to_bytes(8, "little")

    @classmethod
    def unpack(cls, buffer: bytes | memoryview) -> SchemasHeader:
        """Read and prove a header.

        Raises:
            BadMagicError: If this is not a file of schemas.
            UnsupportedVersionError: If it is intact and needs a newer splitdata.
            FormatError: If it is damaged.
        """
        head = bytes(buffer[: spec.SCHEMAS_HEADER_BYTES])
        if head[:8] != spec.SCHEMAS_MAGIC:
            raise BadMagicError("the file does not begin as a file of schemas does")
        if len(head) < spec.SCHEMAS_HEADER_BYTES or hash64(head[:-8]) != int.from_bytes(head[-8:], "little"):
            raise FormatError("the header of the schemas is damaged")
        _, major, minor, _, segment, must, may = _HEADER.unpack_from(head)
        check_version(major, minor)
        check_flags(must)
        return cls(segment.hex(), bool(may & _DECLARED))


def pack_schemas(schemas: Sequence[bytes]) -> bytes:
    """Return schemas as they stand behind the header, or behind others."""
    return b"".join(_ITEM.pack(len(one), 0, hash64(one)) + one + bytes(-len(one) % 8) for one in schemas)


def unpack_schemas(data: bytes) -> list[bytes]:
    """Return the schemas that stand behind the header, up to the first that is not whole and intact."""
    schemas: list[bytes] = []
    place = 0
    while len(schemas) < spec.MAX_SEGMENT_SCHEMAS and place + _ITEM.size <= len(data):
        length, zeros, own_hash = _ITEM.unpack_from(data, place)
        schema = data[place + _ITEM.size : place + _ITEM.size + length]
        if zeros or not length or len(schema) < length or hash64(schema) != own_hash:
            break
        schemas.append(schema)
        place += _ITEM.size + length + -length % 8
    return schemas


def fit_together(left: Sequence[bytes], right: Sequence[bytes]) -> bool:
    """Say whether one of two lists of schemas begins with the other: then records of both can have the longer one."""
    count = min(len(left), len(right))
    return tuple(left[:count]) == tuple(right[:count])


def joined_lists(lists: Iterable[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
    """Return the lists of schemas of segments in order, those that go on with each other as one: the longest of them.

    So it is the same before and after the segments were folded. The last one may be empty if all are.
    """
    joined: list[tuple[bytes, ...]] = [()]
    for schemas in lists:
        if fit_together(schemas, joined[-1]):
            joined[-1] = max(joined[-1], schemas, key=len)
        else:
            joined.append(schemas)
    return joined


def pack_lists(joined: Sequence[Sequence[bytes]]) -> bytes:
    """Return joined lists as fingerprint and digest have them, nothing where there are no schemas."""
    return b"".join(
        struct.pack("<I", len(schemas)) + b"".join(struct.pack("<I", len(one)) + one for one in schemas)
        for schemas in joined
        if schemas
    )


def longest(lists: Iterable[tuple[bytes, ...]]) -> tuple[bytes, ...]:
    """Return the longest of some lists of schemas: the one for all records where they fit together."""
    return max(lists, key=len, default=())
