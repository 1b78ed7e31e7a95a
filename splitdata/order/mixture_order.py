"""The order of a mixture: position -> record, each source in an order and in epochs of its own.

The stream of a mixture has no end; an epoch is a stretch of it, and the next one goes on where it has stopped.

    epoch e, position p ──> q = e * length + p ── blend.py ──> source, index
                            index ──> pass = index div n, place = index mod n     n: records of the source
                            order of (source, pass), place ──> record of the source ──> + first number of the source

Records of all sources are numbered end to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from splitdata.order.counts import checked_count
from splitdata.order.epoch_order import Order, Shuffle, epoch_order, global_permutation
from splitdata.order.permutation import Permutation, derive_key
from splitdata.order.stream_order import StreamOrder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splitdata.order.bin_layout import BinLayout
    from splitdata.order.blend import Blend

__all__ = ["MixedSource", "Mixing", "MixtureOrder", "Until", "epoch_length"]

Until: TypeAlias = Literal["first", "last"] | int

# Orders of sources that an order of an epoch keeps, beside one of each: small sources have many passes.
_MAX_ORDERS: Final = 256


@dataclass(frozen=True)
class MixedSource:
    """A source of a mixture, as its order sees it.

    Attributes:
        name: Its randomness is keyed by it.
        num_records: Its length.
        bins: Where its records are; for shuffle="bins".
    """

    name: str
    num_records: int
    bins: BinLayout | None = None


@dataclass(frozen=True)
class Mixing:
    """All that decides the order of a mixture but for the seed and the kind of shuffle.

    Attributes:
        blend: Source and index of each position.
        sources: In the order of the shares.
        length: Positions of an epoch.
    """

    blend: Blend
    sources: tuple[MixedSource, ...]
    length: int

    def order(self, shuffle: Shuffle, *, seed: int, epoch: int, interleave: int) -> MixtureOrder:
        """Return the order of one epoch."""
        return MixtureOrder(self, shuffle, seed=seed, epoch=epoch, interleave=interleave)


def epoch_length(blend: Blend, num_records: Sequence[int], until: Until) -> int:
    """Return the positions of an epoch: all before a source repeats, until each source was whole, or so many.

    Raises:
        TypeError, ValueError: If `until` is invalid, or a source without records has a share.
    """
    if not isinstance(until, str):
        return checked_count("until", until, 1)
    if until not in ("first", "last"):
        raise ValueError(f'until must be "first", "last" or a number of samples, got {until!r}')
    ends = []
    for source, count in enumerate(num_records):
        # Of one more than there are: the first repeat.
        end = blend.position_of(source, count + 1 if until == "first" else count)
        if end is not None:
            ends.append(end - 1 if until == "first" else end)
    if not ends:
        raise ValueError("no source of the mixture ever ends: its shares become 0 before; give until=N")
    return min(ends) if until == "first" else max(ends)


class MixtureOrder(StreamOrder):
    """The order of one epoch of a mixture. Safe to share between threads."""

    def __init__(self, mixing: Mixing, shuffle: Shuffle, *, seed: int, epoch: int, interleave: int) -> None:
        super().__init__(mixing.length, epoch)
        self._mixing = mixing
        self._shuffle = shuffle
        self._seed = seed
        self._interleave = interleave
        self._num_records = np.array([source.num_records for source in mixing.sources], np.int64)
        self._first = np.cumsum(self._num_records) - self._num_records
        self._orders: dict[tuple[int, int], Order] = {}

    def records_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position, all of them in range."""
        sources, indexes = self._mixing.blend.locate(positions + self.start)
        # A radix sort. In a source positions keep their order, in which passes usually follow each other.
        by_source = np.argsort(sources, kind="stable")
        sources, indexes = sources[by_source], indexes[by_source]
        passes, places = np.divmod(indexes, self._num_records[sources])
        is_first = np.ones(len(positions), bool)
        is_first[1:] = (sources[1:] != sources[:-1]) | (passes[1:] != passes[:-1])
        begins = np.flatnonzero(is_first)
        orders = [
            self._order(source, number)
            for source, number in zip(sources[begins].tolist(), passes[begins].tolist(), strict=True)
        ]
        records = np.empty(len(positions), np.int64)
        records[by_source] = self._first[sources] + _of_several(orders, begins, places)
        return records

    def _order(self, source: int, number: int) -> Order:
        """Return the order of a pass of a source."""
        order = self._orders.get((source, number))
        if order is None:
            if len(self._orders) >= _MAX_ORDERS + len(self._mixing.sources):
                self._orders.clear()
            mixed = self._mixing.sources[source]
            seed = derive_key(self._seed, mixed.name, "source")
            if self._shuffle == "global":
                order = global_permutation(mixed.num_records, seed, number)
            else:
                order = epoch_order(
                    self._shuffle,
                    mixed.num_records,
                    seed=seed,
                    epoch=number,
                    interleave=self._interleave,
                    bins=mixed.bins,
                )
            self._orders[source, number] = order
        return order


def _of_several(orders: list[Order], begins: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the records of places that are of one order after the other, each beginning where it is said."""
    ends = np.append(begins[1:], len(places))
    permutations = [order for order in orders if isinstance(order, Permutation)]
    if len(permutations) == len(orders):
        return Permutation.of_several(permutations, ends - begins, places)
    records = np.empty_like(places)
    for order, begin, end in zip(orders, begins.tolist(), ends.tolist(), strict=True):
        records[begin:end] = order(places[begin:end])
    return records
