"""A schema without fixed dimensions and optional parts, as a sample that stands alone has it.

Of the sample below the note is there, so that it is a text like any other.

    {"image": uint8[32, 32, 3], "note": str?}    ──>    {"image": uint8[?, ?, ?], "note": str}
    extents: length of the note                         extents: 32, 32, 3 of the schema, length of the note
    scalars: the mark of the note, 1                    scalars: none
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.samples import sample_spec
from splitdata.samples.bound_plan import picker
from splitdata.samples.schema import LEAVES, Node
from splitdata.samples.schema_bytes import pack_schema, without_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.samples.bound_plan import BoundPlan

__all__ = ["FreedSchema"]

_NONE = Node(sample_spec.KIND_NONE)
_NUMBER_LISTS = (sample_spec.KIND_INT_LIST, sample_spec.KIND_FLOAT_LIST)


class FreedSchema:
    """What a sample of one schema stands alone with, for one choice of its optional parts.

    Attributes:
        schema: As bytes.
        sizes: The dimensions that the schema fixed: more extents, behind those of the sample.
        extents, scalars, payloads: Take those of the sample that stands alone, out of what the other has.
    """

    def __init__(self, plan: BoundPlan, marks: tuple[int, ...]) -> None:
        """Take the plan of a schema, and of each optional part whether it is there."""
        self.sizes: list[int] = []
        self._extents: list[int] = []
        self._scalars: list[int] = []
        self._payloads: list[int] = []
        self._num_extents = plan.num_extents
        # Extents, scalars and marks are counted through all parts, those too that are not there.
        self._next_extent = 0
        root = self._freed(plan.root, iter(marks), is_there=True)
        self.schema = pack_schema(without_shapes(root))
        self.extents = picker(self._extents, plan.num_extents + len(self.sizes))
        self.scalars = picker(self._scalars, len(plan.scalars))
        self.payloads = picker(self._payloads, len(plan.schema.payloads))

    def _freed(self, node: Node, marks: Iterator[int], *, is_there: bool) -> Node:
        if node.kind == sample_spec.KIND_OPTIONAL:
            mark = bool(next(marks))
            child = self._freed(node.children[0], marks, is_there=is_there and mark)
            return child if mark else _NONE
        if is_there:
            letters, has_bytes = LEAVES.get(node.kind, ("", node.kind in _NUMBER_LISTS or node.dtype is not None))
            self._scalars += range(node.scalar, node.scalar + len(letters))
            self._payloads += [node.payload] * has_bytes
        self._take_extents(node, is_there=is_there)
        return node._replace(children=tuple(self._freed(child, marks, is_there=is_there) for child in node.children))

    def _take_extents(self, node: Node, *, is_there: bool) -> None:
        has_length = LEAVES.get(node.kind, ("", node.kind in _NUMBER_LISTS))[1]
        free = sample_spec.FREE_DIMENSION
        for size in (free,) * has_length if node.dtype is None else node.shape or (free,) * node.ndim:
            if size == free:
                self._extents += [self._next_extent] * is_there
                self._next_extent += 1
            elif is_there:
                self._extents.append(self._num_extents + len(self.sizes))
                self.sizes.append(size)
