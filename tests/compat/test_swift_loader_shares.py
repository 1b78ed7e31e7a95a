"""Which records the batches of each consumer have: a pure function, held to its promises over a grid."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from splitdata.compat.consumer_batches import ConsumerBatches
from splitdata.order.epoch_order import Shuffle
from splitdata.order.window import Window

SHUFFLES: list[Shuffle] = [False, "global", Window(3)]


def shares(
    num_records: int, batch_size: int, num_consumers: int, shuffle: Shuffle, epoch: int
) -> list[list[list[int]]]:
    """Return the records of each batch of each consumer; each has another seed, as by the time of its start."""
    return [
        [
            batch.tolist()
            for batch in ConsumerBatches(
                num_records=num_records,
                batch_size=batch_size,
                consumer=consumer,
                num_consumers=num_consumers,
                shuffle=shuffle,
                seed=1000 + consumer,
            )(epoch)
        ]
        for consumer in range(num_consumers)
    ]


@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
@pytest.mark.parametrize("num_consumers", [1, 2, 3, 4])
def test_consumers_have_equally_many_batches_and_each_record_once(num_consumers: int, shuffle: Shuffle) -> None:
    for num_records in range(25):
        for batch_size in range(1, 7):
            for epoch in range(3):
                given = shares(num_records, batch_size, num_consumers, shuffle, epoch)
                counts = {len(batches) for batches in given}
                sizes = {len(batch) for batches in given for batch in batches}
                records = Counter(record for batches in given for batch in batches for record in batch)
                longest = -(-num_records // num_consumers)

                assert counts == {-(-longest // batch_size)}
                assert all(1 <= size <= batch_size for size in sizes)
                assert records.keys() == set(range(num_records))
                # Who would have too few is given one that another has too.
                suffice = num_records >= num_consumers and (batch_size > 1 or num_records % num_consumers == 0)
                assert not suffice or set(records.values()) <= {1}
                assert records.total() <= num_consumers * longest


@pytest.mark.parametrize("num_records", [1, 2, 7, 12, 13])
def test_stretches_are_contiguous_and_in_write_order_without_shuffle(num_records: int) -> None:
    for epoch in range(2):
        given = shares(num_records, 2, 1 if num_records == 1 else 2, False, epoch)
        assert [record for batches in given for batch in batches for record in batch] == list(range(num_records))


def test_full_batches_come_first() -> None:
    assert shares(7, 2, 2, False, 0) == [[[0, 1], [2, 3]], [[4, 5], [6]]]
    assert shares(5, 2, 2, False, 0) == [[[0, 1], [2]], [[3], [4]]]


@pytest.mark.parametrize("shuffle", SHUFFLES[1:], ids=str)
def test_each_epoch_and_consumer_has_another_pattern_and_the_stretches_go_round(shuffle: Shuffle) -> None:
    seen = set()
    for epoch in range(4):
        for consumer, (batch,) in enumerate(shares(80, 40, 2, shuffle, epoch)):
            first = 40 * ((consumer + epoch) % 2)
            assert sorted(batch) == list(range(first, first + 40))
            seen.add(tuple(np.array(batch) - first))

    # The very first is shuffled too, and none has the pattern of another.
    assert len(seen | {tuple(range(40))}) == 9


def test_nearby_shuffle_moves_no_record_further_than_it_says() -> None:
    ((batch,),) = shares(100, 100, 1, Window(3), 0)

    assert max(abs(record - place) for place, record in enumerate(batch)) in (1, 2, 3)
