"""Which source each position of a mixture has, and which of that source's samples: functions of the position.

Shares are integers. A period of P = their sum positions has exactly that many of each source, in places that are as
even as can be. Each period begins at another place of the table, and goes round: else a rank, which takes every W-th
position, would meet the same places, and sources, in each. At no position is a source two samples ahead of its share,
or behind it.

    shares (3, 1, 2)      the table    place    0  1  2  3  4  5
                                       source   a  c  a  b  c  a
                                       rank     0  0  1  0  1  2       how many of its source stand before it

    position p ── stage ──> t, r = divmod(p - start, P) ──> place = (turn[t] + r) mod P ──> source
                            index = before[stage] + t * share + rank, counted from turn[t] on

Stages follow each other: from position `start` on, other shares. Indexes run on over them, so no sample is lost or
repeated where shares change. The table is made by earliest deadline first: sample j of a source with share q may stand
in places floor(j * P / q) to ceil((j + 1) * P / q) - 1, which always is possible.

Source: R. Tijdeman, The chairman assignment problem, 1980; C. L. Liu, J. W. Layland, Scheduling Algorithms for
Multiprogramming in a Hard-Real-Time Environment, 1973.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.permutation import derive_key, keys_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["MAX_PERIOD", "MAX_SOURCES", "Blend", "Stage", "shares_of"]

MAX_PERIOD: Final = 1 << 20
"""Positions of a period: its table takes 10 bytes for each."""

MAX_SOURCES: Final = 1 << 16

# Of where periods begin. Not of a seed: how often each source was used is the same for all.
_TURNS: Final = derive_key(0, "turns of a blend")

_EXACT: Final = 1e-9
_LARGEST_EXACT: Final = 10_000


def shares_of(weights: Sequence[float], period: int | None = None) -> tuple[int, ...]:
    """Return integer shares for weights: as they are, divided by what they have in common, where they are integers.

    Args:
        weights: One for each source, 0 or more; they need not sum to one.
        period: Sum of the shares, which are rounded by largest remainder. None: the smallest of at most 10,000 that
            needs no rounding; else 65,536.

    Raises:
        TypeError, ValueError: If a weight is no number of 0 or more, none is above 0, a positive one would get no
            share, or there are too many.
    """
    if not 0 < len(weights) <= MAX_SOURCES:
        raise ValueError(f"a mixture has 1 to {MAX_SOURCES} sources, got {len(weights)}")
    for number, weight in enumerate(weights):
        if isinstance(weight, bool) or not isinstance(weight, (int, float, np.integer, np.floating)):
            raise TypeError(f"weight {number} must be a number of 0 or more, got {weight!r}")
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight {number} must be a number of 0 or more, got {weight!r}")
    total = sum(weights)
    if not total:
        raise ValueError("all weights are 0: at least one source must have a share")
    if period is None and all(float(weight).is_integer() for weight in weights):
        common = math.gcd(*(int(weight) for weight in weights))
        return _checked(tuple(int(weight) // common for weight in weights), weights)
    exact = [weight / total for weight in weights]
    return _checked(_rounded(exact, period or _smallest_period(exact)), weights)


def _smallest_period(exact: Sequence[float]) -> int:
    periods = np.arange(1, _LARGEST_EXACT + 1)
    is_whole = np.ones(len(periods), bool)
    for share in filter(None, exact):
        whole = np.rint(periods * share)
        is_whole &= (np.abs(periods * share - whole) < _EXACT * periods) & (whole > 0)
    found = np.flatnonzero(is_whole)
    return int(periods[found[0]]) if len(found) else 1 << 16


def _rounded(exact: Sequence[float], period: int) -> tuple[int, ...]:
    """Round to integers that sum up to the period; what is missing goes to those that lost most."""
    scaled = [share * period for share in exact]
    # What is whole but for the last bit of a float is not rounded down.
    shares = [math.floor(share + _EXACT * period) for share in scaled]
    by_loss = sorted(range(len(shares)), key=lambda source: (shares[source] - scaled[source], source))
    for source in by_loss[: max(0, period - sum(shares))]:
        shares[source] += 1
    return tuple(shares)


def _checked(shares: tuple[int, ...], weights: Sequence[float]) -> tuple[int, ...]:
    if sum(shares) > MAX_PERIOD:
        raise ValueError(f"the shares have a period of {sum(shares)} samples, at most {MAX_PERIOD}: use smaller ones")
    for number, (share, weight) in enumerate(zip(shares, weights, strict=True)):
        if weight and not share:
            raise ValueError(
                f"weight {number}, {weight!r}, is less than one sample in a period of {sum(shares)}: give a longer "
                "period, or 0 to leave the source out"
            )
    return shares


@dataclass(frozen=True)
class Stage:
    """What holds from a position on, until the next stage.

    Attributes:
        start: First position.
        shares: Of each source; their sum is the period.
    """

    start: int
    shares: tuple[int, ...]

    @property
    def period(self) -> int:
        """Positions after which the pattern repeats."""
        return sum(self.shares)

    @cached_property
    def table(self) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Source and rank of each place of a period."""
        sources = _earliest_deadline_first(self.shares)
        order = np.argsort(sources, kind="stable")
        ranks = np.empty(len(sources), np.int64)
        first = np.cumsum([0, *self.shares[:-1]])
        ranks[order] = np.arange(len(sources)) - np.repeat(first, self.shares)
        return sources, ranks

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        """Places of each source in the table, ascending, the sources end to end: source * period + place."""
        return np.sort(self.table[0].astype(np.int64) * self.period + np.arange(self.period))

    @cached_property
    def _first(self) -> NDArray[np.int64]:
        """Where the places of each source begin among these."""
        return np.cumsum([0, *self.shares[:-1]])

    def turns(self, periods: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the place of the table at which each period begins."""
        draws: NDArray[np.uint64] = keys_of(periods.astype(np.uint64), _TURNS) % np.uint64(self.period)
        return draws.astype(np.int64)

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Return the source of each position of the stage, and which of the source's samples in it."""
        table, ranks = self.table
        periods, offsets = np.divmod(positions, self.period)
        turns = self.turns(periods)
        places = turns + offsets
        places -= self.period * (places >= self.period)
        sources = table[places]
        shares = np.array(self.shares, np.int64)[sources]
        # What stands before the turn comes at the end of the period.
        before = np.searchsorted(self._places, sources * np.int64(self.period) + turns) - self._first[sources]
        ranks = ranks[places] - before
        ranks += shares * (ranks < 0)
        ranks += periods * shares
        return sources, ranks

    def place_of(self, source: int, index: int) -> int:
        """Return the position in the stage of a sample of a source that has a share."""
        period, rank = divmod(index, self.shares[source])
        turn = int(self.turns(np.array([period]))[0])
        first = int(self._first[source])
        places = self._places[first : first + self.shares[source]] - source * self.period
        before = int(np.searchsorted(places, turn))
        place = int(places[(before + rank) % len(places)])
        return period * self.period + (place - turn) % self.period

    def counts(self, num_positions: int) -> NDArray[np.int64]:
        """Return how many of the first positions of the stage each source has."""
        periods, rest = divmod(num_positions, self.period)
        turn = int(self.turns(np.array([periods]))[0])
        within = np.bincount(self.table[0][(turn + np.arange(rest)) % self.period], minlength=len(self.shares))
        return periods * np.array(self.shares, np.int64) + within


def _earliest_deadline_first(shares: tuple[int, ...]) -> NDArray[np.uint16]:
    period = sum(shares)
    source = np.repeat(np.arange(len(shares)), shares)
    first = np.cumsum([0, *shares[:-1]])
    number = np.arange(period) - np.repeat(first, shares)
    share = np.repeat(np.array(shares, np.int64), shares)
    release = number * period // share
    deadline = -(-(number + 1) * period // share)
    by_release = np.lexsort((source, deadline, release))
    releases = release[by_release].tolist()
    entries = list(zip(deadline[by_release].tolist(), source[by_release].tolist(), strict=True))
    waiting: list[tuple[int, int]] = []
    places = np.empty(period, np.uint16)
    taken = 0
    for place in range(period):
        while taken < period and releases[taken] <= place:
            heapq.heappush(waiting, entries[taken])
            taken += 1
        places[place] = heapq.heappop(waiting)[1]
    return places


class Blend:
    """The stages of a mixture, as functions of the position in it. Never changes; safe to share; pickles.

    Attributes:
        stages: By start; the first starts at 0.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        """Take the stages.

        Raises:
            ValueError: If the first does not start at 0, starts do not grow, or the numbers of sources differ.
        """
        if not stages or stages[0].start:
            raise ValueError("the first stage of a mixture starts at position 0")
        for earlier, later in pairwise(stages):
            if later.start <= earlier.start:
                raise ValueError(f"the stages start at {earlier.start} and then at {later.start}: starts must grow")
            if len(later.shares) != len(earlier.shares):
                raise ValueError(
                    f"the stage at {later.start} has shares for {len(later.shares)} sources, the one before for "
                    f"{len(earlier.shares)}"
                )
        self.stages = tuple(stages)
        self._starts = np.array([stage.start for stage in stages], np.int64)
        lengths = np.diff(self._starts).tolist()
        ended = [stage.counts(length) for stage, length in zip(stages, lengths, strict=False)]
        self._before = np.cumsum([np.zeros(self.num_sources, np.int64), *ended], axis=0)

    @property
    def num_sources(self) -> int:
        """Sources, also those whose shares are 0."""
        return len(self.stages[0].shares)

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        """Return the source of each position, and which of that source's samples it is: 0 is its first of all."""
        if len(self.stages) == 1:
            return self._within(0, positions)
        stages = np.searchsorted(self._starts, positions, "right") - 1
        sources, indexes = np.empty(len(positions), np.uint16), np.empty(len(positions), np.int64)
        for number in np.unique(stages).tolist():
            here = stages == number
            sources[here], indexes[here] = self._within(number, positions[here])
        return sources, indexes

    def _within(self, number: int, positions: NDArray[np.int64]) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
        stage = self.stages[number]
        sources, indexes = stage.locate(positions - stage.start)
        indexes += self._before[number][sources]
        return sources, indexes

    def counts(self, num_positions: int) -> NDArray[np.int64]:
        """Return how many of the first positions each source has, int64."""
        number = int(np.searchsorted(self._starts, num_positions, "right")) - 1
        stage = self.stages[number]
        counts: NDArray[np.int64] = self._before[number] + stage.counts(num_positions - stage.start)
        return counts

    def position_of(self, source: int, count: int) -> int | None:
        """Return the least number of first positions among which a source has so many; None where it never has."""
        if not count:
            return 0
        number = int(np.searchsorted(self._before[:, source], count, "left")) - 1
        stage = self.stages[number]
        if not stage.shares[source]:
            return None
        return stage.start + stage.place_of(source, count - int(self._before[number, source]) - 1) + 1

    def before(self, position: int) -> tuple[Stage, ...]:
        """Return the stages that have begun before a position: what the samples before it depend on."""
        return tuple(stage for stage in self.stages if stage.start < position)
