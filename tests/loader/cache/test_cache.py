"""The cache: each sample is made once in a generation, and is what it would be without a cache."""

from __future__ import annotations

import functools
import gc
import logging
import pickle
from collections import Counter, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import (
    Cache,
    CacheError,
    DistributedLoader,
    HashSplit,
    OrderOptions,
    RecordOptions,
    SplitDataLoader,
    Window,
    WorkerOptions,
    describe_cache,
    verify,
)
from tests.loader.counting import Counting, calls, expected_sample, samples_of, write_numbers
from tests.loader.grouped import grouped

NUM_RECORDS = 60


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write_numbers(tmp_path / "data", NUM_RECORDS)


def cache_in(folder: Path, **options: Any) -> Cache:  # of any type
    return Cache(folder / "cache", **options)


@pytest.mark.parametrize(("num_workers", "kind"), [(0, "process"), (2, "thread"), (2, "process")])
def test_each_sample_is_made_once_in_a_generation_with_its_randomness(
    dataset: Path, tmp_path: Path, num_workers: int, kind: Literal["process", "thread"]
) -> None:
    log = tmp_path / "log"
    with DistributedLoader(
        dataset,
        batch_size=7,
        shuffle="global",
        num_workers=num_workers,
        workers=WorkerOptions(kind=kind),
        transform=Counting(log),
        cache=cache_in(tmp_path, refresh_every=2),
    ) as loader:
        for epoch in range(5):
            samples = samples_of(loader)
            assert sorted(samples) == [expected_sample(number, epoch - epoch % 2) for number in range(NUM_RECORDS)]
            assert calls(log) == Counter({number: 1 + epoch // 2 for number in range(NUM_RECORDS)})
        cache = loader.stats().cache
    assert cache is not None
    assert (cache.num_hits, cache.num_misses, cache.num_damaged) == (2 * NUM_RECORDS, 3 * NUM_RECORDS, 0)
    assert 0 < cache.bytes_read < cache.bytes_written


@pytest.mark.parametrize("shuffle", [False, "global", "bins", Window(9)])
def test_order_of_each_epoch_is_that_without_a_cache(
    dataset: Path, tmp_path: Path, shuffle: Literal[False, "global", "bins"] | Window
) -> None:
    def numbers(cache: Cache | None) -> list[list[int]]:
        transform = Counting(tmp_path / "log")
        loader = DistributedLoader(dataset, batch_size=8, shuffle=shuffle, transform=transform, cache=cache)
        return [[number for number, _ in samples_of(loader)] for _ in range(3)]

    cached = numbers(cache_in(tmp_path))

    assert cached == numbers(None)
    assert shuffle is False or cached[0] != cached[1] != cached[2]


def test_cache_of_no_refresh_serves_every_epoch_and_the_next_run(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(3):
        with DistributedLoader(
            dataset, batch_size=8, shuffle="global", transform=Counting(log), cache=cache_in(tmp_path)
        ) as loader:
            for _ in range(2):
                assert len(samples_of(loader)) == NUM_RECORDS
    assert set(calls(log).values()) == {1}


def test_loader_that_was_never_closed_leaves_what_it_made(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        loader = DistributedLoader(dataset, batch_size=8, transform=Counting(log), cache=cache_in(tmp_path))
        next(iter(loader))
        del loader
        gc.collect()
    assert calls(log) == Counter(range(8))


def test_epoch_that_was_broken_off_is_gone_on_with_and_nothing_is_made_twice(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DistributedLoader(
        dataset, batch_size=4, shuffle="global", transform=Counting(log), cache=cache_in(tmp_path)
    ) as loader:
        for number, _ in enumerate(loader):
            if number == 5:
                break
        samples_of(loader)
        samples_of(loader)
    assert set(calls(log).values()) == {1}
    assert len(calls(log)) == NUM_RECORDS


def test_record_that_a_sampler_names_twice_is_made_once(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    drawn = np.random.default_rng(3).integers(0, 20, 64).tolist()
    with DistributedLoader(
        dataset,
        batch_size=16,
        sampler=lambda epoch: drawn,
        transform=Counting(log),
        cache=cache_in(tmp_path),
    ) as loader:
        for _ in range(2):
            assert [number for number, _ in samples_of(loader)] == drawn
    assert calls(log) == Counter(set(drawn))


@pytest.mark.parametrize("subset", [slice(5, 30), HashSplit(0.0, 0.5), np.array([3, 4, 9])])
def test_cache_is_of_the_dataset_so_subsets_share_it(
    dataset: Path, tmp_path: Path, subset: slice | HashSplit | np.ndarray[Any, Any]
) -> None:
    log = tmp_path / "log"
    for chosen in (subset, None, subset):
        with DistributedLoader(
            dataset,
            batch_size=8,
            records=RecordOptions(subset=chosen),
            transform=Counting(log),
            cache=cache_in(tmp_path),
        ) as loader:
            samples_of(loader)
    assert calls(log) == Counter(range(NUM_RECORDS))


def test_epochs_of_num_steps_make_each_sample_once_in_a_pass_through_the_data(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DistributedLoader(
        dataset,
        batch_size=8,
        shuffle="global",
        order=OrderOptions(num_steps=10),
        num_workers=3,
        workers=WorkerOptions(kind="thread"),
        transform=Counting(log, seconds=0.001),
        cache=cache_in(tmp_path, refresh_every=2),
    ) as loader:
        samples = [sample for _ in range(6) for sample in samples_of(loader)]
    for index, (number, noise) in enumerate(samples):
        epoch = index // NUM_RECORDS
        assert (number, noise) == expected_sample(number, epoch - epoch % 2)
    # 480 samples are 8 passes, of which workers may have begun a ninth.
    made = calls(log)
    assert {number: min(count, 4) for number, count in made.items()} == dict.fromkeys(range(NUM_RECORDS), 4)
    assert max(made.values()) <= 5


def test_epochs_that_are_begun_early_make_nothing_twice(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DistributedLoader(
        dataset,
        batch_size=4,
        shuffle="global",
        num_workers=3,
        workers=WorkerOptions(kind="thread", prefetch_epochs=True),
        transform=Counting(log, seconds=0.001),
        cache=cache_in(tmp_path, refresh_every=3),
    ) as loader:
        for epoch in range(6):
            samples = samples_of(loader)
            assert sorted(samples) == [expected_sample(number, epoch - epoch % 3) for number in range(NUM_RECORDS)]
        made = calls(log)
    assert set(made) == set(range(NUM_RECORDS))
    # The seventh epoch may have begun.
    assert set(made.values()) <= {2, 3}


def test_replacement_of_a_bad_record_is_not_kept_in_its_place(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    is_broken = True

    class Picky(Counting):
        def __call__(self, record: bytes, rng: np.random.Generator) -> dict[str, Any]:
            if is_broken and int.from_bytes(record[:8], "little") in (3, 17):
                raise ValueError("cannot decode")
            return super().__call__(record, rng)

    with DistributedLoader(
        dataset, batch_size=8, transform=Picky(log), records=RecordOptions(on_error="skip"), cache=cache_in(tmp_path)
    ) as loader:
        for epoch in range(2):
            numbers = [number for number, _ in samples_of(loader)]
            assert [numbers[3] == 3, numbers[17] == 17] == [False, False]
            assert {(one.record, one.epoch) for one in loader.skipped[-2:]} == {(3, epoch), (17, epoch)}
        is_broken = False
        assert [number for number, _ in samples_of(loader)] == list(range(NUM_RECORDS))
        before = calls(log)
        assert [number for number, _ in samples_of(loader)] == list(range(NUM_RECORDS))
    assert calls(log) == before
    assert (before[3], before[17]) == (1, 1)


def test_transform_that_fails_leaves_what_was_made_before_it(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"

    class Failing(Counting):
        def __call__(self, record: bytes, rng: np.random.Generator) -> dict[str, Any]:
            if record[0] == 5:
                raise RuntimeError("out of luck")
            return super().__call__(record, rng)

    for _ in range(2):
        loader = DistributedLoader(dataset, batch_size=8, transform=Failing(log), cache=cache_in(tmp_path))
        with pytest.raises(RuntimeError, match="out of luck") as caught:
            list(loader)
        assert any("record 5" in note for note in caught.value.__notes__)
        loader.close()
    assert calls(log) == Counter(range(5))


# -- what samples may be -------------------------------------------------------------------------


def test_sample_that_does_not_fit_names_its_part(dataset: Path, tmp_path: Path) -> None:
    loader = DistributedLoader(
        dataset,
        transform=lambda record: {"meta": [1, {"file": object()}]},
        collate_fn=list,
        cache=cache_in(tmp_path),
    )
    with pytest.raises(CacheError, match=r'record 0 cannot be cached: sample\["meta"\]\[1\]\["file"\]: object'):
        next(iter(loader))


Point = namedtuple("Point", "x y")


@dataclass
class Box:
    corner: Point
    size: int


def boxed(record: bytes) -> dict[str, Any]:
    return {"box": Box(Point(record[0], 2.5), 3)}


@pytest.mark.parametrize("types", [(), (Box,)])
def test_class_that_would_not_come_back_is_refused(dataset: Path, tmp_path: Path, types: tuple[type, ...]) -> None:
    loader = DistributedLoader(dataset, transform=boxed, cache=cache_in(tmp_path, types=types))
    what = r"sample\['box'\]\.corner is of type Point" if types else r"sample\['box'\] is of type Box"

    with pytest.raises(CacheError, match=what):
        next(iter(loader))


def test_named_classes_come_back_as_they_were(dataset: Path, tmp_path: Path) -> None:
    with DistributedLoader(
        dataset, transform=boxed, collate_fn=list, cache=cache_in(tmp_path, types=(Box, Point))
    ) as loader:
        epochs = [[sample for batch in loader for sample in batch] for _ in range(2)]
    assert epochs[0] == epochs[1] == [boxed(bytes([number])) for number in range(NUM_RECORDS)]
    assert isinstance(epochs[1][0]["box"].corner, Point)


def test_arrays_from_the_cache_can_be_written_to_as_fresh_ones(dataset: Path, tmp_path: Path) -> None:
    def add_one(samples: list[dict[str, Any]]) -> list[int]:
        for sample in samples:
            sample["image"] += 1
        return [int(sample["image"][0, 0]) for sample in samples]

    with DistributedLoader(
        dataset, batch_size=8, transform=Counting(tmp_path / "log"), collate_fn=add_one, cache=cache_in(tmp_path)
    ) as loader:
        epochs = [list(loader) for _ in range(3)]
    assert epochs[0] == epochs[1] == epochs[2]
    assert epochs[0][0] == list(range(1, 9))


def test_records_without_a_transform_are_cached_as_they_are(tmp_path: Path) -> None:
    class Slow:
        fingerprint = "slow-1"

        def __init__(self) -> None:
            self.asked: list[int] = []

        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> tuple[str, float]:
            self.asked.append(index)
            return f"name {index}", index / 2

    slow = Slow()
    with DistributedLoader(slow, batch_size=5, collate_fn=list, cache=cache_in(tmp_path)) as loader:
        epochs = [[sample for batch in loader for sample in batch] for _ in range(2)]
    assert epochs[0] == epochs[1] == [(f"name {index}", index / 2) for index in range(10)]
    assert slow.asked == list(range(10))


def test_views_of_records_are_cached(dataset: Path, tmp_path: Path) -> None:
    with DistributedLoader(
        dataset,
        batch_size=8,
        records=RecordOptions(as_views=True),
        collate_fn=lambda records: list(map(bytes, records)),
        cache=cache_in(tmp_path),
    ) as loader:
        assert list(loader) == list(loader)


# -- keys ----------------------------------------------------------------------------------------


def made_by(dataset: Any, folder: Path, transform: Counting, **options: Any) -> Counter[int]:
    """Run one epoch and return what was made in it."""
    cache = {name: options.pop(name) for name in ("version", "refresh_every") if name in options}
    before = calls(transform.log)
    with DistributedLoader(
        dataset, **grouped(batch_size=8, transform=transform, cache=cache_in(folder, **cache), **options)
    ) as loader:
        samples_of(loader)
    return calls(transform.log) - before


class Renamed(Counting):
    pass


@pytest.mark.parametrize("change", ["version", "seed", "transform", "dataset"])
def test_stale_samples_are_never_used_and_discarded_with_one_line(
    dataset: Path, tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "log"
    other = write_numbers(tmp_path / "other", NUM_RECORDS, first=1000)
    changes: dict[str, dict[str, Any]] = {"version": {"version": "b"}, "seed": {"seed": 1}}
    options = changes.get(change, {})
    transform = Renamed(log) if change == "transform" else Counting(log)
    made_by(dataset, tmp_path, Counting(log))
    caplog.set_level(logging.INFO, "splitdata")

    made = made_by(other if change == "dataset" else dataset, tmp_path, transform, **options)

    assert sum(made.values()) == NUM_RECORDS
    assert [record.message for record in caplog.records if "discarded" in record.message] == [
        f"{tmp_path / 'cache'}: 1 generations of cached samples are discarded: they are of another dataset, "
        "transform (its code or its arguments), version or seed"
    ]
    assert len(list((tmp_path / "cache").glob("generation.*"))) == 1
    assert not made_by(other if change == "dataset" else dataset, tmp_path, transform, **options)


def test_samples_that_another_loader_uses_are_not_discarded(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DistributedLoader(
        dataset, batch_size=8, transform=Counting(log), cache=cache_in(tmp_path, version="a")
    ) as loader:
        samples_of(loader)
        assert sum(made_by(dataset, tmp_path, Counting(log), version="b").values()) == NUM_RECORDS
        before = calls(log)
        samples_of(loader)
    assert calls(log) == before


def test_appended_records_make_another_dataset(dataset: Path, tmp_path: Path) -> None:
    from splitdata import SplitWriter

    log = tmp_path / "log"
    made_by(dataset, tmp_path, Counting(log))
    with SplitWriter(dataset, mode="append", durability="none") as writer:
        writer.write((500).to_bytes(8, "little"))

    assert sum(made_by(dataset, tmp_path, Counting(log)).values()) == NUM_RECORDS + 1


class Foreign:
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> bytes:
        return index.to_bytes(8, "little")


def test_dataset_without_fingerprint_must_name_a_version(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no `fingerprint`.*Cache\(\.\.\., version="):
        DistributedLoader(Foreign(), cache=cache_in(tmp_path))

    transform = Counting(tmp_path / "log")
    assert sum(made_by(Foreign(), tmp_path, transform, version="1").values()) == 12
    assert not made_by(Foreign(), tmp_path, transform, version="1")


@pytest.mark.parametrize("what", ["folder", "file", "dataset"])
def test_folder_that_is_no_cache_is_refused_and_left_alone(dataset: Path, tmp_path: Path, what: str) -> None:
    path = tmp_path / "cache"
    if what == "file":
        path.write_text("precious")
    elif what == "folder":
        path.mkdir()
        (path / "thesis.tex").write_text("precious")
    else:
        path = dataset
    before = sorted(one.name for one in path.rglob("*"))

    with pytest.raises(CacheError, match="is a file" if what == "file" else "no cache's"):
        DistributedLoader(dataset, cache=Cache(path))
    assert sorted(one.name for one in path.rglob("*")) == before


def test_damaged_key_costs_the_generation_and_nothing_else(dataset: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    made_by(dataset, tmp_path, Counting(log))
    (key,) = (tmp_path / "cache").glob("*/key.json")
    key.write_text(key.read_text().replace('"seed": 0', '"seed": 1'))

    assert sum(made_by(dataset, tmp_path, Counting(log)).values()) == NUM_RECORDS
    assert not made_by(dataset, tmp_path, Counting(log))


# -- generations ---------------------------------------------------------------------------------


def generations(folder: Path) -> list[int]:
    return sorted(int(one.name.split(".")[1]) for one in (folder / "cache").glob("generation.*"))


def test_old_generation_goes_when_the_new_one_is_complete(dataset: Path, tmp_path: Path) -> None:
    with DistributedLoader(
        dataset, batch_size=8, transform=Counting(tmp_path / "log"), cache=cache_in(tmp_path, refresh_every=2)
    ) as loader:
        found = []
        for _ in range(7):
            samples_of(loader)
            found.append(generations(tmp_path))
    assert found == [[0], [0], [0, 2], [2], [2, 4], [4], [4, 6]]
    assert not list((tmp_path / "cache").glob("removed.*"))


def test_generations_that_are_never_complete_are_two_at_most(dataset: Path, tmp_path: Path) -> None:
    with DistributedLoader(
        dataset,
        batch_size=8,
        sampler=range(20),
        transform=Counting(tmp_path / "log"),
        cache=cache_in(tmp_path, refresh_every=1),
    ) as loader:
        for _ in range(5):
            samples_of(loader)
    assert generations(tmp_path) == [3, 4]


def test_resume_into_an_older_generation_makes_its_samples_again(dataset: Path, tmp_path: Path) -> None:
    def loader() -> DistributedLoader:
        return DistributedLoader(
            dataset,
            batch_size=8,
            shuffle="global",
            transform=Counting(tmp_path / "log"),
            cache=cache_in(tmp_path, refresh_every=2),
        )

    with loader() as first:
        epochs = []
        for epoch in range(6):
            if epoch == 1:
                iterator = iter(first)
                samples_of([next(iterator), next(iterator)])
                state = first.state_dict()
                samples_of(iterator)
            else:
                epochs.append(samples_of(first))
    with loader() as second:
        second.load_state_dict(state)
        rest = samples_of(second)
        assert rest == [expected_sample(number, 0) for number, _ in rest]
        assert len(rest) == NUM_RECORDS - 16
        assert [samples_of(second) for _ in range(4)] == epochs[1:]


def test_generation_that_another_rank_reads_stays(dataset: Path, tmp_path: Path) -> None:
    def loader(rank: int) -> DistributedLoader:
        return DistributedLoader(
            dataset,
            batch_size=8,
            rank=rank,
            world_size=2,
            transform=Counting(tmp_path / "log"),
            cache=cache_in(tmp_path, refresh_every=1),
        )

    with loader(0) as ahead, loader(1) as behind:
        iterator = iter(behind)
        head = samples_of([next(iterator)])
        for _ in range(4):
            samples_of(ahead)
        assert 0 in generations(tmp_path)
        tail = samples_of(iterator)
    assert sorted(head + tail) == [expected_sample(number, 0) for number in range(1, NUM_RECORDS, 2)]


# -- properties ----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    num_records=st.integers(1, 40),
    refresh_every=st.none() | st.integers(1, 4),
    batch_size=st.integers(1, 9),
    world_size=st.integers(1, 3),
    num_workers=st.integers(0, 3),
    shuffle=st.sampled_from([False, "global", "bins"]),
)
def test_every_sample_is_right_and_made_at_most_once_on_each_rank(
    tmp_path_factory: pytest.TempPathFactory,
    num_records: int,
    refresh_every: int | None,
    batch_size: int,
    world_size: int,
    num_workers: int,
    shuffle: Literal[False, "global", "bins"],
) -> None:
    folder = tmp_path_factory.mktemp("property")
    dataset = SplitDataLoader(write_numbers(folder / "data", num_records))
    # The ranks have a log each: by their code alone they would not be the same.
    cache = cache_in(folder, refresh_every=refresh_every, version="numbers")
    logs = [folder / f"log{rank}" for rank in range(world_size)]
    loaders = [
        DistributedLoader(
            dataset,
            batch_size=batch_size,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
            num_workers=num_workers,
            workers=WorkerOptions(kind="thread"),
            transform=Counting(logs[rank]),
            cache=cache,
        )
        for rank in range(world_size)
    ]
    num_epochs = 5
    try:
        for epoch in range(num_epochs):
            samples = [sample for loader in loaders for sample in samples_of(loader)]
            first = cache.first_epoch(epoch)
            assert set(samples) == {expected_sample(number, first) for number in range(num_records)}
    finally:
        for loader in loaders:
            loader.close()
    num_generations = len({cache.first_epoch(epoch) for epoch in range(num_epochs)})
    for log in logs:
        assert max(calls(log).values(), default=0) <= num_generations
    if world_size == 1:
        assert calls(logs[0]) == Counter(list(range(num_records)) * num_generations)
    assert verify(folder / "cache").is_intact
    described = describe_cache(folder / "cache")
    assert described is not None
    assert described.generations[-1].num_samples == num_records


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "missing 1 required positional argument: 'path'"),
        ({"path": None}, TypeError, "path must be text"),
        ({"path": b"c"}, TypeError, "path must be text"),
        ({"path": "s3://bucket/cache"}, ValueError, "is a URL"),
        ({"path": ""}, ValueError, "path must name a file or folder"),
        ({"path": "c", "compression": "gzip"}, ValueError, "None or 'zstd'"),
        ({"path": "c", "refresh_every": 0}, ValueError, "refresh_every must be 1 or more"),
        ({"path": "c", "refresh_every": 2.5}, TypeError, "refresh_every must be an int"),
        ({"path": "c", "refresh_every": float("nan")}, TypeError, "refresh_every must be an int"),
        ({"path": "c", "refresh_every": True}, TypeError, "refresh_every must be an int"),
        ({"path": "c", "max_bytes": 0}, ValueError, "max_bytes must be 1 or more"),
        ({"path": "c", "version": 3}, TypeError, "version must be a str"),
        ({"path": "c", "version": ""}, ValueError, "version must have 1 to"),
        ({"path": "c", "types": (int,)}, TypeError, "namedtuples and dataclasses"),
    ],
)
def test_option_that_is_none_is_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Cache(**options)


def test_refresh_of_infinity_never_refreshes() -> None:
    cache = Cache("c", refresh_every=float("inf"))

    assert cache == Cache("c")
    assert {cache.first_epoch(epoch) for epoch in range(100)} == {0}


def test_loader_refuses_a_path_as_cache(dataset: Path) -> None:
    with pytest.raises(TypeError, match=r"cache=Cache\('folder'\)"):
        DistributedLoader(dataset, cache="folder")  # type: ignore[arg-type]


def test_compressed_cache_gives_the_same_samples_in_less_room(dataset: Path, tmp_path: Path) -> None:
    def run(name: str, compression: Literal["zstd"] | None) -> tuple[list[Any], int]:
        transform = Wide(tmp_path / "log")
        cache = Cache(tmp_path / name, compression=compression)
        with DistributedLoader(dataset, batch_size=8, transform=transform, cache=cache) as loader:
            samples_of(loader)
            samples = [batch["wide"].tolist() for batch in loader]
        described = describe_cache(tmp_path / name)
        assert described is not None
        return samples, described.disk_bytes

    plain, plain_bytes = run("plain", None)
    compressed, compressed_bytes = run("compressed", "zstd")

    assert compressed == plain
    assert compressed_bytes < plain_bytes / 3


class Wide(Counting):
    def __call__(self, record: bytes, rng: np.random.Generator) -> dict[str, Any]:
        return super().__call__(record, rng) | {"wide": np.zeros((50, 50))}


# -- whose samples they are ----------------------------------------------------------------------


def times(record: bytes, factor: int) -> int:
    return record[0] * factor


class Times:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def __call__(self, record: bytes) -> int:
        return record[0] * self.factor

    def other(self, record: bytes) -> int:
        return record[0] * self.factor + 100


def closure(factor: int) -> Callable[[bytes], int]:
    def inner(record: bytes) -> int:
        return record[0] * factor

    return inner


def edited(body: str) -> Callable[[bytes], int]:
    space: dict[str, Any] = {}
    exec(f"def transform(record):\n    return {body}\n", space)
    transform: Callable[[bytes], int] = space["transform"]
    return transform


def by_one(record: bytes, by: int = 1) -> int:
    return record[0] + by


def by_two(record: bytes, by: int = 2) -> int:
    return record[0] + by


PAIRS: dict[str, tuple[Callable[[bytes], int], Callable[[bytes], int]]] = {
    "partials": (functools.partial(times, factor=2), functools.partial(times, factor=3)),
    "instances": (Times(2), Times(3)),
    "bound methods": (Times(2).__call__, Times(2).other),
    "lambdas": (lambda record: record[0] + 1, lambda record: record[0] + 2),
    "closures": (closure(2), closure(3)),
    "an edited body": (edited("record[0] + 1"), edited("record[0] - 1")),
    "defaults": (by_one, by_two),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_transforms_that_differ_never_get_each_others_samples(dataset: Path, tmp_path: Path, kind: str) -> None:
    for transform in (*PAIRS[kind], PAIRS[kind][0]):
        with DistributedLoader(
            dataset, batch_size=10, transform=transform, collate_fn=list, cache=cache_in(tmp_path)
        ) as loader:
            for _ in range(2):
                found = [sample for batch in loader for sample in batch]
                assert found == [transform(bytes([number])) for number in range(NUM_RECORDS)]


def test_version_stands_for_the_code(dataset: Path, tmp_path: Path) -> None:
    first, second = PAIRS["an edited body"]
    for transform, version, expected in ((first, "a", first), (second, "a", first), (second, "b", second)):
        cache = cache_in(tmp_path, version=version)
        with DistributedLoader(dataset, batch_size=60, transform=transform, collate_fn=list, cache=cache) as loader:
            assert next(iter(loader)) == [expected(bytes([number])) for number in range(NUM_RECORDS)]


def test_transform_that_does_not_tell_what_it_does_is_asked_for_a_version(dataset: Path, tmp_path: Path) -> None:
    with (tmp_path / "notes").open("w") as notes:

        def transform(record: bytes) -> int:
            notes.write("x")
            return record[0]

        message = r"tell this transform from another one: transform > notes is of type _io.TextIOWrapper.*version="
        with pytest.raises(ValueError, match=message):
            DistributedLoader(dataset, transform=transform, cache=cache_in(tmp_path))
        DistributedLoader(dataset, transform=transform, cache=cache_in(tmp_path, version="a"))


def test_loader_that_travels_keeps_the_identity_of_its_transform(dataset: Path, tmp_path: Path) -> None:
    transform = Times(2)
    loader = DistributedLoader(dataset, batch_size=60, transform=transform, collate_fn=list, cache=cache_in(tmp_path))
    list(loader)
    travelled = pickle.loads(pickle.dumps(loader))
    loader.close()
    with travelled:
        list(travelled)
        assert travelled.stats().cache.num_hits == NUM_RECORDS


# -- room ----------------------------------------------------------------------------------------


def padded(record: bytes) -> npt.NDArray[np.uint8]:
    return np.full(4000 + 16 * record[0], record[0], np.uint8)


@pytest.mark.parametrize("batch_size", [60, 7])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_what_fits_is_kept_and_what_is_kept_is_counted(
    dataset: Path,
    tmp_path: Path,
    batch_size: int,
    compression: Literal["zstd"] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Room for about half of them, where they are not compressed; a single commit may have all.
    max_bytes = 200_000
    cache = cache_in(tmp_path, max_bytes=max_bytes, compression=compression)
    with DistributedLoader(dataset, batch_size=batch_size, transform=padded, collate_fn=list, cache=cache) as loader:
        for _ in range(2):
            found = [sample for batch in loader for sample in batch]
            assert [(len(one), one[0]) for one in found] == [(4000 + 16 * n, n) for n in range(NUM_RECORDS)]
        described = describe_cache(tmp_path / "cache")
        counts = loader.stats().cache
    assert described is not None
    assert counts is not None
    (generation,) = described.generations
    assert described.disk_bytes <= max_bytes
    # What was kept in the first epoch was read in the second.
    assert counts.num_hits == generation.num_samples
    assert counts.bytes_read == counts.bytes_written
    if compression is None:
        assert 25 <= generation.num_samples < NUM_RECORDS
        assert len([record for record in caplog.records if "takes no more samples" in record.message]) == 1
    else:
        assert generation.num_samples == NUM_RECORDS
