"""Batches by length in the loader: exact resume, equal steps for all ranks, lengths from wherever they are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    Buckets,
    DistributedLoader,
    Mixture,
    OrderOptions,
    Packed,
    PackedCollate,
    RecordOptions,
    Rotation,
    SampleDataset,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    TokenBudget,
)

NUM_RECORDS = 200
SIZES = np.random.default_rng(0).integers(8, 60, NUM_RECORDS).tolist()
BUDGET = TokenBudget(max_tokens=240, window=50)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("by_length")
    with SplitWriter(root / "data", bins=3) as writer:
        for number, size in enumerate(SIZES):
            writer.write(number.to_bytes(8, "little") + bytes(size - 8))
    return root


def loader(dataset: Any, batching: Any = BUDGET, *, lanes: int | None = 2, **options: Any) -> DistributedLoader:
    arranged: dict[str, Any] = {
        "shuffle": True,
        "collate_fn": list,
        "order": OrderOptions(batching=batching, lanes=lanes),
    }
    return DistributedLoader(dataset, **arranged | options)


def numbers(batches: Any) -> list[list[int]]:
    return [[int.from_bytes(record[:8], "little") for record in batch] for batch in batches]


def test_every_rank_has_as_many_batches_within_the_budget_and_all_samples_come_once(folder: Path) -> None:
    ranks = [numbers(loader(folder / "data", rank=rank, world_size=2)) for rank in range(2)]

    assert len(ranks[0]) == len(ranks[1]) == len(loader(folder / "data", rank=0, world_size=2))
    assert sorted(record for batches in ranks for batch in batches for record in batch) == list(range(NUM_RECORDS))
    for batch in [*ranks[0], *ranks[1]]:
        assert len(batch) * max(SIZES[record] for record in batch) <= 240


@pytest.mark.parametrize("batching", [BUDGET, Buckets(boundaries=(20, 40), window=64)])
@pytest.mark.parametrize("worlds", [(1, 2), (2, 1), (2, 4), (3, 2)])
def test_training_resumes_with_the_very_next_batch_at_another_world_size(
    folder: Path, batching: Any, worlds: tuple[int, int]
) -> None:
    options = {"batch_size": 4} if isinstance(batching, Buckets) else {}
    whole = numbers(loader(folder / "data", batching, **options)) + numbers(_second_epoch(folder, batching, options))
    before, after = worlds
    got: list[list[int]] = []
    ranks = [loader(folder / "data", batching, rank=rank, world_size=before, **options) for rank in range(before)]
    iterators = [iter(rank) for rank in ranks]
    for _ in range(5):
        got += [numbers([next(iterator)])[0] for iterator in iterators]
    (state,) = {json.dumps(rank.state_dict()) for rank in ranks}

    others = [
        loader(folder / "data", batching, rank=rank, world_size=after, tail="keep", **options) for rank in range(after)
    ]
    for other in others:
        other.load_state_dict(json.loads(state))
    # Rank r has the batches p with p mod ranks == r, also where the first of them is not of rank 0.
    for first in (5 * before % after, 0):
        epoch = [numbers(other) for other in others]
        turned = epoch[first:] + epoch[:first]
        longest = max(map(len, epoch))
        got += [batches[step] for step in range(longest) for batches in turned if step < len(batches)]
    assert got == whole


def _second_epoch(folder: Path, batching: Any, options: dict[str, Any]) -> DistributedLoader:
    second = loader(folder / "data", batching, **options)
    second.set_epoch(1)
    return second


def test_epochs_differ_and_seek_and_records_find_any_step(folder: Path) -> None:
    first = loader(folder / "data")
    batches = [numbers(first), numbers(first)]
    assert batches[0] != batches[1]

    again = loader(folder / "data")
    again.seek(7)
    assert numbers([next(iter(again))])[0] == batches[0][7]
    assert again.records(1, 3).tolist() == batches[1][3]


def test_workers_give_the_same_batches(folder: Path) -> None:
    with_workers = loader(folder / "data", num_workers=2)
    try:
        assert numbers(with_workers) == numbers(loader(folder / "data"))
    finally:
        with_workers.close()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "samples"
    with SplitWriter(path) as writer:
        for number, size in enumerate(SIZES):
            writer.write_sample({"ids": number * 1000 + np.arange(size)})
    return path


def packs_of(path: Path, **options: Any) -> DistributedLoader:
    arranged: dict[str, Any] = {
        "batch_size": 2,
        "shuffle": True,
        "collate_fn": PackedCollate(64, {"ids": -1}),
        "order": OrderOptions(batching=Packed(size=64, strategy="concat", window=40, length="ids"), lanes=2),
    }
    return DistributedLoader(path, **arranged | options)


def elements(batch: dict[str, Any]) -> list[int]:
    found: list[int] = batch["ids"][batch["segment_ids"] > 0].tolist()
    return found


def test_samples_that_are_split_come_whole_over_all_ranks_with_their_records_beside_them(texts: Path) -> None:
    ranks = [list(packs_of(texts, rank=rank, world_size=2)) for rank in range(2)]

    assert len(ranks[0]) == len(ranks[1])
    everything = [element for rank in ranks for batch in rank for element in elements(batch)]
    assert sorted(everything) == [number * 1000 + place for number, size in enumerate(SIZES) for place in range(size)]
    for batch in ranks[0]:
        for row, (records, lengths) in enumerate(zip(batch["records"], batch["seq_lens"], strict=True)):
            ids = batch["ids"][row][: lengths.sum()]
            assert (ids // 1000 == np.repeat(records, lengths)).all()
            assert (ids % 1000 == batch["position_ids"][row][: lengths.sum()]).all()


@pytest.mark.parametrize("worlds", [(1, 2), (2, 1), (2, 4)])
def test_split_samples_resume_with_the_very_next_pack(texts: Path, worlds: tuple[int, int]) -> None:
    whole = [elements(batch) for batch in packs_of(texts)]
    before, after = worlds
    ranks = [packs_of(texts, rank=rank, world_size=before) for rank in range(before)]
    iterators = [iter(rank) for rank in ranks]
    got = [elements(next(iterator)) for _ in range(4) for iterator in iterators]
    others = [packs_of(texts, rank=rank, world_size=after, tail="keep") for rank in range(after)]
    for other in others:
        other.load_state_dict(json.loads(json.dumps(ranks[0].state_dict())))
    epoch = [[elements(batch) for batch in other] for other in others]
    first = 4 * before % after
    turned = epoch[first:] + epoch[:first]
    got += [batches[step] for step in range(len(turned[0])) for batches in turned if step < len(batches)]
    assert got == whole


def test_workers_split_samples_alike(texts: Path) -> None:
    with packs_of(texts, num_workers=1) as loader:
        assert [elements(batch) for batch in loader] == [elements(batch) for batch in packs_of(texts)]


def test_split_samples_need_a_collate_that_knows_where(texts: Path) -> None:
    with pytest.raises(ValueError, match=r"give collate_fn=PackedCollate\(64"):
        packs_of(texts, collate_fn=list)
    with pytest.raises(ValueError, match="sequences of 64 elements, and PackedCollate of 32"):
        packs_of(texts, collate_fn=PackedCollate(32, {"ids": 0}))
    with pytest.raises(ValueError, match="a replacement has another length"):
        packs_of(texts, records=RecordOptions(on_error="skip"))


@pytest.mark.parametrize(
    "batching",
    [
        TokenBudget(max_tokens=240, window=50, length="ids"),
        TokenBudget(max_tokens=240, window=50, length="ids", cost="sum"),
        Buckets(boundaries=(20, 40), window=64, length="ids"),
        Packed(size=64, window=50, length="ids"),
        Packed(size=64, strategy="concat", window=50, length="ids"),
    ],
)
def test_stats_tell_elements_and_padding(texts: Path, batching: Any) -> None:
    collate: Any = PackedCollate(64, {"ids": -1}) if isinstance(batching, Packed) else list
    packed = packs_of(texts, order=OrderOptions(batching=batching), collate_fn=collate)
    batches: list[Any] = list(packed)
    stats = packed.stats()

    assert stats.num_elements == sum(SIZES)
    if isinstance(batching, Packed):
        assert stats.num_padded_elements == sum(batch["ids"].size for batch in batches)
    elif isinstance(batching, TokenBudget) and batching.cost == "sum":
        assert stats.num_padded_elements == 240 * len(batches)
    else:
        padded = sum(len(batch) * max(len(sample["ids"]) for sample in batch) for batch in batches)
        assert stats.num_padded_elements == padded
    assert stats.fill_ratio == stats.as_dict()["fill_ratio"] == sum(SIZES) / stats.num_padded_elements
    assert f"by length: {sum(SIZES)} elements and " in str(stats)


def test_stats_of_other_batches_have_no_padding(folder: Path) -> None:
    plain = DistributedLoader(folder / "data", collate_fn=list)
    list(plain)
    assert (plain.stats().num_padded_elements, plain.stats().fill_ratio) == (0, 0.0)
    assert "by length" not in str(plain.stats())


def test_subset_alone_is_cut(folder: Path) -> None:
    got = numbers(loader(folder / "data", records=RecordOptions(subset=slice(0, 200, 3))))
    assert sorted(record for batch in got for record in batch) == list(range(0, 200, 3))


def test_length_comes_from_a_field_numbers_or_a_function(folder: Path, tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "samples") as writer:
        for number, size in enumerate(SIZES):
            writer.write_sample({"tokens": np.full(size, number), "count": size, "text": "x" * size})
    sizes = np.array(SIZES)
    fields = [
        [batch["count"].tolist() for batch in loader(SampleDataset(tmp_path / "samples"), budget, collate_fn=_counts)]
        for budget in (
            TokenBudget(max_tokens=240, window=50, length="tokens"),
            TokenBudget(max_tokens=240, window=50, length="count"),
            TokenBudget(max_tokens=240, window=50, length="text"),
            TokenBudget(max_tokens=240, window=50, length=sizes),
            TokenBudget(max_tokens=240, window=50, length=lambda sample: len(sample["tokens"])),
        )
    ]
    assert all(each == fields[0] for each in fields)
    by_bytes = numbers(loader(folder / "data"))
    assert fields[0] == [[SIZES[record] for record in batch] for batch in by_bytes]


def _counts(samples: list[Any]) -> dict[str, Any]:
    return {"count": np.array([sample["count"] for sample in samples])}


def test_mixture_is_cut_in_its_order(folder: Path) -> None:
    data = SplitDataLoader(folder / "data")
    mixture = Mixture({"a": (data, 3), "b": (folder / "data", 1)})
    got = numbers(loader(mixture))

    assert sum(map(len, got)) == mixture.epoch_length
    assert all(len(batch) * max(SIZES[record] for record in batch) <= 240 for batch in got)


@pytest.mark.parametrize(
    ("other", "options"),
    [
        (TokenBudget(max_tokens=241, window=50), {}),
        (TokenBudget(max_tokens=240, window=51), {}),
        (TokenBudget(max_tokens=240, window=50, length=[50] * NUM_RECORDS), {}),
        (BUDGET, {"batch_size": 3}),
        (None, {}),
    ],
)
def test_state_of_other_batches_is_refused(folder: Path, other: Any, options: dict[str, Any]) -> None:
    begun = loader(folder / "data")
    next(iter(begun))

    with pytest.raises(StateMismatchError, match="another order"):
        loader(folder / "data", other, **options).load_state_dict(begun.state_dict())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_sampler": [[1]]}, "batching"),
        ({"rotation": Rotation(2, 4)}, "rotation"),
    ],
)
def test_options_that_clash_with_batching_are_refused(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loader(folder / "data", lanes=None, **{"shuffle": False} | options)


@pytest.mark.parametrize("options", [{"num_steps": 5}, {"partition": "contiguous"}])
def test_orders_that_clash_with_batching_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="batching by length deals out"):
        OrderOptions(batching=BUDGET, **options)


@pytest.mark.parametrize(
    ("length", "error", "message"),
    [
        ([1, 2], ValueError, "one integer for each of the 200 records"),
        ([-1] * NUM_RECORDS, ValueError, "the length of record 0 is -1"),
        (lambda record: 1.5, TypeError, "the length of record 0 must be an integer, got 1.5"),
        ("tokens", ValueError, "a sample has no field 'tokens'"),
    ],
)
def test_lengths_that_mean_nothing_are_refused(folder: Path, length: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        next(iter(loader(folder / "data", TokenBudget(max_tokens=99, length=length))))


def test_dataset_without_sizes_needs_lengths() -> None:
    data = [bytes(number) for number in range(30)]
    with pytest.raises(TypeError, match="give `length`"):
        len(loader(data))

    whole = [batch for batch in loader(data, TokenBudget(max_tokens=60, length=len))]
    assert sorted(len(record) for batch in whole for record in batch) == list(range(30))


def test_batching_in_the_wrong_place_is_answered() -> None:
    with pytest.raises(TypeError, match=r"order=OrderOptions\(batching=...\)"):
        DistributedLoader([1], batching=BUDGET)  # type: ignore[call-arg]  # as a user may
    with pytest.raises(TypeError, match="batching must be TokenBudget"):
        OrderOptions(batching=240)  # type: ignore[arg-type]  # as a user may


def test_positions_of_batches_are_those_of_the_order_and_random_numbers_of_mixtures_differ_by_them(
    folder: Path,
) -> None:
    def draws(dataset: Any) -> list[bytes]:
        def transform(record: bytes, rng: np.random.Generator) -> bytes:
            return rng.bytes(8)

        mixed = loader(dataset, transform=transform, shuffle=False, lanes=1)
        return [drawn for _ in range(2) for batch in mixed for drawn in batch]

    def mixture() -> Mixture:
        return Mixture({"a": (folder / "data", 1)})

    # Each epoch has the same records in the same places.
    assert len(set(draws(mixture()))) == 2 * NUM_RECORDS
    # Made by a function, it is the same mixture.
    assert draws(mixture) == draws(mixture())
