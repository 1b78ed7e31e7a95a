"""Records as often as their weights say: a function of (seed, epoch, position), exact in every epoch.

An epoch of N samples is N points on the sum of all weights, equally far from each other; where the first of them lies
is drawn for each epoch. A record has the points that fall into its stretch, as many as its share of N rounded down or
up. The stretches lie in random order, and so do the points in the epoch.

    position p ──permuted──> point k    (k * total + offset of the epoch) div N
                                             |                  |                  |                 |
    sums of weights, scattered      |  record 4  |     record 0     | 3 |    record 1     |      record 2      |
                                             searchsorted ──> place ──scatter──> record

Without replacement a record has one point at most: those whose share of N is more than one come once, for certain, and
the others share the rest of the points. It is systematic sampling: no record can be missed that weighs as much as one
point, and what is drawn is right on average in each epoch, for each position.

Source: W. G. Madow, On the Theory of Systematic Sampling II, 1949.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash

from splitdata.order.counts import checked_count
from splitdata.order.permutation import Permutation, derive_key
from splitdata.order.stream_order import StreamOrder

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["WeightedOrder", "Weighting"]

_MAX_SAMPLES: Final = 1 << 31
# Of all weights together; beside it there is room for the sum of two.
_TOTAL_BITS: Final = 62


class Weighting:
    """Weights of records, made ready to be drawn by. Never changes; safe to share; pickles; takes 8 bytes a record.

    Attributes:
        length: Samples of an epoch.
        digest: Text that names all that the samples depend on, but seed and epoch.
    """

    def __init__(
        self,
        weights: NDArray[np.generic],
        *,
        num_samples: int | None = None,
        replacement: bool = True,
        scatters: bool = True,
        seed: int = 0,
    ) -> None:
        """Sum the weights up: O(n) once.

        Args:
            weights: Of each record, 0 or more.
            num_samples: Of an epoch; None: as many as there are records.
            replacement: Whether a record may come more than once in an epoch.
            scatters: False: each epoch has the records in ascending order, drawn alike.
            seed: Of the order.

        Raises:
            TypeError, ValueError: If a weight is no number of 0 or more, all are 0, or there are fewer records than are
                to be drawn without replacement.
        """
        whole = _as_integers(weights)
        count = len(whole)
        self.length = count if num_samples is None else checked_count("num_samples", num_samples, 1)
        if max(self.length, count) > _MAX_SAMPLES:
            raise ValueError(f"an epoch by weights has at most {_MAX_SAMPLES} records and samples, got {self.length}")
        self._scatters = scatters
        self._seed = seed
        hashed = xxhash.xxh3_64_hexdigest(whole.astype("<i8").tobytes())
        self.digest = f"{self.length} by weights {hashed}{'' if replacement else ', without replacement'}"
        self._certain = np.empty(0, np.int64)
        if not replacement:
            self._certain = self._take_certain(whole)
        self._scatter: Callable[[NDArray[np.int64]], NDArray[np.int64]] = np.ndarray.copy
        if scatters:
            self._scatter = Permutation(count, derive_key(seed, "weights"))
            whole = whole[self._scatter(np.arange(count, dtype=np.int64))]
        self._sums: NDArray[np.int64] = np.cumsum(whole)

    def _take_certain(self, whole: NDArray[np.int64]) -> NDArray[np.int64]:
        """Set the weights of records that come for certain to 0, and return these."""
        possible = int(np.count_nonzero(whole))
        if self.length > possible:
            raise ValueError(
                f"without replacement an epoch has at most as many samples as records with a weight, {possible}, got "
                f"num_samples={self.length}"
            )
        descending = np.argsort(-whole, kind="stable")
        sorted_weights = whole[descending]
        rest = np.cumsum(sorted_weights[::-1])[::-1]
        # Of those that are left each would have one point or less: the first for which that is so.
        shares = (self.length - np.arange(len(whole))) * (sorted_weights / np.maximum(rest, 1))
        num_certain = int(np.argmax(shares <= 1)) if (shares <= 1).any() else self.length
        # In whole numbers: a float may lie on the wrong side of one.
        while (self.length - num_certain) * int(sorted_weights[num_certain]) > int(rest[num_certain]):
            num_certain += 1
        certain = np.sort(descending[:num_certain])
        whole[certain] = 0
        return certain

    def order(self, epoch: int) -> WeightedOrder:
        """Return the order of an epoch."""
        return WeightedOrder(self, epoch)

    def records_at(self, positions: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the record at each position of an epoch."""
        slots = positions
        if self._scatters:
            slots = Permutation(self.length, derive_key(self._seed, epoch, "slots"))(positions)
        num_certain = len(self._certain)
        if not num_certain:
            return self._drawn(slots, epoch)
        records = np.empty(len(slots), np.int64)
        is_certain = slots < num_certain
        records[is_certain] = self._certain[slots[is_certain]]
        records[~is_certain] = self._drawn(slots[~is_certain] - num_certain, epoch)
        return records

    def _drawn(self, points: NDArray[np.int64], epoch: int) -> NDArray[np.int64]:
        """Return the record of each of the points."""
        if not len(points):
            return points
        total, num_points = int(self._sums[-1]), self.length - len(self._certain)
        offset = derive_key(self._seed, epoch, "offset") % total if self._scatters else total // 2
        # (k * total + offset) div num_points, of which the product would not fit into 64 bits.
        whole, rest = divmod(total, num_points)
        places = points * whole + (points * rest + offset) // num_points
        # In ascending order: what the search touches is then in a processor's cache.
        ascending = np.argsort(places)
        found = np.empty(len(points), np.int64)
        found[ascending] = np.searchsorted(self._sums, places[ascending], "right")
        return self._scatter(found)


def _as_integers(weights: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return weights as integers in the same proportions, whose sum is below 2^62."""
    if weights.dtype.kind not in "biuf" or weights.ndim != 1:
        raise TypeError(f"weights must be one number for each record, got {weights.dtype} of shape {weights.shape}")
    numbers = weights.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(bad):
        raise ValueError(f"weight {bad[0]} must be a number of 0 or more, got {weights[bad[0]]}")
    greatest = float(numbers.max(initial=0))
    if not greatest:
        raise ValueError("all weights are 0: at least one record must have one")
    bits = _TOTAL_BITS - len(numbers).bit_length()
    if weights.dtype.kind != "f" and greatest < 1 << bits:
        return weights.astype(np.int64)
    # By a power of two, so that only what is small beside the greatest is rounded: in 2^31 parts of it, or more.
    whole = np.rint(np.ldexp(numbers, bits - math.frexp(greatest)[1])).astype(np.int64)
    whole[(whole == 0) & (numbers > 0)] = 1
    return whole


class WeightedOrder(StreamOrder):
    """The order of one epoch by weights; O(log n) a position. Safe to share between threads."""

    def __init__(self, weighting: Weighting, epoch: int) -> None:
        super().__init__(weighting.length, epoch)
        self._weighting = weighting
        self._epoch = epoch

    def records_at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record at each position, all of them in range."""
        return self._weighting.records_at(positions, self._epoch)
