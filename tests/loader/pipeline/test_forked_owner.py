"""What runs belongs to the process that started it: a forked child is refused, starts its own, and disturbs nobody."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata.errors import ClosedError
from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.process.mpqitr import MpQItr
from tests.forked import answer_of_child
from tests.loader.grouped import grouped
from tests.loader.workloads import Numbers, Rows
from tests.process import servers
from tests.process.generators import count

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.usefixtures("leaves_nothing_behind"),
]

# Iterators, pools and options of every kind.
Anything: TypeAlias = Any


def refusal(call: Callable[[], Any]) -> str:
    """Return what the refusal of an inherited object says in front of the process ids."""
    with pytest.raises(ClosedError, match=r"from which this one \(\d+\) was forked: nothing was done") as caught:
        call()
    return str(caught.value).split(" belongs to process ")[0]


LOADERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "in process": lambda folder: {},
    "threads": lambda folder: {"num_workers": 2, "kind": "thread"},
    "fork": lambda folder: {"num_workers": 2, "start_method": "fork"},
    "spawn": lambda folder: {"num_workers": 1, "start_method": "spawn"},
    "cache on disk": lambda folder: {"cache": Cache(folder / "cache", version="1")},
    "cache on disk, threads": lambda folder: {
        "cache": Cache(folder / "cache", version="1"),
        "num_workers": 2,
        "kind": "thread",
    },
    "rotation in memory": lambda folder: {"rotation": Rotation(2, 8)},
    "rotation on disk": lambda folder: {"rotation": Rotation(2, 8, medium="disk", path=folder)},
    "to a device": lambda folder: {"device": "cpu", "as_tensors": True},
}


def contents(batches: Anything) -> list[Any]:
    return [np.asarray(batch["record"]).tolist() for batch in batches]


@pytest.mark.parametrize("way", LOADERS)
def test_inherited_loader_starts_its_own_and_its_running_iterator_refuses(way: str, tmp_path: Path) -> None:
    options = LOADERS[way](tmp_path)
    whole = contents(
        DistributedLoader(Numbers(40), **grouped(batch_size=4, shuffle="global", transform=Rows(), **options))
    )
    loader = DistributedLoader(Numbers(40), **grouped(batch_size=4, shuffle="global", transform=Rows(), **options))
    running = iter(loader)
    received = contents([next(running), next(running)])

    def ask() -> str:
        assert refusal(lambda: next(running)) == "this iterator over epoch 0"
        # What it has seen is known, and the rest comes from workers of its own.
        assert loader.position == (0, 8)
        with loader:
            assert contents(loader.resume()) == whole[2:]
            assert refusal(lambda: next(running)) == "this iterator over epoch 0"
        with pytest.raises(ClosedError, match="is closed"):
            iter(loader)
        return "fine"

    assert answer_of_child(ask) == "fine"

    def close() -> str:
        loader.close()
        return refusal(lambda: next(running))

    assert answer_of_child(close) == "this iterator over epoch 0"
    assert received + contents(running) == whole
    loader.close()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_inherited_mpqitr_starts_its_own_run_and_the_running_one_refuses(method: Anything) -> None:
    batches = MpQItr.options(start_method=method)(count, 20)
    running = iter(batches)
    first = next(running)

    def ask() -> str:
        assert refusal(lambda: next(running)) == "this iterator"
        with running:
            pass
        own = list(batches)
        batches.close()
        return str(own == list(range(20)))

    assert answer_of_child(ask) == "True"
    assert [first, *running] == list(range(20))


@pytest.mark.parametrize("way", ["fork", "spawn", "thread"])
def test_inherited_pool_refuses_and_its_end_is_nobodys(way: Anything) -> None:
    pool = servers.make_pool(servers.echo, way=way)
    pool.submit(0, 1, 2)

    def ask() -> str:
        calls = [lambda: pool.submit(0, 1), lambda: pool.receive(0), pool.receive_any, pool.cancel, pool.start]
        said = {refusal(call) for call in calls}
        with pool:
            pass
        pool.begin_close()
        return str(said)

    assert answer_of_child(ask) == "{'this pool'}"
    assert [pool.receive(0), pool.receive(0)] == [(0, 1), (0, 2)]
    pool.close()


def test_pool_that_was_not_started_is_started_in_the_child() -> None:
    from splitdata.process.pool.process_pool import ProcessPool
    from splitdata.process.wire.channel_options import ChannelOptions

    pool: ProcessPool[int, Any] = ProcessPool(servers.echo, (), ChannelOptions(start_method="fork"), num_workers=1)

    def ask() -> str:
        with pool:
            pool.start()
            pool.submit(0, 5)
            return str(pool.receive(0))

    assert answer_of_child(ask) == "(0, 5)"


@pytest.mark.parametrize("way", ["fork", "thread"])
def test_fork_while_a_failed_pool_closes_does_not_hang_the_child(way: Anything) -> None:
    pool = servers.make_pool(servers.orders, way=way)
    # Its end takes a second, in a thread that holds locks meanwhile.
    pool.submit(0, ("sleep holding the GIL" if way == "fork" else "sleep", 600 if way == "fork" else 0.6))
    pool.submit(1, ("raise", ValueError("bad")))
    with pytest.raises(ValueError, match="bad"):
        pool.receive(1)
    time.sleep(0.2)

    def ask() -> str:
        pool.close()
        return refusal(lambda: pool.submit(0, ("ok", 1)))

    assert answer_of_child(ask) == "this pool"
    pool.close()


def test_fork_while_a_thread_gives_a_worker_back_does_not_hang_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = servers.make_pool(servers.echo, way="fork", n=1)
    handle = pool._remotes[0].handle
    reap, stands_there, may_go_on = handle.child.reap, threading.Event(), threading.Event()

    def reap_in_a_while() -> int | None:
        stands_there.set()
        may_go_on.wait()
        code: int | None = reap()
        return code

    monkeypatch.setattr(handle.child, "reap", reap_in_a_while)
    closing = threading.Thread(target=handle.close)
    closing.start()
    stands_there.wait()

    def ask() -> str:
        pool.close()
        handle.close()
        return refusal(pool.cancel)

    assert answer_of_child(ask) == "this pool"
    may_go_on.set()
    closing.join()
    pool.close()
