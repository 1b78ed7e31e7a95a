"""The leaves of LitData's samples and the tree that they hang on, as values. Nothing is unpickled.

A reader of a leaf raises ValueError for bytes that are none of its type.

    data_format ["int", "str"]   data_spec {"x": leaf, "y": [leaf]}   leaves b"...", b"..."  ──>  {"x": 1, "y": ["a"]}
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.conversion.sources.text.column_values import array_of, list_of_bytes, pixels_of, read_json, read_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["leaf_reader", "tree_builder"]

_TENSORS: Final = {
    **dict.fromkeys((0, 1), "<f4"),
    **dict.fromkeys((2, 3), "<f8"),
    **dict.fromkeys((4, 5), "<c8"),
    **dict.fromkeys((6, 7), "<c16"),
    **dict.fromkeys((8, 9), "<f2"),
    11: "u1",
    12: "i1",
    13: "<i2",
    14: "<i2",
    15: "<i4",
    16: "<i4",
    17: "<i8",
    18: "<i8",
    19: "?",
    20: "<u2",
}
_ARRAYS: Final = dict(
    enumerate(("i1", "<i2", "<i4", "<i8", "u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8", "<c8", "<c16", "?"))
)
# Their bytes are those of a file.
_FILES: Final = ("bytes", "jpeg", "image", "file", "tifffile", "video", "audio", "pdf", "nifti", "mesh")


def leaf_reader(form: str) -> Callable[[bytes], Any] | None:
    """Return what reads a leaf of a format; None if it is not read here; ValueError for bad parameters."""
    name, _, parameter = form.partition(":")
    if name in ("no_header_tensor", "no_header_numpy"):
        types = _TENSORS if name == "no_header_tensor" else _ARRAYS
        return partial(_flat, dtype=_dtype_of(types, int(parameter)))
    return bytes if name in _FILES else _READERS.get(name)


def tree_builder(spec: str) -> tuple[int, Callable[[Iterator[Any]], Any]]:
    """Return how many leaves a data_spec has, and what builds a sample of them.

    Raises:
        ValueError: If it is none, or has containers other than dicts, lists and tuples.
    """
    try:
        found = json.loads(spec)
        if not isinstance(found, list) or len(found) != 2 or found[0] != 1:
            raise ValueError("it is no description of a tree of version 1")
        return _node(found[1])
    except (RecursionError, KeyError, TypeError) as error:
        raise ValueError(f"it is no description of a tree: {error!r}") from None


def _node(node: dict[str, Any]) -> tuple[int, Callable[[Iterator[Any]], Any]]:
    kind, children = node["type"], [_node(child) for child in node["children_spec"]]
    if kind is None:
        return 1, next
    builders = [build for _, build in children]
    count = sum(number for number, _ in children)
    if kind == "builtins.dict":
        keys = json.loads(node["context"])
        if (
            not isinstance(keys, list)
            or len({*keys}) != len(builders)
            or not all(type(key) in (str, int) for key in keys)
        ):
            raise ValueError("it has a dict without one key for each value")
        return count, lambda leaves: {key: build(leaves) for key, build in zip(keys, builders, strict=True)}
    if kind == "builtins.list":
        return count, lambda leaves: [build(leaves) for build in builders]
    if kind == "builtins.tuple":
        return count, lambda leaves: tuple(build(leaves) for build in builders)
    raise ValueError(f"it has a container of the type {kind!r}, which is not read")


def _dtype_of(types: dict[int, str], code: int) -> np.dtype[Any]:
    if code not in types:
        raise ValueError(f"an array of the data type {code}, which is not read")
    return np.dtype(types[code])


def _flat(data: bytes, *, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return array_of(data, dtype, (len(data) // dtype.itemsize,))


def _shaped(data: bytes, *, order: str, types: dict[int, str]) -> np.ndarray[Any, Any]:
    code, rank = read_numbers(data, 0, 2, f"{order}u4")
    shape = read_numbers(data, 8, rank, f"{order}u4")
    return array_of(data[8 + 4 * rank :], _dtype_of(types, code), shape)


def _bool(data: bytes) -> bool:
    if data not in (b"\0", b"\1"):
        raise ValueError("a boolean that is neither 0 nor 1")
    return data == b"\1"


def _one(data: bytes, *, dtype: str) -> Any:
    return array_of(data, np.dtype(dtype), (1,)).item()


def _json(data: bytes) -> Any:
    """Return nested values: JSON, which newer versions put behind a zero and its length; they have binary forms too."""
    if data[:1] in (b"[", b"{"):
        return read_json(data)
    if data[:1] != b"\0":
        raise ValueError("nested values in LitData's own binary form, which is not read: write them as text of JSON")
    [length] = read_numbers(data[1:5], 0, 1, "<u4")
    if length != len(data) - 5:
        raise ValueError(f"{len(data)} bytes for JSON that needs {length + 5}")
    return read_json(data[5:])


_READERS: Final[dict[str, Callable[[bytes], Any]]] = {
    "str": bytes.decode,
    "text": bytes.decode,
    "bool": _bool,
    "int": partial(_one, dtype="<i8"),
    "float": partial(_one, dtype="<f8"),
    "json": _json,
    "pil": pixels_of,
    "jpeg_array": partial(list_of_bytes, start=0),
    "tensor": partial(_shaped, order=">", types=_TENSORS),
    "numpy": partial(_shaped, order="<", types=_ARRAYS),
}
