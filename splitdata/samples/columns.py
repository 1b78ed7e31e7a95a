"""Samples of one structure to one batch, a column at a time.

    row 0   head | 3 | 32 32 3 | image ...      uint8[n, size], or n buffers of any length
    row 1   head | 5 | 32 32 3 | image ...
             `- the same in all     `- one slice of all rows: uint8[n, 32, 32, 3]
                    `- one column of the table: int64[n]

Where they lie is in the table of samples that stand alone, and in the schema and the extents of others.

What lies at one place in all rows is taken out of them together; texts and what lies elsewhere in
each row, because a text before it differs in length, one by one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
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

    from splitdata.samples.bound_plan import BoundPlan
    from splitdata.samples.build import Buffer
    from splitdata.samples.collate import Allocate
    from splitdata.samples.decode_plan import DecodePlan, PayloadPlace
    from splitdata.samples.restore import KnownTypes
    from splitdata.samples.schema import Node

__all__ = ["Columns", "NoColumnsError", "RowParts", "alone_parts", "bound_parts"]

_CONTAINERS: Final = (
    sample_spec.KIND_LIST,
    sample_spec.KIND_TUPLE,
    sample_spec.KIND_DICT,
    sample_spec.KIND_NAMEDTUPLE,
    sample_spec.KIND_DATACLASS,
)
_TENSORS: Final = (sample_spec.KIND_TENSOR, sample_spec.KIND_SHAPED_TENSOR)
# As they stand in a slot, and as they are returned.
_NUMBERS: Final = {
    sample_spec.KIND_INT: ("<i8", np.int64),
    sample_spec.KIND_FLOAT: ("<f8", np.float64),
    sample_spec.KIND_BOOL: ("<u8", np.bool_),
}
_NUMBER_LISTS: Final = {sample_spec.KIND_INT_LIST: np.dtype("<i8"), sample_spec.KIND_FLOAT_LIST: np.dtype("<f8")}


class NoColumnsError(ValueError):
    """These samples make no batch by columns; one by one they may."""


@dataclass
class RowParts:
    """Where everything lies in rows of one schema.

    Attributes:
        scalars: Of each row, <u8[n, scalars]; viewed as what they are where they are used.
        letters: What they are, as letters of `struct`.
        given: Places of the payloads: one for all rows, or one for each.
        shared: Of the first of them, which lie at the same places in all rows.
        texts: Where all others begin, and where they end, int64[n, payloads] both; None where `given` has them.
    """

    scalars: NDArray[np.uint64]
    letters: str
    given: list[tuple[PayloadPlace, ...]]
    shared: tuple[PayloadPlace, ...] = ()
    texts: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    @cached_property
    def places(self) -> list[tuple[PayloadPlace, ...]]:
        """Of the payloads: one for all rows, or one for each."""
        if self.texts is None:
            return self.given
        starts, stops = self.texts
        shapes: list[tuple[int, ...]] = [()] * starts.shape[1]
        pairs = zip(starts.tolist(), stops.tolist(), strict=True)
        return [self.shared + tuple(zip(start, stop, shapes, strict=True)) for start, stop in pairs]


class Columns:
    """The samples of one batch, and what takes columns out of them."""

    def __init__(
        self,
        root: Node,
        known: KnownTypes,
        rows: NDArray[np.uint8] | list[Buffer],
        parts: RowParts,
        allocate: Allocate,
    ) -> None:
        """Take what was found out about the rows.

        Args:
            root: Of the schema that all samples have.
            known: The types to restore.
            rows: One sample each, uint8[n, size] or buffers; at least one.
            parts: Where everything lies in them.
            allocate: Makes the arrays of the batch, as `collate` is given it.
        """
        self._root = root
        self._known = known
        self._rows = rows
        self._parts = parts
        self._allocate = allocate

    def batch(self) -> Any:  # a batch has the structure of its samples
        """Return the batch.

        Raises:
            FormatError: If a value is invalid.
            NoColumnsError: If arrays differ in shape, or an int has more than 64 bits.
        """
        return self._column(self._root, "sample")

    def _column(self, node: Node, name: str) -> Any:
        if node.kind in _CONTAINERS:
            return self._container(node, name)
        if node.kind in _NUMBERS:
            return self._scalars(node)
        if node.kind == sample_spec.KIND_OPTIONAL:
            return self._optional(node, name)
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
            return self._tensors(node, batch) if node.kind in _TENSORS else batch
        return self._each(node)

    @cached_property
    def _buffers(self) -> list[Buffer]:
        return [row.data for row in self._rows] if isinstance(self._rows, np.ndarray) else self._rows

    @cached_property
    def _values(self) -> list[tuple[Any, ...]]:
        """All numbers of each sample, for whatever is taken one by one: there may be very many such."""
        letters = self._parts.letters
        if not letters:
            return [()] * len(self._rows)
        return list(struct.iter_unpack(f"<{letters}", self._parts.scalars.tobytes()))

    def _container(self, node: Node, name: str) -> Any:
        columns = []
        for number, child in enumerate(node.children):
            step = f"[{shown_key(node.keys[number])}]" if node.kind == sample_spec.KIND_DICT else f"[{number}]"
            columns.append(self._column(child, name + (f".{node.keys[number]}" if node.name else step)))
        return self._known.maker(node)(columns)

    def _optional(self, node: Node, name: str) -> Any:
        flags = self._parts.scalars[:, node.scalar]
        if flags.max() > 1:
            raise FormatError(f"a sample has an optional part with the mark {flags.max()}")
        if flags.all():
            return self._column(node.children[0], name)
        if flags.any():
            raise NoColumnsError(f"{name}: None in one sample and a value in another")
        return [None] * len(self._rows)

    def _scalars(self, node: Node) -> NDArray[Any]:
        column = self._parts.scalars[:, node.scalar]
        if node.kind == sample_spec.KIND_BOOL and column.max() > 1:
            raise FormatError(f"a sample has a bool of {column.max()}")
        stored, returned = _NUMBERS[node.kind]
        return column.copy().view(stored).astype(returned)

    def _arrays(self, node: Node, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
        """Return arrays of one shape as one, [n, ...]."""
        parts = self._parts
        is_shared = node.payload < len(parts.shared)
        places = [parts.shared[node.payload]] if is_shared else [places[node.payload] for places in parts.places]
        shape = places[0][2]
        for _, _, other in places:
            if other != shape:
                raise NoColumnsError(f"{name}: shape {shape} in one sample and {other} in another")
        batch = self._filled((len(self._rows), *shape), dtype, [(start, stop) for start, stop, _ in places])
        if has_kind(dtype, "U"):
            check_text(batch)
        return batch

    def _filled(self, shape: tuple[int, ...], dtype: np.dtype[Any], ends: list[tuple[int, int]]) -> NDArray[Any]:
        """Return an array of what lies between these ends, one for all rows or one for each."""
        rows, is_even = self._rows, len(set(ends)) == 1
        if self._allocate is np.empty:
            if is_even:
                memory: Any = _cut(rows, *ends[0])
            else:
                memory = bytearray().join(row[start:stop] for row, (start, stop) in zip(rows, ends, strict=True))
            return place_rightly(np.ndarray(shape, dtype, memory))
        batch = self._allocate(shape, dtype)
        if not batch.nbytes:
            return batch
        into = batch.reshape(-1).view(np.uint8).reshape(len(rows), -1)
        if isinstance(rows, np.ndarray) and is_even:
            into[...] = rows[:, slice(*ends[0])]
            return batch
        for place, row, (start, stop) in zip(into, self._buffers, ends * (len(rows) // len(ends)), strict=True):
            place[...] = np.frombuffer(row, np.uint8, stop - start, start)
        return batch

    def _tensors(self, node: Node, batch: NDArray[Any]) -> Any:
        if tensors.has_torch():
            return tensors.tensor_of(batch, node.name)
        if node.name:
            tensors.warn_of_bits(node.name, batch.dtype)
        return batch

    def _each(self, node: Node) -> list[Any]:
        """Return a value for each sample."""
        texts, first = self._parts.texts, len(self._parts.shared)
        if texts is not None and node.kind in (sample_spec.KIND_TEXT, sample_spec.KIND_BYTES):
            starts, stops = (ends[:, node.payload - first].tolist() for ends in texts)
            cut = [row[start:stop] for row, start, stop in zip(self._buffers, starts, stops, strict=True)]
            if node.kind == sample_spec.KIND_BYTES:
                return list(map(bytes, cut))
            return [str(piece, "utf-8", "surrogatepass") for piece in cut]
        build = build_node(node, 0, self._known)
        count, places = len(self._rows), self._parts.places
        places = places * count if len(places) == 1 else places
        return list(map(build, self._values, places, self._buffers))


def alone_parts(plan: DecodePlan, rows: NDArray[np.uint8] | list[Buffer]) -> RowParts:
    """Return where everything lies in samples that stand alone and have one schema, each with the whole table.

    Raises:
        FormatError: If one has another length than its table says.
    """
    table: Any = _cut(rows, plan.table_start, plan.table_start + plan.table_bytes)
    slots = np.ndarray((len(rows), plan.table_bytes // sample_spec.SLOT_BYTES), "<u8", table)
    extents = slots[:, : plan.num_extents]
    layouts = [plan.layouts.get(key) or plan.lay_out(key) for key in _distinct(extents)]
    _check_lengths(rows, [layout.total for layout in layouts])
    places = [layout.places for layout in layouts]
    return RowParts(slots[:, plan.num_extents :], plan.schema.scalars, places)


def bound_parts(plan: BoundPlan, rows: NDArray[np.uint8] | list[Buffer]) -> RowParts:
    """Return where everything lies in samples that name one schema of their segment.

    Raises:
        FormatError: If one has another length than its extents say.
    """
    if not plan.num_extents:
        layout = plan.layout_of(())
        _check_lengths(rows, [layout.stop + plan.tail_bytes])
        return RowParts(_scalars_at(plan, rows, layout.scalars), plan.scalars, [layout.places], layout.places)
    ends = np.ndarray((len(rows), plan.num_extents), "<u4", _cut_end(rows, plan.tail_bytes, sample_spec.NUMBER_BYTES))
    if not plan.has_free_arrays:
        return _bound_parts_alike(plan, rows, ends)
    keys = _distinct(ends)
    layouts = [plan.layout_of(key) for key in keys]
    texts = [plan.lengths_of(key) for key in keys]
    stops = [layout.stop + sum(lengths) for layout, lengths in zip(layouts, texts, strict=True)]
    _check_lengths(rows, [stop + plan.tail_bytes for stop in stops])
    places = [layout.places + _end_to_end(layout.stop, lengths) for layout, lengths in zip(layouts, texts, strict=True)]
    starts = {layout.scalars for layout in layouts}
    num_bytes = len(plan.scalars) * sample_spec.SLOT_BYTES
    if len(starts) == 1:
        memory: Any = _cut(rows, (start := starts.pop()), start + num_bytes)
    else:
        memory = bytearray().join(
            row[layout.scalars : layout.scalars + num_bytes] for row, layout in zip(rows, layouts, strict=True)
        )
    return RowParts(np.ndarray((len(rows), len(plan.scalars)), "<u8", memory), plan.scalars, places)


def _bound_parts_alike(plan: BoundPlan, rows: NDArray[np.uint8] | list[Buffer], lengths: NDArray[Any]) -> RowParts:
    """Return the same for a schema that leaves no dimension free: only texts end elsewhere in each row."""
    layout = plan.layout_of(())
    stops = layout.stop + lengths.cumsum(axis=1, dtype=np.int64)
    _check_lengths(rows, (stops[:, -1] + plan.tail_bytes).tolist())
    scalars = _scalars_at(plan, rows, layout.scalars)
    return RowParts(scalars, plan.scalars, [layout.places], layout.places, (stops - lengths, stops))


def _scalars_at(plan: BoundPlan, rows: NDArray[np.uint8] | list[Buffer], start: int) -> NDArray[np.uint64]:
    """Return the scalars of all rows, which begin at one place."""
    memory: Any = _cut(rows, start, start + len(plan.scalars) * sample_spec.SLOT_BYTES)
    return np.ndarray((len(rows), len(plan.scalars)), "<u8", memory)


def _distinct(extents: NDArray[Any]) -> list[tuple[int, ...]]:
    """Return the extents of each sample, or of one if all have the same."""
    is_even = bool((extents == extents[0]).all())
    return list(map(tuple, (extents[:1] if is_even else extents).tolist()))


def _check_lengths(rows: NDArray[np.uint8] | list[Buffer], expected: list[int]) -> None:
    """Raise if rows have not the lengths that are expected, of which there is one for all or one for each."""
    lengths = [rows.shape[1]] * len(rows) if isinstance(rows, np.ndarray) else list(map(len, rows))
    totals = expected * (len(rows) // len(expected))
    if lengths != totals:
        length, total = next(pair for pair in zip(lengths, totals, strict=True) if pair[0] != pair[1])
        raise FormatError(f"a sample of {total} bytes has {length} here")


def _end_to_end(start: int, lengths: tuple[int, ...]) -> tuple[PayloadPlace, ...]:
    places: list[PayloadPlace] = []
    for length in lengths:
        places.append((start, start + length, ()))
        start += length
    return tuple(places)


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


def _cut_end(rows: NDArray[np.uint8] | list[Buffer], start: int, stop: int) -> bytearray | NDArray[np.uint8]:
    """Return the bytes of every row from `start` to `stop` before its end, one after the other.

    Raises:
        FormatError: If a row is shorter.
    """
    shortest = rows.shape[1] if isinstance(rows, np.ndarray) else min(map(len, rows))
    if shortest < start:
        raise FormatError(f"a sample of {start} bytes or more has {shortest} here")
    if isinstance(rows, np.ndarray):
        return rows[:, rows.shape[1] - start : rows.shape[1] - stop].copy()
    return bytearray().join([row[len(row) - start : len(row) - stop] for row in rows])
