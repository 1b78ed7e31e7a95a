"""Who a process is among its ranks: given, found, or an error; never silently the first of them."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from splitdata.errors import StateMismatchError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import OrderOptions, WorkerOptions
from splitdata.loader.plan.world import World
from splitdata.order.window import Window
from tests.loader.grouped import grouped

LAUNCHERS = ("RANK", "WORLD_SIZE", "OMPI_", "MV2_", "PMI_", "PMIX_", "PALS_", "JSM_", "FLUX_", "SLURM_", "ALPS_")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(LAUNCHERS):
            monkeypatch.delenv(name)


def set_ranks(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(world_size))


def test_nothing_given_and_nothing_found_is_the_only_rank() -> None:
    assert World.find() == World(0, 1)
    assert World.find(world_size=1) == World(0, 1)


@pytest.mark.parametrize(
    ("rank", "world_size", "missing"), [(None, 2, "rank="), (0, None, "world_size="), (3, None, "world_size=")]
)
def test_half_of_what_is_needed_is_refused(rank: int | None, world_size: int | None, missing: str) -> None:
    with pytest.raises(ValueError, match=f"is given, and neither .* pass {missing} too"):
        World.find(rank, world_size)


def test_half_that_is_given_goes_with_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    set_ranks(monkeypatch, 1, 4)

    assert World.find() == World(1, 4)
    assert World.find(rank=2) == World(2, 4)
    assert World.find(world_size=2) == World(1, 2)
    # The only rank there can be: an evaluation on each of them reads everything.
    assert World.find(world_size=1) == World(0, 1)


@pytest.mark.parametrize(
    ("name", "words"), [("RANK", "has RANK and no WORLD_SIZE"), ("WORLD_SIZE", "no RANK: .*Lightning.*when they run")]
)
def test_half_an_environment_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    monkeypatch.setenv(name, "1")

    with pytest.raises(ValueError, match=words):
        World.find()
    with pytest.raises(ValueError, match=words):
        len(DistributedLoader(range(10)))


SBATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_NODEID": "0"}
SRUN = SBATCH | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}

ENVIRONMENTS: dict[str, tuple[dict[str, str], World]] = {
    "torchrun": ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}, World(2, 4)),
    "srun": (SRUN, World(3, 4)),
    "srun of one task in a larger allocation": (SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, World(0, 1)),
    "srun of an old SLURM": ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, World(1, 2)),
    "python in a batch script": (SBATCH, World(0, 1)),
    "shell of salloc": ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, World(0, 1)),
    "torchrun in srun": (SRUN | {"RANK": "5", "WORLD_SIZE": "8"}, World(5, 8)),
    "mpirun": ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3"}, World(1, 3)),
    # Its daemons are the tasks of the step, one on each node.
    "mpirun in a SLURM job": (SRUN | {"OMPI_COMM_WORLD_RANK": "9", "OMPI_COMM_WORLD_SIZE": "16"}, World(9, 16)),
    "mpirun with torch's variables": (
        {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3", "RANK": "0", "WORLD_SIZE": "1"},
        World(0, 1),
    ),
    "mvapich": ({"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "2"}, World(1, 2)),
    "mpiexec of MPICH": ({"PMI_RANK": "4", "PMI_SIZE": "6"}, World(4, 6)),
    "srun with PMI": (SRUN | {"PMI_RANK": "3", "PMI_SIZE": "4"}, World(3, 4)),
    "srun with PMIx": (SRUN | {"PMIX_RANK": "3"}, World(3, 4)),
    "jsrun": ({"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2"}, World(1, 2)),
    "flux": ({"FLUX_TASK_RANK": "1", "FLUX_JOB_SIZE": "2"}, World(1, 2)),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_world_is_found_in_the_environment_of_each_launcher(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    variables, expected = ENVIRONMENTS[name]
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    assert World.find() == expected
    loader = DistributedLoader(range(48), batch_size=4)
    seen = [int(number) for batch in loader for number in batch]
    assert seen == list(range(expected.rank, 48, expected.world_size))


def test_torch_distributed_is_believed_before_any_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in (SRUN | {"RANK": "5", "WORLD_SIZE": "8"}).items():
        monkeypatch.setenv(variable, value)
    pretend_process_group(monkeypatch, 1, 2)

    assert World.find() == World(1, 2)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"RANK": "4", "WORLD_SIZE": "4"}, "rank must be 0 to 3 .* got 4 from RANK=4 with WORLD_SIZE=4"),
        ({"PMI_RANK": "x", "PMI_SIZE": "4"}, "PMI_RANK=x with PMI_SIZE=4 in the environment: these must be ints"),
        ({"RANK": "", "WORLD_SIZE": ""}, "must be ints"),
        (SRUN | {"SLURM_STEP_NUM_TASKS": "2"}, "got 3 from SLURM_PROCID=3 with SLURM_STEP_NUM_TASKS=2"),
    ],
)
def test_variables_that_make_no_rank_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], words: str
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)

    with pytest.raises(ValueError, match=words):
        World.find()


@pytest.mark.parametrize("name", ["PMIX_RANK", "PALS_RANKID", "ALPS_APP_PE", "PMI_RANK", "OMPI_COMM_WORLD_SIZE"])
def test_variable_that_tells_of_others_but_not_how_many_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setenv(name, "2")
    loader = DistributedLoader(range(10))
    with caplog.at_level(logging.WARNING, logger="splitdata"):
        for _ in range(2):
            list(loader)
        list(DistributedLoader(range(10), world_size=1))

    assert len(caplog.records) == 1
    assert f"{name}=2 in the environment" in caplog.text
    assert "world_size=1 says so" in caplog.text


def test_world_that_was_found_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for variable, value in SRUN.items():
        monkeypatch.setenv(variable, value)
    with caplog.at_level(logging.INFO, logger="splitdata"):
        len(DistributedLoader(range(10)))

    assert "rank 3 of 4, as SLURM_PROCID=3 with SLURM_STEP_NUM_TASKS=4 in the environment says" in caplog.text


# -- the world changes after a loader was used ---------------------------------------------------


def pretend_process_group(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    distributed = types.SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rank=lambda: rank,
        get_world_size=lambda: world_size,
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(distributed=distributed))


FIRST_USES: dict[str, Callable[[DistributedLoader], Any]] = {
    "len": len,
    "rank": lambda loader: loader.rank,
    "batch": lambda loader: next(iter(loader)),
    "epoch": list,
    "iterator": iter,
    "start": lambda loader: loader.start(),
    "skip": lambda loader: loader.skip(1),
}
NEXT_USES: dict[str, Callable[[DistributedLoader], Any]] = {
    "iter": iter,
    "resume": lambda loader: loader.resume(),
    "start": lambda loader: loader.start(),
}


@pytest.mark.parametrize("then", NEXT_USES)
@pytest.mark.parametrize("first", FIRST_USES)
@pytest.mark.parametrize("num_workers", [0, 1])
def test_loader_that_was_used_before_the_ranks_existed_is_refused_instead_of_reading_everything(
    monkeypatch: pytest.MonkeyPatch, first: str, then: str, num_workers: int
) -> None:
    with DistributedLoader(
        range(10), batch_size=2, num_workers=num_workers, workers=WorkerOptions(kind="thread")
    ) as loader:
        FIRST_USES[first](loader)
        position = loader.position
        pretend_process_group(monkeypatch, 1, 2)

        with pytest.raises(ValueError, match=r"took itself for rank 0 of 1 .* is rank 1 of 2 now.*init_process_group"):
            NEXT_USES[then](loader)
        assert loader.position == position


@pytest.mark.parametrize(
    "use",
    [
        lambda loader: loader.set_epoch(0),
        lambda loader: loader.peek(),
        lambda loader: loader.load_state_dict(loader.state_dict()),
        repr,
        lambda loader: loader.stats(),
    ],
)
@pytest.mark.parametrize("options", [{}, {"shuffle": Window(3), "partition": "contiguous"}])
def test_what_needs_no_ranks_binds_to_none(
    monkeypatch: pytest.MonkeyPatch, use: Callable[[DistributedLoader], Any], options: dict[str, Any]
) -> None:
    loader = DistributedLoader(range(10), **grouped(batch_size=2, **options))
    use(loader)
    pretend_process_group(monkeypatch, 1, 2)

    expected = DistributedLoader(range(10), **grouped(batch_size=2, rank=1, world_size=2, **options))
    assert [batch.tolist() for batch in loader] == [batch.tolist() for batch in expected]
    assert loader.state_dict() == expected.state_dict() | {"lanes": loader.state_dict()["lanes"]}


@pytest.mark.parametrize("num_workers", [0, 1])
def test_iterator_that_was_made_before_the_ranks_existed_gives_no_batch(
    monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    with DistributedLoader(
        range(10), batch_size=2, num_workers=num_workers, workers=WorkerOptions(kind="thread")
    ) as loader:
        batches = iter(loader)
        with monkeypatch.context() as during:
            pretend_process_group(during, 1, 2)
            with pytest.raises(ValueError, match=r"took itself for rank 0 of 1 .* is rank 1 of 2 now"):
                next(batches)
        # As nothing was handed out, nothing is lost where the ranks are gone again.
        assert [int(number) for batch in batches for number in batch] == list(range(10))


@pytest.mark.parametrize("first", FIRST_USES)
def test_world_that_was_given_is_not_compared(monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    loaders = [
        DistributedLoader(range(10), batch_size=2, rank=0, world_size=1),
        DistributedLoader(range(10), batch_size=2, world_size=1),
        DistributedLoader(range(10), batch_size=2).start(rank=0, world_size=1),
    ]
    for loader in loaders:
        FIRST_USES[first](loader)
    pretend_process_group(monkeypatch, 1, 2)

    for loader in loaders:
        loader.set_epoch(7)
        assert [int(number) for batch in loader for number in batch] == list(range(10))


def test_ranks_that_have_gone_are_noticed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as during:
        pretend_process_group(during, 1, 2)
        loader = DistributedLoader(range(10), batch_size=2)
        list(loader)

    # Questions that need no ranks are answered as before.
    assert (len(loader), loader.rank, loader.state_dict()["epoch"]) == (3, 1, 1)
    with pytest.raises(ValueError, match=r"took itself for rank 1 of 2 .* is rank 0 of 1 now"):
        iter(loader)


@pytest.mark.parametrize("way", ["load", "pickle"])
def test_loader_goes_on_as_another_rank_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    loader = DistributedLoader(range(12), batch_size=2)
    next(iter(loader))
    pretend_process_group(monkeypatch, 1, 2)
    if way == "load":
        loader.load_state_dict(loader.state_dict())
    else:
        loader = pickle.loads(pickle.dumps(loader))

    assert [int(number) for batch in loader.resume() for number in batch] == [3, 5, 7, 9, 11]


def test_contiguous_loader_that_was_begun_by_other_ranks_is_refused_and_its_next_epoch_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = DistributedLoader(range(12), batch_size=2, order=OrderOptions(partition="contiguous"))
    next(iter(loader))
    set_ranks(monkeypatch, 1, 2)
    one, other = (pickle.loads(pickle.dumps(loader)) for _ in range(2))

    with pytest.raises(
        StateMismatchError, match="epoch 0 was begun by 1 and left before its end, and here world_size is 2"
    ):
        one.resume()
    assert [int(number) for batch in other for number in batch] == list(range(6, 12))


def test_ranks_of_a_group_get_the_same_batches_and_groups_share_the_data_out() -> None:
    def batches(rank: int) -> list[list[int]]:
        loader = DistributedLoader(
            range(24), **grouped(batch_size=2, shuffle=True, rank=rank, world_size=6, replicate=3, collate_fn=list)
        )
        assert (loader.rank, loader.world_size, len(loader)) == (rank // 3, 2, 6)
        return list(loader)

    ranks = [batches(rank) for rank in range(6)]
    assert ranks[0] == ranks[1] == ranks[2]
    assert ranks[3] == ranks[4] == ranks[5]
    assert sorted(number for rank in (0, 3) for batch in ranks[rank] for number in batch) == list(range(24))


def test_groups_of_ranks_are_found_in_the_environment_and_by_start(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = DistributedLoader(range(24), order=OrderOptions(replicate=4))
    assert (alone.rank, alone.world_size) == (0, 1)

    set_ranks(monkeypatch, 5, 8)
    found = DistributedLoader(range(24), order=OrderOptions(replicate=4))
    assert (found.rank, found.world_size) == (1, 2)
    started = DistributedLoader(range(24), order=OrderOptions(replicate=2)).start(rank=3, world_size=4)
    assert (started.rank, started.world_size) == (1, 2)
    started.close()


def test_state_of_groups_loads_where_as_many_groups_are_larger() -> None:
    def of_groups(size: int) -> DistributedLoader:
        return DistributedLoader(
            range(24), **grouped(batch_size=2, shuffle=True, rank=size, world_size=2 * size, replicate=size)
        )

    whole = [batch.tolist() for batch in of_groups(1)]
    begun = of_groups(2)
    next(iter(begun))
    other = of_groups(4)
    other.load_state_dict(begun.state_dict())
    assert [batch.tolist() for batch in other] == whole[1:]


def test_ranks_that_are_no_whole_number_of_groups_are_refused() -> None:
    loader = DistributedLoader(range(24), rank=0, world_size=6, order=OrderOptions(replicate=4))
    with pytest.raises(ValueError, match=r"replicate=4 .* and 6 ranks, from the arguments, are no whole number"):
        len(loader)
    with pytest.raises(ValueError, match="replicate must be 1 or more"):
        OrderOptions(replicate=0)
    with pytest.raises(ValueError, match="give one of them"):
        OrderOptions(replicate=2, mesh=World(0, 2))
