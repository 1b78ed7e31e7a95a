"""The loader with rotation resumes exactly: every mode through the resume harness."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from splitdata import Rotation, SplitDataLoader, SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.order.hash_split import HashSplit
from splitdata.order.window import Window
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
    def make(*, rank: int, world_size: int, batch_size: int, num_workers: int) -> DistributedLoader:
        # Lanes come from the world size unless they are given; worlds of any size are compared here.
        return DistributedLoader(
            dataset,
            rank=rank,
            world_size=world_size,
            batch_size=batch_size,
            num_workers=num_workers,
            transform=noisy,
            collate_fn=list,
            **mode,
        )

    return make


@pytest.mark.parametrize("rotation", ROTATIONS.values(), ids=list(ROTATIONS))
@pytest.mark.parametrize("mode", MODES)
def test_rotation_in_process_resumes_exactly(dataset: SplitDataLoader, mode: str, rotation: Rotation) -> None:
    make = maker(dataset, {"rotation": rotation} | MODES[mode])
    num_loads = examine(make, seed=len(mode), num_actions=40)

    assert num_loads > 2
