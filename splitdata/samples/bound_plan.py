"""The plan of a schema of a segment: where its samples, which name it by a number alone, hold their values.

What has a fixed size comes first, so that it lies at one place in all samples, and is taken out of many by one copy.

    body                                                                        extents     number
    | arrays of 64 bytes and more | scalars, 8 each | smaller arrays | texts |  u32 each  |  u32
      |                                                 each at a multiple of 8
      `- each at a multiple of 64
"""

from __future__ import annotations

import struct
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from splitdata.errors import FormatError
from splitdata.samples import sample_spec
from splitdata.samples.decode_plan import MAX_LAYOUTS, ZEROS, measure
from splitdata.samples.extents import check_surplus
from splitdata.samples.schema import parse_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from splitdata._types import BytesLike
    from splitdata.samples.build import Buffer
    from splitdata.samples.decode_plan import PayloadPlace
    from splitdata.samples.schema import Node

__all__ = ["BoundLayout", "BoundPlan", "picker"]

_SCALARS: Final = -1
_TAIL_NUMBER: Final = sample_spec.NUMBER_BYTES


class BoundLayout(NamedTuple):
    """The places in the samples of one schema whose arrays have one size.

    Attributes:
        places: Of each array, in the order of the schema.
        scalars: Where they begin.
        stop: Where texts begin.
        pieces: What stands before them: zeros, and empty places for scalars and arrays.
        scalars_piece: The place of the scalars, -1 where there are none.
        array_pieces: The place of each array, and its number in the order of the schema.
    """

    places: tuple[PayloadPlace, ...]
    scalars: int
    stop: int
    pieces: list[BytesLike]
    scalars_piece: int
    array_pieces: tuple[tuple[int, int], ...]


