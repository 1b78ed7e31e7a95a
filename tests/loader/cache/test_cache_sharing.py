"""A cache that several ranks, runs and loaders share, one that is resumed, and one together with rotation."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import Cache, DistributedLoader, RecordOptions, Rotation, SplitDataLoader, WorkerOptions, describe_cache
from splitdata.loader.pipeline.epoch_barrier import EpochBarrier
from splitdata.loader.plan.steps import CacheStats, Part, StepReply
from tests.command import ROOT, run_cli
from tests.loader.counting import Counting, calls, expected_sample, samples_of, write_numbers
from tests.loader.grouped import grouped
from tests.loader.resume_harness import LoaderMaker, examine, noisy

NUM_RECORDS = 53


@pytest.fixture
def dataset(tmp_path: Path) -> SplitDataLoader:
    return SplitDataLoader(write_numbers(tmp_path / "data", NUM_RECORDS))


# -- resume --------------------------------------------------------------------------------------

CACHES: dict[str, Callable[[Path], Cache]] = {
    "disk": lambda folder: Cache(folder, refresh_every=2),
    "disk for ever": Cache,
}


def maker(dataset: SplitDataLoader, folder: Path, cache: str, **options: Any) -> LoaderMaker:
    def make(*, rank: int | None, world_size: int | None, batch_size: int, num_workers: int) -> DistributedLoader:
        # What the others are compared with has a cache of its own.
        is_reference = (world_size, batch_size, num_workers) == (1, 1, 0)
        return DistributedLoader(
            dataset,
            **grouped(
                shuffle="global",
                rank=rank,
                world_size=world_size,
                batch_size=batch_size,
                num_workers=num_workers,
                transform=noisy,
                collate_fn=list,
                cache=CACHES[cache](folder / ("reference" if is_reference else "shared")),
                **options,
            ),
        )

    return make


@pytest.mark.parametrize("cache", CACHES)
def test_loader_with_a_cache_resumes_exactly(dataset: SplitDataLoader, tmp_path: Path, cache: str) -> None:
    num_loads = sum(
        examine(maker(dataset, tmp_path / f"{seed}", cache), seed=seed, num_actions=60) for seed in range(3)
    )
    assert num_loads > 15


@pytest.mark.parametrize("prefetch_epochs", [False, True])
@pytest.mark.parametrize("cache", CACHES)
def test_loader_with_a_cache_and_threads_resumes_exactly(
    dataset: SplitDataLoader, tmp_path: Path, cache: str, prefetch_epochs: bool
) -> None:
    make = maker(dataset, tmp_path, cache, kind="thread", prefetch_epochs=prefetch_epochs)

    assert examine(make, seed=7, num_actions=40, workers=(0, 1, 3)) > 2


@pytest.mark.soak
@pytest.mark.parametrize("cache", CACHES)
def test_loader_with_a_cache_and_processes_resumes_exactly(
    dataset: SplitDataLoader, tmp_path: Path, cache: str
) -> None:
    for seed in range(10):
        make = maker(dataset, tmp_path / f"{seed}", cache, start_method="spawn", prefetch_epochs=bool(seed % 2))
        examine(make, seed=seed, num_actions=60, workers=(0, 1, 3))


# -- ranks and runs ------------------------------------------------------------------------------

RANK = """
import sys
from pathlib import Path
from splitdata import Cache, DistributedLoader, WorkerOptions
from tests.loader.counting import Counting, samples_of

folder, rank, world_size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
loader = DistributedLoader(
    folder / "data", batch_size=4, shuffle="global", rank=rank, world_size=world_size, num_workers=int(sys.argv[4]),
    workers=WorkerOptions(kind="thread"), transform=Counting(folder / f"log{rank}", seconds=0.001),
    # Each has a log of its own, so that only a version makes them the same.
    cache=Cache(folder / "cache", refresh_every=2, version="numbers"),
)
for epoch in range(4):
    for number, noise in samples_of(loader):
        print(epoch, number, noise.hex())
