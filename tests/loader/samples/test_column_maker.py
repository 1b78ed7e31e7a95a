"""Batches by columns: made where nothing looks at samples one by one, and where they fail samples say why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import Cache, DistributedLoader, Fields, RecordOptions, Rotation, SampleDataset, SplitWriter
from splitdata.errors import CorruptRecordError

NUM_SAMPLES = 22
# Stands once in the bytes of the dataset.
MARK = b"sample eleven"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "d", bins=1) as writer:
        writer.write_samples(
            {"x": np.full((2, 3), number, np.float32), "label": number, "text": MARK.decode() if number == 11 else "-"}
            for number in range(NUM_SAMPLES)
        )
    return tmp_path / "d"


@pytest.fixture
def made_alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the samples that were made one by one."""
    numbers: list[int] = []
    several = SampleDataset.__getitems__

    def noted(self: SampleDataset, indices: Any) -> list[Any]:
        numbers.extend(map(int, indices))
        return several(self, indices)

    monkeypatch.setattr(SampleDataset, "__getitems__", noted)
    return numbers


def doubled(sample: dict[str, Any]) -> dict[str, Any]:
    return {**sample, "label": 2 * sample["label"]}


def labels(batches: Any) -> list[int]:
    return [label for batch in batches for label in batch["label"].tolist()]


def spoil(path: Path) -> None:
    """Change a byte of sample 11."""
    (file,) = path.glob("segments/*/*.bin")
    content = bytearray(file.read_bytes())
    content[content.index(MARK)] ^= 1
    file.write_bytes(content)


def test_samples_as_they_are_and_their_fields_are_made_by_columns(path: Path, made_alone: list[int]) -> None:
    whole = DistributedLoader(path, batch_size=5)
    fields = DistributedLoader(path, batch_size=5, transform=Fields("label", "x"), as_tensors=True)

    assert labels(whole) == list(range(NUM_SAMPLES))
    first, images = next(iter(fields))
    assert (first.tolist(), tuple(images.shape)) == ([0, 1, 2, 3, 4], (5, 2, 3))
    assert made_alone == []


@pytest.mark.parametrize(
    "options",
    [
        {"transform": doubled},
        {"transform": Fields("label", transform=doubled), "collate_fn": lambda many: {"label": np.array(many)}},
        {"collate_fn": lambda samples: {"label": np.array([sample["label"] for sample in samples])}},
        {"records": RecordOptions(with_positions=True), "transform": lambda pair: pair[0]},
        {"rotation": Rotation(2, 4)},
    ],
)
def test_what_looks_at_each_sample_gets_it(path: Path, made_alone: list[int], options: dict[str, Any]) -> None:
    factor = 2 if "doubled" in repr(options) else 1

    found = labels(DistributedLoader(path, batch_size=5, **options))

    assert set(found) == {factor * number for number in range(NUM_SAMPLES)}
    assert sorted(made_alone) == list(range(NUM_SAMPLES))


def test_cache_keeps_samples_and_not_batches(path: Path, tmp_path: Path, made_alone: list[int]) -> None:
    for batch_size in (5, 3):
        with DistributedLoader(path, batch_size=batch_size, cache=Cache(tmp_path / "cache", version="1")) as loader:
            assert labels(loader) == list(range(NUM_SAMPLES))

    # Of the second loader none.
    assert made_alone == list(range(NUM_SAMPLES))


@pytest.mark.parametrize("texts", [["a", "a", "a"], ["", "abc", "a" * 300]], ids=["one size", "several sizes"])
def test_gathered_arrays_lie_in_the_memory_that_is_given_and_are_the_same(tmp_path: Path, texts: list[str]) -> None:
    made: list[int] = []

    def allocate(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        array = np.full(shape, 77).astype(dtype)
        made.append(array.ctypes.data)
        return array

    with SplitWriter(tmp_path / "d") as writer:
        writer.write_samples(
            {"text": text, "x": np.full((2, 3), number, np.float32), "none": np.zeros((0, 2))}
            for number, text in enumerate(texts)
        )
    dataset = SampleDataset(tmp_path / "d")

    given, usual = dataset.gather([2, 0, 1], allocate=allocate), dataset.gather([2, 0, 1])

    assert given["x"].ctypes.data in made
    assert given["x"].tolist() == usual["x"].tolist() == [[[number] * 3] * 2 for number in (2, 0, 1)]
    assert given["none"].shape == usual["none"].shape == (3, 0, 2)
    assert given["text"] == usual["text"] == [texts[number] for number in (2, 0, 1)]


def test_step_across_epochs_is_one_batch_in_the_order_of_both(path: Path) -> None:
    from splitdata import OrderOptions

    options: dict[str, Any] = {"batch_size": 5, "shuffle": "global", "order": OrderOptions(num_steps=9)}

    by_columns = labels(DistributedLoader(path, **options))

    assert by_columns == [label // 2 for label in labels(DistributedLoader(path, transform=doubled, **options))]
    assert len(by_columns) == 45


def test_damaged_record_raises_the_error_that_names_the_records_of_its_batch(path: Path) -> None:
    spoil(path)
    loader = DistributedLoader(path, batch_size=4)

    with pytest.raises(CorruptRecordError, match="11") as caught:
        list(loader)

    assert any("records 8, 9, 10, 11 were read for epoch 0" in note for note in caught.value.__notes__)
    assert loader.position == (0, 8)


def test_damaged_record_is_replaced_where_bad_ones_are_skipped(path: Path, made_alone: list[int]) -> None:
    spoil(path)
    loader = DistributedLoader(path, batch_size=4, records=RecordOptions(on_error="skip"))

    found = labels(loader)

    assert [bad.record for bad in loader.skipped] == [11]
    assert found[:11] + found[12:] == [number for number in range(NUM_SAMPLES) if number != 11]
    assert found[11] == loader.skipped[0].replacement
    # Those of its batch alone.
    assert made_alone == [8, 9, 10, 11]


def test_samples_of_several_shapes_raise_the_error_that_names_field_and_records(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "d") as writer:
        writer.write_samples([{"x": np.zeros(2)}, {"x": np.zeros(3)}])

    with pytest.raises(
        ValueError, match=r'\["x"\]: shape \(2,\) in sample 0 \(record 0\), \(3,\) in sample 1 \(record 1\)'
    ):
        list(DistributedLoader(tmp_path / "d", batch_size=2))


def test_field_that_is_missing_raises_the_error_with_the_record(path: Path) -> None:
    with pytest.raises(KeyError, match="no field 'lable'") as caught:
        list(DistributedLoader(path, batch_size=4, transform=Fields("lable")))

    assert any("raised by the transform of record 0" in note for note in caught.value.__notes__)
