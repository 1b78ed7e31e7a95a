"""Records with their keys and positions: in every transport, after a resume, and as a part of what a cache keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata import Cache, DistributedLoader, RecordOptions, Rotation, SampleDataset, SplitDataLoader, SplitWriter
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers

# Datasets, records and samples.
Anything: TypeAlias = Any

COUNT = 12


def write(path: Path, prefix: str = "class", first: int = 0, count: int = COUNT) -> Path:
    """Write records k with the keys "class0/k", "class1/k", ..., but for the last, which has none."""
    with SplitWriter(path, mode="append") as writer:
        for number in range(first, first + count):
            writer.write(b"%d" % number, key=None if number == COUNT - 1 else f"{prefix}{number % 3}/{number}")
    return path


def write_samples(path: Path) -> Path:
    with SplitWriter(path) as writer:
        for number in range(COUNT):
            writer.write_sample({"n": number, "x": np.zeros(3)}, key=f"class{number % 3}/{number}")
    return path


def label(record_and_key: tuple[Anything, str | None]) -> Anything:
    record, key = record_and_key
    return {"n": int(bytes(record)), "key": key or "none"}


def label_and_position(given: tuple[Anything, str | None, int]) -> Anything:
    record, key, position = given
    return {"n": int(bytes(record)), "key": key or "none", "position": position}


def checked(batches: Anything) -> list[int]:
    """Return the records of batches of `label`, each with its own key."""
    seen: list[int] = []
    for batch in batches:
        for number, key in zip(batch["n"].tolist(), batch["key"], strict=True):
            assert key == ("none" if number == COUNT - 1 else f"class{number % 3}/{number}")
        seen += batch["n"].tolist()
    return seen


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("reuse", ["none", "cache", "rotation"])
@pytest.mark.parametrize("as_views", [False, True])
def test_transform_gets_each_record_with_its_key(tmp_path: Path, workers: int, reuse: str, as_views: bool) -> None:
    with DistributedLoader(
        write(tmp_path / "data"),
        batch_size=5,
        shuffle="global",
        transform=label,
        records=RecordOptions(with_keys=True, as_views=as_views),
        num_workers=workers,
        cache=Cache(tmp_path / "cache", version="1") if reuse == "cache" else None,
        rotation=Rotation(2, 4) if reuse == "rotation" else None,
    ) as loader:
        for _ in range(2):
            seen = checked(loader)
            assert sorted(seen) == sorted([*range(COUNT)] * (2 if reuse == "rotation" else 1))


def test_keys_positions_and_both_have_their_stated_forms(tmp_path: Path) -> None:
    path = write(tmp_path / "data")
    forms = {
        (True, False): (b"3", "class0/3"),
        (False, True): (b"3", 3),
        (True, True): (b"3", "class0/3", 3),
        (False, False): b"3",
    }
    for (keys, positions), expected in forms.items():
        with DistributedLoader(
            path,
            records=RecordOptions(with_keys=keys, with_positions=positions, subset=[3]),
            collate_fn=lambda samples: samples,
        ) as loader:
            assert list(loader) == [[expected]]


def test_samples_and_several_datasets_come_with_keys(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "samples")
    for dataset in (samples, SampleDataset(samples), lambda: SampleDataset(samples)):
        with DistributedLoader(dataset, batch_size=COUNT, records=RecordOptions(with_keys=True)) as loader:
            ((batch, keys),) = loader
            assert keys == [f"class{number % 3}/{number}" for number in batch["n"]]
    parts: list[str] = [str(write(tmp_path / "a", count=5)), str(write(tmp_path / "b", first=5, count=COUNT - 5))]
    for several in (parts, SplitDataLoader(parts)):
        options: dict[str, Anything] = {"with_keys": True, "with_positions": True, "transform": label_and_position}
        with DistributedLoader(several, **grouped(batch_size=COUNT, **options)) as loader:
            (found,) = loader
            assert checked([found]) == found["position"].tolist() == list(range(COUNT))


def test_resume_goes_on_with_the_keys_of_the_records_that_follow(tmp_path: Path) -> None:
    options: dict[str, Anything] = {"batch_size": 5, "shuffle": "global", "transform": label, "with_keys": True}
    with DistributedLoader(write(tmp_path / "data"), **grouped(**options)) as loader:
        first = checked([next(iter(loader))])
        state = loader.state_dict()
    with DistributedLoader(tmp_path / "data", **grouped(**options)) as loader:
        loader.load_state_dict(state)
        assert sorted(first + checked(loader)) == list(range(COUNT))


def test_cache_is_another_one_with_keys_and_when_keys_change(tmp_path: Path) -> None:
    def keys_of(path: Path, **options: Anything) -> Anything:
        with DistributedLoader(
            path, **grouped(batch_size=COUNT, cache=Cache(tmp_path / "cache", version="1"), **options)
        ) as loader:
            return next(iter(loader))

    with_keys = keys_of(write(tmp_path / "a"), with_keys=True)
    assert with_keys[1][0] == "class0/0"
    assert keys_of(tmp_path / "a") == with_keys[0]
    # The same records, so the same fingerprint.
    assert SplitDataLoader(write(tmp_path / "b", "other")).fingerprint == SplitDataLoader(tmp_path / "a").fingerprint
    assert keys_of(tmp_path / "b", with_keys=True)[1][0] == "other0/0"


def test_bad_record_is_replaced_with_the_key_of_the_other_one(tmp_path: Path) -> None:
    def fails_once(given: tuple[bytes, str | None]) -> Anything:
        if given[0] == b"4":
            raise LookupError
        return label(given)

    with DistributedLoader(
        write(tmp_path / "data"),
        batch_size=4,
        transform=fails_once,
        records=RecordOptions(with_keys=True, on_error="skip"),
    ) as loader:
        seen = checked(loader)
        assert len(seen) == COUNT
        assert 4 not in seen


def test_dataset_without_keys_is_refused_and_one_with_a_method_of_its_own_is_not() -> None:
    class Keyed(Numbers):
        def key(self, position: int) -> str:
            return f"k{position}"

    with pytest.raises(ValueError, match=r"with_keys needs a dataset that has keys, .* give Numbers a method key\("):
        DistributedLoader(Numbers(3), records=RecordOptions(with_keys=True))
    with DistributedLoader(Keyed(3), batch_size=3, records=RecordOptions(with_keys=True)) as loader:
        ((numbers, keys),) = loader
        assert keys == [f"k{number}" for number in numbers]


class Wrapper:
    """A dataset of the user's."""

    def __init__(self, reader: Anything) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> Anything:
        return self.reader[index]


