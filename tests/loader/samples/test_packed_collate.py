"""PackedCollate: every sample in one place of one sequence, which segments, positions and lengths tell."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import DistributedLoader, OrderOptions, Packed, PackedCollate, SampleDataset, SplitWriter

COLLATE = PackedCollate(6, {"input_ids": 0, "labels": -100})


def sample(*ids: int) -> dict[str, Any]:
    return {"input_ids": np.array(ids, np.int64), "labels": np.array(ids, np.int32) + 100}


def test_samples_lie_one_behind_the_other_and_the_rest_is_padded() -> None:
    batch = COLLATE([sample(5, 6, 7), sample(8, 9), sample(1, 2, 3, 4)])

    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 0], [1, 2, 3, 4, 0, 0]]
    assert batch["labels"].tolist() == [[105, 106, 107, 108, 109, -100], [101, 102, 103, 104, -100, -100]]
    assert batch["segment_ids"].tolist() == [[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 0, 0]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 0, 0]]
    assert [lengths.tolist() for lengths in batch["seq_lens"]] == [[3, 2], [4]]
    assert (batch["input_ids"].dtype, batch["labels"].dtype) == (np.int64, np.int32)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30))
def test_every_sample_is_found_again(lengths: list[int]) -> None:
    samples = [sample(*range(100 * place + 1, 100 * place + 1 + length)) for place, length in enumerate(lengths)]
    batch = pickle.loads(pickle.dumps(COLLATE))(samples)

    found = [
        batch["input_ids"][row][batch["segment_ids"][row] == number + 1]
        for row, inner in enumerate(batch["seq_lens"])
        for number in range(len(inner))
    ]
    assert [part.tolist() for part in found] == [one["input_ids"].tolist() for one in samples]


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        ([{"input_ids": np.arange(3), "labels": np.arange(2)}], ValueError, "sample 0 of the batch has input_ids"),
        ([{"input_ids": np.ones((2, 2)), "labels": np.ones((2, 2))}], ValueError, "fields to pack have one axis"),
        ([sample(1), sample(*range(7))], ValueError, "sample 1 of the batch has 7 elements, a sequence has 6"),
        ([{"input_ids": np.arange(3)}], KeyError, "labels"),
    ],
)
def test_samples_that_cannot_be_packed_are_refused(samples: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        COLLATE(samples)


def test_options_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="pad names the fields"):
        PackedCollate(5, {})
    with pytest.raises(ValueError, match="size of packs must be 1 or more"):
        PackedCollate(0, {"a": 0})


@pytest.mark.parametrize("strategy", ["best-fit", "first-fit", "in-order"])
def test_loader_gives_full_sequences_of_all_samples(tmp_path: Path, strategy: Any) -> None:
    lengths = np.random.default_rng(0).integers(1, 65, 300).tolist()
    with SplitWriter(tmp_path) as writer:
        for number, length in enumerate(lengths):
            writer.write_sample({"input_ids": np.full(length, number + 1, np.int64)})
    loader = DistributedLoader(
        SampleDataset(tmp_path),
        batch_size=4,
        shuffle=True,
        collate_fn=PackedCollate(64, {"input_ids": 0}),
        order=OrderOptions(batching=Packed(size=64, window=100, strategy=strategy, length="input_ids")),
    )
    batches = list(loader)

    assert all(batch["input_ids"].shape[1] == 64 and len(batch["input_ids"]) <= 4 for batch in batches)
    counts = np.bincount(np.concatenate([batch["input_ids"].ravel() for batch in batches]), minlength=301)
    assert counts[1:].tolist() == lengths
    if strategy == "best-fit":
        assert counts[0] < 0.1 * counts.sum()


@given(st.lists(st.integers(0, 20), min_size=1, max_size=12).filter(any), st.data())
def test_samples_that_are_split_fill_every_sequence_but_the_last(lengths: list[int], data: st.DataObject) -> None:
    samples = [sample(*range(100 * place + 1, 100 * place + 1 + length)) for place, length in enumerate(lengths)]
    total = sum(lengths)
    # The first and the last sample have something in the batch.
    while not lengths[0]:
        samples, lengths = samples[1:], lengths[1:]
    while not lengths[-1]:
        samples, lengths = samples[:-1], lengths[:-1]
    taken = data.draw(st.integers(0, lengths[0] - 1))
    most = total - taken
    least = 1 if len(lengths) == 1 else total - lengths[-1] - taken + 1
    count = data.draw(st.integers(least, most))
    batch = COLLATE.pack(samples, records=range(50, 50 + len(samples)), span=(taken, count))

    expected = np.concatenate([one["input_ids"] for one in samples])[taken : taken + count]
    filled = batch["input_ids"][batch["segment_ids"] > 0]
    assert filled.tolist() == expected.tolist()
    assert batch["input_ids"].shape == (-(-count // 6), 6)
    assert [sum(lengths) for lengths in batch["seq_lens"][:-1]] == [6] * (len(batch["seq_lens"]) - 1)
    for row, (records, sizes) in enumerate(zip(batch["records"], batch["seq_lens"], strict=True)):
        ids = batch["input_ids"][row][: sizes.sum()]
        assert (np.repeat(records, sizes) == (ids - samples[0]["input_ids"][0]) // 100 + 50).all()
        assert (batch["position_ids"][row][: sizes.sum()] == ids % 100 - 1).all()


@pytest.mark.parametrize("span", [(3, 2), (0, 8), (2, 1), (0, 3)])
def test_samples_of_other_lengths_than_were_told_are_refused(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="lengths of Packed must be those that the transform gives"):
        COLLATE.pack([sample(1, 2, 3), sample(4, 5, 6, 7)], span=span)


def test_fields_that_a_batch_has_of_its_own_are_refused() -> None:
    with pytest.raises(ValueError, match="a batch has 'records' of its own"):
        PackedCollate(4, {"records": 0})
