"""Who a process is among its ranks: given, found, or an error; never silently the first of them."""

from __future__ import annotations

import pytest

from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.world import World


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


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
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")

    assert World.find() == World(1, 4)
    assert World.find(rank=2) == World(2, 4)
    assert World.find(world_size=2) == World(1, 2)


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE"])
def test_half_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")

    with pytest.raises(ValueError, match=f"the environment has {name} and no"):
        World.find()


def test_loader_that_was_asked_before_the_ranks_existed_is_refused_instead_of_reading_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = DistributedLoader(list(range(10)), batch_size=2)
    assert len(loader) == 5
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    with pytest.raises(ValueError, match=r"took itself for rank 0 of 1 .* is rank 1 of 2 now"):
        iter(loader)
    assert len(list(loader.start(rank=0, world_size=1))) == 5
