"""forecast_epoch: what is foretold is what loaders do; a billion records for a thousand ranks are only arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.sparse_dataset import NUM_RECORDS, make_sparse_dataset
from splitdata import (
    Buckets,
    DistributedLoader,
    OrderOptions,
    Packed,
    PackedCollate,
    RecordOptions,
    SplitWriter,
    TokenBudget,
    forecast_epoch,
)

SIZES = np.random.default_rng(0).integers(8, 60, 100).tolist()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("forecast") / "samples"
    with SplitWriter(path, bins=4) as writer:
        for size in SIZES:
            writer.write_sample({"ids": np.arange(size)})
    return path


ORDERS: dict[str, dict[str, Any]] = {
    "pad": {"tail": "pad"},
    "drop": {"tail": "drop"},
    "keep": {"tail": "keep"},
    "bins": {"shuffle": "bins"},
    "contiguous": {"order": OrderOptions(partition="contiguous")},
    "steps": {"order": OrderOptions(num_steps=7)},
    "weights": {"shuffle": True, "order": OrderOptions(weights=SIZES, num_samples=41)},
    "subset": {"records": RecordOptions(subset=slice(9))},
    "drop of one step": {"tail": "drop", "records": RecordOptions(subset=slice(9))},
    "budget": {"order": OrderOptions(batching=TokenBudget(max_tokens=240, window=50, length="ids")), "batch_size": 1},
    "buckets": {"order": OrderOptions(batching=Buckets(boundaries=(20, 40), window=64, length="ids"), lanes=1)},
    "packs": {"order": OrderOptions(batching=Packed(size=64, window=50, length="ids"))},
    "concat": {"order": OrderOptions(batching=Packed(size=64, window=50, length="ids", strategy="concat"))},
}


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_foretold_is_what_the_loaders_of_all_ranks_do(samples: Path, order: str) -> None:
    options = {"batch_size": 4} | ORDERS[order]
    told = forecast_epoch(samples, world_size=3, **options)
    collate: Any = PackedCollate(64, {"ids": 0}) if "concat" in order or "packs" in order else list
    ranks = [DistributedLoader(samples, rank=rank, world_size=3, collate_fn=collate, **options) for rank in range(3)]
    batches = [list(rank) for rank in ranks]

    assert (told.fewest_steps, told.most_steps) == (min(map(len, batches)), max(map(len, batches)))
    if told.batches is None:
        handed_out = sum(len(batch) for rank in batches for batch in rank)
        expected = told.num_samples + told.num_repeated - told.num_left_out
        assert handed_out == expected
    else:
        assert told.batches.num_elements == sum(SIZES)
        assert sum(map(len, batches)) == told.batches.num_batches + told.num_repeated
        if not told.num_repeated:
            padded = sum(rank.stats().num_padded_elements for rank in ranks)
            assert (padded, told.num_left_out) == (told.batches.num_padded_elements, 0)
            fill = sum(rank.stats().num_elements for rank in ranks) / padded
            assert told.batches.fill_ratio == told.as_dict()["batches"]["fill_ratio"] == fill
    assert json.loads(json.dumps(told.as_dict()))["num_samples"] == told.num_samples


def test_bytes_and_requests_are_those_of_the_steps_that_are_looked_at(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=2) as writer:
        writer.write_many([bytes(1000)] * 640)
    told = forecast_epoch(tmp_path / "data", world_size=2, batch_size=8, shuffle="global", ranks_per_node=2)

    assert told.reads is not None
    assert (told.reads.bytes_per_step, told.reads.bytes_per_rank, told.reads.bytes_per_node) == (8000, 320_000, 640_000)
    # All records of a bin lie near each other, so each bin is one request.
    assert told.reads.requests_per_step == pytest.approx(2, abs=0.2)
    assert told.reads.requests_ahead == 2 / 16


def test_records_far_from_each_other_are_requests_of_their_own(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=1) as writer:
        writer.write_many([bytes(2 << 20)] * 40)
    near = forecast_epoch(tmp_path / "data", batch_size=4).reads
    far = forecast_epoch(tmp_path / "data", batch_size=4, records=RecordOptions(subset=slice(0, 40, 3))).reads

    assert near is not None
    assert far is not None
    assert near.requests_per_step == 1
    assert far.requests_per_step == pytest.approx(14 / 4)


def test_dataset_without_sizes_has_no_bytes() -> None:
    told = forecast_epoch(range(30), world_size=4, batch_size=2)

    assert (told.reads, told.batches, told.num_repeated, told.most_steps) == (None, None, 2, 4)
    assert forecast_epoch([], world_size=4).most_steps == 0


def test_groups_of_ranks_count_as_one() -> None:
    told = forecast_epoch(range(64), world_size=8, batch_size=2, order=OrderOptions(replicate=4))
    assert (told.world_size, told.most_steps) == (2, 16)
    with pytest.raises(ValueError, match="no whole number of such groups"):
        forecast_epoch(range(64), world_size=6, order=OrderOptions(replicate=4))


def test_thousand_ranks_share_a_billion_records_in_equal_steps_and_none_gets_those_of_another(tmp_path: Path) -> None:
    try:
        make_sparse_dataset(tmp_path / "data", {})
    except OSError as error:
        pytest.skip(f"no room for a sparse file: {error}")
    told = forecast_epoch(tmp_path / "data", world_size=1000, batch_size=64, shuffle="bins")
    assert (told.fewest_steps, told.most_steps) == (15_625, 15_625)
    assert (told.num_samples, told.num_repeated, told.num_left_out) == (NUM_RECORDS, 0, 0)

    loader = DistributedLoader(tmp_path / "data", rank=0, world_size=1000, batch_size=64, shuffle="bins")
    for step in (0, 15_624):
        found = np.concatenate([loader.records(0, step, rank) for rank in range(1000)])
        assert len(np.unique(found)) == 64_000
