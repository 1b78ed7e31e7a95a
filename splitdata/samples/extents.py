"""Limits how many values arrays have beyond what their bytes pay for: no length in the data bounds what shapes claim.

    (0, 224, 224)      fine: no rows                    (2^40, 0)  2^40 rows of nothing: a list of them has no end
    "S0", "V0"         elements of no bytes themselves, of which copying 2^40 takes hours
    fields that overlap: 30,000 numbers out of each byte

Whoever reads a record must be able to look at its arrays in any way numpy has, so these are bounded by a number.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

from splitdata.errors import FormatError
from splitdata.samples import sample_spec

if TYPE_CHECKING:
    import numpy as np

__all__ = ["check_array", "check_surplus", "element_surplus", "surplus"]

# So many values may share a byte before they count: unions do that.
_VALUES_OF_BYTE: Final = 8


def element_surplus(dtype: np.dtype[Any]) -> int:
    """Return how many values one element has beyond those that its bytes pay for: of most types none."""
    if dtype.names is None and dtype.itemsize:
        return 0
    return max(0, _values(dtype) - _VALUES_OF_BYTE * dtype.itemsize)


def surplus(shape: tuple[int, ...], of_element: int) -> int:
    """Return how many values an array has beyond those that its bytes pay for, rows of nothing among them."""
    if 0 in shape:
        return prod(shape[: shape.index(0)])
    return prod(shape) * of_element


def check_surplus(number: int) -> None:
    """Refuse arrays that together have too many values beyond their bytes.

    Raises:
        FormatError: If these are more than 2^20.
    """
    if number > sample_spec.MAX_EMPTY_ELEMENTS:
        raise FormatError(
            f"arrays have {number} rows or values beyond what their bytes hold, the limit is "
            f"{sample_spec.MAX_EMPTY_ELEMENTS}"
        )


def check_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse one array that has too many values beyond its bytes; raises as `check_surplus`."""
    check_surplus(surplus(shape, element_surplus(dtype)))


def _values(dtype: np.dtype[Any]) -> int:
    """Return how many values one element has: at least one."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return surplus(shape, _values(base))
    if dtype.names is None:
        # Fields may lie on each other: texts of megabytes in each of thousands.
        return max(1, dtype.itemsize // 8)
    return max(1, sum(_values(dtype[name]) for name in dtype.names))
