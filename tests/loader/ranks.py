"""What each rank of the tests of distributed training does, however it was started.

    start (torchrun, or by hand) -> gloo -> loop over batches, an all_reduce for each -> results/<rank>.json
                                                                      rank 0 also: the state, as a file

As a program: python -m torch.distributed.run ... tests/loader/ranks.py DATASET FOLDER NUM_BATCHES
"""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from splitdata.loader.distributed_loader import DistributedLoader
from tests.loader.grouped import grouped
from tests.loader.resume_harness import noisy

__all__ = ["RankResult", "make_loader", "read_results", "spawned_rank", "spawned_rank_of_torch"]

# A rank that waits for one that has fewer batches shall be an error, soon.
PATIENCE = timedelta(seconds=60)


class RankResult(NamedTuple):
    """What a rank has seen.

    `steps` is a list of (epoch, samples as [number, random bytes in hex]); `totals` what all ranks had in each.
    """

    rank: int
    world_size: int
    steps: list[tuple[int, list[tuple[int, str]]]]
    totals: list[int]


def make_loader(path: str, **options: Any) -> DistributedLoader:
    """Return the loader that all of these tests use."""
    return DistributedLoader(
        path, **grouped(batch_size=4, shuffle="global", transform=noisy, collate_fn=list, **options)
    )


def take(loader: DistributedLoader, num_batches: int, total_of: Any) -> RankResult:
    """Take batches, over as many epochs as it needs; `total_of` adds up a number over all ranks."""
    steps: list[tuple[int, list[tuple[int, str]]]] = []
    totals: list[int] = []
    while len(steps) < num_batches:
        batches = iter(loader)
        for batch in batches:
            steps.append((batches.epoch, [(number, noise.hex()) for number, noise in batch]))
            totals.append(total_of(len(batch)))
            if len(steps) == num_batches:
                break
    return RankResult(loader.rank, loader.world_size, steps, totals)


def write_result(folder: Path, result: RankResult, state: dict[str, Any]) -> None:
    """Write what a rank has seen; the first also writes the state."""
    (folder / f"{result.rank}.json").write_text(json.dumps(result))
    if result.rank == 0:
        (folder / "state.json").write_text(json.dumps(state))


def read_results(folder: Path, world_size: int) -> list[RankResult]:
    """Return what all ranks have written."""
    return [RankResult(*json.loads((folder / f"{rank}.json").read_text())) for rank in range(world_size)]


def run_with_gloo(loader: DistributedLoader, folder: Path, num_batches: int) -> None:
    """Take batches in step with the other ranks. The process group is there already."""
    import torch
    from torch import distributed

    def total_of(number: int) -> int:
        tensor = torch.tensor(number)
        # Hangs, until PATIENCE is over, if another rank has fewer batches.
        distributed.all_reduce(tensor)
        return int(tensor)

    with loader:
        result = take(loader, num_batches, total_of)
        assert (result.rank, result.world_size) == (distributed.get_rank(), distributed.get_world_size())
        # The same on every rank, so any of them may save it.
        states: list[Any] = [None] * result.world_size
        distributed.all_gather_object(states, loader.state_dict())
        assert all(state == states[0] for state in states)
        write_result(folder, result, states[0])
    distributed.destroy_process_group()


def spawned_rank_of_torch(
    rank: int, world_size: int, loader: DistributedLoader, folder: Path, num_batches: int
) -> None:
    """Be a rank that torch.multiprocessing has spawned, with a loader that was pickled to it."""
    from torch import distributed

    # What an outer job may have left: torch.distributed knows better.
    os.environ.update(RANK="7", WORLD_SIZE="9")
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size, timeout=PATIENCE
    )
    run_with_gloo(loader.start(rank=rank), folder, num_batches)


def spawned_rank(rank: int, world_size: int, loader: DistributedLoader, folder: Path, num_batches: int) -> None:
    """Be a rank that multiprocessing has spawned, without torch."""
    with loader.start(rank=rank, world_size=world_size):
        result = take(loader, num_batches, lambda number: number)
        write_result(folder, result, loader.state_dict())
    assert "torch" not in sys.modules


def main() -> None:
    """Be a rank that torchrun has started, or one that knows itself from the environment alone."""
    path, folder, num_batches = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    is_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    # Made before anybody knows the ranks.
    loader = make_loader(path, num_workers=int(is_torchrun))
    if is_torchrun:
        from torch import distributed

        distributed.init_process_group("gloo", timeout=PATIENCE)
        run_with_gloo(loader, folder, num_batches)
        return
    with loader:
        result = take(loader, num_batches, lambda number: number)
        write_result(folder, result, loader.state_dict())


if __name__ == "__main__":
    main()
