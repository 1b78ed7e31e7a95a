"""Says whether records are samples, for who verifies them: everything is decoded, but torch is never loaded.

A tensor is looked at as the array that it is stored as.

    record ──schema──> plan, builder of plain values ──> FormatError, or nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from splitdata.errors import FormatError
from splitdata.samples import sample_spec
from splitdata.samples.build import build_node
from splitdata.samples.decode import VALUE_ERRORS
from splitdata.samples.decode_plan import DecodePlan, DecodePlanCache
from splitdata.samples.restore import KnownTypes
from splitdata.samples.standing_alone import is_alone, split_alone, standing_alone

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
        self._made: DecodePlanCache[tuple[DecodePlan, Builder]] = DecodePlanCache()

    def check(self, record: bytes) -> None:
        """Raise unless a record is a sample that stands alone, or one of the schemas.

        Raises:
            FormatError: If it is none.
        """
        alone = record if is_alone(record) else standing_alone(record, self._schemas)
        schema, *_ = split_alone(alone)
        plan, build = self._made.get(schema) or self._make(schema, len(alone))
        values = plan.unpack(alone, plan.table_start)
        extents = values[: plan.num_extents]
        layout = plan.layouts.get(extents) or plan.lay_out(extents)
        try:
            build(values, layout.places, alone)
        except FormatError:
            raise
        except VALUE_ERRORS as error:
            raise FormatError(f"these {len(record)} bytes are no sample: {error}") from None

    def _make(self, schema: bytes, num_bytes: int) -> tuple[DecodePlan, Builder]:
        plan = DecodePlan(schema, num_bytes // sample_spec.SLOT_BYTES)
        made = plan, build_node(_without_tensors(plan.schema.root), plan.num_extents, KnownTypes(()))
        self._made.keep(schema, made)
        return made


def _without_tensors(node: Node) -> Node:
    children = tuple(map(_without_tensors, node.children))
    return node._replace(kind=_ARRAYS.get(node.kind, node.kind), children=children)
