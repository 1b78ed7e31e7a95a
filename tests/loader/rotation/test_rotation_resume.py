"""The loader with rotation resumes exactly: every mode through the resume harness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitdata import Rotation, SplitDataLoader, SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.order.hash_split import HashSplit
from splitdata.order.window import Window
from tests.loader.grouped import grouped
from tests.loader.resume_harness import LoaderMaker, examine, noisy

NUM_RECORDS = 41

MODES: dict[str, dict[str, Any]] = {
    "in order": {"lanes": 1},
    "global": {"shuffle": "global", "lanes": 2},
    "global in lanes": {"shuffle": "global", "lanes": 6},
    "window": {"shuffle": Window(7), "lanes": 2},
    "bins": {"shuffle": "bins", "interleave": 2, "lanes": 1},
    "bins in lanes": {"shuffle": "bins", "interleave": 2, "lanes": 3},
    "subset": {"shuffle": "global", "subset": HashSplit(0.2, 0.9), "lanes": 4},
    "sampler": {"lanes": 2, "sampler": lambda epoch: np.random.default_rng(epoch).integers(0, NUM_RECORDS, 31)},
}
ROTATIONS = {
    "small": Rotation(2, 3),
    "middle": Rotation(3, 9),
    "one group": Rotation(2, 1000),
    "disk": Rotation(3, 5, "disk"),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SplitDataLoader:
    path = tmp_path_factory.mktemp("rotation") / "data"
    with SplitWriter(path, bins=5) as writer:
        for number in range(NUM_RECORDS):
            writer.write(number.to_bytes(8, "little") + bytes(number % 7))
    return SplitDataLoader(path)


def maker(dataset: SplitDataLoader, mode: dict[str, Any]) -> LoaderMaker:
    def make(*, rank: int | None, world_size: int | None, batch_size: int, num_workers: int) -> DistributedLoader:
        # Lanes come from the world size unless they are given; worlds of any size are compared here.
        return DistributedLoader(
            dataset,
            **grouped(
                rank=rank,
                world_size=world_size,
                batch_size=batch_size,
                num_workers=num_workers,
                transform=noisy,
                collate_fn=list,
                **mode,
            ),
        )

    return make


@pytest.mark.parametrize(
    ("mode", "rotation"),
    [(mode, "small") for mode in MODES] + [("global", name) for name in ROTATIONS] + [("bins in lanes", "disk")],
)
def test_rotation_in_process_resumes_exactly(dataset: SplitDataLoader, mode: str, rotation: str) -> None:
    make = maker(dataset, {"rotation": ROTATIONS[rotation]} | MODES[mode])
    num_loads = examine(make, seed=len(mode), num_actions=40)

    assert num_loads > 2


@pytest.mark.parametrize("mode", ["global in lanes", "bins in lanes"])
@pytest.mark.parametrize("rotation", [ROTATIONS["middle"], ROTATIONS["disk"]], ids=["memory", "disk"])
def test_rotation_with_threads_resumes_exactly(dataset: SplitDataLoader, mode: str, rotation: Rotation) -> None:
    make = maker(dataset, {"rotation": rotation, "kind": "thread", "prefetch_epochs": True} | MODES[mode])
    num_loads = examine(make, seed=7, num_actions=40, workers=(1, 3))

    assert num_loads > 2


@pytest.mark.parametrize("in_order", [True, False])
def test_rotation_with_processes_resumes_exactly(dataset: SplitDataLoader, in_order: bool) -> None:
    options = {"rotation": Rotation(3, 8), "start_method": "fork", "in_order": in_order}
    make = maker(dataset, options | MODES["global"])
    num_loads = examine(make, seed=11, num_actions=20, world_sizes=(1, 2), workers=(1, 2))

    assert num_loads > 1


@pytest.mark.soak
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_rotation_resumes_exactly_many_times(dataset: SplitDataLoader, mode: str, kind: str) -> None:
    for seed in range(10):
        rotation = list(ROTATIONS.values())[seed % 4]
        options = {
            "rotation": rotation,
            "kind": kind,
            "prefetch_epochs": seed % 3 == 0,
            "in_order": seed % 2 == 0,
        }
        make = maker(dataset, options | MODES[mode])
        examine(make, seed=seed, num_actions=100, workers=(1, 2, 3))


def test_state_says_the_same_at_every_batch_of_two_epochs(dataset: SplitDataLoader) -> None:
    make = maker(dataset, {"rotation": Rotation(2, 6)} | MODES["global in lanes"])
    whole = make(rank=0, world_size=1, batch_size=4, num_workers=0)
    states, batches = [whole.state_dict()], []
    for _ in range(2):
        for batch in whole:
            batches.append(batch)
            states.append(whole.state_dict())

    used = make(rank=0, world_size=1, batch_size=4, num_workers=0)
    for taken, state in enumerate(states[:-1]):
        used.load_state_dict(state)
        rest = list(used)
        assert rest == batches[taken : taken + len(rest)]
        assert (taken + len(rest)) % len(whole) == 0


def test_epochs_of_num_steps_resume_exactly_with_rotation(dataset: SplitDataLoader) -> None:
    make = maker(dataset, {"num_steps": 9, "rotation": Rotation(2, 6)} | MODES["global"])
    whole = make(rank=0, world_size=1, batch_size=4, num_workers=0)
    epochs = [list(whole) for _ in range(5)]

    for cut in (1, 5, 8):
        broken = make(rank=0, world_size=1, batch_size=4, num_workers=0)
        list(broken)
        iterator = iter(broken)
        begun = [next(iterator) for _ in range(cut)]
        second = make(rank=0, world_size=1, batch_size=4, num_workers=0)
        second.load_state_dict(broken.state_dict())
        assert begun + list(second) == epochs[1]
        assert list(second) == epochs[2]
