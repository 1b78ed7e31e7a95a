"""Decides what counts as positions, wherever a user may give some: one, or a row of them.

It asks for `__index__`, `ndim` and `__array__`, and so needs no torch.

    -1, numpy.int64(3), torch.tensor(3)                 one position
    slice(2, 9, 3), range(4)                            a range of them
    [4, -1, 4], (0, 2), array or tensor of ints         an int64 array, in that order
    [True, False, ...], array or tensor of bools        a mask: where it is true
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["are_several", "checked_position", "checked_positions"]


def are_several(index: object) -> bool:
    """Say whether this is a row of positions, valid or not; everything else is taken for a single position."""
    if isinstance(index, (slice, list, tuple, range)):
        return True
    if isinstance(index, (str, bytes, bytearray)):
        return False
    return _num_dimensions(index) > 0 or isinstance(index, Sequence)


def checked_position(index: object, num_records: int) -> int:
    """Return a position in range for an index that may count from the end.

    Raises:
        TypeError: If it is not an integer (a bool does not count as one).
        IndexError: If it is out of range.
    """
    if isinstance(index, bool) or str(getattr(index, "dtype", "")).endswith("bool") or _num_dimensions(index):
        raise TypeError(f"a position is an integer, got {index!r}")
    try:
        position = operator.index(index)  # type: ignore[arg-type]  # what it refuses is answered below
    except TypeError:
        raise TypeError(f"positions are integers, slices or sequences of integers, got {index!r}") from None
    if not -num_records <= position < num_records:
        raise IndexError(f"position {position} is out of range: there are {num_records} records")
    return position % num_records if position < 0 else position


def checked_positions(
    indices: object, num_records: int, *, name: str = "positions", from_end: bool = True
) -> NDArray[np.int64]:
    """Return positions in range, int64, for whatever `are_several` takes for a row.

    Args:
        indices: Those positions.
        num_records: Of the dataset.
        name: How messages call them.
        from_end: Whether negative ones count from the end, and bools are a mask; else they are refused.

    Raises:
        TypeError: If they are not integers or bools in one dimension.
        IndexError: If one is out of range, or a mask has another length than the dataset.
    """
    if isinstance(indices, slice):
        return np.arange(*indices.indices(num_records), dtype=np.int64)
    given = np.arange(indices.start, indices.stop, indices.step) if isinstance(indices, range) else _row(indices, name)
    if given.size == 0:
        return np.empty(0, np.int64)
    if given.dtype == np.bool_ and from_end:
        if len(given) != num_records:
            raise IndexError(f"{name} are a mask of {len(given)} bools, and there are {num_records} records")
        return np.flatnonzero(given).astype(np.int64)
    if given.dtype.kind not in "iu":
        raise TypeError(f"{name} are one row of integers, got {given.dtype} of shape {given.shape}")
    lowest, highest = int(given.min()), int(given.max())
    if lowest < (-num_records if from_end else 0) or highest >= num_records:
        wrong = highest if highest >= num_records else lowest
        raise IndexError(f"{name} hold {wrong}, which is out of range: there are {num_records} records")
    positions = given.astype(np.int64)
    return np.where(positions < 0, positions + num_records, positions) if lowest < 0 else positions


def _num_dimensions(index: object) -> int:
    ndim: object = getattr(index, "ndim", 0)
    return ndim if isinstance(ndim, int) else 0


def _row(indices: object, name: str) -> NDArray[np.generic]:
    """Return any row of numbers as an array."""
    is_list = isinstance(indices, (list, tuple))
    if not is_list and not are_several(indices):
        raise TypeError(f"{name} are a slice, or a row of integers or bools, got {indices!r}")
    # numpy would take True for 1 beside other numbers.
    kinds = set(map(type, indices)) if isinstance(indices, (list, tuple)) else set()
    if len(kinds) > 1 and kinds & {bool, np.bool_} and not kinds <= {bool, np.bool_}:
        raise TypeError(f"{name} are integers, or a mask of bools, not both")
    given = np.asarray(indices)
    if given.ndim != 1:
        raise TypeError(f"{name} are one row of integers, got {given.dtype} of shape {given.shape}")
    if given.size and (given.dtype.kind == "O" or (is_list and given.dtype.kind == "f")):
        # numpy takes signed and unsigned numbers together for floats, and has none for what 64 bits do not hold.
        try:
            numbers = [operator.index(each) for each in indices]  # type: ignore[attr-defined]  # rows are iterable
        except TypeError:
            raise TypeError(f"{name} are one row of integers, got {given.dtype} of shape {given.shape}") from None
        if beyond := [each for each in numbers if not -(1 << 63) <= each < 1 << 63]:
            raise IndexError(f"{name} hold {beyond[0]}, which is out of range: no dataset has so many records")
        return np.array(numbers, np.int64)
    return given
