"""Samples of one structure to one batch, a column at a time.

    row 0   head | 3 | 32 32 3 | image ...      uint8[n, size], or n buffers of any length
    row 1   head | 5 | 32 32 3 | image ...
             `- the same in all     `- one slice of all rows: uint8[n, 32, 32, 3]
                    `- one column of the table: int64[n]

What lies at one place in all rows is taken out of them together; texts and what lies elsewhere in
each row, because a text before it differs in length, one by one.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.errors import FormatError
from splitdata.samples import sample_spec, tensors
from splitdata.samples.alignment import place_rightly
from splitdata.samples.build import build_node
from splitdata.samples.dtypes import check_text, has_kind
from splitdata.samples.output import shown_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.samples.build import Buffer
    from splitdata.samples.decode_plan import DecodePlan, PayloadLayout
    from splitdata.samples.restore import KnownTypes
    from splitdata.samples.schema import Node

__all__ = ["Columns", "NoColumnsError"]

_CONTAINERS: Final = (
    sample_spec.KIND_LIST,
    sample_spec.KIND_TUPLE,
    sample_spec.KIND_DICT,
    sample_spec.KIND_NAMEDTUPLE,
    sample_spec.KIND_DATACLASS,
)
# As they stand in a slot, and as they are returned.
_NUMBERS: Final = {
    sample_spec.KIND_INT: ("<i8", np.int64),
    sample_spec.KIND_FLOAT: ("<f8", np.float64),
    sample_spec.KIND_BOOL: ("<u8", np.bool_),
}
_NUMBER_LISTS: Final = {sample_spec.KIND_INT_LIST: np.dtype("<i8"), sample_spec.KIND_FLOAT_LIST: np.dtype("<f8")}


class NoColumnsError(ValueError):
    """These samples make no batch by columns; one by one they may."""


class Columns:
    """The samples of one batch, and what takes columns out of them."""

    def __init__(self, plan: DecodePlan, known: KnownTypes, rows: NDArray[np.uint8] | list[Buffer]) -> None:
        """Work out where everything lies.

        Args:
            plan: Of the schema that all samples have.
            known: The types to restore.
            rows: One sample each, uint8[n, size] or buffers; at least one, each with the whole table.

        Raises:
            FormatError: If a sample has another length than its table says.
        """
        self._plan = plan
        self._known = known
        self._rows = rows
        self._table: Any = _cut(rows, plan.table_start, plan.table_start + plan.table_bytes)
        # The columns of a slot are viewed as its type.
        self._slots = np.ndarray((len(rows), plan.table_bytes // sample_spec.SLOT_BYTES), "<u8", self._table)
        extents = self._slots[:, : plan.num_extents]
        is_even = bool((extents == extents[0]).all())
        # One for all, or one for each.
        self._layouts = [self._layout(row) for row in (extents[:1] if is_even else extents).tolist()]
        lengths = [rows.shape[1]] if isinstance(rows, np.ndarray) else list(map(len, rows))
        # There is one of both for all rows, or one for each row.
        count = max(len(lengths), len(self._layouts))
        pairs = zip(self._layouts * (count // len(self._layouts)), lengths * (count // len(lengths)), strict=True)
        for layout, length in pairs:
            if layout.total != length:
                raise FormatError(f"a sample of {layout.total} bytes has {length} here")

    def batch(self) -> Any:  # a batch has the structure of its samples
        """Return the batch.

        Raises:
            FormatError: If a value is invalid.
            NoColumnsError: If arrays differ in shape, or an int has more than 64 bits.
        """
        return self._column(self._plan.schema.root, "sample")

    def _layout(self, extents: list[int]) -> PayloadLayout:
        key = tuple(extents)
        return self._plan.layouts.get(key) or self._plan.lay_out(key)

    def _column(self, node: Node, name: str) -> Any:
        if node.kind in _CONTAINERS:
            return self._container(node, name)
        if node.kind in _NUMBERS:
            return self._scalars(node)
        if node.kind in _NUMBER_LISTS:
            # One array of each place, as of a list of anything.
            numbers = self._arrays(node, _NUMBER_LISTS[node.kind], name)
            return list(np.ascontiguousarray(numbers.T.astype(numbers.dtype.newbyteorder("="))))
        if node.kind == sample_spec.KIND_BIG_INT:
            raise NoColumnsError(f"{name}: an int of more than 64 bits")
        if node.dtype is not None:
            if node.kind == sample_spec.KIND_SCALAR and node.dtype.kind in "SU":
                # Texts and bytes, as those of Python are.
                return self._each(node)
            batch = self._arrays(node, node.dtype, name)
            return self._tensors(node, batch) if node.kind == sample_spec.KIND_TENSOR else batch
        return self._each(node)

    @cached_property
    def _values(self) -> list[tuple[Any, ...]]:
        """All numbers of each sample, for whatever is taken one by one: there may be very many such."""
        width = self._plan.table_bytes
        return [self._plan.unpack(self._table, start * width) for start in range(len(self._rows))]

    def _container(self, node: Node, name: str) -> Any:
        columns = []
        for number, child in enumerate(node.children):
            step = f"[{shown_key(node.keys[number])}]" if node.kind == sample_spec.KIND_DICT else f"[{number}]"
            columns.append(self._column(child, name + (f".{node.keys[number]}" if node.name else step)))
        return self._known.maker(node)(columns)

    def _scalars(self, node: Node) -> NDArray[Any]:
        column = self._slots[:, self._plan.num_extents + node.scalar]
        if node.kind == sample_spec.KIND_BOOL and column.max() > 1:
            raise FormatError(f"a sample has a bool of {column.max()}")
        stored, returned = _NUMBERS[node.kind]
        return column.copy().view(stored).astype(returned)

    def _arrays(self, node: Node, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
        """Return arrays of one shape as one, [n, ...]."""
        places = [layout.places[node.payload] for layout in self._layouts]
        start, stop, shape = places[0]
        for place in places:
            if place.shape != shape:
                raise NoColumnsError(f"{name}: shape {shape} in one sample and {place.shape} in another")
        if len(places) == 1:
            memory: Any = _cut(self._rows, start, stop)
        else:
            memory = bytearray().join(row[at.start : at.stop] for row, at in zip(self._rows, places, strict=True))
        batch = place_rightly(np.ndarray((len(self._rows), *shape), dtype, memory))
        if has_kind(dtype, "U"):
            check_text(batch)
        return batch

    def _tensors(self, node: Node, batch: NDArray[Any]) -> Any:
        if tensors.has_torch():
            return tensors.tensor_of(batch, node.name)
        if node.name:
            tensors.warn_of_bits(node.name, batch.dtype)
        return batch

    def _each(self, node: Node) -> list[Any]:
        """Return a value for each sample."""
        build = build_node(node, self._plan.num_extents, self._known)
        count = len(self._rows)
        rows: list[Buffer] = [row.data for row in self._rows] if isinstance(self._rows, np.ndarray) else self._rows
        layouts = self._layouts * count if len(self._layouts) == 1 else self._layouts
        return [
            build(values, layout.places, row) for values, layout, row in zip(self._values, layouts, rows, strict=True)
        ]


def _cut(rows: NDArray[np.uint8] | list[Buffer], start: int, stop: int) -> bytearray | NDArray[np.uint8]:
    """Return the bytes `start` to `stop` of every row, one after the other.

    Raises:
        FormatError: If a row ends before them.
    """
    if isinstance(rows, np.ndarray):
        if rows.shape[1] < stop:
            raise FormatError(f"a sample of {rows.shape[1]} bytes ends before byte {stop}")
        return rows[:, start:stop].copy()
    if min(map(len, rows)) < stop:
        raise FormatError(f"a sample of {min(map(len, rows))} bytes ends before byte {stop}")
    return bytearray().join([row[start:stop] for row in rows])