class SlottedWrapper(Wrapper):
    __slots__ = ("held",)

    def __init__(self, reader: Anything) -> None:
        super().__init__(None)
        self.held = reader

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> Anything:
        return self.held[index]


def test_fingerprint_of_a_wrapper_is_that_of_the_reader_it_holds(tmp_path: Path) -> None:
    reader, samples = SplitDataLoader(write(tmp_path / "data")), SampleDataset(write_samples(tmp_path / "samples"))
    for held in (reader, samples):
        for dataset in (Wrapper(held), SlottedWrapper(held), Wrapper(Wrapper(held))):
            with DistributedLoader(dataset) as loader:
                assert loader.state_dict()["fingerprint"] == held.fingerprint
    # Which of two it would be, nobody knows.
    both = Wrapper(reader)
    both.__dict__["other"] = samples
    for dataset in (both, Wrapper([*range(3)])):
        with DistributedLoader(dataset) as loader:
            assert loader.state_dict()["fingerprint"] == "tests.loader.samples.test_with_keys.Wrapper"


def test_cache_does_not_trust_the_code_of_a_wrapper(tmp_path: Path) -> None:
    wrapper = Wrapper(SplitDataLoader(write(tmp_path / "data")))
    with pytest.raises(ValueError, match="name what is cached"):
        DistributedLoader(wrapper, cache=Cache(tmp_path / "cache"))


def add_one(sample: Anything) -> Anything:
    sample["x"] += 1
    return sample


def test_error_of_a_sample_that_is_read_only_names_the_way_out(tmp_path: Path) -> None:
    path = write_samples(tmp_path / "data")
    with (
        DistributedLoader(path, batch_size=COUNT, transform=add_one) as loader,
        pytest.raises(ValueError, match="read-only") as caught,
    ):
        next(iter(loader))
    assert any("SampleDataset(path, copy=True)" in note for note in caught.value.__notes__)

    with DistributedLoader(SampleDataset(path, copy=True), batch_size=COUNT, transform=add_one) as loader:
        (batch,) = loader
        assert batch["x"].tolist() == [[1.0] * 3] * COUNT
