"""What a dataset may be: a path, several, an object; what samplers may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata import DatasetNotFoundError, DistributedLoader, SampleDataset, SplitDataLoader, SplitWriter
from tests.loader.workloads import Numbers
from tests.stable_ids import stable_id

# Datasets and samplers of all kinds.
Anything: TypeAlias = Any


def write(path: Path, numbers: range) -> Path:
    with SplitWriter(path) as writer:
        for number in numbers:
            writer.write_sample({"n": number})
    return path


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / "a", range(3)), write(tmp_path / "b", range(3, 8))]


@pytest.mark.parametrize(
    "as_given", [list, tuple, lambda paths: [*map(str, paths)], lambda paths: [str(paths[0]), paths[1]]]
)
@pytest.mark.parametrize("workers", [0, 1])
def test_list_of_paths_is_their_datasets_end_to_end(
    parts: list[Path], as_given: Callable[[list[Path]], Anything], workers: int
) -> None:
    with DistributedLoader(as_given(parts), batch_size=8, num_workers=workers) as loader:
        (batch,) = loader
        assert batch["n"].tolist() == list(range(8))
        assert loader.state_dict()["fingerprint"] == SplitDataLoader([*map(str, parts)]).fingerprint


def test_list_of_paths_of_bytes_is_their_records_end_to_end(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with SplitWriter(tmp_path / name) as writer:
            writer.write(name.encode())

    with DistributedLoader([tmp_path / "a", tmp_path / "b"], batch_size=2) as loader:
        assert list(loader) == [[b"a", b"b"]]


def test_list_of_texts_that_are_no_paths_says_what_they_were_taken_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        DistributedLoader([str(tmp_path / "a text"), str(tmp_path / "another")])

    assert "a list of texts is taken for paths" in caught.value.__notes__[0]


def test_list_of_readers_is_refused_with_what_to_give(parts: list[Path]) -> None:
    for kind in (SplitDataLoader, SampleDataset):
        with pytest.raises(TypeError, match=r"a list that holds 2 readers, .* give the list of their paths"):
            DistributedLoader([kind(str(path)) for path in parts])


def test_list_of_anything_else_is_a_dataset_of_its_elements() -> None:
    with DistributedLoader([5, 6, 7], batch_size=3) as loader:
        assert [batch.tolist() for batch in loader] == [[5, 6, 7]]


def generator() -> Iterator[int]:
    yield from (2, 0, 1)


@pytest.mark.parametrize("name", ["sampler", "batch_sampler"])
@pytest.mark.parametrize(
    "used_up", [iter([2, 0]), generator(), zip([1], [2], strict=True), map(int, "1")], ids=stable_id
)
def test_iterator_for_a_sampler_is_refused(name: str, used_up: Anything) -> None:
    options: dict[str, Anything] = {name: used_up}
    with pytest.raises(TypeError, match=rf"{name} is an iterator \(.*\), which has nothing left after one epoch"):
        DistributedLoader(Numbers(3), **options)


@pytest.mark.parametrize("sampler", [[2, 0, 1], np.array([2, 0, 1]), lambda epoch: generator()])
def test_sampler_that_can_be_asked_again_gives_each_epoch(sampler: Anything) -> None:
    with DistributedLoader(Numbers(3), batch_size=3, sampler=sampler) as loader:
        assert [batch.tolist() for _ in range(3) for batch in loader] == [[2, 0, 1]] * 3


def test_empty_batch_of_a_batch_sampler_is_named() -> None:
    loader = DistributedLoader(Numbers(3), batch_sampler=lambda epoch: [[0, 1], [], [2]])
    with pytest.raises(ValueError, match="batch_sampler gave an empty batch as number 1 of 3 in epoch 0"):
        iter(loader)
    loader.close()


@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        ([0, 3], IndexError, "the records that sampler gave hold 3, which is out of range: there are 3 records"),
        ([0, -1], IndexError, "the records that sampler gave hold -1"),
        ([0.5], TypeError, "the records that sampler gave are one row of integers, got float64"),
        ([True, False, True], TypeError, "the records that sampler gave are one row of integers, got bool"),
    ],
)
def test_sampler_that_gives_no_records_is_refused(records: Anything, error: type[Exception], message: str) -> None:
    loader = DistributedLoader(Numbers(3), sampler=records)
    with pytest.raises(error, match=message):
        iter(loader)
    loader.close()
