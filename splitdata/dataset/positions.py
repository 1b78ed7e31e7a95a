"""What a user may write in brackets, as positions.

-1, numpy.int64(3)      one position
slice(2, 9, 3)          a range of them
[4, -1, 4], int array   an int64 array, in that order
"""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import NDArray

__all__ = ["checked_position", "checked_positions"]


def checked_position(index: object, num_records: int) -> int:
    """Return a position in range for an index that may count from the end.

    Raises:
        TypeError: If it is no integer (a bool is none).
        IndexError: If it is out of range.
    """
    if isinstance(index, (bool, np.bool_)):
        raise TypeError(f"positions are integers, got {index!r}")
    try:
        position = operator.index(index)  # type: ignore[arg-type]  # what it refuses is answered below
    except TypeError:
        raise TypeError(f"positions are integers, slices or sequences of integers, got {index!r}") from None
    if not -num_records <= position < num_records:
        raise IndexError(f"position {position} is out of range: there are {num_records} records")
    return position % num_records if position < 0 else position


def checked_positions(indices: object, num_records: int) -> NDArray[np.int64]:
    """Return positions in range, int64, for a slice or any sequence of integers.

    Raises:
        TypeError: If they are no integers in one dimension.
        IndexError: If one is out of range.
    """
    if isinstance(indices, slice):
        return np.arange(*indices.indices(num_records), dtype=np.int64)
    given = np.asarray(indices)
    if given.size == 0 and given.ndim == 1:
        return np.empty(0, np.int64)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise TypeError(f"positions are one row of integers, got {given.dtype} of shape {given.shape}")
    lowest, highest = int(given.min()), int(given.max())
    if lowest < -num_records or highest >= num_records:
        wrong = highest if highest >= num_records else lowest
        raise IndexError(f"position {wrong} is out of range: there are {num_records} records")
    positions = given.astype(np.int64)
    return np.where(positions < 0, positions + num_records, positions) if lowest < 0 else positions
