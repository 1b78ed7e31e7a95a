"""Partition: which rank takes which positions of an epoch, in which step.

    14 positions, world_size 2, batch_size 3                       tail:  pad   drop   keep

    strided      rank 0    0 2 4  |  6  8 10  |  12                       12     -      12
                 rank 1    1 3 5  |  7  9 11  |  13                       13     -      13

    contiguous   rank 0    0 1 2  |  3  4  5  |   6                        6     -       6
                 rank 1    7 8 9  | 10 11 12  |  13                       13     -      13

Strided, a step covers positions that follow each other, whatever the number of ranks. So one number says
what all of them have seen, and any other strided partition goes on from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EndlessPartition", "Partition", "Tail"]

Tail = Literal["pad", "drop", "keep"]

_TAILS: Final = ("pad", "drop", "keep")


class Partition:
    """The steps of one epoch for every rank. Holds a few numbers; safe to share between threads.

    Strided, rank r takes the positions p with p mod world_size == r, and step s covers the positions from
    start + s * batch_size * world_size up to those of the next. Contiguous, rank r owns the positions from
    r * c up to (r + 1) * c, c = ceil(num_positions / world_size); the last ranks may own fewer.

    The tail is what follows the last full step. "pad": every rank takes equally many positions, as few as
    cover the rest; at most `world_size - 1` of them repeat others, as position p past the end is position
    p mod num_positions. "drop": it is left out; contiguous, the rank that owns least ends the epoch for all.
    "keep": nothing is repeated or lost, and ranks may differ in the last step, in whether they have it, and
    contiguous by as much as they own less.

    Attributes:
        num_positions, batch_size, world_size, tail, start, contiguous: As given.
        num_steps: Steps from `start` to the end of the epoch; with "keep" of the rank that has most.
    """

    def __init__(
        self,
        num_positions: int,
        *,
        batch_size: int,
        world_size: int,
        tail: Tail = "pad",
        start: int = 0,
        contiguous: bool = False,
    ) -> None:
        """Divide the positions from `start` on.

        Args:
            num_positions: Of the whole epoch.
            batch_size: Positions of a rank in a step.
            world_size: Number of ranks.
            tail: What becomes of the positions after the last full step.
            start: What `consumed` of an earlier partition of the same epoch said; contiguous, of one among
                as many ranks.
            contiguous: Give each rank one stretch of the epoch.

        Raises:
            TypeError, ValueError: If an argument is invalid.
        """
        self.num_positions = checked_count("num_positions", num_positions, 0)
        self.batch_size = checked_count("batch_size", batch_size, 1)
        self.world_size = checked_count("world_size", world_size, 1)
        self.start = checked_count("start", start, 0)
        if tail not in _TAILS:
            raise ValueError(f"tail must be 'pad', 'drop' or 'keep', got {tail!r}")
        if self.start > self.num_positions:
            raise ValueError(f"an epoch of {num_positions} positions cannot start at position {start}")
        self.tail: Tail = tail
        self.contiguous = contiguous
        if not contiguous:
            self._most = -(-(self.num_positions - self.start) // self.world_size)
        else:
            self._share = -(-self.num_positions // self.world_size)
            self._taken, unequal = divmod(self.start, self.world_size)
            if self.start == self.num_positions:
                self._taken = self._share
            elif unequal:
                raise ValueError(
                    f"a contiguous epoch of {world_size} ranks cannot start at position {start}, which is no "
                    f"multiple of {world_size}: go on with as many ranks as it was left with, or start it anew"
                )
            self._most = self._share - self._taken
        if tail == "drop":
            self.num_steps = len(self._owned(self.world_size - 1 if contiguous else self._last_rank())) // batch_size
        else:
            self.num_steps = -(-self._most // self.batch_size)

    def num_batches(self, rank: int) -> int:
        """Return how many steps have positions for a rank: `num_steps`, or with "keep" one fewer for some."""
        if self.tail != "keep":
            self._check_rank(rank)
            return self.num_steps
        return -(-len(self.range_of(rank)) // self.batch_size)

    def range_of(self, rank: int) -> range:
        """Return the positions that a rank takes from `start` on, in order, without those that pad."""
        self._check_rank(rank)
        owned = self._owned(rank)
        return owned[: self.num_steps * self.batch_size] if self.tail == "drop" else owned

    def positions(self, step: int, rank: int) -> NDArray[np.int64]:
        """Return the positions of a rank in a step, 0-based from `start`; none where it has no batch.

        Raises:
            IndexError: If there is no such step.
            ValueError: If there is no such rank.
        """
        return self.positions_of(step, step + 1, rank)[0]

    def positions_of(self, first_step: int, stop_step: int, rank: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the positions of a rank in several steps on end, and how many of them each step has.

        Raises:
            IndexError: If there are no such steps.
            ValueError: If there is no such rank.
        """
        self._check_rank(rank)
        if not 0 <= first_step <= stop_step <= self.num_steps:
            raise IndexError(f"steps {first_step} to {stop_step} are out of range: there are {self.num_steps}")
        owned = self._owned(rank)
        num_positions = self._most if self.tail == "pad" else len(owned)
        ends = np.arange(first_step, stop_step + 1, dtype=np.int64) * self.batch_size
        ends = np.minimum(ends, num_positions)
        positions = owned.start + owned.step * np.arange(ends[0], ends[-1], dtype=np.int64)
        if len(positions) and positions[-1] >= self.num_positions:
            positions %= self.num_positions
        return positions, np.diff(ends)

    def consumed(self, step: int) -> int:
        """Return how many positions of the epoch all ranks together have had before a step.

        After the last step it is all of them, whatever the tail. Contiguous it counts as if all ranks owned
        equally many.
        """
        if not 0 <= step <= self.num_steps:
            raise IndexError(f"step {step} is out of range: there are {self.num_steps}")
        if step == self.num_steps:
            return self.num_positions
        return self.start + step * self.batch_size * self.world_size

    def _last_rank(self) -> int:
        """Return the rank whose turn is last in each step: none owns less."""
        return (self.start - 1) % self.world_size

    def _owned(self, rank: int) -> range:
        """Return the positions of a rank from `start` to the end of the epoch, or of its stretch."""
        if self.contiguous:
            first = rank * self._share + self._taken
            return range(first, max(first, min(self.num_positions, (rank + 1) * self._share)))
        first = self.start + (rank - self.start) % self.world_size
        return range(first, max(first, self.num_positions), self.world_size)

    def _check_rank(self, rank: int) -> None:
        if not 0 <= rank < self.world_size:
            raise ValueError(f"rank must be from 0 to {self.world_size - 1}, got {rank}")


