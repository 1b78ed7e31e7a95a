"""Limits how many elements without bytes an array may have: no length in the data bounds what its shape claims.

    (0, 224, 224)      fine: no rows                    (2^40, 0)  2^40 rows of nothing: a list of them has no end
    "S0", "V0"         elements of no bytes themselves, of which copying 2^40 takes hours

Whoever reads a record must be able to look at its arrays in any way numpy has, so these are bounded by a number.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from splitdata.errors import FormatError
from splitdata.samples import sample_spec

if TYPE_CHECKING:
    import numpy as np

__all__ = ["check_extents", "check_fields"]


def check_extents(shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse an array of too many rows or elements that have no bytes.

    Raises:
        FormatError: If it has more than 2^20 of them.
    """
    if 0 in shape:
        number = prod(shape[: shape.index(0)])
    elif not itemsize:
        number = prod(shape)
    else:
        return
    if number > sample_spec.MAX_EMPTY_ELEMENTS:
        raise FormatError(
            f"an array of shape {shape} has {number} parts without bytes, the limit is {sample_spec.MAX_EMPTY_ELEMENTS}"
        )


def check_fields(dtype: np.dtype[Any]) -> None:
    """Refuse a data type that has such arrays as fields.

    Raises:
        FormatError: If one of them has more than 2^20 parts without bytes.
    """
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        check_extents(shape, base.itemsize)
        check_fields(base)
    for name in dtype.names or ():
        check_fields(dtype[name])
