"""The sequence of batches is the same whoever makes them: any number of workers, every way to start them, threads."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.order.window import Window
from tests.command import ROOT
from tests.loader.grouped import grouped
from tests.loader.resume_harness import noisy
from tests.loader.workloads import Numbers, Rows, Sample, is_batch_of

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# Options of a loader.
Anything: TypeAlias = Any

NUM_RECORDS = 61

# Workers, how they are started, and whatever else must not matter.
WAYS: dict[str, dict[str, Any]] = {
    "1 fork": {"num_workers": 1, "start_method": "fork"},
    "2 fork": {"num_workers": 2, "start_method": "fork", "prefetch": 1, "read_ahead": 0},
    "3 fork": {"num_workers": 3, "start_method": "fork", "prefetch": 7, "max_bytes": 100_000},
    "2 spawn": {"num_workers": 2, "start_method": "spawn", "prefetch_epochs": True},
    "1 thread": {"num_workers": 1, "kind": "thread", "prefetch_epochs": True},
    "3 threads": {"num_workers": 3, "kind": "thread", "prefetch": 1, "max_bytes": 1000},
}
ORDERS: dict[str, dict[str, Any]] = {
    "in order": {},
    "global": {"shuffle": "global", "seed": 3},
    "window": {"shuffle": Window(9)},
    "bins": {"shuffle": "bins", "interleave": 2},
    "steps": {"shuffle": "global", "num_steps": 11},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "data", bins=4) as writer:
        for number in range(NUM_RECORDS):
            writer.write(number.to_bytes(8, "little") + bytes(100 * (number % 7)))
    return tmp_path / "data"


def epochs(path: Path, order: str, **way: Anything) -> list[list[list[Any]]]:
    """Return the batches of two epochs, with the bytes that each sample's generator has drawn."""
    with DistributedLoader(
        path, **grouped(batch_size=5, rank=1, world_size=2, transform=noisy, collate_fn=list, **ORDERS[order], **way)
    ) as loader:
        return [list(loader), list(loader)]


@pytest.mark.parametrize("way", WAYS)
def test_batches_are_those_of_a_loader_without_workers(path: Path, way: str) -> None:
    # Starting an interpreter takes long: one order proves as much as five.
    for order in ["global"] if way == "2 spawn" else ORDERS:
        assert epochs(path, order, **WAYS[way]) == epochs(path, order), order


def unevenly(record: int) -> int:
    time.sleep(0.02 if record % 7 == 0 else 0)
    return record


@pytest.mark.parametrize("way", ["1 fork", "3 fork", "3 threads"])
def test_batches_as_they_become_ready_are_the_same_in_another_order(way: str) -> None:
    def run(**options: Anything) -> list[list[int]]:
        with DistributedLoader(
            Numbers(NUM_RECORDS), **grouped(batch_size=3, shuffle="global", transform=unevenly, **WAYS[way], **options)
        ) as loader:
            return [batch.tolist() for _ in range(2) for batch in loader]

    in_order, as_ready = run(), run(in_order=False)

    # Not across epochs: each has its own.
    half = len(in_order) // 2
    for epoch in (slice(half), slice(half, None)):
        assert Counter(map(tuple, as_ready[epoch])) == Counter(map(tuple, in_order[epoch]))
    if way == "1 fork":
        assert as_ready == in_order


def test_two_loaders_at_once_do_not_disturb_each_other(path: Path) -> None:
    loaders = [
        DistributedLoader(
            path, **grouped(batch_size=4, shuffle="global", seed=seed, transform=noisy, collate_fn=list, **way)
        )
        for seed, way in enumerate([WAYS["2 fork"], WAYS["3 threads"], WAYS["3 fork"]])
    ]
    together = list(zip(*loaders, strict=True))
    for number, loader in enumerate(loaders):
        loader.close()
        apart = list(
            DistributedLoader(path, batch_size=4, shuffle="global", seed=number, transform=noisy, collate_fn=list)
        )
        assert [step[number] for step in together] == apart


def random_states() -> list[bytes]:
    states = [random.getstate(), np.random.get_state()]
    if "torch" in sys.modules:
        states.append(sys.modules["torch"].get_rng_state().numpy().tobytes())
    return [pickle.dumps(state) for state in states]


def drawing(record: int, rng: np.random.Generator) -> Sample:
    return {"record": record, "noise": rng.random(3)}


@pytest.mark.parametrize(
    "options", [{}, {"as_tensors": True}, {"device": "cpu"}, {"device": "cpu", "as_tensors": True}]
)
def test_random_generators_of_the_user_are_bit_identical_before_and_after(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    before = random_states()

    for way in ({}, WAYS["2 fork"], WAYS["3 threads"]):
        with DistributedLoader(
            Numbers(20), **grouped(batch_size=3, shuffle="global", transform=drawing, on_error="skip", **options, **way)
        ) as loader:
            batches = iter(loader)
            noise = next(batches)["noise"]
            state = loader.state_dict()
            list(batches)
            loader.load_state_dict(state)
            list(loader)
        assert random_states() == before
        assert len(set(np.asarray(noise).ravel().tolist())) == 9


def test_loader_in_a_forked_child_starts_its_own_workers_and_leaves_the_parents_alone() -> None:
    source = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
import os
from splitdata.errors import ClosedError
from splitdata.loader.distributed_loader import DistributedLoader
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers, Rows, Stream

for way in (dict(start_method="fork"), dict(kind="thread"), dict(num_workers=0)):
    options = dict(batch_size=2, shuffle="global", num_workers=2, transform=Rows(20_000)) | way
    loader = DistributedLoader(Numbers(40), **grouped(**options))
    stream = Stream(loader)
    batches = iter(loader)
    stream.take(batches, 3)
    pid = os.fork()
    if pid == 0:
        try:
            next(batches)
        except ClosedError as error:
            print("child:", str(error).split(" process ")[0], loader.stats().num_batches, loader.position, flush=True)
        stream.follow(30)
        loader.close()
        print("child took", stream.num_batches, flush=True)
        sys.exit()
    assert os.waitpid(pid, 0)[1] == 0
    stream.take(batches)
    stream.follow(20)
    print("parent took", stream.num_batches, flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, check=False)

    assert ended.stderr == ""
    child = ["child: this iterator over epoch 0 belongs to 3 (0, 6)", "child took 33", "parent took 40"]
    assert ended.stdout.splitlines() == [*child, *child, *child]


def test_file_position_of_an_inherited_dataset_is_not_shared_between_forked_workers(path: Path) -> None:
    # A dataset that was opened, and read from, before the workers are forked.
    with SplitDataLoader(path, io="pread") as dataset:
        expected = [dataset[number] for number in range(NUM_RECORDS)]
        for way in ("3 fork", "3 threads"):
            with DistributedLoader(dataset, **grouped(batch_size=2, collate_fn=list, **WAYS[way])) as loader:
                for _ in range(3):
                    assert [record for batch in loader for record in batch] == expected


def test_loader_without_workers_makes_nothing_before_it_is_asked() -> None:
    made: list[int] = []

    def note(record: int) -> Sample:
        made.append(record)
        return Rows()(record)

    batches = iter(DistributedLoader(Numbers(20), batch_size=2, transform=note))
    assert is_batch_of(next(batches), [0, 1])
    assert made == [0, 1]
