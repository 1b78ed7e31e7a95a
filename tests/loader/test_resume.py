"""The loader resumes exactly: every order, with and without rotation, through the resume harness, at random points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.order.hash_split import HashSplit
from splitdata.order.window import Window
from tests.loader.grouped import grouped
from tests.loader.resume_harness import Contiguous, Course, Endless, LoaderMaker, examine, noisy

NUM_RECORDS = 53

MODES: dict[str, dict[str, Any]] = {
    "in order": {},
    "global": {"shuffle": "global"},
    "window": {"shuffle": Window(7)},
    "bins": {"shuffle": "bins", "interleave": 2, "lanes": 1},
    "bins in lanes": {"shuffle": "bins", "interleave": 2, "lanes": 3},
    "subset": {"shuffle": "global", "subset": HashSplit(0.2, 0.9)},
    "slice in bins": {"shuffle": "bins", "subset": slice(3, None, 2), "lanes": 2},
    "sampler": {"sampler": lambda epoch: np.random.default_rng(epoch).integers(0, NUM_RECORDS, 31)},
}
ROTATIONS = {
    "small": Rotation(2, 3),
    "middle": Rotation(3, 9),
    "one group": Rotation(2, 1000),
    "disk": Rotation(3, 5, "disk"),
}
# Lanes come from the world size unless they are given; worlds of any size are compared here.
ROTATING = {mode: {"lanes": 2} | options for mode, options in MODES.items()} | {
    "in order": {"lanes": 1},
    "global in lanes": {"shuffle": "global", "lanes": 6},
    "subset": MODES["subset"] | {"lanes": 4},
}


def rotating(mode: str, rotation: str) -> dict[str, Any]:
    return ROTATING[mode] | {"rotation": ROTATIONS[rotation]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> SplitDataLoader:
    path = tmp_path_factory.mktemp("resume") / "data"
    with SplitWriter(path, bins=5) as writer:
        for number in range(NUM_RECORDS):
            writer.write(number.to_bytes(8, "little") + bytes(number % 7))
    return SplitDataLoader(path)


def maker(dataset: SplitDataLoader, mode: dict[str, Any]) -> LoaderMaker:
    def make(*, rank: int | None, world_size: int | None, batch_size: int, num_workers: int) -> DistributedLoader:
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


def check(
    dataset: SplitDataLoader,
    options: dict[str, Any],
    seeds: Sequence[int],
    num_actions: int,
    *,
    world_sizes: tuple[int, ...] = (1, 2, 3),
    workers: tuple[int, ...] = (0,),
    course: Course | None = None,
) -> None:
    """Examine loaders with each seed, and see that many a state was loaded."""
    num_loads = sum(
        examine(
            maker(dataset, options),
            seed=seed,
            num_actions=num_actions,
            world_sizes=world_sizes,
            workers=workers,
            course=course,
        )
        for seed in seeds
    )
    assert num_loads >= len(seeds) * num_actions // 12


@pytest.mark.parametrize("mode", MODES)
def test_loader_in_process_resumes_exactly(dataset: SplitDataLoader, mode: str) -> None:
    check(dataset, MODES[mode], range(4), 120)


@pytest.mark.parametrize(
    ("mode", "rotation"),
    [(mode, "small") for mode in ROTATING] + [("global", name) for name in ROTATIONS] + [("bins in lanes", "disk")],
)
def test_rotation_in_process_resumes_exactly(dataset: SplitDataLoader, mode: str, rotation: str) -> None:
    check(dataset, rotating(mode, rotation), [len(mode)], 40)


# Kinds of cutting: options, and the course that they are held against.
CUTS: dict[str, tuple[dict[str, Any], Course]] = {
    "contiguous": ({"partition": "contiguous"}, Contiguous()),
    "endless": ({"num_steps": 5}, Endless(5)),
    "endless, longer than a pass": ({"num_steps": 23}, Endless(23)),
    "endless in bins": ({"num_steps": 5, "shuffle": "bins", "lanes": 2}, Endless(5)),
    "endless with rotation": ({"num_steps": 5, "rotation": Rotation(times=2, size=4), "lanes": 2}, Endless(5)),
}


@pytest.mark.parametrize("cut", CUTS)
def test_loader_resumes_exactly_however_epochs_are_cut_and_whenever_ranks_are_known(
    dataset: SplitDataLoader, cut: str
) -> None:
    options, course = CUTS[cut]
    check(dataset, {"shuffle": "global"} | options, range(3), 100, course=course)


@pytest.mark.parametrize("cut", CUTS)
def test_loader_with_threads_resumes_exactly_however_epochs_are_cut(dataset: SplitDataLoader, cut: str) -> None:
    options, course = CUTS[cut]
    check(dataset, {"shuffle": "global", "kind": "thread"} | options, [3], 40, workers=(0, 1, 3), course=course)


@pytest.mark.parametrize("mode", MODES)
def test_loader_with_threads_resumes_exactly(dataset: SplitDataLoader, mode: str) -> None:
    check(dataset, {"kind": "thread"} | MODES[mode], [7], 60, workers=(0, 1, 3))


@pytest.mark.parametrize("mode", ["global in lanes", "bins in lanes"])
@pytest.mark.parametrize("rotation", ["middle", "disk"])
def test_rotation_with_threads_resumes_exactly(dataset: SplitDataLoader, mode: str, rotation: str) -> None:
    options = {"kind": "thread", "prefetch_epochs": True} | rotating(mode, rotation)
    check(dataset, options, [7], 40, workers=(1, 3))


@pytest.mark.parametrize(
    ("options", "seed", "num_actions"),
    [
        pytest.param({"shuffle": "global", "prefetch_epochs": False}, 4, 30, id="plain"),
        pytest.param({"shuffle": "global", "prefetch_epochs": True}, 4, 30, id="next epoch ahead"),
        pytest.param(ROTATING["global"] | {"rotation": Rotation(3, 8)}, 11, 20, id="rotation"),
        pytest.param(
            ROTATING["global"] | {"rotation": Rotation(3, 8), "in_order": False}, 11, 20, id="rotation, as ready"
        ),
    ],
)
def test_loader_with_processes_resumes_exactly(
    dataset: SplitDataLoader, options: dict[str, Any], seed: int, num_actions: int
) -> None:
    check(dataset, {"start_method": "fork"} | options, [seed], num_actions, world_sizes=(1, 2), workers=(1, 2))


@pytest.mark.soak
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("start_method", ["spawn", "fork"])
def test_loader_with_processes_resumes_exactly_many_times(
    dataset: SplitDataLoader, mode: str, start_method: str
) -> None:
    check(dataset, {"start_method": start_method} | MODES[mode], range(10), 100, workers=(1, 2, 3))


@pytest.mark.soak
@pytest.mark.parametrize("mode", ROTATING)
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_rotation_resumes_exactly_many_times(dataset: SplitDataLoader, mode: str, kind: str) -> None:
    for seed in range(10):
        options = {"kind": kind, "prefetch_epochs": seed % 3 == 0, "in_order": seed % 2 == 0}
        check(dataset, options | rotating(mode, [*ROTATIONS][seed % 4]), [seed], 100, workers=(1, 2, 3))


WITH_AND_WITHOUT_ROTATION = pytest.mark.parametrize(
    "options",
    [
        pytest.param({"shuffle": "global"}, id="plain"),
        pytest.param(ROTATING["global in lanes"] | {"rotation": Rotation(2, 6)}, id="rotation"),
    ],
)


@WITH_AND_WITHOUT_ROTATION
def test_state_at_every_batch_of_two_epochs_resumes_exactly(dataset: SplitDataLoader, options: dict[str, Any]) -> None:
    make = maker(dataset, options)
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


@WITH_AND_WITHOUT_ROTATION
def test_epochs_of_num_steps_resume_exactly_and_go_on_through_the_data(
    dataset: SplitDataLoader, options: dict[str, Any]
) -> None:
    make = maker(dataset, options | {"num_steps": 9})
    whole = make(rank=0, world_size=1, batch_size=4, num_workers=0)
    epochs = [list(whole) for _ in range(5)]
    stream = [number for epoch in epochs for batch in epoch for number, _ in batch]

    assert [len(epoch) for epoch in epochs] == [9] * 5
    uses = options["rotation"].times if "rotation" in options else 1
    for first in range(0, len(stream) - uses * NUM_RECORDS, uses * NUM_RECORDS):
        assert Counter(stream[first : first + uses * NUM_RECORDS]) == Counter(dict.fromkeys(range(NUM_RECORDS), uses))

    for cut in (1, 5, 8):
        broken = make(rank=0, world_size=1, batch_size=4, num_workers=0)
        list(broken)
        iterator = iter(broken)
        begun = [next(iterator) for _ in range(cut)]
        second = make(rank=0, world_size=1, batch_size=4, num_workers=0)
        second.load_state_dict(broken.state_dict())
        assert begun + list(second) == epochs[1]
        assert list(second) == epochs[2]


def test_batches_of_a_batch_sampler_resume_exactly_at_another_world_size(dataset: SplitDataLoader) -> None:
    def batches(epoch: int) -> list[list[int]]:
        draw = np.random.default_rng(epoch)
        return [draw.integers(0, NUM_RECORDS, draw.integers(1, 6)).tolist() for _ in range(10)]

    def make(rank: int, world_size: int) -> DistributedLoader:
        return DistributedLoader(
            dataset, batch_sampler=batches, rank=rank, world_size=world_size, transform=noisy, collate_fn=list
        )

    whole = [[number for number, _ in batch] for batch in make(0, 1)]
    assert whole == batches(0)

    one = make(0, 1)
    iterator = iter(one)
    for _ in range(4):
        next(iterator)
    ranks = [make(rank, 2) for rank in range(2)]
    for loader in ranks:
        loader.load_state_dict(one.state_dict())
    rest = [[[number for number, _ in batch] for batch in loader] for loader in ranks]

    assert rest == [whole[4::2], whole[5::2]]


@pytest.mark.parametrize(("before", "after"), [(8, 2), (2, 8), (3, 5)])
def test_epoch_of_num_steps_keeps_its_steps_and_its_samples_at_another_batch_size(
    dataset: SplitDataLoader, before: int, after: int
) -> None:
    make = maker(dataset, {"shuffle": "global", "num_steps": 10})
    one = make(rank=0, world_size=1, batch_size=before, num_workers=0)
    list(one)
    iterator = iter(one)
    taken = [next(iterator) for _ in range(7)]
    other = make(rank=0, world_size=1, batch_size=after, num_workers=0)
    other.load_state_dict(one.state_dict())
    rest = list(other)
    again = make(rank=0, world_size=1, batch_size=after, num_workers=0)
    again.load_state_dict(other.state_dict())
    following = list(again)

    whole = make(rank=0, world_size=1, batch_size=1, num_workers=0)
    stream = [sample for _ in range(30) for batch in whole for sample in batch]
    seen = [sample for batch in taken + rest + following for sample in batch]
    assert (len(rest), len(following)) == (3, 10)
    assert seen == stream[10 * before : 10 * before + len(seen)]
