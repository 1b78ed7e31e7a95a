"""Weights and balanced classes in the loader: where they come from, what goes with them, and what does not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    Cache,
    DistributedLoader,
    Mixture,
    OrderOptions,
    RecordOptions,
    SampleDataset,
    SplitWriter,
    StateMismatchError,
    TokenBudget,
    Window,
)
from tests.loader.grouped import grouped
from tests.loader.resume_harness import Endless, LoaderMaker, examine, noisy

NUM_RECORDS = 60
CLASSES = ["cat", "dog", "cat", "cat", "bird", "cat"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "samples"
    with SplitWriter(path, bins=3) as writer:
        for number in range(NUM_RECORDS):
            label = CLASSES[number % 6]
            writer.write_sample({"number": number, "label": label, "weight": np.float32(number % 4), "ids": [1] * 3})
    return path


def numbers(dataset: Any, **options: Any) -> list[int]:
    """Return the numbers of an epoch."""
    arranged: dict[str, Any] = {"batch_size": 8, "shuffle": True, "collate_fn": list}
    loader = DistributedLoader(dataset, **grouped(**arranged | options))
    return [sample["number"] for batch in loader for sample in batch]


def test_weights_come_from_a_field_numbers_or_a_function(samples: Path) -> None:
    weights = np.arange(NUM_RECORDS) % 4
    found = [
        numbers(samples, weights=given, num_samples=90)
        for given in ("weight", weights, weights.tolist(), lambda sample: sample["number"] % 4)
    ]

    assert found[0] == found[1] == found[2] == found[3]
    assert Counter(Counter(found[0]).values()) == {1: 15, 2: 15, 3: 15}


def test_classes_come_from_a_field_numbers_or_a_function(samples: Path) -> None:
    labels = [CLASSES[number % 6] for number in range(NUM_RECORDS)]
    found = [
        numbers(samples, balanced_by=given)
        for given in ("label", labels, np.unique(labels, return_inverse=True)[1], lambda sample: sample["label"])
    ]

    assert found[0] == found[1] == found[2] == found[3]
    for begin in range(0, NUM_RECORDS, 3):
        assert {labels[number] for number in found[0][begin : begin + 3]} == {"cat", "dog", "bird"}


def test_length_is_exact_and_ranks_have_equal_steps(samples: Path) -> None:
    ranks = [
        DistributedLoader(samples, **grouped(batch_size=4, rank=rank, world_size=3, weights="weight", num_samples=50))
        for rank in range(3)
    ]
    assert [len(rank) for rank in ranks] == [sum(1 for _ in rank) for rank in ranks] == [5, 5, 5]


def test_subset_alone_is_drawn_from_and_its_weights_alone_are_asked_for(samples: Path) -> None:
    asked = []

    def weight(sample: dict[str, Any]) -> int:
        asked.append(sample["number"])
        return 1

    subset = RecordOptions(subset=slice(0, 60, 7))
    assert sorted(numbers(samples, weights=weight, records=subset)) == asked == list(range(0, 60, 7))
    assert set(numbers(samples, weights=np.arange(60) == 21, records=subset)) == {21}


def test_use_of_a_record_that_comes_again_has_other_random_numbers(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write_many([number.to_bytes(8, "little") for number in range(4)])
    loader = DistributedLoader(
        tmp_path / "data",
        batch_size=8,
        transform=noisy,
        collate_fn=list,
        order=OrderOptions(weights=[1, 2, 3, 4], num_samples=100),
    )
    draws = [draw for _ in range(2) for batch in loader for _, draw in batch]

    assert len(set(draws)) == 200


DRAWS: dict[str, dict[str, Any]] = {
    "weights": {"weights": "weight", "subset": slice(2, None)},
    "weights, once each": {"weights": "number", "num_samples": 23, "replacement": False},
    "classes": {"balanced_by": "label", "num_samples": 31},
    "endless weights": {"weights": "weight", "num_samples": 31, "num_steps": 9},
    "endless classes": {"balanced_by": "label", "num_steps": 9},
}


@pytest.mark.parametrize("draws", DRAWS)
def test_draws_resume_exactly_at_any_world_size_and_batch_size(samples: Path, draws: str) -> None:
    dataset, course = SampleDataset(samples), Endless(9) if "num_steps" in DRAWS[draws] else None

    def transform(sample: dict[str, Any], rng: np.random.Generator) -> tuple[int, bytes]:
        return sample["number"], rng.bytes(6)

    def make(*, rank: int | None, world_size: int | None, batch_size: int, num_workers: int) -> DistributedLoader:
        options = {"rank": rank, "world_size": world_size, "batch_size": batch_size, "num_workers": num_workers}
        shaped = {"shuffle": True, "transform": transform, "collate_fn": list}
        return DistributedLoader(dataset, **grouped(**options | shaped | DRAWS[draws]))

    maker: LoaderMaker = make
    assert sum(examine(maker, seed=seed, num_actions=50, course=course) for seed in range(2)) > 4


def test_batches_by_length_are_cut_out_of_what_is_drawn(samples: Path) -> None:
    budget = TokenBudget(max_tokens=12, window=16, length="ids")
    found = numbers(samples, batch_size=1, balanced_by="label", batching=budget)

    assert Counter(CLASSES[number % 6] for number in found) == {"cat": 20, "dog": 20, "bird": 20}


@pytest.mark.parametrize(
    "other",
    [
        {"weights": "number"},
        {"weights": "weight", "num_samples": 59},
        {"balanced_by": "label"},
        {},
        {"weights": "weight", "num_samples": 30, "replacement": False},
    ],
)
def test_state_of_other_weights_is_refused_inside_an_epoch(samples: Path, other: dict[str, Any]) -> None:
    begun = DistributedLoader(samples, **grouped(weights="weight", shuffle=True, collate_fn=list))
    next(iter(begun))

    with pytest.raises(StateMismatchError, match="another order"):
        DistributedLoader(samples, **grouped(shuffle=True, **other)).load_state_dict(begun.state_dict())


def test_weights_may_change_between_epochs(samples: Path) -> None:
    begun = DistributedLoader(samples, **grouped(weights="weight", shuffle=True, collate_fn=list))
    list(begun)

    other = DistributedLoader(samples, **grouped(weights="number", shuffle=True, collate_fn=list))
    other.load_state_dict(begun.state_dict())
    assert other.position == (1, 0)
    assert len(list(other)) == NUM_RECORDS


def test_cache_keeps_what_is_drawn(samples: Path, tmp_path: Path) -> None:
    made = []

    def transform(sample: dict[str, Any]) -> dict[str, Any]:
        made.append(sample["number"])
        return {"number": sample["number"]}

    found = numbers(samples, weights="weight", num_samples=200, transform=transform, cache=Cache(tmp_path, version="1"))
    assert len(found) == 200
    assert sorted(made) == sorted(set(found))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1], "balanced_by": [1]}, "exclude each other"),
        ({"num_samples": 5}, "num_samples goes with weights"),
        ({"balanced_by": [1], "num_samples": 5, "replacement": False}, "goes with weights: balanced_by repeats"),
        ({"weights": [1], "replacement": False}, "needs num_samples"),
        ({"weights": [1], "num_samples": 0}, "num_samples must be 1 or more"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OrderOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1, 2], "shuffle": Window(3)}, "weights of OrderOptions draws from all records"),
        ({"balanced_by": [1, 2], "shuffle": "bins"}, "balanced_by of OrderOptions draws from all records"),
        ({"weights": [1, 2], "sampler": [0], "shuffle": False}, "sampler decides the order itself: leave out weights"),
        ({"balanced_by": [1, 2], "batch_sampler": [[0]], "shuffle": False, "batch_size": 1}, "leave out balanced_by"),
    ],
)
def test_options_that_clash_with_draws_are_refused(samples: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        numbers(samples, **options)


def test_draws_of_a_mixture_are_refused(samples: Path) -> None:
    with pytest.raises(ValueError, match=r"a mixture decides itself.*weights"):
        numbers(Mixture({"a": (samples, 1)}), weights=[1] * NUM_RECORDS)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weights": [1, 2]}, ValueError, "weights must be one value for each of the 60 records"),
        ({"weights": np.ones((60, 2))}, ValueError, r"array of shape \(60, 2\)"),
        ({"weights": "color"}, ValueError, "a sample has no field 'color'"),
        ({"weights": "label"}, TypeError, "one number for each record"),
        ({"balanced_by": "weight"}, TypeError, "classes are whole numbers or texts, balanced_by gives float32"),
    ],
)
def test_values_that_mean_nothing_are_refused(
    samples: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        numbers(samples, **options)
