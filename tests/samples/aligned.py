"""Arrays and tensors of every data type that samples have, and whether they lie as that needs.

is_placed(array or tensor)      its address is a multiple of the size of a number, up to 16
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from splitdata.samples import sample_spec

__all__ = ["NUMPY_DTYPES", "TORCH_DTYPES", "arrays_of", "is_placed", "tensors_of"]

NUMPY_DTYPES = [
    *("?", "u1", "i1", "<u2", ">i2", "<u4", ">i4", "<u8", ">i8", "<f2", ">f4", "<f4", "<f8", "<c8", "<c16", ">c16"),
    *("S3", "V5", "<U2", "<M8[s]", "<m8[D]", "i1,<c16", "i1,<f8", "(2,)<c16,u1"),
]
TORCH_DTYPES = [
    *("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128", *sample_spec.TENSOR_BITS),
]


def arrays_of(name: str, sizes: Iterable[int]) -> Iterator[np.ndarray[Any, Any]]:
    """Yield arrays of a data type, of so many elements each."""
    dtype = np.dtype(name)
    for size in sizes:
        # 0 and 1: what is a bool, a code point and a date too.
        ones = np.arange(size * dtype.itemsize) % dtype.itemsize == 0
        yield ones.astype(np.uint8).view(dtype) if size else np.empty(0, dtype)


def tensors_of(name: str, sizes: Iterable[int]) -> Iterator[Any]:
    """Yield tensors of a data type, of so many elements each."""
    import torch

    for size in sizes:
        yield torch.ones(size).to(getattr(torch, name))


def is_placed(value: Any) -> bool:  # an array or tensor
    """Say whether each number in it lies at a multiple of its size."""
    if isinstance(value, np.ndarray):
        return not value.size or value.ctypes.data % _needed(value.dtype) == 0
    return not value.numel() or value.data_ptr() % min(value.element_size(), 16) == 0


def _needed(dtype: np.dtype[Any]) -> int:
    if dtype.names is not None:
        return max(_needed(dtype[name]) for name in dtype.names)
    if dtype.base.kind in "SV":
        return 1
    return 4 if dtype.base.kind == "U" else dtype.base.itemsize
