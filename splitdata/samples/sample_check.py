"""Says whether records are samples, for who verifies them: everything is decoded, but torch is never loaded.

A tensor is looked at as the array that it is stored as.

    record ──schema──> plan, builder of plain values ──> FormatError, or nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from splitdata.errors import FormatError
from splitdata.samples import sample_spec
from splitdata.samples.bound_plan import BoundPlan
from splitdata.samples.build import build_node
from splitdata.samples.decode import VALUE_ERRORS
from splitdata.samples.decode_plan import DecodePlan, DecodePlanCache
from splitdata.samples.restore import KnownTypes
from splitdata.samples.standing_alone import split_alone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splitdata.samples.build import Builder
    from splitdata.samples.schema import Node

__all__ = ["SampleCheck"]

_ARRAYS: Final = {
    sample_spec.KIND_TENSOR: sample_spec.KIND_ARRAY,
    sample_spec.KIND_SHAPED_TENSOR: sample_spec.KIND_SHAPED_ARRAY,
}


class SampleCheck:
    """Looks at the samples of segments that have one list of schemas."""

    def __init__(self, schemas: Sequence[bytes]) -> None:
        """Take the schemas."""
        self._schemas = schemas
        self._alone: DecodePlanCache[tuple[DecodePlan, Builder]] = DecodePlanCache()
        self._bound: DecodePlanCache[tuple[BoundPlan, Builder]] = DecodePlanCache()

    def check(self, record: bytes) -> None:
        """Raise unless a record is a sample that stands alone, or one of the schemas.

        Raises:
            FormatError: If it is none.
        """
        try:
            if record.startswith(sample_spec.SAMPLE_MAGIC):
                self._check_alone(record)
            else:
                number = int.from_bytes(record[-sample_spec.NUMBER_BYTES :], "little")
                plan, build = self._bound.get(self._schemas[number]) or self._make_bound(number, len(record))
                build(*plan.read(record), record)
        except FormatError:
            raise
        except VALUE_ERRORS as error:
            raise FormatError(f"these {len(record)} bytes are no sample: {error}") from None

    def _check_alone(self, record: bytes) -> None:
        schema, *_ = split_alone(record)
        plan, build = self._alone.get(schema) or self._make_alone(schema, len(record))
        values = plan.unpack(record, plan.table_start)
        extents = values[: plan.num_extents]
        layout = plan.layouts.get(extents) or plan.lay_out(extents)
        build(values, layout.places, record)

    def _make_alone(self, schema: bytes, num_bytes: int) -> tuple[DecodePlan, Builder]:
        plan = DecodePlan(schema, num_bytes // sample_spec.SLOT_BYTES)
        made = plan, build_node(_without_tensors(plan.schema.root), plan.num_extents, KnownTypes(()))
        self._alone.keep(schema, made)
        return made

    def _make_bound(self, number: int, num_bytes: int) -> tuple[BoundPlan, Builder]:
        plan = BoundPlan(self._schemas[number], num_bytes // sample_spec.EXTENT_BYTES)
        made = plan, build_node(_without_tensors(plan.root), 0, KnownTypes(()))
        self._bound.keep(self._schemas[number], made)
        return made


def _without_tensors(node: Node) -> Node:
    children = tuple(map(_without_tensors, node.children))
    return node._replace(kind=_ARRAYS.get(node.kind, node.kind), children=children)
