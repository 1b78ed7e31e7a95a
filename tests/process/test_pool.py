"""WorkerPool as its user meets it: requests, replies, order, bounds, cancel."""

from __future__ import annotations

from typing import Any

import pytest

from splitdata.errors import ClosedError, WorkerCrashedError
from splitdata.process.options import ChannelOptions, StartMethod
from splitdata.process.pool import WorkerPool
from tests.process import servers
from tests.process.servers import is_reply

METHODS: list[StartMethod] = ["spawn", "forkserver", "fork"]


@pytest.mark.parametrize("method", METHODS)
def test_replies_come_in_the_order_of_the_requests(method: StartMethod) -> None:
    options = ChannelOptions(start_method=method, max_bytes=4 << 20)
    with WorkerPool[int, Any](servers.arrays, (30_000,), options, num_workers=2) as pool:
        pool.start()
        for number in range(60):
            pool.submit(number % 2, number)
        for number in range(60):
            assert is_reply(pool.receive(number % 2), number % 2, number)


def test_receive_without_a_request_is_refused_and_the_pool_goes_on() -> None:
    with WorkerPool[int, Any](servers.echo, (), ChannelOptions(start_method="fork"), num_workers=2) as pool:
        pool.start()
        with pytest.raises(ValueError, match="worker 1 owes no reply"):
            pool.receive(1)
        with pytest.raises(ValueError, match="no worker owes a reply"):
            pool.receive_any()
        pool.submit(1, 5)
        assert pool.receive(1) == (1, 5)


def test_dead_worker_is_noticed_while_another_is_waited_for() -> None:
    with WorkerPool[Any, Any](servers.orders, (), ChannelOptions(start_method="fork"), num_workers=3) as pool:
        pool.start()
        pool.submit(0, ("sleep", 60))
        pool.submit(2, ("kill", "SIGKILL"))
        with pytest.raises(WorkerCrashedError, match="SIGKILL") as caught:
            pool.receive(0)
        assert caught.value.worker_id == 2
        assert "('kill', 'SIGKILL')" in str(caught.value)
        with pytest.raises(ClosedError):
            pool.submit(0, ("pid", 0))


def test_failure_waits_for_its_place() -> None:
    with WorkerPool[Any, Any](servers.orders, (), ChannelOptions(start_method="fork"), num_workers=2) as pool:
        pool.start()
        pool.submit(0, ("sleep", 0.3))
        pool.submit(0, ("ok", 2))
        pool.submit(1, ("ok", 1))
        pool.submit(1, ("raise", KeyError("lost")))
        assert pool.receive(0) == 0.3
        assert pool.receive(0) == 2
        assert pool.receive(1) == 1
        with pytest.raises(KeyError, match="lost"):
            pool.receive(1)


@pytest.mark.parametrize("size", [3, 30_000, 600_000])
def test_cancelled_requests_are_never_seen(size: int) -> None:
    options = ChannelOptions(start_method="fork", max_bytes=2 << 20, max_batches=4)
    with WorkerPool[int, Any](servers.arrays, (size,), options, num_workers=2) as pool:
        pool.start()
        for generation in range(30):
            for number in range(20):
                pool.submit(number % 2, 100 * generation + number)
            for number in range(generation % 7):
                assert is_reply(pool.receive(number % 2), number % 2, 100 * generation + number)
            pool.cancel()
        pool.submit(1, -1)
        assert is_reply(pool.receive(1), 1, -1)