loader.close()
"""


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ranks_of_one_machine_share_a_folder(dataset: SplitDataLoader, tmp_path: Path, num_workers: int) -> None:
    world_size = 2
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(tmp_path), str(rank), str(world_size), str(num_workers)],
            stdout=subprocess.PIPE,
            encoding="utf-8",
            cwd=ROOT,
        )
        for rank in range(world_size)
    ]
    found: dict[int, set[tuple[int, str]]] = {epoch: set() for epoch in range(4)}
    for program in programs:
        output, _ = program.communicate(timeout=100)
        assert program.returncode == 0
        for line in output.splitlines():
            words = line.split()
            found[int(words[0])].add((int(words[1]), words[2]))

    for epoch, samples in found.items():
        expected = [expected_sample(number, epoch - epoch % 2) for number in range(NUM_RECORDS)]
        assert samples == {(number, noise.hex()) for number, noise in expected}
    for rank in range(world_size):
        # Two generations.
        assert max(calls(tmp_path / f"log{rank}").values()) <= 2
    made = calls(tmp_path / "log0") + calls(tmp_path / "log1")
    assert set(made) == set(range(NUM_RECORDS))
    described = describe_cache(tmp_path / "cache")
    assert described is not None
    assert [(one.epoch, one.num_samples) for one in described.generations][-1] == (2, NUM_RECORDS)


def test_rank_takes_what_another_has_made_in_an_earlier_epoch(dataset: SplitDataLoader, tmp_path: Path) -> None:
    log = tmp_path / "log"
    loaders = [
        DistributedLoader(
            dataset,
            batch_size=4,
            shuffle="global",
            rank=rank,
            world_size=3,
            transform=Counting(log),
            cache=Cache(tmp_path / "cache"),
        )
        for rank in range(3)
    ]
    for _ in range(3):
        for loader in loaders:
            samples_of(loader)
    for loader in loaders:
        loader.close()
    # A padded last step repeats a sample, which two ranks may make.
    made = calls(log)
    assert set(made) == set(range(NUM_RECORDS))
    assert sum(made.values()) <= NUM_RECORDS + 2


def test_workers_that_are_started_anew_go_on_with_the_cache(dataset: SplitDataLoader, tmp_path: Path) -> None:
    is_broken = True

    class Failing(Counting):
        def __call__(self, record: bytes, rng: np.random.Generator) -> dict[str, Any]:
            if is_broken and record[0] == 40:
                raise RuntimeError("broken")
            return super().__call__(record, rng)

    log = tmp_path / "log"
    with DistributedLoader(
        dataset,
        batch_size=4,
        num_workers=2,
        workers=WorkerOptions(kind="thread"),
        transform=Failing(log),
        cache=Cache(tmp_path / "cache"),
    ) as loader:
        with pytest.raises(RuntimeError, match="broken"):
            samples_of(loader)
        is_broken = False
        loader.set_epoch(0)
        assert samples_of(loader) == [expected_sample(number, 0) for number in range(NUM_RECORDS)]
        assert samples_of(loader) == [expected_sample(number, 0) for number in range(NUM_RECORDS)]
    assert set(calls(log).values()) == {1}


# -- together with others ------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("prefetch_epochs", [False, True])
def test_rotation_takes_its_samples_from_the_cache(
    dataset: SplitDataLoader, tmp_path: Path, num_workers: int, prefetch_epochs: bool
) -> None:
    log = tmp_path / "log"
    with DistributedLoader(
        dataset,
        batch_size=4,
        shuffle="global",
        num_workers=num_workers,
        workers=WorkerOptions(kind="thread", prefetch_epochs=prefetch_epochs),
        transform=Counting(log),
        cache=Cache(tmp_path / "cache", refresh_every=2),
        rotation=Rotation(times=3, size=10),
    ) as loader:
        for epoch in range(4):
            first = epoch - epoch % 2
            assert Counter(samples_of(loader)) == {expected_sample(number, first): 3 for number in range(NUM_RECORDS)}
        stats = loader.stats()
    made = calls(log)
    # With prefetch_epochs the fifth epoch may have begun.
    assert set(made.values()) <= ({2, 3} if prefetch_epochs else {2})
    assert stats.cache is not None
    assert stats.cache.num_misses >= 2 * NUM_RECORDS


def test_tensors_come_back_as_tensors_of_their_own(dataset: SplitDataLoader, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    def transform(record: bytes) -> dict[str, Any]:
        return {"x": torch.full((3,), record[0], dtype=torch.bfloat16), "y": torch.tensor(record[0])}

    with DistributedLoader(dataset, batch_size=8, transform=transform, cache=Cache(tmp_path / "cache")) as loader:
        first, second = list(loader), list(loader)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["x"], other["x"])
        assert torch.equal(one["y"], other["y"])
        assert other["x"].dtype is torch.bfloat16
        other["x"] += 1


def test_as_tensors_is_the_same_with_a_cache(dataset: SplitDataLoader, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with DistributedLoader(
        dataset, batch_size=8, as_tensors=True, transform=Counting(tmp_path / "log"), cache=Cache(tmp_path / "cache")
    ) as loader:
        first, second = list(loader), list(loader)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_validate_puts_its_batch_into_the_cache(dataset: SplitDataLoader, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with DistributedLoader(
        dataset,
        batch_size=8,
        num_workers=2,
        workers=WorkerOptions(kind="thread"),
        transform=Counting(log),
        cache=Cache(tmp_path / "cache"),
    ) as loader:
        samples_of(loader)
    assert set(calls(log).values()) == {1}


def test_command_line_tells_what_a_cache_is(dataset: SplitDataLoader, tmp_path: Path) -> None:
    with DistributedLoader(
        dataset,
        batch_size=8,
        seed=5,
        records=RecordOptions(subset=slice(0, 20)),
        transform=Counting(tmp_path / "log"),
        cache=Cache(tmp_path / "cache", version="first try"),
    ) as loader:
        samples_of(loader)

    shown = run_cli("info", tmp_path / "cache")
    assert shown.returncode == 0
    lines = [line.split(maxsplit=1) for line in shown.stdout.splitlines()]
    assert ["generation", f"of epoch 0: 20 of {NUM_RECORDS} records, by 1 writer"] in lines
    assert ["version", "first try"] in lines
    assert ["transform", "Counting"] in lines
    assert ["dataset", dataset.fingerprint] in lines
    assert '"num_samples": 20' in run_cli("info", "--json", tmp_path / "cache").stdout
    verified = run_cli("verify", tmp_path / "cache")
    assert verified.returncode == 0
    assert "is intact" in verified.stdout


# -- the fence -----------------------------------------------------------------------------------


def parts_of(*epochs: int) -> tuple[Part, ...]:
    return tuple(Part(epoch, np.arange(2), np.arange(2)) for epoch in epochs)


def reply_of(misses: int, problem: str | None = None) -> StepReply:
    counts = CacheStats(0, misses, 0, 0, 0, problem)
    return StepReply(0, None, 0, 0, None, (), counts)  # type: ignore[arg-type]


def test_fence_stands_between_passes_while_samples_are_made() -> None:
    fence = EpochBarrier(Cache("c", refresh_every=2))
    assert not fence.holds_back(parts_of(0))
    fence.note_asked(parts_of(0))
    assert not fence.holds_back(parts_of(0))
    assert fence.holds_back(parts_of(1))
    fence.note_reply(reply_of(4))
    assert fence.holds_back(parts_of(1))
    fence.note_asked(parts_of(0, 1))
    assert fence.holds_back(parts_of(1))
    fence.note_asked(parts_of(1))
    assert not fence.holds_back(parts_of(1))


def test_fence_is_open_where_all_comes_from_the_cache_or_nothing_is_kept() -> None:
    for reply in (reply_of(0), reply_of(3, "the disk is full")):
        fence = EpochBarrier(Cache("c", refresh_every=2))
        fence.note_asked(parts_of(0))
        fence.note_reply(reply)
        assert not fence.holds_back(parts_of(1))
        # But not into another generation, of which nothing is there yet.
        fence.note_asked(parts_of(1))
        assert fence.holds_back(parts_of(2))
        fence.note_asked(parts_of(2))
        assert fence.holds_back(parts_of(3))
