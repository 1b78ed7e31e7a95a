"""The plan of a schema, worked out once: where the table is, how it is read, where payloads lie.

Both directions use it, so what is written is laid out by the code that reads it.

    schema bytes ──once──> Plan ── extents ──once──> Layout: offset, shape and end of each payload

    0        8             table                    payloads
    | header | schema |0..| extents | scalars | text | .. array at 8 or 64 | ...
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeAlias, TypeVar

from splitdata.errors import FormatError
from splitdata.samples import sample_spec
from splitdata.samples.extents import check_surplus
from splitdata.samples.schema import parse_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from splitdata.samples.schema import Payload, Schema

__all__ = [
    "HEADER",
    "MAX_LAYOUTS",
    "PREFIX",
    "ZEROS",
    "DecodePlan",
    "DecodePlanCache",
    "PayloadLayout",
    "PayloadPlace",
    "measure",
]

_Made = TypeVar("_Made")

HEADER: Final = struct.Struct("<II")
# Magic and version as one number, in which they are quickly compared.
PREFIX: Final = int.from_bytes(sample_spec.SAMPLE_MAGIC + bytes([sample_spec.SAMPLE_VERSION]), "little")

ZEROS: Final = [bytes(count) for count in range(sample_spec.ARRAY_ALIGNMENT)]
# A plan takes some 500 times the bytes of its schema.
_MAX_KEPT_BYTES: Final = 128 << 10
_MAX_KEPT_SCHEMA: Final = 16 << 10
# Layouts of one schema that are kept; of samples with texts hardly two are laid out alike.
MAX_LAYOUTS: Final = 8

# The place of a payload: its first byte, the one behind its last, its shape.
PayloadPlace: TypeAlias = tuple[int, int, tuple[int, ...]]


class PayloadLayout(NamedTuple):
    """The places of the payloads of a sample.

    Attributes:
        places: Of each payload.
        gaps: The zeros before each.
        total: Bytes of the sample.
        begin: All of it before the scalars.
    """

    places: tuple[PayloadPlace, ...]
    gaps: tuple[bytes, ...]
    total: int
    begin: bytes


def measure(payload: Payload, extents: Sequence[int]) -> tuple[tuple[int, ...], int]:
    """Return the shape and the bytes of a payload in a sample that has these extents.

    Raises:
        FormatError: If an array would be larger than there can be one.
    """
    shape = payload.shape_of(extents)
    size = prod(shape) * payload.itemsize
    if payload.is_array and prod(filter(None, shape)) * payload.itemsize > sample_spec.MAX_ARRAY_BYTES:
        raise FormatError(f"a sample has an array of shape {shape}, larger than there can be one")
    return shape, size


class DecodePlan:
    """All that follows from one schema.

    Attributes:
        schema: The parsed one.
        head: Header, schema and the zeros behind it.
        num_extents: Of the table.
        table_start: Where the table begins.
        table_bytes: How long it is.
        unpack: Returns all of it, extents before scalars, from a buffer and where it begins there.
        pack_scalars: Returns the scalars as bytes.
        layouts: Known ones by their extents.
    """

    def __init__(self, data: bytes, max_slots: int) -> None:
        """Parse a schema; raises as `parse_schema`."""
        self.schema: Schema = parse_schema(data, max_slots)
        self.head = HEADER.pack(PREFIX, len(data)) + data
        self.head += bytes(-len(self.head) % sample_spec.SLOT_BYTES)
        self.num_extents = self.schema.num_extents
        table = struct.Struct(f"<{self.num_extents}Q{self.schema.scalars}")
        self.table_bytes = table.size
        self.unpack = table.unpack_from
        self.table_start = len(self.head)
        self._extents = struct.Struct(f"<{self.num_extents}Q")
        # Of each its first extent, and itself if it is an array.
        self._payloads = [(payload.extent, payload if payload.is_array else None) for payload in self.schema.payloads]
        self.pack_scalars = struct.Struct(f"<{self.schema.scalars}").pack
        self.layouts: dict[tuple[int, ...], PayloadLayout] = {}

    def lay_out(self, extents: tuple[int, ...]) -> PayloadLayout:
        """Return where payloads of these extents lie, and remember it.

        Raises:
            FormatError: If an array would be larger than there can be one, or if all of them have too many values
                beyond their bytes.
        """
        place = len(self.head) + self.table_bytes
        places: list[PayloadPlace] = []
        gaps = []
        claimed = 0
        for extent, payload in self._payloads:
            if payload is None:
                # Samples with texts are hardly ever laid out alike: each step here is felt by who writes them.
                stop = place + extents[extent]
                gaps.append(b"")
                places.append((place, stop, ()))
                place = stop
                continue
            shape, size = measure(payload, extents)
            alignment = (
                sample_spec.SMALL_ARRAY_ALIGNMENT if size < sample_spec.ARRAY_ALIGNMENT else sample_spec.ARRAY_ALIGNMENT
            )
            gap = -place % alignment
            gaps.append(ZEROS[gap])
            places.append((place + gap, place + gap + size, shape))
            place += gap + size
            claimed += payload.surplus_of(shape, size)
        check_surplus(claimed)
        layout = PayloadLayout(tuple(places), tuple(gaps), place, self.head + self._extents.pack(*extents))
        if len(self.layouts) == MAX_LAYOUTS:
            self.layouts.clear()
        self.layouts[extents] = layout
        return layout


class DecodePlanCache(Generic[_Made]):
    """The plans of schemas met lately, within a bound that no stream of ever new schemas breaks.

    Safe to share between threads: at worst two of them make the same.
    """

    def __init__(self) -> None:
        self._num_bytes = 0
        self._made: dict[bytes, _Made] = {}
        self.get: Callable[[bytes], _Made | None] = self._made.get

    def keep(self, data: bytes, made: _Made) -> None:
        """Keep what was made of a schema; a full cache is emptied first, which costs less than to know what is old."""
        if len(data) > _MAX_KEPT_SCHEMA:
            return
        if self._num_bytes > _MAX_KEPT_BYTES:
            self._made.clear()
            self._num_bytes = 0
        self._num_bytes += len(data)
        self._made[data] = made
