"""Batches onto the device: the one place that imports torch."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy.typing as npt

__all__ = ["tensor_over"]

# Tensors, where torch has no types for mypy.
Anything: TypeAlias = Any


def tensor_over(array: npt.NDArray[Any], name: str) -> Anything:
    """Return a tensor that shares an array's memory; a read-only or reversed array is copied.

    Args:
        name: How a message calls the array.

    Raises:
        TypeError: torch has no such dtype.
        ModuleNotFoundError: torch is not installed.
    """
    import torch

    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: torch has no dtype for arrays of {array.dtype}. Make it a native integer, float or bool in the "
            "transform, or take it out of the batch"
        ) from error
