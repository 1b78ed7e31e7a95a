"""Positions of every kind, everywhere a user may give some: the same records, or the same error."""

from __future__ import annotations

import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata import DistributedLoader, Mixture, RecordOptions, SampleDataset, SplitDataLoader, SplitWriter
from splitdata.order.positions import are_several, checked_position, checked_positions
from tests.command import run_python

torch: Any = pytest.importorskip("torch")

# Whatever may be given for positions.
Anything: TypeAlias = Any

COUNT = 10
MASK = [number in (1, 4, 7) for number in range(COUNT)]
SEVERAL: dict[str, tuple[Anything, list[int]]] = {
    "list": ([1, -1, 1], [1, 9, 1]),
    "tuple": ((1, 2), [1, 2]),
    "range": (range(1, 8, 3), [1, 4, 7]),
    "range from the end": (range(-1, -4, -1), [9, 8, 7]),
    "slice": (slice(1, None, 3), [1, 4, 7]),
    "slice backwards": (slice(None, None, -4), [9, 5, 1]),
    "slice of nothing": (slice(5, 2), []),
    "empty list": ([], []),
    "list of numpy ints": ([np.int8(1), np.uint64(2)], [1, 2]),
    "list of torch ints": ([torch.tensor(1), torch.tensor(2)], [1, 2]),
    "array": (np.array([1, -1], "i2"), [1, 9]),
    "unsigned big-endian array": (np.array([1, 2], ">u8"), [1, 2]),
    "array of one": (np.array([3]), [3]),
    "empty array of floats": (np.array([]), []),
    "tensor": (torch.tensor([1, -1]), [1, 9]),
    "tensor of one": (torch.tensor([3]), [3]),
    "tensor of bytes": (torch.tensor([3, 4], dtype=torch.uint8), [3, 4]),
    "array.array": (array.array("q", [1, 2]), [1, 2]),
    "mask as a list": (MASK, [1, 4, 7]),
    "mask as an array": (np.array(MASK), [1, 4, 7]),
    "mask as a tensor": (torch.tensor(MASK), [1, 4, 7]),
    "mask of numpy bools": ([np.bool_(each) for each in MASK], [1, 4, 7]),
}
WRONG: dict[str, tuple[Anything, type[Exception], str]] = {
    "too high": ([1, COUNT], IndexError, "10, which is out of range: there are 10 records"),
    "too low": ([-COUNT - 1], IndexError, "-11, which is out of range"),
    "beyond 64 bits": ([1, 10**30], IndexError, f"{10**30}, which is out of range"),
    "beyond signed 64 bits": (np.array([2**64 - 1], "u8"), IndexError, "18446744073709551615, which is out of"),
    "floats": ([1.0, 2.0], TypeError, "one row of integers, got float64"),
    "float tensor": (torch.tensor([1.0]), TypeError, "one row of integers, got float32"),
    "texts": (["1", "2"], TypeError, "one row of integers, got <U1"),
    "two rows": ([[1, 2], [3, 4]], TypeError, r"one row of integers, got int64 of shape \(2, 2\)"),
    "two rows of a tensor": (torch.tensor([[1, 2]]), TypeError, r"got int64 of shape \(1, 2\)"),
    "bools and ints": ([True, 2], TypeError, "integers, or a mask of bools, not both"),
    "short mask": ([True, False], IndexError, "a mask of 2 bools, and there are 10 records"),
}
SINGLE = [3, -7, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3), torch.tensor(3, dtype=torch.uint8)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two segments whose record k is a sample of the number k, with k bytes beside it."""
    path = tmp_path_factory.mktemp("positions") / "data"
    for numbers in (range(6), range(6, COUNT)):
        with SplitWriter(path, mode="append", durability="none") as writer:
            for number in numbers:
                writer.write_sample({"n": number, "b": bytes(number)})
    return path


def taken_by_loader(path: Path, positions: Anything) -> list[int]:
    with DistributedLoader(path, records=RecordOptions(subset=positions)) as loader:
        return [batch["n"][0] for batch in loader]


def mixture_of(path: Path) -> Mixture:
    return Mixture({"first": (SampleDataset(path)[:6], 0.5), "second": (SampleDataset(path)[6:], 0.5)})


PLACES: dict[str, Callable[[Path, Anything], list[int]]] = {
    "loader[...]": lambda path, given: numbers_of(path, SplitDataLoader(path)[given]),
    "__getitems__": lambda path, given: numbers_of(path, SplitDataLoader(path).__getitems__(given)),
    "views": lambda path, given: numbers_of(path, [*map(bytes, SplitDataLoader(path).views(given))]),
    "sizes": lambda path, given: numbers_of_sizes(path, SplitDataLoader(path).sizes[given]),
    "dataset[...]": lambda path, given: [sample["n"] for sample in SampleDataset(path)[given]],
    "dataset.__getitems__": lambda path, given: [sample["n"] for sample in SampleDataset(path).__getitems__(given)],
    "mixture[...]": lambda path, given: [sample["n"] for sample in mixture_of(path)[given]],
    "checked_positions": lambda path, given: checked_positions(given, COUNT).tolist(),
    "subset": taken_by_loader,
}


def numbers_of(path: Path, records: Anything) -> list[int]:
    known = list(SplitDataLoader(path))
    return [known.index(record) for record in records]


def numbers_of_sizes(path: Path, sizes: Anything) -> list[int]:
    assert sizes.dtype == np.int64
    known = [len(record) for record in SplitDataLoader(path)]
    return [known.index(size) for size in sizes]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", SEVERAL)
def test_positions_of_each_kind_are_taken_everywhere(path: Path, place: str, name: str) -> None:
    given, expected = SEVERAL[name]
    if place == "subset" and name == "range from the end":
        pytest.skip("a range is kept as it is, and says which records there are")

    assert PLACES[place](path, given) == expected
    assert are_several(given)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", WRONG)
def test_positions_that_are_none_are_refused_everywhere(path: Path, place: str, name: str) -> None:
    given, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        PLACES[place](path, given)


@pytest.mark.parametrize("name", SEVERAL)
def test_positions_of_each_kind_gather_prefetch_and_read_ahead(path: Path, name: str) -> None:
    given, expected = SEVERAL[name]
    with SplitDataLoader(path) as loader:
        loader.prefetch(given)
        loader.read_ahead(given)
        assert loader.gather([3]).tobytes() == loader[3]
    with SampleDataset(path) as dataset:
        dataset.prefetch(given)
        dataset.read_ahead(given)
        if expected:
            assert dataset.gather(given)["n"].tolist() == expected


@pytest.mark.parametrize("index", SINGLE, ids=lambda index: type(index).__name__)
def test_position_of_each_kind_is_taken_everywhere(path: Path, index: Anything) -> None:
    with SplitDataLoader(path) as loader, SampleDataset(path) as dataset:
        assert loader[index] == loader.view(index) == loader.read_range(index, 0, 1 << 20) == loader[3]
        assert loader.sizes[index] == len(loader[3])
        assert loader.key(index) is None
        sample: Anything = dataset[index]
        assert sample["n"] == mixture_of(path)[index]["n"] == 3
    assert not are_several(index)
    assert checked_position(index, COUNT) == 3


@pytest.mark.parametrize("index", [True, np.True_, torch.tensor(True), 1.0, "1", None, b"1", torch.tensor(1.0), {1}])
def test_position_that_is_none_is_refused(path: Path, index: Anything) -> None:
    for action in (
        SplitDataLoader(path).__getitem__,
        SplitDataLoader(path).sizes.__getitem__,
        SplitDataLoader(path).view,
        mixture_of(path).__getitem__,
    ):
        with pytest.raises(TypeError, match="integer"):
            action(index)


@pytest.mark.parametrize("index", [[1], np.array([1]), torch.tensor([1]), slice(1)])
def test_row_of_positions_is_refused_where_there_is_one(path: Path, index: Anything) -> None:
    with pytest.raises(TypeError, match="integer"):
        SplitDataLoader(path).view(index)


@pytest.mark.slow
def test_positions_need_no_torch() -> None:
    code = "import sys, splitdata.order.positions as p; p.checked_positions([1, 2], 3); print('torch' in sys.modules)"

    assert run_python("-c", code).stdout == "False\n"
