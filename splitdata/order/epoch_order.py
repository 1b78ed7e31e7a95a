"""The order of one epoch: position -> record, for every kind of shuffle.

All are pure functions of (seed, epoch, position): nothing that is shuffled is ever stored.

    shuffle=False        position p ──────────────────────────────────> record p
    shuffle="global"     position p ── permutation.py ────────────────> any record
    shuffle=Window(w)    position p ── window.py ─────────────────────> a record within w of p
    shuffle="bins"       position p ── lane, place ── bin_shuffle.py ─> a record of one of the bins that are open
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np

from splitdata.order.bin_shuffle import BinShuffle
from splitdata.order.counts import checked_count
from splitdata.order.permutation import Permutation, derive_key
from splitdata.order.stream_order import checked_range
from splitdata.order.window import Window, WindowOrder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.order.bin_layout import BinLayout

__all__ = ["Order", "Shuffle", "epoch_order", "global_permutation"]

# What a user may ask for.
Shuffle: TypeAlias = Literal[False, "global", "bins"] | Window


class Order(Protocol):
    """Which record each position of one epoch has; safe to share between threads.

    What a position has never depends on which others are asked for, or in what order.
    """

    @property
    def num_positions(self) -> int:
        """Positions of the epoch."""

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position, int64.

        Fastest for some thousand positions at a time, that lie near each other.

        Raises:
            IndexError: If a position is not in range(num_positions).
        """


def epoch_order(
    shuffle: Shuffle,
    num_records: int,
    *,
    seed: int,
    epoch: int,
    lanes: int = 1,
    interleave: int = 4,
    bins: BinLayout | None = None,
) -> Order:
    """Return the order of one epoch: a few numbers, at any number of records.

    Args:
        shuffle: The kind.
        num_records: Records of the dataset.
        seed: An int of 0 or more.
        epoch: Another one has another order, except where nothing is shuffled.
        lanes: With "bins": position p is in lane p mod lanes, and each lane has bins of its own. As many as
            there are ranks let each rank read other bins.
        interleave: With "bins": how many are mixed with each other in a lane.
        bins: With "bins": where their records are.

    Raises:
        TypeError, ValueError: If an argument is invalid.
    """
    num_records = checked_count("num_records", num_records, 0)
    epoch = checked_count("epoch", epoch, 0)
    # Validate the seed even if it is not used, so that a bad one fails early.
    derive_key(seed)
    if shuffle is False:
        return _CheckedOrder(num_records, np.ndarray.copy)
    if isinstance(shuffle, Window):
        return _CheckedOrder(num_records, WindowOrder(num_records, shuffle.size, derive_key(seed, epoch, "window")))
    if shuffle == "global":
        return _CheckedOrder(num_records, global_permutation(num_records, seed, epoch))
    if shuffle == "bins":
        return _CheckedOrder(num_records, _by_bins(num_records, bins, interleave, seed, epoch, lanes))
    raise ValueError(f"shuffle must be False, 'global', 'bins' or Window(size), got {shuffle!r}")


def global_permutation(num_records: int, seed: int, epoch: int) -> Permutation:
    """Return what the order of an epoch is with shuffle="global"."""
    return Permutation(num_records, derive_key(seed, epoch, "global"))


def _by_bins(
    num_records: int, bins: BinLayout | None, interleave: int, seed: int, epoch: int, lanes: int
) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    if bins is None:
        raise ValueError("shuffle='bins' needs to know where the records of each bin are, and was not told: bins=None")
    if bins.num_records != num_records:
        raise ValueError(f"the bins hold {bins.num_records} records, not the {num_records} that are to be shuffled")
    shuffle = BinShuffle(bins.counts, interleave=interleave, seed=seed, epoch=epoch, lanes=lanes)
    return lambda positions: bins.positions(*shuffle.locate(positions))


class _CheckedOrder:
    """A function of positions that refuses those that there are not."""

    def __init__(self, num_positions: int, record_at: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> None:
        self.num_positions = num_positions
        self._record_at = record_at

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._record_at(checked_range(positions, self.num_positions))
