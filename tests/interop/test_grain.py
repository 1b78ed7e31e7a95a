"""Readers are Grain's random access sources; order and state are Grain's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from splitdata import SplitDataLoader
from tests.interop.stream import NUM_RECORDS

grain: Any = pytest.importorskip("grain")


def loader_of(path: str, rank: int = 0, world_size: int = 1) -> Any:
    sampler = grain.samplers.IndexSampler(
        num_records=NUM_RECORDS,
        num_epochs=1,
        shuffle=True,
        seed=0,
        shard_options=grain.sharding.ShardOptions(rank, world_size),
    )
    batched = [grain.transforms.Batch(5)]
    return grain.DataLoader(data_source=SplitDataLoader(path), sampler=sampler, operations=batched, worker_count=0)


def pipeline_of(path: str, rank: int = 0, world_size: int = 1) -> Any:
    source = grain.MapDataset.source(SplitDataLoader(path)).shuffle(seed=0)
    return source[rank::world_size].batch(5).to_iter_dataset()


def numbers(batches: Any) -> list[int]:
    return [int(record) for batch in batches for record in batch]


@pytest.mark.parametrize("make", [loader_of, pipeline_of])
class TestReaderInGrain:
    def test_gives_each_record_once(self, path: str, make: Any) -> None:
        assert sorted(numbers(make(path))) == list(range(NUM_RECORDS))

    def test_is_divided_among_ranks(self, path: str, make: Any) -> None:
        shares = [numbers(make(path, rank, 2)) for rank in range(2)]

        both = shares[0] + shares[1]
        # Grain's sampler leaves out what does not divide.
        assert len(set(both)) == len(both) >= NUM_RECORDS - 1
        assert abs(len(shares[0]) - len(shares[1])) <= 1

    def test_resumes_by_the_state_of_grains_iterator(self, path: str, make: Any) -> None:
        first = iter(make(path))
        taken = [next(first) for _ in range(4)]
        state = first.get_state()
        second = iter(make(path))

        second.set_state(state if isinstance(state, bytes) else json.loads(json.dumps(state)))

        assert numbers([*taken, *second]) == numbers(make(path))
