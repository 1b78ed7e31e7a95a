"""Real ranks: torchrun and gloo, spawned processes, the environment; and from 2 ranks to 3 to 1 in mid-epoch."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitWriter
from splitdata.loader.distributed_loader import DistributedLoader
from tests.command import ROOT
from tests.loader.ranks import RankResult, make_loader, read_results, spawned_rank, spawned_rank_of_torch
from tests.loader.resume_harness import merged

NUM_RECORDS = 53


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("ranks") / "data"
    with SplitWriter(folder, bins=4) as writer:
        for number in range(NUM_RECORDS):
            writer.write(number.to_bytes(8, "little") + bytes(number % 5))
    return str(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


class Followed:
    """The stream that all ranks together must give, followed from result to result."""

    def __init__(self, path: str) -> None:
        self._whole = make_loader(path, rank=0, world_size=1)
        self._epochs: dict[int, list[tuple[int, str]]] = {}
        self.epoch = self.samples = 0

    def _expected(self, epoch: int) -> list[tuple[int, str]]:
        if epoch not in self._epochs:
            self._whole.set_epoch(epoch)
            self._epochs[epoch] = [(number, noise.hex()) for batch in self._whole for number, noise in batch]
        return self._epochs[epoch]

    def check(self, results: list[RankResult]) -> None:
        """Check that all ranks had as many batches, and that these are the next ones of the stream."""
        world_size = len(results)
        assert [(one.rank, one.world_size) for one in results] == [(rank, world_size) for rank in range(world_size)]
        for number, of_all in enumerate(zip(*(one.steps for one in results), strict=True)):
            assert {epoch for epoch, _ in of_all} == {self.epoch}
            batches = [[(record, noise) for record, noise in batch] for _, batch in of_all]
            found = merged(batches, self.samples, world_size)
            expected = self._expected(self.epoch)
            room = expected[self.samples :] + expected[:world_size]
            assert found == room[: len(found)], (number, self.epoch, self.samples)
            assert {one.totals[number] for one in results} <= {len(found), len(batches[0])}
            self.samples += len(found)
            if self.samples >= len(expected):
                # No more repeats than make the ranks equal.
                assert self.samples - len(expected) < world_size
                self.epoch, self.samples = self.epoch + 1, 0


def run_torchrun(num_ranks: int, *arguments: str) -> None:
    """Run tests/loader/ranks.py under torchrun, which finds a free port by itself."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    ended = subprocess.run(
        [*command, str(ROOT / "tests/loader/ranks.py"), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.slow
@pytest.mark.time_limit(400)
def test_ranks_share_each_epoch_and_go_on_from_two_to_three_to_one(path: str, folder: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.distributed.is_available():
        pytest.skip("this torch has no distributed package")
    followed = Followed(path)

    # Epoch 0 has 7 steps of 2 x 4; then 3 more.
    run_torchrun(2, path, str(folder), "10")
    followed.check(read_results(folder, 2))
    assert (followed.epoch, followed.samples) == (1, 24)
    state = json.loads((folder / "state.json").read_text())
    assert (state["epoch"], state["samples"], state["world_size"]) == (1, 24, 2)

    # 29 samples are left, 3 steps of 3 x 4; then 2 more. The position travels in the loader, to be pickled.
    loader = make_loader(path, num_workers=2, start_method="fork")
    loader.load_state_dict(state)
    torch.multiprocessing.spawn(spawned_rank_of_torch, (3, loader, folder, 5), nprocs=3)
    followed.check(read_results(folder, 3))
    assert (followed.epoch, followed.samples) == (2, 24)

    alone = make_loader(path, rank=0, world_size=1)
    alone.load_state_dict(json.loads((folder / "state.json").read_text()))
    rest = [[(number, noise.hex()) for number, noise in batch] for batch in alone]
    followed.check([RankResult(0, 1, [(2, batch) for batch in rest], [len(batch) for batch in rest])])
    assert (followed.epoch, followed.samples) == (3, 0)


@pytest.mark.soak
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_torchrun_with_any_number_of_ranks_shares_each_epoch(path: str, folder: Path, num_ranks: int) -> None:
    pytest.importorskip("torch")
    followed = Followed(path)
    run_torchrun(num_ranks, path, str(folder), "60")
    followed.check(read_results(folder, num_ranks))

    counts = Counter(
        number for one in read_results(folder, num_ranks) for epoch, batch in one.steps for number, _ in batch
    )
    assert set(counts) == set(range(NUM_RECORDS))


def test_loader_pickled_to_spawned_ranks_goes_on_in_mid_epoch(path: str, folder: Path) -> None:
    loader = make_loader(path, num_workers=1, start_method="fork")
    # Position and configuration travel; a process never does, and neither does the rank of a loader that ran here.
    alone = make_loader(path, rank=0, world_size=1)
    next(iter(alone))
    loader.load_state_dict(alone.state_dict())
    followed = Followed(path)
    followed.samples = 4

    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=spawned_rank, args=(rank, 2, loader, folder, 10)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()

    assert [process.exitcode for process in ranks] == [0, 0]
    followed.check(read_results(folder, 2))
    # 49 samples were left: 7 steps of 2 x 4, the last of them short.
    assert (followed.epoch, followed.samples) == (1, 24)
    for process in ranks:
        process.close()


def test_running_loader_pickles_without_its_workers(path: str) -> None:
    with make_loader(path, num_workers=2, start_method="fork", rank=0, world_size=1) as loader:
        batches = iter(loader)
        next(batches)
        copy: DistributedLoader = pickle.loads(pickle.dumps(loader))
        rest = list(batches)

    assert copy.position == (0, 4)
    with copy:
        assert list(copy.resume()) == rest


def test_ranks_are_found_in_the_environment_without_torch(path: str, folder: Path) -> None:
    followed = Followed(path)
    environment: dict[str, Any] = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}", "WORLD_SIZE": "3"}
    environment.pop("TORCHELASTIC_RUN_ID", None)
    ranks = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests/loader/ranks.py"), path, str(folder), "8"],
            env=environment | {"RANK": str(rank)},
            cwd=ROOT,
        )
        for rank in range(3)
    ]

    assert [rank.wait() for rank in ranks] == [0, 0, 0]
    results = read_results(folder, 3)
    followed.check(results)
    assert (followed.epoch, followed.samples) == (1, 36)
