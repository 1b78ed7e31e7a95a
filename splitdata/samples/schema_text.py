"""Schemas as a person writes and reads them: a type for each part, in words.

The words of a type are those of Python and numpy; with "?" behind it a part may also be None.

    int float bool str bytes date datetime timedelta list[int] list[float]
    uint8[224,224,3]   float32[?,4]   uint8        an array, one with a dimension of any size, a numpy scalar
    tensor float32[3]                              a tensor
    {"name": type}   [type, type]   (type, type)   as samples nest
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata._shown import shown
from splitdata.samples import sample_spec
from splitdata.samples.dtypes import dtype_bytes
from splitdata.samples.schema import Node, parse_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["are_types", "schema_of_types", "shown_schema", "type_text"]

_WORDS: Final = {
    "None": sample_spec.KIND_NONE,
    "bool": sample_spec.KIND_BOOL,
    "int": sample_spec.KIND_INT,
    "int of more than 64 bits": sample_spec.KIND_BIG_INT,
    "float": sample_spec.KIND_FLOAT,
    "str": sample_spec.KIND_TEXT,
    "bytes": sample_spec.KIND_BYTES,
    "date": sample_spec.KIND_DATE,
    "timedelta": sample_spec.KIND_TIMEDELTA,
    "datetime": sample_spec.KIND_DATETIME,
    "datetime with an offset": sample_spec.KIND_DATETIME_OFFSET,
    "datetime with a zone": sample_spec.KIND_DATETIME_ZONE,
    "list[int]": sample_spec.KIND_INT_LIST,
    "list[float]": sample_spec.KIND_FLOAT_LIST,
}
_KIND_WORDS: Final = {kind: word for word, kind in _WORDS.items()}
_ARRAY: Final = re.compile(
    r"(?P<tensor>tensor )?(?P<dtype>(?:datetime64|timedelta64)\[\w+\]|[^\[\]?\s]+)(?P<dims>\[[0-9?, ]*\])?"
)
_TENSORS: Final = (sample_spec.KIND_TENSOR, sample_spec.KIND_SHAPED_TENSOR)
_ADVICE: Final = (
    "a type is int, float, bool, str, bytes, date, datetime, timedelta, list[int], list[float], an array as "
    "uint8[224,224,3] or float32[?], a numpy scalar as float32, a tensor as tensor float32[3]; each with ? behind it "
    "may be None"
)


def are_types(value: object) -> bool:
    """Say whether a declaration is made of the texts of types, rather than an example of a sample."""
    if isinstance(value, dict):
        return bool(value) and all(map(are_types, value.values()))
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(are_types, value))
    return isinstance(value, str)


def schema_of_types(value: Mapping[str | int, Any] | list[Any] | tuple[Any, ...] | str) -> Node:
    """Return the tree of a schema that is written in types; its slots are not numbered.

    Raises:
        ValueError: If a text is not a type.
    """
    if isinstance(value, dict):
        return Node(
            sample_spec.KIND_DICT, keys=tuple(value), children=tuple(schema_of_types(part) for part in value.values())
        )
    if isinstance(value, (list, tuple)):
        kind = sample_spec.KIND_LIST if isinstance(value, list) else sample_spec.KIND_TUPLE
        return Node(kind, children=tuple(map(schema_of_types, value)))
    return _node(str(value).strip())


def _node(text: str) -> Node:
    if text.endswith("?"):
        return Node(sample_spec.KIND_OPTIONAL, children=(_node(text[:-1].strip()),))
    if text in _WORDS:
        return Node(_WORDS[text])
    found = _ARRAY.fullmatch(text)
    if found is None:
        raise ValueError(f"{shown(text)} is not a type of a schema: {_ADVICE}")
    name, dims = found["dtype"], found["dims"]
    if name in ("int", "float", "str", "bytes", "object"):
        # They are of another size on another machine, or of none.
        raise ValueError(
            f"{shown(text)} is not a type of a schema: an array has the type of numpy, as int64 or float32"
        )
    shape = None if dims is None else tuple(_dimension(one) for one in dims[1:-1].split(",") if one.strip())
    if found["tensor"]:
        return _tensor(text, name, shape or ())
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise ValueError(f"{shown(text)} is not a type of a schema: {_ADVICE}") from None
    if dtype_bytes(dtype) is None:
        raise ValueError(f"{shown(text)}: the data type {dtype} is not stored")
    if shape is None:
        return Node(sample_spec.KIND_SCALAR, dtype=dtype)
    return Node(sample_spec.KIND_SHAPED_ARRAY, dtype=dtype, ndim=len(shape), shape=shape)


def _tensor(text: str, name: str, shape: tuple[int, ...]) -> Node:
    bits = sample_spec.TENSOR_BITS.get(name)
    try:
        dtype = np.dtype(bits or name)
    except TypeError:
        raise ValueError(f"{shown(text)} is not a type of a schema: {_ADVICE}") from None
    if dtype.str not in sample_spec.TENSOR_DTYPES:
        raise ValueError(f"{shown(text)}: tensors of {name} are not stored")
    own_name = name if bits else ""
    return Node(sample_spec.KIND_SHAPED_TENSOR, dtype=dtype, name=own_name, ndim=len(shape), shape=shape)


def _dimension(text: str) -> int:
    return sample_spec.FREE_DIMENSION if text.strip() == "?" else int(text)


def shown_schema(schema: bytes) -> str:
    """Return a schema as a line of text, as `schema_of_types` reads it where it can be written so.

    Raises:
        FormatError: If the bytes are none.
    """
    return type_text(parse_schema(schema, len(schema) * sample_spec.MAX_NDIM).root)


def type_text(node: Node) -> str:
    """Return one part of a schema as text."""
    if node.kind in _KIND_WORDS:
        return _KIND_WORDS[node.kind]
    if node.kind == sample_spec.KIND_OPTIONAL:
        return type_text(node.children[0]) + "?"
    if node.dtype is not None:
        return _array_text(node)
    parts = list(map(type_text, node.children))
    if node.kind == sample_spec.KIND_DICT:
        return "{" + ", ".join(f"{key!r}: {part}" for key, part in zip(node.keys, parts, strict=True)) + "}"
    if node.kind in (sample_spec.KIND_LIST, sample_spec.KIND_TUPLE):
        begin, end = "[]" if node.kind == sample_spec.KIND_LIST else "()"
        return begin + ", ".join(parts) + end
    return f"{node.name}(" + ", ".join(f"{key}={part}" for key, part in zip(node.keys, parts, strict=True)) + ")"


def _array_text(node: Node) -> str:
    name = node.name or str(node.dtype)
    if node.kind == sample_spec.KIND_SCALAR:
        return name
    shape = (sample_spec.FREE_DIMENSION,) * node.ndim if node.shape is None else node.shape
    dims = ",".join("?" if size == sample_spec.FREE_DIMENSION else str(size) for size in shape)
    return ("tensor " if node.kind in _TENSORS else "") + f"{name}[{dims}]"
