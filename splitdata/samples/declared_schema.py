"""The schema that a dataset declares: samples are held against it, and written in its one structure.

What a sample has to be is worked out once for each structure that samples come with.

    sample ──collect──> structure ── known? ──> where each part of the declared schema is found in it
                            `- no: match, part by part ── does not fit ──> SchemaError, with the part
    parts in the order of the declared schema ──bound_plan.py──> body | extents | number 0
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from splitdata.errors import FormatError, SchemaError
from splitdata.samples import sample_spec
from splitdata.samples.bound_plan import BoundPlan, picker
from splitdata.samples.decode_plan import measure
from splitdata.samples.encode import collect, encode_sample
from splitdata.samples.output import remember, shown_key
from splitdata.samples.sample_schema import SampleSchema
from splitdata.samples.schema import LEAVES, Node, parse_schema
from splitdata.samples.schema_bytes import pack_schema
from splitdata.samples.schema_table import schema_of_shape
from splitdata.samples.schema_text import are_types, schema_of_types, type_text
from splitdata.samples.standing_alone import split_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from splitdata._types import BytesLike
    from splitdata.samples.schema import Payload

__all__ = ["DeclaredSchema", "declared_schema"]

_MAX_SLOTS: Final = (1 << 63) - 1
# The first schema of each segment.
_NUMBER: Final = struct.pack("<I", 0)
_NUMBER_LISTS: Final = (sample_spec.KIND_INT_LIST, sample_spec.KIND_FLOAT_LIST)
_SHAPED: Final = {
    sample_spec.KIND_SHAPED_ARRAY: sample_spec.KIND_ARRAY,
    sample_spec.KIND_SHAPED_TENSOR: sample_spec.KIND_TENSOR,
}


def declared_schema(given: object) -> bytes:
    """Return the schema that is declared: in types, by an example of a sample, or as another dataset has it.

    Raises:
        ValueError, TypeError: If it is neither.
    """
    if isinstance(given, SampleSchema):
        parse_schema(given.data, _MAX_SLOTS)
        return given.data
    if are_types(given):
        root = schema_of_types(given)  # type: ignore[arg-type]  # just found out
        schema = pack_schema(root)
        # In it are names, and depths, that only a whole schema can have wrong.
        parse_schema(schema, _MAX_SLOTS)
    else:
        structure, extents, _, _ = collect(given)
        schema = schema_of_shape(structure, extents)
    if len(schema) > sample_spec.MAX_SCHEMA_BYTES:
        raise ValueError(f"the schema takes {len(schema)} bytes, the limit is {sample_spec.MAX_SCHEMA_BYTES}")
    try:
        BoundPlan(schema, _MAX_SLOTS)
    except FormatError as error:
        raise ValueError(f"samples cannot be bound to this schema: {error}") from None
    return schema


class _Fit(NamedTuple):
    """The way from samples of one structure to the declared schema.

    Attributes:
        fixed: Takes the extents that the schema fixes.
        sizes: What they must be.
        fields: Whose they are, for messages.
        extents, scalars, payloads: Take what the schema has, out of what samples have and, behind that, constants.
        more_payloads: The constants that stand for arrays which are not there.
    """

    fixed: Callable[[Sequence[int]], tuple[int, ...]]
    sizes: tuple[int, ...]
    fields: tuple[tuple[str, Node], ...]
    extents: Callable[[Sequence[int]], tuple[int, ...]]
    scalars: Callable[[Sequence[Any]], tuple[Any, ...]]
    payloads: Callable[[Sequence[BytesLike]], tuple[BytesLike, ...]]
    more_payloads: tuple[bytes, ...]


class DeclaredSchema:
    """Encodes samples of one schema, and refuses all others. For one thread at a time.

    Attributes:
        schemas: Those of a segment of such samples: this one alone.
    """

    def __init__(self, schema: bytes) -> None:
        """Take the schema; raises `FormatError` if it is none."""
        self.schemas = [schema]
        self._plan = BoundPlan(schema, _MAX_SLOTS)
        self._root = parse_schema(schema, _MAX_SLOTS).root
        self._fits: dict[bytes, _Fit] = {}

    def encode(self, sample: object) -> bytes:
        """Return a sample as the record of it.

        Raises:
            SchemaError: If it is not of the schema.
            TypeError, ValueError: As `encode_sample`.
        """
        return self._bound(*collect(sample)) or encode_sample(sample)

    def bind(self, record: BytesLike) -> bytes:
        """Return the record of a sample that stands alone.

        Raises:
            SchemaError: If it is not of the schema.
            FormatError: If it is no sample.
        """
        return self._bound(*split_alone(record)) or bytes(record)

    def _bound(
        self, schema: bytes, extents: Sequence[int], scalars: Sequence[Any], payloads: Sequence[BytesLike]
    ) -> bytes | None:
        """Return a sample that names the schema, None if it must stand alone."""
        fit = self._fits.get(schema) or self._new_fit(schema)
        if fit.fixed(extents) != fit.sizes:
            raise _other_shape(fit, extents)
        parts = (
            fit.extents((*extents, 0)),
            fit.scalars((*scalars, 0, 1)),
            fit.payloads((*payloads, *fit.more_payloads)),
        )
        try:
            record = b"".join([*self._plan.join(*parts), _NUMBER])
        except (struct.error, FormatError):
            # A length of more than 32 bits, or absent arrays with too many rows that have no bytes.
            return None
        return None if record.startswith(sample_spec.SAMPLE_MAGIC) else record

    def _new_fit(self, schema: bytes) -> _Fit:
        parsed = parse_schema(schema, _MAX_SLOTS)
        match = _Match(parsed.num_extents, len(parsed.scalars), len(parsed.payloads))
        match.add(self._root, parsed.root, "sample", [payload.extent for payload in parsed.payloads])
        declared = self._plan.schema.payloads
        nothing = (0,) * self._plan.num_extents
        zeros = tuple(_zeros(declared[number], nothing) for number in match.absent)
        fit = _Fit(
            fixed=picker([number for number, *_ in match.fixed], parsed.num_extents),
            sizes=tuple(size for _, size, *_ in match.fixed),
            fields=tuple((field, node) for *_, field, node in match.fixed),
            extents=picker(match.extents, parsed.num_extents + 1),
            scalars=picker(match.scalars, len(parsed.scalars) + 2),
            payloads=picker(match.payloads, len(parsed.payloads) + len(zeros)),
            more_payloads=zeros,
        )
        remember(self._fits, schema, fit)
        return fit


class _Match:
    """Where each slot of the declared schema is found in samples of one structure.

    Attributes:
        extents, scalars, payloads: Numbers in the sample; behind the last one stand constants: an extent 0, the
            scalars 0 and 1, and the payloads of what is absent.
        absent: Numbers of those payloads in the declared schema.
        fixed: Extents of the sample that the schema fixes: number, size, field, what is declared.
    """

    def __init__(self, num_extents: int, num_scalars: int, num_payloads: int) -> None:
        self.extents: list[int] = []
        self.scalars: list[int] = []
        self.payloads: list[int] = []
        self.absent: list[int] = []
        self.fixed: list[tuple[int, int, str, Node]] = []
        self._no_extent = num_extents
        self._zero, self._one = num_scalars, num_scalars + 1
        self._num_payloads = num_payloads
        self._starts: list[int] = []

    def add(self, declared: Node, found: Node, field: str, starts: list[int]) -> None:
        """Add all of a part; `starts` says which extent of the sample each of its payloads begins with.

        Raises:
            SchemaError: If it does not fit.
        """
        self._starts = starts
        self._part(declared, found, field)

    def _part(self, declared: Node, found: Node, field: str) -> None:
        if declared.kind == sample_spec.KIND_OPTIONAL:
            is_there = found.kind != sample_spec.KIND_NONE
            self.scalars.append(self._one if is_there else self._zero)
            if is_there:
                self._part(declared.children[0], found, field)
            else:
                self._nothing(declared.children[0])
        elif declared.kind in _NUMBER_LISTS and found.kind == sample_spec.KIND_LIST and not found.children:
            self._nothing(declared)
        elif _SHAPED.get(declared.kind, declared.kind) != found.kind:
            raise _does_not_fit(declared, found, field)
        elif declared.dtype is not None:
            self._array(declared, found, field)
        elif declared.kind in LEAVES or declared.kind in _NUMBER_LISTS:
            self._leaf(declared, found)
        else:
            self._container(declared, found, field)

    def _leaf(self, declared: Node, found: Node) -> None:
        letters, has_bytes = LEAVES.get(declared.kind, ("", True))
        self.scalars += range(found.scalar, found.scalar + len(letters))
        if has_bytes:
            self.extents.append(self._starts[found.payload])
            self.payloads.append(found.payload)

    def _array(self, declared: Node, found: Node, field: str) -> None:
        is_same = declared.dtype == found.dtype and declared.name == found.name and declared.ndim == found.ndim
        if not is_same or str(declared.dtype) != str(found.dtype):
            raise _does_not_fit(declared, found, field)
        start = self._starts[found.payload] if found.ndim else 0
        for axis, size in enumerate(declared.shape or (sample_spec.FREE_DIMENSION,) * declared.ndim):
            if size == sample_spec.FREE_DIMENSION:
                self.extents.append(start + axis)
            else:
                self.fixed.append((start + axis, size, field, declared))
        self.payloads.append(found.payload)

    def _container(self, declared: Node, found: Node, field: str) -> None:
        if declared.kind != sample_spec.KIND_DICT:
            if (
                declared.name != found.name
                or declared.keys != found.keys
                or len(declared.children) != len(found.children)
            ):
                raise _does_not_fit(declared, found, field)
            names = [f".{key}" for key in declared.keys] or [f"[{number}]" for number in range(len(declared.children))]
            for name, child, part in zip(names, declared.children, found.children, strict=True):
                self._part(child, part, field + name)
            return
        parts = dict(zip(found.keys, found.children, strict=True))
        for key, child in zip(declared.keys, declared.children, strict=True):
            name = f"{field}[{shown_key(key)}]"
            if key not in parts:
                raise SchemaError(f"{name} is missing; the schema has {type_text(child)}", field=name)
            self._part(child, parts.pop(key), name)
        for key in parts:
            name = f"{field}[{shown_key(key)}]"
            raise SchemaError(f"{name} is not in the schema, which has {type_text(declared)}", field=name)

    def _nothing(self, declared: Node) -> None:
        """Add the slots of a part that is not there."""
        letters, has_bytes = LEAVES.get(declared.kind, ("", declared.kind in _NUMBER_LISTS))
        optional = declared.kind == sample_spec.KIND_OPTIONAL
        self.scalars += [self._zero] * (len(letters) + optional)
        if has_bytes or declared.dtype is not None:
            shape = declared.shape or (sample_spec.FREE_DIMENSION,) * declared.ndim
            self.extents += [self._no_extent] * (1 if has_bytes else shape.count(sample_spec.FREE_DIMENSION))
            self.absent.append(len(self.payloads))
            self.payloads.append(self._num_payloads + len(self.absent) - 1)
        for child in declared.children:
            self._nothing(child)


def _zeros(payload: Payload, nothing: Sequence[int]) -> bytes:
    """Return what stands for an array that is absent; of one that no bound sample can have, nothing."""
    try:
        return bytes(measure(payload, nothing)[1])
    except FormatError:
        return b""


def _does_not_fit(declared: Node, found: Node, field: str) -> SchemaError:
    return SchemaError(f"{field} is {_shown(found)}, and the schema has {type_text(declared)}", field=field)


def _shown(found: Node) -> str:
    text = type_text(found)
    return text if len(text) <= 200 else text[:197] + "..."


def _other_shape(fit: _Fit, extents: Sequence[int]) -> SchemaError:
    found = fit.fixed(extents)
    place = next(place for place, size in enumerate(found) if size != fit.sizes[place])
    field, declared = fit.fields[place]
    own = [size for size, (name, _) in zip(found, fit.fields, strict=True) if name == field]
    return SchemaError(
        f"{field} has {','.join(map(str, own))} where the schema fixes its shape, which is {type_text(declared)}",
        field=field,
    )
