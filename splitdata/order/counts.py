"""Checks counts that are given as arguments: ints that are large enough, and nothing that only looks like an int.

True or 3.0 in the place of a count is a mistake of the caller's, found here and not many steps later.

    3, numpy.int64(3) ──> 3        True, 3.0, "3", None ──> TypeError        0 where 1 is the least ──> ValueError
"""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = ["MAX_LANES", "checked_count"]

MAX_LANES: Final = 1 << 20
"""Of an order, and ranks of a job: each lane takes some 50 bytes in every worker."""


def checked_count(name: str, value: object, least: int) -> int:
    """Return the value as an int.

    Args:
        name: What the message calls it.
        value: As a user passed it.
        least: The smallest that is allowed.

    Raises:
        TypeError: If it is not an int (a bool does not count as one).
        ValueError: If it is less than `least`.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {value}")
    return int(value)
