"""The schema of a sample: what is where in it, without its values; bytes to a tree.

Samples of one shape of nesting share one schema, whatever their numbers, lengths and dimensions are:
extents and scalars stand in the table, payloads behind it.

    {"image": uint8[32, 32, 3], "label": 7}

    DICT 2 ("image": ARRAY 3 "|u1") ("label": INT)         the tree, each node kind u8 and what it says
             extents 0 1 2, payload 0     scalar 0         numbered in the order of the nodes
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from splitdata.errors import FormatError, UnsupportedVersionError
from splitdata.samples import sample_spec
from splitdata.samples.cursor import Cursor
from splitdata.samples.dtypes import read_dtype, read_tensor_dtype
from splitdata.samples.extents import element_surplus, surplus

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

__all__ = ["LEAVES", "Node", "Payload", "Schema", "parse_schema"]

# Of each kind without parts of its own: the scalars in the table, and whether text or bytes follow.
LEAVES: Final = {
    sample_spec.KIND_NONE: ("", False),
    sample_spec.KIND_BOOL: ("Q", False),
    sample_spec.KIND_INT: ("q", False),
    sample_spec.KIND_BIG_INT: ("", True),
    sample_spec.KIND_FLOAT: ("d", False),
    sample_spec.KIND_TEXT: ("", True),
    sample_spec.KIND_BYTES: ("", True),
    sample_spec.KIND_DATE: ("q", False),
    sample_spec.KIND_TIMEDELTA: ("qq", False),
    sample_spec.KIND_DATETIME: ("qQ", False),
    sample_spec.KIND_DATETIME_OFFSET: ("qQq", True),
    sample_spec.KIND_DATETIME_ZONE: ("qQq", True),
}
_CONTAINERS: Final = (
    sample_spec.KIND_LIST,
    sample_spec.KIND_TUPLE,
    sample_spec.KIND_DICT,
    sample_spec.KIND_NAMEDTUPLE,
    sample_spec.KIND_DATACLASS,
)
_NUMBER_LISTS: Final = (sample_spec.KIND_INT_LIST, sample_spec.KIND_FLOAT_LIST)
_SHAPED: Final = (sample_spec.KIND_SHAPED_ARRAY, sample_spec.KIND_SHAPED_TENSOR)
_TENSORS: Final = (sample_spec.KIND_TENSOR, sample_spec.KIND_SHAPED_TENSOR)
_ARRAYS: Final = (sample_spec.KIND_ARRAY, sample_spec.KIND_SCALAR, *_SHAPED, sample_spec.KIND_TENSOR)


class Node(NamedTuple):
    """One value of a sample, or what holds others.

    Attributes:
        kind: As in `spec`.
        scalar: Number of its first scalar.
        payload: Number of its payload.
        dtype: Of an array; of a tensor whose type numpy does not have, of its bits.
        ndim: Of an array or tensor.
        name: Of a namedtuple or dataclass; of a tensor's type that numpy does not have, else empty.
        keys: Of a dict, or names of fields.
        children: What it holds.
        shape: Of a shaped array or tensor: each dimension, or `FREE_DIMENSION`; None where all are free.
    """

    kind: int
    scalar: int = 0
    payload: int = 0
    dtype: np.dtype[Any] | None = None
    ndim: int = 0
    name: str = ""
    keys: tuple[str | int, ...] = ()
    children: tuple[Node, ...] = ()
    shape: tuple[int, ...] | None = None


class Payload(NamedTuple):
    """Bytes behind the table: how many follows from extents.

    Attributes:
        extent: Number of its first extent.
        ndim: How many extents it has.
        itemsize: Bytes of one element.
        is_array: Whether it is aligned.
        shape: Dimensions as a schema fixes them, `FREE_DIMENSION` in the place of each extent; None where all are free.
        element_surplus: Values of an element beyond those that its bytes pay for.
    """

    extent: int
    ndim: int
    itemsize: int
    is_array: bool
    shape: tuple[int, ...] | None = None
    element_surplus: int = 0

    def shape_of(self, extents: Sequence[int]) -> tuple[int, ...]:
        """Return the dimensions, of a sample that has these extents; its bytes are their product times `itemsize`."""
        own = tuple(extents[self.extent : self.extent + self.ndim])
        if self.shape is None:
            return own
        free = iter(own)
        return tuple(next(free) if size == sample_spec.FREE_DIMENSION else size for size in self.shape)

    def surplus_of(self, shape: tuple[int, ...], size: int) -> int:
        """Return how many values it has beyond those that its bytes pay for, where it has this shape and size."""
        return surplus(shape, self.element_surplus) if self.is_array and (self.element_surplus or not size) else 0


class Schema(NamedTuple):
    """A parsed schema.

    Attributes:
        root: Of the tree.
        num_extents: Slots at the begin of the table that say how large the payloads are.
        scalars: The other slots, as letters of `struct`.
        payloads: In their order.
    """

    root: Node
    num_extents: int
    scalars: str
    payloads: tuple[Payload, ...]


def parse_schema(data: bytes, max_slots: int, max_nodes: int = sample_spec.MAX_SCHEMA_BYTES) -> Schema:
    """Read a schema; memory and time are bounded by its length, by `max_slots` and by `max_nodes`.

    Args:
        data: The whole schema.
        max_slots: The table has no more.
        max_nodes: It has no more nodes. Some take no byte of a sample: only the schema's own pay for those.

    Raises:
        UnsupportedVersionError: If it has a kind of part, of key, or a data type that is unknown here.
        FormatError: If it is not a schema.
    """
    parser = _Parser(data, max_slots, max_nodes)
    root = parser.node(0)
    if parser.cursor.num_left:
        raise FormatError(f"a sample's schema has {parser.cursor.num_left} bytes behind its end")
    return Schema(root, parser.num_extents, "".join(parser.scalars), tuple(parser.payloads))


_NONE: Final = Node(sample_spec.KIND_NONE)
_NEWER: Final = ": a newer splitdata may know it"


class _Parser:
    def __init__(self, data: bytes, max_slots: int, max_nodes: int) -> None:
        self.cursor = Cursor(data)
        self.payloads: list[Payload] = []
        self.num_extents = 0
        self.scalars: list[str] = []
        self._num_scalars = 0
        self._max_slots = max_slots
        self._num_nodes = 0
        self._max_nodes = max_nodes

    def node(self, depth: int) -> Node:
        kind = self.cursor.byte()
        self._num_nodes += 1
        if self._num_nodes > self._max_nodes:
            raise FormatError(f"a schema has more than {self._max_nodes} nodes, which is the limit for bound samples")
        if kind == sample_spec.KIND_NONE:
            return _NONE
        if kind in LEAVES:
            letters, has_bytes = LEAVES[kind]
            payload = self._payload(1, 1, is_array=False) if has_bytes else 0
            return Node(kind, self._scalar(letters), payload)
        if kind in _CONTAINERS:
            return self._container(kind, depth)
        if kind in _NUMBER_LISTS:
            return Node(kind, payload=self._payload(1, sample_spec.SLOT_BYTES, is_array=True))
        if kind in _ARRAYS:
            return self._array(kind)
        if kind == sample_spec.KIND_OPTIONAL:
            self._check_depth(depth)
            flag = self._scalar("Q")
            return Node(kind, flag, children=(self.node(depth + 1),))
        raise UnsupportedVersionError(f"a sample has a part of kind {kind}, which is unknown here{_NEWER}")

    @staticmethod
    def _check_depth(depth: int) -> None:
        if depth == sample_spec.MAX_DEPTH:
            raise FormatError(f"a sample is nested more than {sample_spec.MAX_DEPTH} levels deep")

    def _container(self, kind: int, depth: int) -> Node:
        self._check_depth(depth)
        cursor = self.cursor
        has_fields = kind in (sample_spec.KIND_NAMEDTUPLE, sample_spec.KIND_DATACLASS)
        name = cursor.text() if has_fields else ""
        count = cursor.u32()
        if count > cursor.num_left:
            raise FormatError(f"a sample holds {count} parts in {cursor.num_left} bytes")
        keys: list[str | int] = []
        children: list[Node] = []
        for _ in range(count):
            if has_fields:
                keys.append(cursor.text())
            elif kind == sample_spec.KIND_DICT:
                keys.append(self._key())
            children.append(self.node(depth + 1))
        if len(set(keys)) != len(keys):
            raise FormatError("a sample has one key twice")
        return Node(kind, name=name, keys=tuple(keys), children=tuple(children))

    def _key(self) -> str | int:
        kind = self.cursor.byte()
        if kind == sample_spec.KEY_TEXT:
            return self.cursor.text()
        if kind == sample_spec.KEY_INT:
            return self.cursor.i64()
        raise UnsupportedVersionError(f"a sample has a key of kind {kind}, which is unknown here{_NEWER}")

    def _array(self, kind: int) -> Node:
        ndim = 0 if kind == sample_spec.KIND_SCALAR else self.cursor.byte()
        if ndim > sample_spec.MAX_NDIM:
            raise FormatError(f"a sample has an array of {ndim} dimensions")
        shape = tuple(self.cursor.u64() for _ in range(ndim)) if kind in _SHAPED else None
        dtype, name = read_tensor_dtype(self.cursor) if kind in _TENSORS else (read_dtype(self.cursor), "")
        num_free = ndim if shape is None else shape.count(sample_spec.FREE_DIMENSION)
        payload = self._payload(num_free, dtype.itemsize, is_array=True, shape=shape, surplus=element_surplus(dtype))
        return Node(kind, payload=payload, dtype=dtype, ndim=ndim, name=name, shape=shape)

    def _payload(
        self, ndim: int, itemsize: int, *, is_array: bool, shape: tuple[int, ...] | None = None, surplus: int = 0
    ) -> int:
        self.payloads.append(Payload(self.num_extents, ndim, itemsize, is_array, shape, surplus))
        self.num_extents += ndim
        self._check_slots()
        return len(self.payloads) - 1

    def _scalar(self, letters: str) -> int:
        first = self._num_scalars
        self.scalars.append(letters)
        self._num_scalars += len(letters)
        self._check_slots()
        return first

    def _check_slots(self) -> None:
        if self.num_extents + self._num_scalars > self._max_slots:
            raise FormatError(f"a sample's schema asks for more than the {self._max_slots} slots that can follow it")
