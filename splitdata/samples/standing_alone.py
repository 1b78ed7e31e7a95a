"""A sample that stands alone as its parts, and a bound one as one that stands alone: bytes alone are moved.

So a sample goes from one segment into another, whose schemas have other numbers, without being decoded. Standing alone
it has no dimensions in its schema, and no optional parts: its bytes are those that `encode_sample` makes.

    body | extents u32 | number  ──+ the schema──>  header | schema | extents u64 | scalars | payloads
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from splitdata.errors import FormatError
from splitdata.samples import sample_spec
from splitdata.samples.bound_plan import BoundPlan
from splitdata.samples.decode import header_error
from splitdata.samples.decode_plan import HEADER, PREFIX, DecodePlan, DecodePlanCache
from splitdata.samples.freed_schema import FreedSchema
from splitdata.samples.output import remember

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitdata._types import BytesLike

__all__ = ["is_alone", "join_alone", "split_alone", "standing_alone"]

_plans: Final[DecodePlanCache[DecodePlan]] = DecodePlanCache()
# Of each schema, what its samples are freed by: one for each choice of optional parts.
_made: Final[DecodePlanCache[tuple[BoundPlan, dict[tuple[int, ...], FreedSchema]]]] = DecodePlanCache()


def is_alone(record: BytesLike) -> bool:
    """Say whether a record of the codec "sample" carries its schema, rather than the number of one."""
    begin = record if type(record) is bytes else bytes(memoryview(record)[: len(sample_spec.SAMPLE_MAGIC)])
    return begin.startswith(sample_spec.SAMPLE_MAGIC)


def split_alone(record: BytesLike) -> tuple[bytes, tuple[int, ...], tuple[Any, ...], list[memoryview]]:
    """Return the schema, extents, scalars and payloads of a sample that stands alone.

    Raises:
        FormatError: If the bytes are none.
    """
    data = memoryview(record)
    try:
        prefix, size = HEADER.unpack_from(data)
        if prefix != PREFIX or size > sample_spec.MAX_SCHEMA_BYTES:
            raise header_error(data, size)
        schema = bytes(data[HEADER.size : HEADER.size + size])
        plan = _plans.get(schema) or _plan_of(schema, (len(data) - HEADER.size - size) // sample_spec.SLOT_BYTES)
        values = plan.unpack(data, plan.table_start)
        extents = values[: plan.num_extents]
        layout = plan.layouts.get(extents) or plan.lay_out(extents)
    except struct.error as error:
        raise FormatError(f"these {len(data)} bytes are no sample: {error}") from None
    if layout.total != len(data) or len(schema) != size:
        raise FormatError(f"a sample of {layout.total} bytes has {len(data)} here")
    return schema, extents, values[plan.num_extents :], [data[start:stop] for start, stop, _ in layout.places]


def join_alone(
    schema: bytes, extents: Sequence[int], scalars: Sequence[Any], payloads: Sequence[BytesLike]
) -> list[BytesLike]:
    """Return the buffers that joined are a sample that stands alone."""
    plan = _plans.get(schema) or _plan_of(schema, (1 << 63) - 1)
    shape = tuple(extents)
    layout = plan.layouts.get(shape) or plan.lay_out(shape)
    parts: list[BytesLike] = [layout.begin, plan.pack_scalars(*scalars)]
    for gap, payload in zip(layout.gaps, payloads):  # noqa: B905  # what `strict` costs is a tenth of all this
        if gap:
            parts.append(gap)
        parts.append(payload)
    return parts


def standing_alone(record: BytesLike, schemas: Sequence[bytes]) -> bytes:
    """Return a record of a segment that has these schemas as `encode_sample` makes it of the sample.

    Raises:
        FormatError: If it is no sample of one of them.
    """
    if is_alone(record):
        return bytes(record)
    data = memoryview(record)
    try:
        (number,) = struct.unpack_from("<I", data, len(data) - sample_spec.NUMBER_BYTES)
        schema = schemas[number]
        made = _made.get(schema)
        if made is None:
            made = BoundPlan(schema, len(data) // sample_spec.EXTENT_BYTES), {}
            _made.keep(schema, made)
        plan, freed = made
        scalars, places = plan.read(data)
        extents = plan.unpack_extents(data, len(data) - plan.tail_bytes)
        marks = plan.marks_of(scalars)
        free = freed.get(marks)
        if free is None:
            if any(mark > 1 for mark in marks):
                raise FormatError(f"a sample has an optional part with the mark {max(marks)}")
            free = FreedSchema(plan, marks)
            remember(freed, marks, free)
    except (struct.error, IndexError) as error:
        raise FormatError(f"these {len(data)} bytes are no sample: {error}") from None
    payloads = [data[start:stop] for start, stop, _ in places]
    own_extents = free.extents((*extents, *free.sizes))
    return b"".join(join_alone(free.schema, own_extents, free.scalars(scalars), free.payloads(payloads)))


def _plan_of(schema: bytes, max_slots: int) -> DecodePlan:
    plan = DecodePlan(schema, max_slots)
    _plans.keep(schema, plan)
    return plan
