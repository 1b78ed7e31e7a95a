"""The schemas of a segment while it is written: which there are, and samples that name theirs by its number.

A sample for which the table has no schema, and no room for one, stands alone.

    sample ──collect──> schema, extents, scalars, payloads
                          |  the first 8 shapes of one structure: a schema each, its dimensions fixed
                          |  from the 9th on: one with free dimensions
                          `- body | extents | number        bound_plan.py
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from splitdata.errors import FormatError
from splitdata.samples import sample_spec
from splitdata.samples.bound_plan import BoundPlan, picker
from splitdata.samples.encode import collect, encode_sample
from splitdata.samples.schema import parse_schema
from splitdata.samples.schema_bytes import pack_schema, with_shapes, without_shapes
from splitdata.samples.standing_alone import split_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from splitdata._types import BytesLike
    from splitdata.samples.schema import Node

__all__ = ["ArrangedColumns", "SchemaTable", "schema_of_shape"]

_MAGIC: Final = sample_spec.SAMPLE_MAGIC
# Of one structure so many shapes have schemas of their own.
_MAX_SHAPES: Final = 8
# A schema's plan takes some 500 times its bytes: what a writer, and each reader, holds of a segment.
_MAX_TABLE_BYTES: Final = 256 << 10
_MAX_SCHEMA_BYTES: Final = 64 << 10
_MAX_SLOTS: Final = (1 << 63) - 1
_MAX_NUMBER: Final = (1 << 32) - 1


class ArrangedColumns(NamedTuple):
    """What many samples of one schema are joined of, in this order.

    Attributes:
        pieces: Columns, and bytes that are equal in all.
        extents: 32 bits each.
        number: The bytes that name the schema.
    """

    pieces: list[Any]
    extents: tuple[Any, ...]
    number: bytes


class _Bound(NamedTuple):
    """A schema of the table, and what is taken of a sample's extents for it.

    Attributes:
        plan: Of the schema.
        number: The bytes that name it.
        pick: Takes the extents that the schema leaves free.
    """

    plan: BoundPlan
    number: bytes
    pick: Callable[[Sequence[int]], tuple[int, ...]]


class _Structure:
    """One schema as samples bring it, its dimensions free, and the schemas of the table that stand for it.

    Attributes:
        shapes: The schema for each of some dimensions.
        any_shape: The one for all others, once there is one.
    """

    def __init__(self, schema: bytes) -> None:
        parsed = parse_schema(schema, _MAX_SLOTS)
        self.root = parsed.root
        arrays = list(_arrays(parsed.root))
        starts = [parsed.payloads[node.payload].extent for node in arrays]
        fixed = [start + axis for start, node in zip(starts, arrays, strict=True) for axis in range(node.ndim)]
        count = parsed.num_extents
        self.dims_of = picker(fixed, count)
        self.rest_of = picker([number for number in range(count) if number not in set(fixed)], count)
        self.all_of = picker(range(count), count)
        self.has_dims = bool(fixed)
        self._ndims = [node.ndim for node in arrays]
        self.shapes: dict[tuple[int, ...], _Bound] = {}
        self.any_shape: _Bound | None = None
        self.schema = schema

    def shaped(self, dims: tuple[int, ...]) -> bytes:
        """Return the schema with these dimensions."""
        left = iter(dims)
        shapes = [tuple(next(left) for _ in range(ndim)) for ndim in self._ndims]
        return pack_schema(with_shapes(self.root, iter(shapes)))


def schema_of_shape(structure: bytes, extents: Sequence[int]) -> bytes:
    """Return the schema that fixes the dimensions of all arrays, as a sample of this structure has them."""
    known = _Structure(structure)
    return known.shaped(known.dims_of(extents))


def _arrays(node: Node) -> Iterator[Node]:
    """Yield the arrays and tensors of free dimensions, in their order."""
    if node.kind in (sample_spec.KIND_ARRAY, sample_spec.KIND_TENSOR):
        yield node
    for child in node.children:
        yield from _arrays(child)


def _dims(node: Node) -> Iterator[int]:
    """Yield the dimensions that a schema fixes, in their order."""
    yield from node.shape or ()
    for child in node.children:
        yield from _dims(child)


class SchemaTable:
    """The schemas of one segment; grows only. For one thread at a time.

    Attributes:
        schemas: Each as bytes; the number of a schema is its place here.
    """

    def __init__(
        self, schemas: Sequence[bytes] = (), *, most: int = _MAX_NUMBER, most_bytes: int = _MAX_TABLE_BYTES
    ) -> None:
        """Begin with schemas that are known, of a segment before, and take no more than `most` of these bytes."""
        self.schemas = list(schemas)
        self._most = most
        self._most_bytes = min(most_bytes, _MAX_TABLE_BYTES)
        self._num_bytes = sum(map(len, self.schemas))
        self._numbers = {schema: number for number, schema in enumerate(self.schemas)}
        self._structures: dict[bytes, _Structure] = {}
        # Of each structure, the shapes that have schemas since before.
        self._known_shapes: dict[bytes, list[tuple[tuple[int, ...], bytes]]] = {}
        for schema in self.schemas:
            # Those of a later version keep their numbers, and serve nobody here.
            with suppress(FormatError):
                self._add_known(schema)

    def _add_known(self, schema: bytes) -> None:
        root = parse_schema(schema, _MAX_SLOTS).root
        if dims := tuple(_dims(root)):
            self._known_shapes.setdefault(pack_schema(without_shapes(root)), []).append((dims, schema))

    def encode(self, sample: object) -> bytes:
        """Return a sample as bytes that name a schema of this table, or that stand alone; raises as `encode_sample`."""
        return self._bind(*collect(sample)) or encode_sample(sample)

    def bind(self, record: BytesLike) -> bytes:
        """Return the bytes of a sample that stands alone as `encode` would have made them.

        Raises:
            FormatError: If they are no sample that stands alone.
        """
        return self._bind(*split_alone(record)) or bytes(record)

    def columns_like(
        self, sample: object, extents: Sequence[Any], scalars: Any, payloads: Sequence[Any]
    ) -> ArrangedColumns | None:
        """Return columns of samples that have the schema and the dimensions of one, as `encode` would lay each out.

        Args:
            sample: The first of them.
            extents: In the order of the schema: an int for a dimension, anything for the length of a text.
            scalars: All of a sample, 8 bytes each.
            payloads: In the order of the schema.

        Returns:
            None if the first sample stands alone; another one still may, if it begins as those that do.

        Raises:
            TypeError, ValueError: As `encode_sample`.
        """
        schema, own, own_scalars, own_payloads = collect(sample)
        if self._bind(schema, own, own_scalars, own_payloads) is None:
            return None
        structure = self._structures[schema]
        bound = structure.shapes.get(structure.dims_of(own)) or structure.any_shape
        if bound is None:
            return None
        free = bound.pick(extents)
        return ArrangedColumns(bound.plan.arrange(free, scalars, payloads), free, bound.number)

    def _bind(
        self, schema: bytes, extents: Sequence[int], scalars: Sequence[Any], payloads: Sequence[BytesLike]
    ) -> bytes | None:
        """Return a sample that names its schema, None if it must stand alone."""
        structure = self._structures.get(schema)
        if structure is None:
            is_known = schema in self._numbers or schema in self._known_shapes
            if len(schema) > _MAX_SCHEMA_BYTES or (self._is_full and not is_known):
                return None
            structure = self._structure(schema)
        bound = structure.shapes.get(structure.dims_of(extents)) or self._bound(structure, extents)
        if bound is None:
            return None
        try:
            parts = bound.plan.join(bound.pick(extents), scalars, payloads)
        except struct.error:
            # A length of more than 32 bits.
            return None
        parts.append(bound.number)
        record = b"".join(parts)
        return None if record.startswith(_MAGIC) else record

    def _bound(self, structure: _Structure, extents: Sequence[int]) -> _Bound | None:
        """Return the schema for a shape that is new."""
        if structure.any_shape is not None:
            return structure.any_shape
        dims = structure.dims_of(extents)
        if structure.has_dims and len(structure.shapes) >= _MAX_SHAPES:
            structure.any_shape = self._with_number(structure.schema, structure.all_of)
            return structure.any_shape
        if self._is_full and structure.has_dims:
            return None
        schema = structure.shaped(dims) if structure.has_dims else structure.schema
        bound = self._with_number(schema, structure.rest_of)
        if bound is not None:
            structure.shapes[dims] = bound
        return bound

    def _structure(self, schema: bytes) -> _Structure:
        """Return a structure that is met for the first time, with its schemas that the table has already."""
        structure = self._structures[schema] = _Structure(schema)
        for dims, shaped in self._known_shapes.get(schema, ()):
            if (bound := self._with_number(shaped, structure.rest_of)) is not None:
                structure.shapes[dims] = bound
        if structure.has_dims and schema in self._numbers:
            structure.any_shape = self._with_number(schema, structure.all_of)
        return structure

    def _with_number(self, schema: bytes, pick: Callable[[Sequence[int]], tuple[int, ...]]) -> _Bound | None:
        number = self._number_of(schema)
        return None if number is None else _Bound(BoundPlan(schema, _MAX_SLOTS), struct.pack("<I", number), pick)

    @property
    def _is_full(self) -> bool:
        return len(self.schemas) >= self._most or self._num_bytes >= self._most_bytes

    def _number_of(self, schema: bytes) -> int | None:
        """Return the number of a schema, which is added if there is room."""
        number = self._numbers.get(schema)
        if number is not None or self._is_full:
            return number
        if self._num_bytes + len(schema) > self._most_bytes:
            # Full from now on: else what is known of ever new structures would grow without an end.
            self._most = len(self.schemas)
            return None
        number = self._numbers[schema] = len(self.schemas)
        self.schemas.append(schema)
        self._num_bytes += len(schema)
        return number
