"""Rotation: an epoch in which every sample is used several times, soon after it was made.

    seven samples, times=2, size=2, lanes=2

                 region 0: whole rows     region 1: a shorter row     region 2: what is left over
    lane 0       group 0: samples 0 2     group 2: sample 4           group 4, common: sample 6
    lane 1       group 1: samples 1 3     group 3: sample 5

    position     0 1 2 3 4 5 6 7          8 9 10 11                   12 13
    lane         0 1 0 1 0 1 0 1          0 1  0  1
    sample       2 1 0 3 2 1 0 3          4 5  4  5                    6  6

A lane uses one group up before it begins the next, in mixed order. So a rank that takes every n-th position,
n a divisor of `lanes`, has lanes of its own, makes their samples once, and holds of each lane the group that
is used and the one that is made. The common group, of fewer samples than there are lanes, is everybody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from splitdata.order.blocks import BlockPermutation
from splitdata.order.counts import checked_count
from splitdata.order.permutation import derive_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splitdata.order.epoch_order import Order

__all__ = ["RotationOrder"]


class RotationOrder:
    """The order of one epoch with reuse: an Order of `times` as many positions as the one below it.

    A sample is known by its *source*, a position of the order below. Groups are numbered in the order in which they
    come, those of one row by their lane. O(1) memory; safe to share between threads.

    Attributes:
        order: The order below: `order(sources)` are the records that samples are made from.
        num_positions: Of the epoch.
        num_groups: Of all lanes, with the common one.
    """

    def __init__(self, order: Order, *, times: int, size: int, seed: int, epoch: int, lanes: int = 1) -> None:
        """Arrange the groups.

        Args:
            order: What samples are made from; where it has lanes, it has as many.
            times: How often each sample is used.
            size: Samples of a group, at most.
            seed: An int of 0 or more.
            epoch: Another one is mixed otherwise.
            lanes: Position p is in lane p mod lanes.

        Raises:
            TypeError, ValueError: If an argument is invalid.
        """
        times, size = checked_count("times", times, 1), checked_count("size", size, 1)
        lanes, epoch = checked_count("lanes", lanes, 1), checked_count("epoch", epoch, 0)
        key = derive_key(seed, epoch, "rotation")
        self.order = order
        self.num_positions = times * order.num_positions
        # Lanes are equally long, so their groups stand in rows; only the last row may be shorter.
        of_a_lane, common = divmod(order.num_positions, lanes)
        num_rows, rest = divmod(of_a_lane, size)
        self._regions: list[_Region] = []
        position = source = self.num_groups = 0
        for rows, samples, abreast in ((num_rows, size, lanes), (1, rest, lanes), (1, common, 1)):
            if rows * samples:
                mix = BlockPermutation(times * samples, key)
                self._regions.append(_Region(position, source, self.num_groups, rows, samples, abreast, times, mix))
                source += rows * samples * abreast
                position = times * source
                self.num_groups += rows * abreast

    def __call__(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the record of the sample at each position, int64.

        Raises:
            IndexError: If a position is not in range(num_positions).
        """
        return self.order(self.locate(positions)[0])

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return source and group of the sample at each position, both int64.

        Raises:
            IndexError: If a position is not in range(num_positions).
        """
        if len(positions) and (positions.min() < 0 or positions.max() >= self.num_positions):
            outside = positions[(positions < 0) | (positions >= self.num_positions)]
            raise IndexError(f"position {outside[0]} is out of range: the epoch has {self.num_positions}")
        sources, groups = np.empty(len(positions), np.int64), np.empty(len(positions), np.int64)
        for region in self._regions:
            is_here = (positions >= region.position) & (positions < region.stop)
            if is_here.all():
                return region.locate(positions)
            if len(here := np.flatnonzero(is_here)):
                sources[here], groups[here] = region.locate(positions[here])
        return sources, groups

    def group_positions(self, group: int) -> range:
        """Return the positions that use a group: it is needed from the first of them to the last."""
        region = self._region_of(group)
        row, lane = divmod(group - region.group, region.lanes)
        start = region.position + row * region.row_positions + lane
        return range(start, start - lane + region.row_positions, region.lanes)

    def group_sources(self, group: int) -> range:
        """Return the samples of a group, in the order of their sources: `size` at most."""
        region = self._region_of(group)
        row, lane = divmod(group - region.group, region.lanes)
        start = region.source + row * region.samples * region.lanes + lane
        return range(start, start - lane + region.samples * region.lanes, region.lanes)

    def groups(self, within: range) -> Iterator[int]:
        """Yield the groups that some positions need, in the order in which they are first used.

        A group is used up when the position that is taken is at or past `group_positions(group).stop`. At any
        position each lane has one group in use, so all that are in use are of one row: as many as there are lanes
        among the positions, `lanes` divided by the common divisor of `lanes` and the step of `within`.

        Args:
            within: The positions, ascending, as `Partition.range_of` says them for a rank.
        """
        for region in self._regions:
            num_abreast = region.lanes // gcd(region.lanes, within.step)
            inside = _clipped(within, region.position, region.stop)
            first_row = (inside.start - region.position) // region.row_positions if inside else region.rows
            for row in range(first_row, region.rows):
                start = region.position + row * region.row_positions
                for position in _clipped(inside, start, start + region.row_positions)[:num_abreast]:
                    yield region.group + row * region.lanes + (position - region.position) % region.lanes

    def _region_of(self, group: int) -> _Region:
        for region in self._regions:
            if region.group <= group < region.group + region.rows * region.lanes:
                return region
        raise IndexError(f"group {group} is out of range: there are {self.num_groups}")


@dataclass(frozen=True, slots=True)
class _Region:
    """Rows of groups of equal size.

    Attributes:
        position, source, group: The first of each.
        rows: How many rows there are.
        samples: Samples of each group.
        lanes: Groups of a row.
        times: Uses of each sample.
        mix: Permutes the uses in each group.
    """

    position: int
    source: int
    group: int
    rows: int
    samples: int
    lanes: int
    times: int
    mix: BlockPermutation

    @property
    def row_positions(self) -> int:
        return self.times * self.samples * self.lanes

    @property
    def stop(self) -> int:
        return self.position + self.rows * self.row_positions

    def locate(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return sources and groups of positions in this region."""
        positions = positions - self.position
        places = positions // self.lanes
        lanes = positions - places * self.lanes
        rows = places // (self.times * self.samples)
        groups = self.group + rows * self.lanes + lanes
        numbers = self.mix(groups, places - rows * (self.times * self.samples)) // self.times
        return self.source + (rows * self.samples + numbers) * self.lanes + lanes, groups


def _clipped(positions: range, start: int, stop: int) -> range:
    """Return those of ascending positions that are in [start, stop)."""
    first, end = (max(0, -(-(limit - positions.start) // positions.step)) for limit in (start, stop))
    return positions[first:end]