class BoundPlan:
    """All that follows from one schema of a segment.

    Attributes:
        root: The tree; its payloads are numbered arrays first, texts behind them, as `read` returns them.
        num_extents: How many a sample has.
        scalars: Letters of `struct`.
        unpack_extents: Returns these, from a buffer and where they begin there.
        marks_of: Returns those scalars that say which optional parts are there.
        unpack_scalars: Returns them, from a buffer and where they begin there.
        tail_bytes: Of extents and number.
    """

    def __init__(self, data: bytes, max_slots: int) -> None:
        """Parse a schema; raises as `parse_schema`, also if it has more nodes than one for bound samples may have."""
        if len(data) > sample_spec.MAX_SCHEMA_BYTES:
            raise FormatError(f"a schema of {len(data)} bytes, the limit is {sample_spec.MAX_SCHEMA_BYTES}")
        schema = parse_schema(data, max_slots, sample_spec.MAX_BOUND_NODES)
        self.schema = schema
        arrays = [number for number, payload in enumerate(schema.payloads) if payload.is_array]
        self._texts = [number for number, payload in enumerate(schema.payloads) if not payload.is_array]
        self._arrays = arrays
        order = {number: place for place, number in enumerate([*arrays, *self._texts])}
        self.root = _renumbered(schema.root, order)
        self.num_extents = schema.num_extents
        self.scalars = schema.scalars
        self._scalars = struct.Struct(f"<{schema.scalars}")
        self.unpack_scalars = self._scalars.unpack_from
        self._pack_scalars = self._scalars.pack
        self._extents = struct.Struct(f"<{schema.num_extents}I")
        self.unpack_extents = self._extents.unpack_from
        self._pack_extents = self._extents.pack
        # The scalars that say which optional parts are there.
        self.marks_of = picker(list(_marks(schema.root)), len(schema.scalars))
        self.tail_bytes = self._extents.size + _TAIL_NUMBER
        texts = [schema.payloads[number].extent for number in self._texts]
        self._lengths_of = picker(texts, schema.num_extents)
        self._others_of = picker([n for n in range(schema.num_extents) if n not in set(texts)], schema.num_extents)
        self.has_free_arrays = len(texts) < schema.num_extents
        self._layouts: dict[tuple[int, ...], BoundLayout] = {}
        # Of a schema that leaves no dimension free there is one, made with the first sample.
        self._only_layout: BoundLayout | None = None

    def read(self, data: Buffer) -> tuple[tuple[Any, ...], Sequence[PayloadPlace]]:
        """Return the scalars of a sample, and where its payloads lie.

        Raises:
            FormatError: If it does not have the length that its extents ask for.
        """
        end = len(data) - self.tail_bytes
        if end < 0:
            raise self.other_length(data, self.tail_bytes)
        extents = self.unpack_extents(data, end)
        layout = self._only_layout or self.layout_of(extents)
        places, stop = layout.places, layout.stop
        found: Sequence[PayloadPlace] = places
        if self._texts:
            found = [*places]
            for length in self._lengths_of(extents) if self.has_free_arrays else extents:
                found.append((stop, stop + length, ()))
                stop += length
        if stop != end:
            raise self.other_length(data, stop + self.tail_bytes)
        return self.unpack_scalars(data, layout.scalars), found

    def layout_of(self, extents: Sequence[int]) -> BoundLayout:
        """Return where arrays and scalars lie in samples of these extents; raises as `measure` and `check_surplus`."""
        others = self._others_of(extents) if self.has_free_arrays else ()
        return self._layouts.get(others) or self._lay_out(others, extents)

    def lengths_of(self, extents: Sequence[int]) -> tuple[int, ...]:
        """Return the lengths of the texts."""
        return self._lengths_of(extents)

    def join(self, extents: Sequence[int], scalars: Sequence[Any], payloads: Sequence[BytesLike]) -> list[BytesLike]:
        """Return the buffers that joined are the sample but for its number; `payloads` in the order of the schema.

        Raises:
            struct.error: If an extent takes more than 32 bits.
        """
        # Each step here is felt by who writes many small samples.
        parts = self.arrange(extents, self._pack_scalars(*scalars), payloads)
        if extents:
            parts.append(self._pack_extents(*extents))
        return parts

    def arrange(self, extents: Sequence[Any], scalars: Any, payloads: Sequence[Any]) -> list[Any]:
        """Return the pieces of the body in their order: zeros, scalars that are packed, and payloads.

        Of many samples at once these may be columns; of the extents those of the texts may, which are not looked at.
        """
        layout = self._only_layout or self.layout_of(extents)
        parts: list[Any] = layout.pieces.copy()
        for place, number in layout.array_pieces:
            parts[place] = payloads[number]
        if layout.scalars_piece >= 0:
            parts[layout.scalars_piece] = scalars
        parts.extend(payloads[number] for number in self._texts)
        return parts

    def other_length(self, data: Buffer, expected: int) -> FormatError:
        """Return the error for a sample that has not the length that its extents ask for."""
        return FormatError(f"a sample of {expected} bytes has {len(data)} here")

    def _lay_out(self, others: tuple[int, ...], extents: Sequence[int]) -> BoundLayout:
        measured = {number: measure(self.schema.payloads[number], extents) for number in self._arrays}
        check_surplus(sum(self.schema.payloads[number].surplus_of(*found) for number, found in measured.items()))
        found: dict[int, PayloadPlace] = {}
        pieces: list[BytesLike] = []
        piece_of: dict[int, int] = {}
        end = 0

        def add(number: int, size: int, alignment: int) -> int:
            nonlocal end
            gap = -end % alignment
            if gap:
                pieces.append(ZEROS[gap])
            piece_of[number] = len(pieces)
            pieces.append(b"")
            end += gap + size
            return end - size

        large = [number for number, (_, size) in measured.items() if size >= sample_spec.ARRAY_ALIGNMENT]
        for number in large:
            shape, size = measured[number]
            start = add(number, size, sample_spec.ARRAY_ALIGNMENT)
            found[number] = start, start + size, shape
        scalars = add(_SCALARS, self._scalars.size, sample_spec.SLOT_BYTES) if self.scalars else end
        for number, (shape, size) in measured.items():
            if number not in found:
                start = add(number, size, sample_spec.SMALL_ARRAY_ALIGNMENT)
                found[number] = start, start + size, shape
        layout = BoundLayout(
            tuple(found[number] for number in self._arrays),
            scalars,
            end,
            pieces,
            piece_of.pop(_SCALARS, -1),
            tuple((piece, number) for number, piece in piece_of.items()),
        )
        if len(self._layouts) == MAX_LAYOUTS:
            self._layouts.clear()
        self._layouts[others] = layout
        if not self.has_free_arrays:
            self._only_layout = layout
        return layout


def picker(numbers: Sequence[int], count: int) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Return what picks items by their numbers out of a sequence of `count`, as a tuple."""
    if not numbers:
        return lambda items: ()
    if list(numbers) == list(range(count)):
        return tuple
    if len(numbers) == 1:
        number = numbers[0]
        return lambda items: (items[number],)
    start, stop = numbers[0], numbers[0] + len(numbers)
    if list(numbers) == list(range(start, stop)):
        return lambda items: tuple(items[start:stop])
    return itemgetter(*numbers)


def _marks(node: Node) -> Iterator[int]:
    """Yield the numbers of the scalars of optional parts, in their order."""
    if node.kind == sample_spec.KIND_OPTIONAL:
        yield node.scalar
    for child in node.children:
        yield from _marks(child)


def _renumbered(node: Node, order: dict[int, int]) -> Node:
    """Return the tree with other numbers of payloads; a node without one keeps what it has."""
    children = tuple(_renumbered(child, order) for child in node.children)
    return node._replace(payload=order.get(node.payload, 0), children=children)
