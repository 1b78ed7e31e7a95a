"""Workers that are actors of Ray, against a module that stands for Ray: order, errors, death, cancelling, closing.

With Ray itself: tests/interop/test_ray.py.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from splitdata import WorkerCrashedError, WorkerTimeoutError
from splitdata.process.pool import ray_worker
from splitdata.process.pool.ray_worker import serve_on_ray
from splitdata.process.pool.thread_pool import ThreadPool
from splitdata.process.wire.channel_options import ChannelOptions


class ActorDied(Exception):
    pass


class _Actor:
    """An actor that is a thread: what is called on it happens one call after the other."""

    def __init__(self, made: Callable[[], Any]) -> None:
        self.thread = ThreadPoolExecutor(1)
        self.made = self.thread.submit(made)
        self.is_killed = False
        self.reply = SimpleNamespace(remote=lambda request: self.thread.submit(self._reply, request))

    def _reply(self, request: Any) -> Any:
        if request == "die":
            raise ActorDied("gone")
        return self.made.result().reply(request)


class FakeRay:
    """As much of Ray as a worker asks for."""

    exceptions = SimpleNamespace(RayActorError=ActorDied)

    def __init__(self) -> None:
        self.actors: list[_Actor] = []

    def is_initialized(self) -> bool:
        return True

    def remote(self, kind: Callable[..., Any]) -> Any:
        def begin(*args: Any) -> _Actor:
            self.actors.append(_Actor(lambda: kind(*args)))
            return self.actors[-1]

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=begin))

    def wait(self, refs: list[Future[Any]], timeout: float) -> tuple[list[Any], list[Any]]:
        try:
            refs[0].exception(timeout)
        except TimeoutError:
            return [], refs
        return refs, []

    def get(self, ref: Future[Any]) -> Any:
        return ref.result()

    def kill(self, actor: _Actor) -> None:
        actor.is_killed = True
        actor.thread.shutdown(wait=False, cancel_futures=True)

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2}

    available_resources = cluster_resources


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


_go_on = threading.Event()


def serve(worker_id: int, requests: Iterator[Any]) -> Iterator[Any]:
    for request in requests:
        if request == "raise":
            raise KeyError(f"of worker {worker_id}")
        if request == "wait":
            _go_on.wait(60)
        yield worker_id, request, np.full(5, 7)


def pool_of(num_workers: int = 1, timeout: float | None = None) -> ThreadPool[Any, Any]:
    options = ChannelOptions(max_batches=2, timeout=timeout)
    pool: ThreadPool[Any, Any] = ThreadPool(serve_on_ray, (serve,), options, num_workers=num_workers, describe=str)
    pool.start()
    return pool


def test_replies_come_in_the_order_of_requests_and_their_arrays_can_be_written(ray: FakeRay) -> None:
    with pool_of(2) as pool:
        for number in range(20):
            pool.submit(number % 2, number)
        replies = [pool.receive(number % 2) for number in range(20)]
        replies[0][2][:] = 1

    assert [reply[:2] for reply in replies] == [(number % 2, number) for number in range(20)]
    assert [actor.is_killed for actor in ray.actors] == [True, True]


def test_exception_of_an_actor_arrives_as_itself(ray: FakeRay) -> None:
    with pool_of() as pool:
        pool.submit(0, 1, "raise")
        assert pool.receive(0)[1] == 1
        with pytest.raises(KeyError, match="of worker 0"):
            pool.receive(0)


def test_actor_that_dies_is_a_crashed_worker(ray: FakeRay) -> None:
    with pool_of() as pool:
        pool.submit(0, 1, "die")
        pool.receive(0)
        with pytest.raises(WorkerCrashedError, match="actor of Ray, has died after 1 batches: gone") as caught:
            pool.receive(0)
    assert caught.value.worker_id == 0


def test_what_was_cancelled_is_dropped_though_the_actor_has_it(ray: FakeRay) -> None:
    _go_on.clear()
    with pool_of() as pool:
        pool.submit(0, "wait", 2, 3)
        pool.cancel()
        pool.submit(0, 4, 5)
        _go_on.set()
        assert [pool.receive(0)[1] for _ in range(2)] == [4, 5]


def test_actor_that_hangs_is_an_error_with_a_time_limit_and_closing_does_not_wait_for_it(
    ray: FakeRay, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_worker, "_PLACE_SECONDS", 0.2)
    _go_on.clear()
    with pool_of(timeout=0.6) as pool:
        pool.submit(0, "wait")
        with pytest.raises(WorkerTimeoutError):
            pool.receive(0)
    assert "has the Ray cluster a free CPU for each of them? It has 2" in caplog.text
    assert [actor.is_killed for actor in ray.actors] == [True]
    _go_on.set()
