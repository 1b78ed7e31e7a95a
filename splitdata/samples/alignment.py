"""Makes arrays whose elements lie at addresses that their type allows; others are copied.

numpy reads elements at any address. torch and other libraries, to which arrays are handed on, load
complex128 with instructions that end the process where it does not lie at a multiple of 16.

    buffer at any byte ──> array ── address a multiple of what its type needs? ── yes: the view itself
                                                                           `- no: a copy
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["place_rightly", "placer"]

# Of these kinds an element is loaded as a whole: it should lie at a multiple of its size.
_WHOLE: Final = "biufcmM"


def placer(dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], NDArray[Any]] | None:
    """Return what makes an array of this type lie rightly; None where it does at any address."""
    needed = _needed(dtype)
    if needed == 1:
        return None
    if needed > dtype.alignment:
        return lambda array: array if array.ctypes.data % needed == 0 else _copy(array)
    # Ten times quicker than asking for the address.
    return lambda array: array if array.flags.aligned else _copy(array)


def place_rightly(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array, or a copy if it does not lie as its type needs; read-only as it is."""
    place = placer(array.dtype)
    return array if place is None else place(array)


def _copy(array: NDArray[Any]) -> NDArray[Any]:
    copied = array.copy("K")
    copied.flags.writeable = array.flags.writeable
    return copied


def _needed(dtype: np.dtype[Any]) -> int:
    """Return what addresses of elements should be multiples of."""
    if dtype.names is not None:
        return max([dtype.alignment, *(_needed(dtype[name]) for name in dtype.names)])
    base = dtype.base
    if base.names is not None:
        return _needed(base)
    return base.itemsize if base.kind in _WHOLE else base.alignment
