"""What MosaicML's and LitData's columns hold, as values of samples. Nothing is unpickled, no picture is decoded.

A decoder takes the bytes of one column and raises ValueError for those that are none of its type.

    bytes, jpeg, png     bytes as they are        str, json, str_int, ...    text and what it says
    int, float32, ...    int, numpy scalars       ndarray, tensor, ...       arrays
    pil                  array (height, width) or (height, width, channels) of the pixels
"""

from __future__ import annotations

import json
import struct
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["array_of", "list_of_bytes", "pixels_of", "read_json", "read_numbers"]

# Of the modes of Pillow, those whose pixels are whole numbers of bytes.
_MODES: Final = {
    "L": ("u1", 1),
    "P": ("u1", 1),
    "LA": ("u1", 2),
    "RGB": ("u1", 3),
    "YCbCr": ("u1", 3),
    "LAB": ("u1", 3),
    "HSV": ("u1", 3),
    "RGBA": ("u1", 4),
    "RGBX": ("u1", 4),
    "CMYK": ("u1", 4),
    "I": ("<i4", 1),
    "F": ("<f4", 1),
    "I;16": ("<u2", 1),
}
_PIXELS: Final = struct.Struct("<III")


def array_of(data: bytes, dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """Return an array that fills its bytes; ValueError if it does not."""
    if prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for an array of shape {tuple(shape)} and data type {dtype}")
    return np.frombuffer(data, dtype).reshape(shape)


def read_numbers(data: bytes, start: int, count: int, dtype: str) -> list[int]:
    """Return numbers from a place on; ValueError if there are not so many."""
    if count * np.dtype(dtype).itemsize > len(data) - start:
        raise ValueError(f"{len(data)} bytes end within {count} numbers at byte {start}")
    numbers: list[int] = np.frombuffer(data, dtype, count, start).tolist()
    return numbers


def pixels_of(data: bytes) -> np.ndarray[Any, Any]:
    """Return the pixels of a picture that was stored with width, height and mode before them."""
    width, height, length = read_numbers(data, 0, 3, "<u4")
    mode = str(data[_PIXELS.size : _PIXELS.size + length], "utf-8") if length < len(data) else ""
    if mode not in _MODES:
        raise ValueError(f"pixels of the mode {mode!r}, which are not read")
    dtype, channels = _MODES[mode]
    shape = (height, width) if channels == 1 else (height, width, channels)
    return array_of(data[_PIXELS.size + length :], np.dtype(dtype), shape)


def list_of_bytes(data: bytes, start: int, decode: Callable[[bytes], Any] = bytes) -> list[Any]:
    """Return the parts of a list: u32 count, u32 size of each, and they, from a place on."""
    [count] = read_numbers(data, start, 1, "<u4")
    sizes = read_numbers(data, start + 4, count, "<u4")
    place, parts = start + 4 + 4 * count, []
    for size in sizes:
        parts.append(decode(data[place : place + size]))
        place += size
    if place != len(data):
        raise ValueError(f"{len(data)} bytes for a list that needs {place}")
    return parts


def read_json(data: bytes) -> Any:
    """Return what a JSON text says."""
    try:
        return json.loads(data.decode())
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
