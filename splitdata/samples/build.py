"""Makes the function that builds samples of one schema: one function for each node, put together once.

Many samples share a schema, so the schema is walked once and not for each sample.

    Node tree ──build_node──> builder(values, places, buffer) -> value
                                      |       |       `- the whole sample
                                      |       `- where payloads lie
                                      `- the table: extents, then scalars
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from splitdata.errors import FormatError
from splitdata.samples import sample_spec, tensors
from splitdata.samples.alignment import placer
from splitdata.samples.dtypes import check_text, has_kind
from splitdata.samples.moments import moment, offset_zone, zone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from splitdata.samples.decode_plan import PayloadPlace
    from splitdata.samples.restore import KnownTypes
    from splitdata.samples.schema import Node

    Buffer: TypeAlias = bytes | bytearray | memoryview
    Builder: TypeAlias = Callable[[tuple[Any, ...], Sequence[PayloadPlace], Buffer], Any]

__all__ = ["Buffer", "Builder", "build_node"]

_MICROSECONDS_OF_DAY: Final = 86_400_000_000
# Looked up for each array of each sample.
_ndarray: Final = np.ndarray
_BOOLS: Final = (False, True)
_TENSORS: Final = (sample_spec.KIND_TENSOR, sample_spec.KIND_SHAPED_TENSOR)
_NUMBERS: Final = {sample_spec.KIND_INT_LIST: np.dtype("<i8"), sample_spec.KIND_FLOAT_LIST: np.dtype("<f8")}


def build_node(node: Node, num_extents: int, known: KnownTypes) -> Builder:
    """Return what makes the value of one node; scalars stand behind so many extents."""
    if node.kind in _CONTAINERS:
        return _CONTAINERS[node.kind](node, num_extents, known)
    if node.kind in _SCALARS:
        return _SCALARS[node.kind](num_extents + node.scalar)
    if node.kind == sample_spec.KIND_OPTIONAL:
        return _optional(node, num_extents, known)
    if node.kind in _TEXTS:
        return _TEXTS[node.kind](node.payload)
    if node.kind in _MOMENTS:
        return _zoned(node, num_extents + node.scalar)
    return _array(node)


# -- containers ----------------------------------------------------------------------------------


def _dict(node: Node, num_extents: int, known: KnownTypes) -> Builder:
    pairs = [(key, build_node(child, num_extents, known)) for key, child in zip(node.keys, node.children, strict=True)]

    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> dict[Any, Any]:
        # A loop: up to Python 3.11 a comprehension is a function that is made and called.
        found = {}
        for key, child in pairs:
            found[key] = child(values, places, buffer)
        return found

    return build


def _list(node: Node, num_extents: int, known: KnownTypes) -> Builder:
    children = [build_node(child, num_extents, known) for child in node.children]

    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> list[Any]:
        return [child(values, places, buffer) for child in children]

    return build


def _tuple(node: Node, num_extents: int, known: KnownTypes) -> Builder:
    build_list = _list(node, num_extents, known)
    return lambda values, places, buffer: tuple(build_list(values, places, buffer))


def _fields(node: Node, num_extents: int, known: KnownTypes) -> Builder:
    make, build_list = known.maker(node), _list(node, num_extents, known)
    return lambda values, places, buffer: make(build_list(values, places, buffer))


def _optional(node: Node, num_extents: int, known: KnownTypes) -> Builder:
    child, number = build_node(node.children[0], num_extents, known), num_extents + node.scalar
    # A number above 1 is an IndexError, as of a bool.
    return lambda values, places, buffer: child(values, places, buffer) if _BOOLS[values[number]] else None


# -- single values -------------------------------------------------------------------------------


def _none(number: int) -> Builder:
    return _build_none


def _build_none(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> None:
    return None


def _bool(number: int) -> Builder:
    # A number above 1 is an IndexError, which `decode_sample` knows.
    return lambda values, places, buffer: _BOOLS[values[number]]


def _number(number: int) -> Builder:
    return lambda values, places, buffer: values[number]


def _date(number: int) -> Builder:
    return lambda values, places, buffer: datetime.date.fromordinal(values[number])


def _timedelta(number: int) -> Builder:
    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> datetime.timedelta:
        if not 0 <= values[number + 1] < _MICROSECONDS_OF_DAY:
            raise FormatError(f"a sample has a timedelta of {values[number + 1]} microseconds beside its days")
        return datetime.timedelta(values[number], 0, values[number + 1])

    return build


def _datetime(number: int) -> Builder:
    return lambda values, places, buffer: moment(values[number], values[number + 1], None)


def _zoned(node: Node, number: int) -> Builder:
    make: Callable[[int, str], datetime.tzinfo] = zone if node.kind == sample_spec.KIND_DATETIME_ZONE else offset_zone
    payload = node.payload

    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> datetime.datetime:
        start, stop, _ = places[payload]
        text = str(buffer[start:stop], "utf-8", "surrogatepass")
        return moment(values[number], values[number + 1], make(values[number + 2], text))

    return build


def _text(number: int) -> Builder:
    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> str:
        start, stop, _ = places[number]
        return str(buffer[start:stop], "utf-8", "surrogatepass")

    return build


def _bytes(number: int) -> Builder:
    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> bytes:
        start, stop, _ = places[number]
        return bytes(buffer[start:stop])

    return build


def _big_int(number: int) -> Builder:
    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> int:
        start, stop, _ = places[number]
        return int.from_bytes(buffer[start:stop], "little", signed=True)

    return build


# -- arrays --------------------------------------------------------------------------------------


def _array(node: Node) -> Builder:
    number, dtype = node.payload, node.dtype
    if dtype is None:
        return _number_list(number, _NUMBERS[node.kind])

    def build_anywhere(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> np.ndarray[Any, Any]:
        start, _, shape = places[number]
        return _ndarray(shape, dtype, buffer, start)

    build = _placed(build_anywhere, dtype)
    checked = _checked(build) if has_kind(dtype, "U") else build
    if node.kind == sample_spec.KIND_SCALAR:
        return lambda values, places, buffer: checked(values, places, buffer)[()]
    return _tensor(node, checked) if node.kind in _TENSORS else checked


def _placed(build: Builder, dtype: np.dtype[Any]) -> Builder:
    """Return what makes an array that lies as its type needs, wherever the buffer lies."""
    place = placer(dtype)
    return build if place is None else lambda values, places, buffer: place(build(values, places, buffer))


def _checked(build: Builder) -> Builder:
    """Return what makes an array of text and looks at every code point of it."""

    def build_checked(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = build(values, places, buffer)
        check_text(array)
        return array

    return build_checked


def _tensor(node: Node, build: Builder) -> Builder:
    name = node.name
    if tensors.has_torch():
        return lambda values, places, buffer: tensors.tensor_of(build(values, places, buffer), name)
    if name and node.dtype is not None:
        tensors.warn_of_bits(name, node.dtype)
    return build


def _number_list(number: int, dtype: np.dtype[Any]) -> Builder:
    def build(values: tuple[Any, ...], places: Sequence[PayloadPlace], buffer: Buffer) -> list[Any]:
        start, _, shape = places[number]
        numbers: list[Any] = np.ndarray(shape, dtype, buffer, start).tolist()
        return numbers

    return build


_CONTAINERS: Final = {
    sample_spec.KIND_LIST: _list,
    sample_spec.KIND_TUPLE: _tuple,
    sample_spec.KIND_DICT: _dict,
    sample_spec.KIND_NAMEDTUPLE: _fields,
    sample_spec.KIND_DATACLASS: _fields,
}
_SCALARS: Final = {
    sample_spec.KIND_NONE: _none,
    sample_spec.KIND_BOOL: _bool,
    sample_spec.KIND_INT: _number,
    sample_spec.KIND_FLOAT: _number,
    sample_spec.KIND_DATE: _date,
    sample_spec.KIND_TIMEDELTA: _timedelta,
    sample_spec.KIND_DATETIME: _datetime,
}
_TEXTS: Final = {sample_spec.KIND_TEXT: _text, sample_spec.KIND_BYTES: _bytes, sample_spec.KIND_BIG_INT: _big_int}
_MOMENTS: Final = (sample_spec.KIND_DATETIME_OFFSET, sample_spec.KIND_DATETIME_ZONE)
