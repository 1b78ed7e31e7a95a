"""Rotation: each sample used as often as asked, group after group in each lane, whatever the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitdata.order.epoch_order import epoch_order
from splitdata.order.partition import EndlessPartition, Partition
from splitdata.order.rotation import RotationOrder
from splitdata.order.window import Window


@dataclass
class Case:
    """A small rotation with all that it says of its positions."""

    num_samples: int
    times: int
    size: int
    lanes: int

    def __post_init__(self) -> None:
        below = epoch_order("global", self.num_samples, seed=5, epoch=1)
        self.order = RotationOrder(below, times=self.times, size=self.size, seed=5, epoch=1, lanes=self.lanes)
        sources, groups = self.order.locate(np.arange(self.order.num_positions))
        self.sources: list[int] = sources.tolist()
        self.groups: list[int] = groups.tolist()


def small_cases() -> Iterator[Case]:
    for numbers in product(range(0, 41, 3), range(1, 4), (1, 2, 3, 7), (1, 2, 3, 4)):
        yield Case(*numbers)


def rotation(num_samples: int, times: int, size: int, lanes: int = 1, seed: int = 0, epoch: int = 0) -> RotationOrder:
    below = epoch_order("global", num_samples, seed=seed, epoch=epoch)
    return RotationOrder(below, times=times, size=size, seed=seed, epoch=epoch, lanes=lanes)


def test_frozen_order_holds() -> None:
    order = rotation(7, 2, 2, lanes=2, seed=1)
    sources, groups = order.locate(np.arange(14))

    assert sources.tolist() == [2, 1, 0, 3, 2, 1, 0, 3, 4, 5, 4, 5, 6, 6]
    assert groups.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 4, 4]
    assert order(np.arange(14)).tolist() == [1, 4, 0, 6, 1, 4, 0, 6, 2, 5, 2, 5, 3, 3]
    sources, _ = rotation(10**9, 3, 10_000, lanes=8).locate(np.array([0, 1, 10**9, 3 * 10**9 - 1]))
    assert sources.tolist() == [3232, 50889, 333288448, 999990703]


def test_each_sample_is_used_as_often_as_asked() -> None:
    for case in small_cases():
        uses = Counter(case.sources)

        assert case.order.num_positions == case.times * case.num_samples == len(case.sources)
        assert uses == dict.fromkeys(range(case.num_samples), case.times)
        records = case.order(np.arange(case.order.num_positions))
        assert np.bincount(records, minlength=case.num_samples).tolist() == [case.times] * case.num_samples


def test_lane_uses_one_group_up_before_it_begins_the_next() -> None:
    for case in small_cases():
        in_lanes = case.num_samples - case.num_samples % case.lanes
        for lane in range(case.lanes):
            sources = case.sources[: case.times * in_lanes][lane :: case.lanes]
            numbers = [source // case.lanes for source in sources]
            assert all(source % case.lanes == lane for source in sources)
            assert [number // case.size for number in numbers] == [
                number // case.size for number in range(in_lanes // case.lanes) for _ in range(case.times)
            ]
        assert set(case.sources[case.times * in_lanes :]) == set(range(in_lanes, case.num_samples))


def members_of(order: RotationOrder, group: int, within: range | None = None) -> NDArray[np.int64]:
    """Return the sources of a group that are needed, each once, in the order in which they are first used."""
    positions = np.asarray(order.group_positions(group), np.int64)
    if within is not None:
        taken = (positions >= within.start) & (positions < within.stop)
        positions = positions[taken & ((positions - within.start) % within.step == 0)]
    sources, _ = order.locate(positions)
    _, first_uses = np.unique(sources, return_index=True)
    return sources[np.sort(first_uses)]


def test_group_says_its_positions_and_sources() -> None:
    for case in small_cases():
        assert set(case.groups) == set(range(case.order.num_groups))
        for group in range(case.order.num_groups):
            positions = [position for position, other in enumerate(case.groups) if other == group]
            sources = list(dict.fromkeys(case.sources[position] for position in positions))
            is_common = case.num_samples % case.lanes and group == case.order.num_groups - 1

            assert list(case.order.group_positions(group)) == positions
            assert list(case.order.group_sources(group)) == sorted(sources)
            assert members_of(case.order, group).tolist() == sources
            assert len(sources) < case.lanes if is_common else len(sources) <= case.size


def check_what_is_needed(case: Case, within: range) -> None:
    """Compare what some positions are said to need with what they have."""
    needed: dict[int, list[int]] = {}
    for position in within:
        needed.setdefault(case.groups[position], []).append(case.sources[position])

    assert list(case.order.groups(within)) == list(needed)
    for group in range(case.order.num_groups):
        expected = list(dict.fromkeys(needed.get(group, [])))
        assert members_of(case.order, group, within).tolist() == expected


@pytest.mark.parametrize("contiguous", [False, True], ids=["strided", "contiguous"])
def test_rank_is_told_the_groups_and_samples_that_it_needs_in_order(contiguous: bool) -> None:
    for case in list(small_cases())[::13]:
        for world_size, seen in product(range(1, 6), (0, 1, 2)):
            start = seen * world_size if seen * world_size <= case.order.num_positions else 0
            partition = Partition(
                case.order.num_positions, batch_size=2, world_size=world_size, start=start, contiguous=contiguous
            )
            for rank in range(world_size):
                check_what_is_needed(case, partition.range_of(rank))


def test_rank_of_a_stream_is_told_what_it_needs_in_each_epoch() -> None:
    for case in list(small_cases())[::17]:
        if case.order.num_positions == 0:
            continue
        for world_size, start in product(range(1, 4), (0, 5, 100)):
            partition = EndlessPartition(case.order.num_positions, batch_size=2, world_size=world_size, start=start)
            for rank, epoch in product(range(world_size), range(3)):
                taken = partition.range_of(rank, epoch)
                stream = range(start + (rank - start) % world_size, 1000, world_size)
                begin = epoch * case.order.num_positions
                assert list(taken) == [
                    place - begin for place in stream if begin <= place < begin + case.order.num_positions
                ]
                check_what_is_needed(case, taken)


def test_samples_are_made_once_where_the_world_size_divides_the_lanes() -> None:
    for case in small_cases():
        for world_size in (one for one in range(1, 5) if case.lanes % one == 0):
            partition = Partition(case.order.num_positions, batch_size=1, world_size=world_size)
            makers = Counter(
                source
                for rank in range(world_size)
                for group in case.order.groups(partition.range_of(rank))
                for source in members_of(case.order, group, partition.range_of(rank)).tolist()
            )
            in_lanes = case.num_samples - case.num_samples % case.lanes

            assert all(makers[source] == 1 for source in range(in_lanes))
            assert set(makers) == set(range(case.num_samples))


def test_rank_has_groups_of_one_row_in_use() -> None:
    """What bounds its memory: as many groups as it has lanes, and as many that are being made."""
    for case in list(small_cases())[::7]:
        for world_size in range(1, 5):
            partition = Partition(case.order.num_positions, batch_size=1, world_size=world_size)
            for rank in range(world_size):
                taken = partition.range_of(rank)
                open_at: Counter[int] = Counter()
                for group in case.order.groups(taken):
                    uses = [position for position in taken if case.groups[position] == group]
                    open_at.update(range(uses[0], uses[-1] + 1))
                lanes = case.lanes // np.gcd(case.lanes, world_size)
                assert max(open_at.values(), default=0) <= lanes


@given(st.integers(1, 10**9), st.integers(1, 9), st.integers(1, 10**6), st.integers(1, 600), st.data())
def test_positions_do_not_depend_on_what_is_asked_together(
    num_samples: int, times: int, size: int, lanes: int, data: st.DataObject
) -> None:
    order = rotation(num_samples, times, size, lanes)
    positions = data.draw(st.lists(st.integers(0, order.num_positions - 1), min_size=1, max_size=8))

    sources, groups = order.locate(np.array(positions))

    alone = [order.locate(np.array([position])) for position in positions]
    assert sources.tolist() == [int(source[0]) for source, _ in alone]
    assert groups.tolist() == [int(group[0]) for _, group in alone]
    for position, source, group in zip(positions, sources.tolist(), groups.tolist(), strict=True):
        assert position in order.group_positions(group)
        assert source in order.group_sources(group)


def test_samples_of_a_group_are_mixed_evenly() -> None:
    """Chi-square over 2,000 keys: each use of each sample is at each place about equally often."""
    keys = 2000
    for size in (5, 700):
        table = np.zeros((10, 5))
        for seed in range(keys):
            numbers = RotationOrder(
                epoch_order(False, size, seed=0, epoch=0), times=2, size=size, seed=seed, epoch=0
            ).locate(np.arange(10))[0]
            table[np.arange(10), numbers * 5 // size] += 1
        expected = keys / 5

        assert ((table - expected) ** 2 / expected).sum() < 40 + 6 * np.sqrt(80)


def test_uses_of_a_sample_are_spread_over_its_group() -> None:
    """Two places drawn without looking are a third of the whole apart, on average."""
    sources, _ = rotation(100_000, 2, 10_000).locate(np.arange(200_000))
    places = np.argsort(sources, kind="stable").reshape(-1, 2)
    distances = np.abs(np.diff(places, axis=1))

    assert abs(distances.mean() / 20_000 - 1 / 3) < 0.005
    assert distances.max() < 20_000


def test_mix_differs_between_seeds_epochs_groups_and_lanes() -> None:
    mixes = set()
    for seed, epoch in product(range(4), range(4)):
        sources, groups = rotation(80, 2, 20, lanes=2, seed=seed, epoch=epoch).locate(np.arange(160))
        for group in range(4):
            mixes.add(tuple((sources[groups == group] // 2 % 20).tolist()))

    assert len(mixes) == 64


def test_every_order_may_be_below() -> None:
    for shuffle in (False, "global", Window(5)):
        below = epoch_order(shuffle, 50, seed=1, epoch=2)
        order = RotationOrder(below, times=3, size=10, seed=1, epoch=2)
        sources, _ = order.locate(np.arange(150))

        assert order(np.arange(150)).tolist() == below(sources).tolist()
        assert order.order is below


@pytest.mark.parametrize("name", ["times", "size", "lanes", "epoch"])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (2.0, TypeError), (True, TypeError), (None, TypeError)])
def test_wrong_number_is_refused(name: str, value: int, error: type[Exception]) -> None:
    options = {"times": 2, "size": 3, "lanes": 1, "seed": 0, "epoch": 0} | {name: value}

    with pytest.raises(error, match=name):
        RotationOrder(epoch_order(False, 7, seed=0, epoch=0), **options)


def test_position_or_group_that_is_not_there_is_refused() -> None:
    order = rotation(7, 2, 2)

    for position in (-1, 14):
        with pytest.raises(IndexError, match=f"position {position} "):
            order.locate(np.array([0, position]))
    for group in (-1, 4):
        for call in (order.group_positions, order.group_sources):
            with pytest.raises(IndexError, match=f"group {group} .* there are 4"):
                call(group)
    assert rotation(0, 2, 2).num_groups == 0
    assert list(rotation(0, 2, 2).groups(range(0))) == []
