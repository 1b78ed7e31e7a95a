"""A schema's tree as bytes, and the same tree with other dimensions: the way back from `parse_schema`.

What a schema fixes, its samples need not say.

    DICT 2 ("image": ARRAY 3 "|u1") ("label": INT)  ──with_shapes([(32, 32, 3)])──>
    DICT 2 ("image": SHAPED_ARRAY 3 [32, 32, 3] "|u1") ("label": INT)  ──pack_schema──> bytes
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from splitdata.samples import sample_spec
from splitdata.samples.dtypes import dtype_bytes, text_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.samples.schema import Node

__all__ = ["pack_schema", "with_shapes", "without_shapes"]

_SHAPED: Final = {
    sample_spec.KIND_ARRAY: sample_spec.KIND_SHAPED_ARRAY,
    sample_spec.KIND_TENSOR: sample_spec.KIND_SHAPED_TENSOR,
}
_FREE: Final = {shaped: free for free, shaped in _SHAPED.items()}
_TENSORS: Final = (sample_spec.KIND_TENSOR, sample_spec.KIND_SHAPED_TENSOR)
_FIELDS: Final = (sample_spec.KIND_NAMEDTUPLE, sample_spec.KIND_DATACLASS)
_SEQUENCES: Final = (sample_spec.KIND_LIST, sample_spec.KIND_TUPLE)


def with_shapes(node: Node, shapes: Iterator[tuple[int, ...]]) -> Node:
    """Return the tree with each array and tensor of free dimensions given the next of some shapes."""
    if node.kind in _SHAPED:
        return node._replace(kind=_SHAPED[node.kind], shape=next(shapes))
    return node._replace(children=tuple(with_shapes(child, shapes) for child in node.children))


def without_shapes(node: Node) -> Node:
    """Return the tree with all dimensions free."""
    if node.shape is not None:
        return node._replace(kind=_FREE[node.kind], shape=None)
    return node._replace(children=tuple(map(without_shapes, node.children)))


def pack_schema(node: Node) -> bytes:
    """Return the bytes of a schema, from which `parse_schema` makes this tree."""
    begin = bytes([node.kind])
    if node.kind in _FIELDS:
        named = [text_bytes(str(key)) + pack_schema(child) for key, child in _parts(node)]
        return begin + text_bytes(node.name) + struct.pack("<I", len(named)) + b"".join(named)
    if node.kind == sample_spec.KIND_DICT:
        keyed = [_key_bytes(key) + pack_schema(child) for key, child in _parts(node)]
        return begin + struct.pack("<I", len(keyed)) + b"".join(keyed)
    if node.kind in _SEQUENCES:
        return begin + struct.pack("<I", len(node.children)) + b"".join(map(pack_schema, node.children))
    if node.kind == sample_spec.KIND_OPTIONAL:
        return begin + pack_schema(node.children[0])
    return begin if node.dtype is None else begin + _array_bytes(node)


def _parts(node: Node) -> Iterator[tuple[str | int, Node]]:
    return zip(node.keys, node.children, strict=True)


def _key_bytes(key: str | int) -> bytes:
    if isinstance(key, str):
        return bytes([sample_spec.KEY_TEXT]) + text_bytes(key)
    return struct.pack("<Bq", sample_spec.KEY_INT, key)


def _array_bytes(node: Node) -> bytes:
    """Return what stands behind the kind of an array, scalar or tensor."""
    if node.dtype is None:  # pragma: no cover - asked before
        return b""
    ndim = b"" if node.kind == sample_spec.KIND_SCALAR else bytes([node.ndim])
    shape = b"" if node.shape is None else struct.pack(f"<{node.ndim}Q", *node.shape)
    if node.kind in _TENSORS:
        name = (node.name or node.dtype.str).encode("ascii")
        return ndim + shape + bytes([len(name)]) + name
    # What was read from a schema can be written into one.
    return ndim + shape + (dtype_bytes(node.dtype) or b"")