class EndlessPartition:
    """The steps of a stream that runs on from epoch to epoch, all of them full.

    Stream position q is position q mod num_positions of epoch q div num_positions. Rank r takes those with
    q mod world_size == r. Holds a few numbers; safe to share between threads.

    Attributes:
        num_positions, batch_size, world_size, start: As given.
    """

    def __init__(self, num_positions: int, *, batch_size: int, world_size: int, start: int = 0) -> None:
        """Divide the stream from `start` on.

        Args:
            num_positions: Of one epoch.
            batch_size: Positions of a rank in a step.
            world_size: Number of ranks.
            start: What `consumed` of an earlier partition said, counted from the beginning of epoch 0.

        Raises:
            TypeError, ValueError: If an argument is invalid; an epoch has one position or more.
        """
        self.num_positions = checked_count("num_positions", num_positions, 1)
        self.batch_size = checked_count("batch_size", batch_size, 1)
        self.world_size = checked_count("world_size", world_size, 1)
        self.start = checked_count("start", start, 0)

    def positions(self, step: int, rank: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return epochs and positions in them, `batch_size` of each, of a rank in a step, 0-based from `start`."""
        epochs, positions, _ = self.positions_of(step, step + 1, rank)
        return epochs, positions

    def positions_of(
        self, first_step: int, stop_step: int, rank: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return the same for several steps on end, and how many positions each step has.

        Raises:
            IndexError: If there are no such steps.
            ValueError: If there is no such rank.
        """
        self._check_rank(rank)
        if not 0 <= first_step <= stop_step:
            raise IndexError(f"steps {first_step} to {stop_step} are out of range: they count from 0 upwards")
        first = self.start + (rank - self.start) % self.world_size
        places = np.arange(first_step * self.batch_size, stop_step * self.batch_size, dtype=np.int64)
        epochs, positions = np.divmod(first + self.world_size * places, self.num_positions)
        return epochs, positions, np.full(stop_step - first_step, self.batch_size, np.int64)

    def consumed(self, step: int) -> int:
        """Return how many stream positions all ranks together have had before a step, from epoch 0 on."""
        return self.start + step * self.batch_size * self.world_size

    def range_of(self, rank: int, epoch: int) -> range:
        """Return the positions of an epoch that a rank takes from `start` on, in order."""
        self._check_rank(rank)
        begin = epoch * self.num_positions
        first = max(self.start, begin)
        first += (rank - first) % self.world_size
        return range(first - begin, max(first - begin, self.num_positions), self.world_size)

    def _check_rank(self, rank: int) -> None:
        if not 0 <= rank < self.world_size:
            raise ValueError(f"rank must be from 0 to {self.world_size - 1}, got {rank}")
