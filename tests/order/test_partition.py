"""Partition: every position of an epoch in exactly one place, but for what the tail says; for every small case."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.order.partition import EndlessPartition, Partition, Tail

MOST_POSITIONS, MOST_BATCH, MOST_RANKS = 40, 7, 5
TAILS: list[Tail] = ["pad", "drop", "keep"]
# All positions, batches and ranks that the exhaustive tests go through.
SMALL = list(product(range(MOST_POSITIONS + 1), range(1, MOST_BATCH + 1), range(1, MOST_RANKS + 1)))


def steps_of(partition: Partition, rank: int) -> list[list[int]]:
    """Return the positions of each step of a rank, asked for together."""
    positions, lengths = partition.positions_of(0, partition.num_steps, rank)
    assert positions.dtype == lengths.dtype == np.int64
    assert len(positions) == lengths.sum()
    ends = np.cumsum(lengths).tolist()
    flat = positions.tolist()
    return [flat[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]


def small_partitions(tail: Tail, contiguous: bool) -> Iterator[tuple[Partition, list[list[list[int]]]]]:
    """Yield every partition from position 0 with the steps of its ranks."""
    for num_positions, batch_size, world_size in SMALL:
        partition = Partition(
            num_positions, batch_size=batch_size, world_size=world_size, tail=tail, contiguous=contiguous
        )
        yield partition, [steps_of(partition, rank) for rank in range(world_size)]


def flat(steps: list[list[int]]) -> list[int]:
    return [position for step in steps for position in step]


def owned(partition: Partition, rank: int) -> list[int]:
    """Return what a rank owns of the epoch, written down as the rule says it."""
    whole = range(partition.num_positions)
    if not partition.contiguous:
        return [position for position in whole if position % partition.world_size == rank]
    share = -(-partition.num_positions // partition.world_size)
    return [position for position in whole if position // max(share, 1) == rank]


@pytest.mark.parametrize("contiguous", [False, True], ids=["strided", "contiguous"])
def test_padded_epoch_has_every_position_and_equal_ranks(contiguous: bool) -> None:
    for partition, ranks in small_partitions("pad", contiguous):
        expected = list(range(partition.num_positions))
        taken = [flat(steps) for steps in ranks]

        assert len({len(one) for one in taken}) == 1
        assert sum(map(len, taken)) - len(expected) in range(partition.world_size)
        assert sorted(set().union(*map(set, taken))) == expected
        for rank, one in enumerate(taken):
            # What is owned comes first; what is behind it wraps around.
            mine = owned(partition, rank)
            assert one[: len(mine)] == mine
            assert list(partition.range_of(rank)) == mine
            assert all(position < partition.num_positions for position in one)
        assert all(len(step) == partition.batch_size for steps in ranks for step in steps[:-1])
        assert all(steps == [] or steps[-1] for steps in ranks)


def test_padding_wraps_around_in_order() -> None:
    assert [steps_of(Partition(7, batch_size=2, world_size=4), rank) for rank in range(4)] == [
        [[0, 4]],
        [[1, 5]],
        [[2, 6]],
        [[3, 0]],
    ]
    # Fewer positions than what is missing: around more than once.
    assert [steps_of(Partition(2, batch_size=3, world_size=5), rank) for rank in range(5)] == [
        [[0]],
        [[1]],
        [[0]],
        [[1]],
        [[0]],
    ]


@pytest.mark.parametrize("contiguous", [False, True], ids=["strided", "contiguous"])
def test_dropped_tail_leaves_full_steps_only(contiguous: bool) -> None:
    for partition, ranks in small_partitions("drop", contiguous):
        least = min(len(owned(partition, rank)) for rank in range(partition.world_size))

        assert partition.num_steps == least // partition.batch_size
        for rank, steps in enumerate(ranks):
            assert all(len(step) == partition.batch_size for step in steps)
            assert flat(steps) == owned(partition, rank)[: partition.num_steps * partition.batch_size]
            assert list(partition.range_of(rank)) == flat(steps)
    assert Partition(13, batch_size=3, world_size=2, tail="drop").num_steps == 2


@pytest.mark.parametrize("contiguous", [False, True], ids=["strided", "contiguous"])
def test_kept_tail_repeats_and_loses_nothing(contiguous: bool) -> None:
    for partition, ranks in small_partitions("keep", contiguous):
        for rank, steps in enumerate(ranks):
            assert flat(steps) == list(partition.range_of(rank)) == owned(partition, rank)
            assert partition.num_batches(rank) == sum(map(bool, steps))
            assert all(steps[: partition.num_batches(rank)])
        assert partition.num_steps == max(partition.num_batches(rank) for rank in range(partition.world_size))
        if not contiguous:
            assert {partition.num_batches(rank) for rank in range(partition.world_size)} <= {
                partition.num_steps,
                partition.num_steps - 1,
            }


@pytest.mark.parametrize("contiguous", [False, True], ids=["strided", "contiguous"])
@pytest.mark.parametrize("tail", TAILS)
def test_number_of_steps_and_batches_is_exact(tail: Tail, contiguous: bool) -> None:
    for partition, ranks in small_partitions(tail, contiguous):
        for rank, steps in enumerate(ranks):
            assert len(steps) == partition.num_steps
            assert sum(map(bool, steps)) == partition.num_batches(rank)
        if tail != "keep":
            assert [[len(step) for step in steps] for steps in ranks] == [[len(step) for step in ranks[0]]] * len(ranks)


def test_strided_step_covers_positions_on_end_from_wherever_it_starts() -> None:
    """So any partition goes on from any other: what is consumed is one number."""
    for num_positions, batch_size, world_size in SMALL:
        for start in range(0, num_positions + 1, 1 + num_positions % 3):
            partition = Partition(num_positions, batch_size=batch_size, world_size=world_size, start=start, tail="keep")
            ranks = [steps_of(partition, rank) for rank in range(world_size)]
            covered = [sorted(flat([steps[step] for steps in ranks])) for step in range(partition.num_steps)]
            ends = [partition.consumed(step) for step in range(partition.num_steps + 1)]

            assert covered == [list(range(*pair)) for pair in pairwise(ends)]
            assert ends[0] == start
            assert ends[-1] == num_positions


@pytest.mark.parametrize("tail", TAILS)
def test_epoch_left_after_any_step_is_finished_by_any_other_partition(tail: Tail) -> None:
    for num_positions, batch_size, world_size in SMALL[::7]:
        first = Partition(num_positions, batch_size=batch_size, world_size=world_size, tail=tail)
        for step, (batch, ranks) in product(range(first.num_steps + 1), [(1, 1), (2, 3), (3, 4), (7, 2), (5, 5)]):
            seen = sorted(flat([flat(steps_of(first, rank)[:step]) for rank in range(world_size)]))
            then = Partition(num_positions, batch_size=batch, world_size=ranks, tail=tail, start=first.consumed(step))
            rest = sorted(flat([flat(steps_of(then, rank)) for rank in range(ranks)]))
            missing = sorted(set(range(num_positions)) - set(seen))

            if step == first.num_steps:
                assert rest == []
            elif tail == "drop":
                assert rest == missing[: then.num_steps * batch * ranks]
            else:
                assert sorted(set(rest) | set(seen)) == list(range(num_positions))
                assert len(seen) + len(rest) - num_positions in range(ranks if tail == "pad" else 1)


@pytest.mark.parametrize("tail", TAILS)
def test_contiguous_epoch_goes_on_with_as_many_ranks_at_another_batch_size(tail: Tail) -> None:
    for num_positions, batch_size, world_size in SMALL[::3]:
        first = Partition(num_positions, batch_size=batch_size, world_size=world_size, tail=tail, contiguous=True)
        for step, rank in product(range(first.num_steps + 1), range(world_size)):
            then = Partition(
                num_positions,
                batch_size=3,
                world_size=world_size,
                tail=tail,
                start=first.consumed(step),
                contiguous=True,
            )
            seen = flat(steps_of(first, rank)[:step])
            rest = flat(steps_of(then, rank))

            if step == first.num_steps:
                assert rest == []
            else:
                whole = Partition(num_positions, batch_size=1, world_size=world_size, tail=tail, contiguous=True)
                assert seen + rest == flat(steps_of(whole, rank))[: len(seen) + len(rest)]
                assert tail == "drop" or seen + rest == flat(steps_of(whole, rank))


@given(
    st.integers(0, 2**40),
    st.integers(1, 10**6),
    st.integers(1, 4096),
    st.sampled_from(TAILS),
    st.booleans(),
    st.data(),
)
def test_steps_are_the_same_alone_and_together(
    num_positions: int, batch_size: int, world_size: int, tail: Tail, contiguous: bool, data: st.DataObject
) -> None:
    partition = Partition(num_positions, batch_size=batch_size, world_size=world_size, tail=tail, contiguous=contiguous)
    rank = data.draw(st.integers(0, world_size - 1))
    assert partition.num_steps >= partition.num_batches(rank) >= 0
    first = data.draw(st.integers(max(0, partition.num_steps - 3), partition.num_steps))
    if batch_size > 1000:
        return

    together, lengths = partition.positions_of(first, partition.num_steps, rank)

    alone = [partition.positions(step, rank) for step in range(first, partition.num_steps)]
    assert lengths.tolist() == [len(one) for one in alone]
    assert together.tolist() == np.concatenate([np.empty(0, np.int64), *alone]).tolist()
    assert all(0 <= position < num_positions for position in together.tolist())


def test_billion_positions_cost_nothing_to_divide() -> None:
    partition = Partition(10**9 + 7, batch_size=64, world_size=1000)

    assert partition.num_steps == 15626
    assert partition.positions(15624, 999).tolist() == [15624 * 64000 + 999 + 1000 * place for place in range(64)]
    assert partition.positions(15625, 6).tolist() == [10**9 + 6]
    assert partition.positions(15625, 7).tolist() == [0]


@pytest.mark.parametrize("start", [0, 1, 13, 14, 15, 100])
def test_endless_stream_has_each_epoch_in_order_and_full_steps(start: int) -> None:
    for num_positions, batch_size, world_size in SMALL[::11]:
        if num_positions == 0:
            continue
        partition = EndlessPartition(num_positions, batch_size=batch_size, world_size=world_size, start=start)
        for step in range(5):
            taken = []
            for rank in range(world_size):
                epochs, positions = partition.positions(step, rank)
                assert len(epochs) == len(positions) == batch_size
                stream = (epochs * num_positions + positions).tolist()
                assert [place % world_size for place in stream] == [rank] * batch_size
                assert positions.min() >= 0
                assert positions.max() < num_positions
                taken += stream
            assert sorted(taken) == list(range(partition.consumed(step), partition.consumed(step + 1)))
        epochs, positions, lengths = partition.positions_of(1, 4, 0)
        alone = [partition.positions(step, 0) for step in (1, 2, 3)]
        assert epochs.tolist() == np.concatenate([one[0] for one in alone]).tolist()
        assert positions.tolist() == np.concatenate([one[1] for one in alone]).tolist()
        assert lengths.tolist() == [batch_size] * 3


def test_endless_stream_left_after_a_step_is_the_same_stream_with_other_ranks() -> None:
    first = EndlessPartition(10, batch_size=3, world_size=2)
    then = EndlessPartition(10, batch_size=2, world_size=3, start=first.consumed(2))

    assert first.consumed(2) == 12
    assert [then.positions(0, rank)[0].tolist() for rank in range(3)] == [[1, 1], [1, 1], [1, 1]]
    assert [then.positions(0, rank)[1].tolist() for rank in range(3)] == [[2, 5], [3, 6], [4, 7]]


@pytest.mark.parametrize(
    ("changed", "error", "said"),
    [
        ({"num_positions": -1}, ValueError, "num_positions"),
        ({"num_positions": 10.0}, TypeError, "num_positions"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": True}, TypeError, "batch_size"),
        ({"batch_size": "2"}, TypeError, "batch_size"),
        ({"world_size": 0}, ValueError, "world_size"),
        ({"start": -1}, ValueError, "start"),
        ({"start": 11}, ValueError, "cannot start at position 11"),
        ({"tail": "wrap"}, ValueError, "tail must be"),
        ({"tail": None}, ValueError, "tail must be"),
        ({"start": 3, "contiguous": True}, ValueError, "no multiple of 2"),
    ],
    ids=str,
)
def test_wrong_partition_is_refused(changed: dict[str, object], error: type[Exception], said: str) -> None:
    options: dict[str, object] = {"num_positions": 10, "batch_size": 2, "world_size": 2} | changed

    with pytest.raises(error, match=said):
        Partition(options.pop("num_positions"), **options)  # type: ignore[arg-type]  # wrong on purpose


def test_step_or_rank_that_is_not_there_is_refused() -> None:
    partition = Partition(10, batch_size=2, world_size=2)
    endless = EndlessPartition(10, batch_size=2, world_size=2)

    for step in (-1, 3):
        with pytest.raises(IndexError, match="there are 3"):
            partition.positions(step, 0)
    for step in (-1, 4):
        with pytest.raises(IndexError, match="there are 3"):
            partition.consumed(step)
    for rank in (-1, 2):
        for call in (partition.num_batches, partition.range_of):
            with pytest.raises(ValueError, match="from 0 to 1"):
                call(rank)
        with pytest.raises(ValueError, match="from 0 to 1"):
            partition.positions(0, rank)
        with pytest.raises(ValueError, match="from 0 to 1"):
            endless.positions(0, rank)
    with pytest.raises(IndexError, match="from 0 upwards"):
        endless.positions(-1, 0)
    with pytest.raises(ValueError, match="num_positions"):
        EndlessPartition(0, batch_size=1, world_size=1)
