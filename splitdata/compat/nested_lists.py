"""Batches in the form of the older loaders: nested lists of arrays and tensors.

They know lists only, and give a label of one number a sample as one axis.

    samples   (x f32[3, 8], (y u8[5], 7))            of collate    (f32[n, 3, 8], (u8[n, 5], i64[n]))
                                                     here          [f32[n, 3, 8], [u8[n, 5], i64[n]]]
    tensors of one element                           of collate    tensor[n, 1]
                                                     here          tensor[n]
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["as_nested_lists"]


def as_nested_lists(batch: Any, *, keeps_inner_axes: bool = False) -> Any:
    """Return a batch of `collate` with its tuples as lists, and tensors of one element a sample as tensor[n].

    Arrays keep their shape, as they did there: those of shape (1,) give (n, 1). Costs a microsecond or so.

    Args:
        batch: Stays as it is; its arrays and tensors are shared.
        keeps_inner_axes: Of a tensor of one element only the first axis goes: (1, 1) gives (n, 1).
    """
    if isinstance(batch, list | tuple):
        return [as_nested_lists(part, keeps_inner_axes=keeps_inner_axes) for part in batch]
    if isinstance(batch, dict):
        return {key: as_nested_lists(part, keeps_inner_axes=keeps_inner_axes) for key, part in batch.items()}
    if not isinstance(batch, getattr(sys.modules.get("torch"), "Tensor", ())):
        return batch
    tensor: Any = batch
    if tensor.dim() < 2 or tensor.numel() != tensor.shape[0]:
        return tensor
    return tensor.reshape(tensor.shape[0], *tensor.shape[2:]) if keeps_inner_axes else tensor.reshape(-1)
