"""torch's tensors as arrays and back; the one module of the codec that imports torch, in two functions.

Where torch is not installed a stored tensor comes back as the array.

    tensor ──> array of the same memory, and the type's name if numpy has no such type
    array  ──> tensor of the same memory if it may be written to, else of a copy
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from typing import TYPE_CHECKING, Any

from splitdata.samples import sample_spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["array_of", "has_torch", "is_tensor_type", "tensor_of", "tensor_over", "warn_of_bits", "why_unfit"]


def is_tensor_type(cls: type) -> bool:
    """Say whether this is torch's class of tensors; without loading torch, which a tensor has done."""
    torch = sys.modules.get("torch")
    return torch is not None and cls is getattr(torch, "Tensor", None)


def why_unfit(tensor: Any) -> str:
    """Return why a tensor cannot be stored, empty if it can."""
    torch = sys.modules["torch"]
    if tensor.device.type != "cpu":
        return f"is on {tensor.device}; move it to the CPU first"
    if tensor.is_nested:
        return "is a nested tensor; a list of its parts, tensor.unbind(), is stored"
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return f"is a tensor of layout {tensor.layout}{', quantized' * tensor.is_quantized}; only dense ones are stored"
    if tensor.requires_grad:
        return "is a tensor that requires a gradient, which is not stored; detach() it first"
    return ""


def array_of(tensor: Any) -> tuple[NDArray[Any], str]:
    """Return the memory of a tensor as an array, with the name of a type that numpy does not have, else empty.

    Raises:
        TypeError: If numpy has no such type, and its bits are not stored either.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    tensor = tensor.resolve_conj().resolve_neg()
    if name in sample_spec.TENSOR_BITS:
        torch = sys.modules["torch"]
        # A tensor with no dimensions shows its bits too.
        bits = tensor.view(torch.uint8 if tensor.element_size() == 1 else torch.int16)
        return bits.numpy().view(sample_spec.TENSOR_BITS[name]), name
    array: NDArray[Any] = tensor.numpy()
    if array.dtype.str not in sample_spec.TENSOR_DTYPES:
        raise TypeError(f"numpy shows {tensor.dtype} as {array.dtype}")
    return array, ""


def has_torch() -> bool:
    """Say whether torch is installed; it is not loaded for that."""
    return "torch" in sys.modules or importlib.util.find_spec("torch") is not None


def tensor_of(array: NDArray[Any], name: str) -> Any:
    """Return an array as a tensor; of a read-only one a copy, because tensors can always be written to."""
    import torch

    tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
    return tensor.view(getattr(torch, name)) if name else tensor


def tensor_over(array: NDArray[Any]) -> Any:
    """Return a tensor that shares an array's memory; a read-only or reversed array is copied.

    Raises:
        TypeError: torch has no such dtype.
        ModuleNotFoundError: torch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        message = "a batch of tensors needs torch: pip install 'splitdata[torch]'"
        raise ModuleNotFoundError(message, name="torch") from error
    # A tensor is always writable: torch only warns, and writes.
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"torch has no dtype for an array of {array.dtype}: make it a native integer, float or bool, or take it "
            "out of the batch"
        ) from error


def warn_of_bits(name: str, dtype: np.dtype[Any]) -> None:
    """Say that tensors come as their bits."""
    warnings.warn(
        f"torch is not installed: tensors of {name} come as arrays of their bits, {dtype}", UserWarning, stacklevel=2
    )
