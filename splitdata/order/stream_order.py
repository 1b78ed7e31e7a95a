"""An order whose epochs are stretches of one stream without end: a record may come in it more than once.

    epoch e, position p ──> e * num_positions + p     place in the stream

The place tells two uses of a record apart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["StreamOrder", "checked_range"]


def checked_range(positions: NDArray[np.int64], num_positions: int) -> NDArray[np.int64]:
    """Return the positions.

    Raises:
        IndexError: If one is not in range(num_positions).
    """
    if len(positions) and (positions.min() < 0 or positions.max() >= num_positions):
        outside = positions[(positions < 0) | (positions >= num_positions)]
        raise IndexError(f"position {outside[0]} is out of range: the epoch has {num_positions}")
    return positions


class StreamOrder(ABC):
    """The order of one epoch; an Order of epoch_order.py.

    Attributes:
        num_positions: Of the epoch; all epochs have as many.
        start: Place in the stream of its first.
    """

    def __init__(self, num_positions: int, epoch: int) -> None:
        self.num_positions = num_positions
        self.start = epoch * num_positions

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position, int64.

        Raises:
            IndexError: If a position is not in range(num_positions).
        """
        return self.records_at(checked_range(positions, self.num_positions))

    @abstractmethod
    def records_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position, all of them in range."""
