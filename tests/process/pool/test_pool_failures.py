"""Workers of a pool that raise, die or hang: what has arrived comes first, then the truth about the right one."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from splitdata.errors import ClosedError, WorkerCrashedError, WorkerError, WorkerTimeoutError
from splitdata.process.consumer.worker_handle import HandleGroup, WorkerHandle
from splitdata.process.wire.remote_error import WorkerTraceback
from tests.process import hostile, servers
from tests.process.servers import Way, await_start, is_reply, make_pool

WAYS: list[Way] = ["spawn", "fork", "thread"]
KINDS: list[Way] = ["fork", "thread"]
# Fresh interpreters take longer, so they come less often. 900 kills in the long draw.
TRIALS = [
    ("spawn", 2),
    ("fork", 8),
    *[pytest.param(way, 150, marks=pytest.mark.soak) for way in ("spawn", "fork")],
]

# Replies that go through the pipe alone, into slots, and past a budget of 1 MiB for two workers.
SIZES = [3, 10_000, 400_000]


@pytest.mark.parametrize("way", WAYS)
def test_exception_waits_for_its_place(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(1, ("ok", 1))
        pool.submit(1, ("raise", KeyError("lost", 3)))
        pool.submit(0, ("sleep", 0.3))
        pool.submit(0, ("ok", 2))

        assert [pool.receive(0), pool.receive(0), pool.receive(1)] == [0.3, 2, 1]
        with pytest.raises(KeyError) as caught:
            pool.receive(1)
        assert caught.value.args == ("lost", 3)
        if way != "thread":
            assert isinstance(caught.value.__cause__, WorkerTraceback)
            assert "in _obey" in str(caught.value.__cause__)
        with pytest.raises(ClosedError, match="KeyError after 3 batches"):
            pool.submit(0, ("ok", 1))


@pytest.mark.parametrize("way", KINDS)
def test_exception_comes_after_the_replies_that_are_there(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(0, ("raise", KeyError("lost")))
        pool.submit(1, ("ok", 1))
        while not (pool.has_reply(0) and pool.has_reply(1)):
            pass

        assert pool.receive_any() == (1, 1)
        with pytest.raises(KeyError):
            pool.receive_any()


@pytest.mark.parametrize("way", KINDS)
def test_exception_of_one_does_not_stop_another_that_is_waited_for(way: Way) -> None:
    with make_pool(servers.orders, way=way, n=3) as pool:
        # A report that is larger than the pipe keeps its process alive; a small one does not.
        pool.submit(1, ("raise", ValueError("x" * 3_000_000)))
        pool.submit(2, ("ok", 1))
        pool.submit(2, ("raise", KeyError("lost")))
        for _ in range(4):
            pool.submit(0, ("sleep", 0.1))

        assert [pool.receive(0) for _ in range(4)] == [0.1] * 4
        assert pool.receive(2) == 1
        with pytest.raises(ValueError, match="xxx"):
            pool.receive(1)


@pytest.mark.parametrize("kind", range(len(hostile.ALL)), ids=lambda number: hostile.ALL[number].__name__)
@pytest.mark.parametrize("way", KINDS)
def test_hostile_exception_never_loses_a_reply(way: Way, kind: int) -> None:
    with make_pool(servers.orders, way=way) as pool:
        for number in range(7):
            pool.submit(1, ("ok", number))
        pool.submit(1, ("hostile", kind))

        assert [pool.receive(1) for _ in range(7)] == list(range(7))
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - that is what they are
            pool.receive(1)
        make = hostile.ALL[kind]
        if make is hostile.ends_an_iteration:
            # Raised within a generator: Python's own rule.
            assert type(caught.value) is RuntimeError
        elif way == "thread":
            assert type(caught.value).__name__ == type(make()).__name__
        else:
            assert type(caught.value) is (type(make()) if make in hostile.SURVIVING else WorkerError)


@pytest.mark.parametrize("way", KINDS)
def test_function_that_fails_at_once_fails_in_its_place(way: Way) -> None:
    with make_pool(servers.raises_before_the_first, way=way) as pool:
        for worker_id in (0, 1):
            pool.submit(worker_id, 0)
        with pytest.raises(FileNotFoundError, match="worker 1"):
            pool.receive(1)


@pytest.mark.parametrize("way", KINDS)
def test_function_that_ends_early_is_an_error(way: Way) -> None:
    with make_pool(servers.ends_early, 2, way=way) as pool:
        for number in range(3):
            pool.submit(0, number)

        assert [pool.receive(0), pool.receive(0)] == [0, 1]
        with pytest.raises(RuntimeError, match="ended early"):
            pool.receive(0)


@pytest.mark.parametrize("way", KINDS)
def test_function_that_replies_too_often_is_an_error(way: Way) -> None:
    with make_pool(servers.replies_twice, way=way) as pool:
        pool.submit(0, 1)
        assert pool.receive(0) == 1
        pool.submit(0, 2)
        with pytest.raises(RuntimeError, match="more replies than it has taken requests"):
            pool.receive(0)


def test_reply_that_does_not_pickle_is_named() -> None:
    with make_pool(servers.orders) as pool:
        pool.submit(0, ("ok", 1))
        pool.submit(0, ("unpicklable", 1))

        assert pool.receive(0) == 1
        with pytest.raises(TypeError) as caught:
            pool.receive(0)
        assert "batch['x'][0] is a posix.ScandirIterator" in caught.value.__notes__[0]


def test_reply_that_cannot_be_unpickled_ends_the_pool() -> None:
    with make_pool(servers.orders) as pool:
        pool.submit(0, ("bomb", 1))
        with pytest.raises(ZeroDivisionError):
            pool.receive(0)
        with pytest.raises(ClosedError):
            pool.receive(0)


@pytest.mark.parametrize("way", KINDS)
def test_exception_at_a_cancelled_request_is_still_an_exception(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(0, ("raise", KeyError("lost")))
        while not pool.has_reply(0):
            pass
        pool.cancel()
        pool.submit(0, ("ok", 1))
        with pytest.raises(KeyError, match="lost"):
            pool.receive(0)


@pytest.mark.parametrize(
    ("way", "order", "code"),
    [
        ("fork", ("exit", 0), 0),
        ("fork", ("exit", 7), 7),
        ("fork", ("sys.exit", 3), 3),
        ("fork", ("kill", "SIGVTALRM"), -signal.SIGVTALRM),
        ("fork", ("kill", "SIGABRT"), -signal.SIGABRT),
        ("spawn", ("exit", 0), 0),
        ("spawn", ("kill", "SIGKILL"), -signal.SIGKILL),
    ],
)
def test_worker_that_dies_is_noticed_while_another_is_waited_for(way: Way, order: tuple[str, Any], code: int) -> None:
    with make_pool(servers.orders, way=way, n=3) as pool:
        pool.submit(0, ("sleep", 60))
        pool.submit(2, ("ok", 1))
        pool.submit(2, order)
        begun = time.monotonic()
        with pytest.raises(WorkerCrashedError) as caught:
            pool.receive(0)

        assert caught.value.worker_id == 2
        assert caught.value.exit_code == code
        assert caught.value.pid is not None
        assert f"worker 2 (pid {caught.value.pid})" in str(caught.value)
        assert str(order) in str(caught.value) or "at ('ok', 1)" in str(caught.value)
        assert time.monotonic() - begun < 30
        with pytest.raises(ClosedError):
            pool.submit(0, ("pid", 0))


def test_crash_is_told_before_the_other_workers_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()

    def close_when_told(group: HandleGroup) -> None:
        told.wait()
        close(group)

    close = HandleGroup.close
    monkeypatch.setattr(HandleGroup, "close", close_when_told)
    pool = make_pool(servers.orders)
    pool.submit(0, ("sleep holding the GIL", 600))
    pool.submit(1, ("kill", "SIGKILL"))
    with pytest.raises(WorkerCrashedError):
        pool.receive(0)
    told.set()
    pool.close()

    assert all(remote.handle.is_closed for remote in pool._remotes)


def test_idle_worker_that_dies_is_noticed_while_another_is_waited_for() -> None:
    with make_pool(servers.orders) as pool:
        pool.submit(1, ("pid", 0))
        pid = pool.receive(1)
        pool.submit(0, ("sleep", 60))
        threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
        with pytest.raises(WorkerCrashedError, match="SIGKILL") as caught:
            pool.receive(0)

        assert caught.value.items_received == 1


def test_replies_that_are_there_come_before_a_crash() -> None:
    with make_pool(servers.orders) as pool:
        await_start(pool, 0, 1)
        for number in range(5):
            pool.submit(0, ("ok", number))
            pool.submit(1, ("ok", number))
        pool.submit(1, ("kill", "SIGKILL"))
        # All of them are in the pipes before the first is taken.
        pool.submit(0, ("sleep", 0.2))
        time.sleep(0.4)

        assert [pool.receive(0) for _ in range(5)] == list(range(5))
        assert [pool.receive(1) for _ in range(5)] == list(range(5))
        with pytest.raises(WorkerCrashedError) as caught:
            pool.receive(1)
        assert caught.value.items_received == 6


def test_replies_of_all_come_before_a_crash_where_any_is_wanted() -> None:
    with make_pool(servers.orders) as pool:
        await_start(pool, 0, 1)
        for number in range(5):
            pool.submit(0, ("ok", number))
            pool.submit(1, ("ok", number))
        pool.submit(0, ("sleep", 60))
        pool.submit(1, ("kill", "SIGKILL"))
        time.sleep(0.4)
        received = sorted(pool.receive_any() for _ in range(10))

        assert received == [(worker_id, number) for worker_id in (0, 1) for number in range(5)]
        with pytest.raises(WorkerCrashedError):
            pool.receive_any()


def test_thread_that_exits_is_a_crash() -> None:
    with make_pool(servers.orders, way="thread") as pool:
        pool.submit(1, ("sys.exit", 3))
        with pytest.raises(WorkerCrashedError, match=r"called sys\.exit"):
            pool.receive(1)


@pytest.mark.parametrize(("way", "trials"), TRIALS)
def test_worker_killed_at_a_random_moment_is_a_crash_after_all_its_replies(
    way: Way, trials: int, report: Callable[[str], None]
) -> None:
    chance = random.Random(f"moments {way}")
    latest = 0.0
    for trial in range(trials):
        num_workers, victim = 3, chance.randrange(3)
        options = {"max_bytes": 1 << 20, "max_batches": chance.choice([1, 4, 16])}
        pool = make_pool(servers.arrays, SIZES[trial % 3], way=way, n=num_workers, **options)
        pid = pool._remotes[victim].handle.child.pid
        killed: list[float] = []

        def kill(pid: int = pid, killed: list[float] = killed) -> None:
            os.kill(pid, signal.SIGKILL)
            killed.append(time.monotonic())

        # The start of an interpreter belongs to the moments; forked workers start at once.
        killer = threading.Timer(chance.uniform(0, 0.4 if way == "spawn" else 0.1), kill)
        killer.start()
        try:
            in_order = chance.random() < 0.5
            error = use_until_it_crashes(pool, num_workers, in_order=in_order, cancels=chance.random() < 0.3)
            killer.join()
            latest = max(latest, time.monotonic() - killed[0])
            assert error.worker_id == victim
            assert error.exit_code == -signal.SIGKILL
            assert "SIGKILL" in str(error)
        finally:
            killer.cancel()
            killer.join()
            pool.close()
    report(f"{way}: {trials} kills of one of 3 workers, noticed after at most {latest:.3f} s")


def use_until_it_crashes(pool: Any, num_workers: int, *, in_order: bool, cancels: bool) -> WorkerCrashedError:
    """Keep 4 requests ahead of each worker, check every reply, and return the crash."""
    number = 0
    expected: list[list[int]] = [[] for _ in range(num_workers)]
    try:
        while True:
            for worker_id in range(num_workers):
                while len(expected[worker_id]) < 4:
                    number += 1
                    pool.submit(worker_id, number)
                    expected[worker_id].append(number)
            worker_id = number % num_workers
            if in_order:
                reply = pool.receive(worker_id)
            else:
                worker_id, reply = pool.receive_any()
            assert is_reply(reply, worker_id, expected[worker_id].pop(0))
            if cancels and number % 7 == 0:
                pool.cancel()
                expected = [[] for _ in range(num_workers)]
    except WorkerCrashedError as error:
        return error


@pytest.mark.parametrize(("way", "trials"), TRIALS)
def test_worker_killed_in_the_middle_of_a_message_gives_the_replies_before_it(way: Way, trials: int) -> None:
    chance = random.Random(f"bytes {way}")
    for trial in range(trials):
        size = SIZES[trial % 3]
        # 30 replies of which half are worker 1's; those past the budget are bytes in the pipe, others a frame each.
        stream = 15 * (4 * size + 400 if size > 300_000 else 150 if size < 100 else 24)
        limit = chance.randrange(1, stream)
        with make_pool(servers.killed_at_byte, limit, size, way=way, max_bytes=1 << 20) as pool:
            for number in range(60):
                pool.submit(number % 2, number)
            received, error = receive_until_it_crashes(pool, 1, 30)
            # All that came whole were handed out.
            assert error is not None, (limit, size)
            assert (error.worker_id, error.items_received) == (1, received)


def receive_until_it_crashes(pool: Any, worker_id: int, n: int) -> tuple[int, WorkerCrashedError | None]:
    """Check up to n replies to every second request; return how many came, and the error before the end."""
    for received in range(n):
        try:
            reply = pool.receive(worker_id)
        except WorkerCrashedError as error:
            return received, error
        assert is_reply(reply, worker_id, 2 * received + worker_id)
    return n, None


@pytest.mark.parametrize("way", KINDS)
def test_hanging_worker_is_a_timeout_that_names_it_its_request_and_its_stack(way: Way) -> None:
    with make_pool(servers.orders, way=way, timeout=1, describe=lambda order: f"the order to {order[0]}") as pool:
        pool.submit(1, ("ok", 1))
        pool.submit(1, ("sleep", 1.8))
        assert pool.receive(1) == 1
        with pytest.raises(
            WorkerTimeoutError, match=r"worker 1 \(.*no batch for 1 s, after 1 batches, at the"
        ) as caught:
            pool.receive(1)

        assert caught.value.worker_id == 1
        assert "at the order to sleep" in str(caught.value)
        assert "in _obey" in (caught.value.stack or "")


@pytest.mark.parametrize("way", KINDS)
def test_timeout_of_any_names_the_worker_that_was_asked_first(way: Way) -> None:
    with make_pool(servers.orders, way=way, n=3, timeout=0.5) as pool:
        pool.submit(2, ("sleep", 1.1))
        pool.submit(0, ("sleep", 1.2))
        with pytest.raises(WorkerTimeoutError) as caught:
            pool.receive_any()

        assert caught.value.worker_id == 2
        assert "at ('sleep', 1.1)" in str(caught.value)


@pytest.mark.parametrize("way", KINDS)
def test_timeout_while_a_cancelled_request_is_served_says_so(way: Way) -> None:
    with make_pool(servers.orders, way=way, timeout=1) as pool:
        await_start(pool, 0)
        pool.submit(0, ("sleep", 1.8))
        time.sleep(0.2)
        pool.cancel()
        pool.submit(0, ("ok", 1))
        with pytest.raises(WorkerTimeoutError, match=r"still at \('sleep', 1.8\), which was cancelled"):
            pool.receive(0)


def test_description_that_fails_does_not_hide_the_failure() -> None:
    def describe(order: Any) -> str:
        raise RuntimeError("no words")

    with make_pool(servers.orders, describe=describe) as pool:
        pool.submit(0, ("exit", 1))
        with pytest.raises(WorkerCrashedError, match=r"at a request that cannot be described \(RuntimeError\)"):
            pool.receive(0)


def test_description_that_is_long_is_cut() -> None:
    with make_pool(servers.orders, describe=lambda order: "x" * 1_000_000) as pool:
        pool.submit(0, ("exit", 1))
        with pytest.raises(WorkerCrashedError) as caught:
            pool.receive(0)

        assert 300 < len(str(caught.value)) < 1000


@pytest.mark.parametrize("way", KINDS)
def test_waiting_long_warns_and_goes_on(way: Way, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "splitdata"), make_pool(servers.orders, way=way, stall_warning=0.2) as pool:
        pool.submit(1, ("sleep", 0.7))
        assert pool.receive(1) == 0.7

    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) >= 2
    assert all("worker 1 (" in text and "at ('sleep', 0.7)" in text and "in _obey" in text for text in texts)


@pytest.mark.parametrize("way", KINDS)
def test_interrupted_wait_leaves_the_pool_whole(way: Way) -> None:
    class Rung(Exception):
        pass

    def ring(number: int, frame: object) -> None:
        raise Rung

    before = signal.signal(signal.SIGUSR2, ring)
    received: list[float] = []
    interruptions = 0
    try:
        with make_pool(servers.orders, way=way) as pool:
            for number in range(6):
                pool.submit(number % 2, ("sleep", 0.1 + number / 1000))
            while len(received) < 6:
                ringer = threading.Timer(0.03, os.kill, (os.getpid(), signal.SIGUSR2))
                try:
                    ringer.start()
                    received.append(pool.receive(len(received) % 2))
                    ringer.join()
                except Rung:
                    interruptions += 1
            time.sleep(0.1)
    finally:
        signal.signal(signal.SIGUSR2, before)

    assert received == [0.1 + number / 1000 for number in range(6)]
    assert interruptions > 0


@pytest.mark.parametrize("way", KINDS)
def test_close_from_another_thread_wakes_a_waiting_receive(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(0, ("sleep", 0.9))
        closer = threading.Timer(0.2, pool.close)
        closer.start()
        with pytest.raises(ClosedError):
            pool.receive(0)
        closer.join()


@pytest.mark.parametrize("way", KINDS)
def test_close_from_a_signal_handler_ends_a_waiting_receive(way: Way) -> None:
    with make_pool(servers.orders, way=way) as pool:
        pool.submit(0, ("sleep", 0.9))
        before = signal.signal(signal.SIGUSR2, lambda number, frame: pool.close())
        ringer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2))
        ringer.start()
        try:
            with pytest.raises(ClosedError):
                pool.receive(0)
        finally:
            ringer.join()
            signal.signal(signal.SIGUSR2, before)


def test_receive_in_a_signal_handler_of_a_receive_is_refused() -> None:
    refused: list[BaseException] = []

    def again(number: int, frame: object) -> None:
        try:
            pool.receive(1)
        except ValueError as error:
            refused.append(error)

    with make_pool(servers.orders) as pool:
        pool.submit(0, ("sleep", 0.4))
        pool.submit(1, ("ok", 1))
        before = signal.signal(signal.SIGUSR2, again)
        ringer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR2))
        ringer.start()
        try:
            assert pool.receive(0) == 0.4
        finally:
            ringer.join()
            signal.signal(signal.SIGUSR2, before)

        assert "already executing" in str(refused[0])
        assert pool.receive(1) == 1


def test_failing_start_leaves_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = WorkerHandle.__init__, []

    def third_fails(self: WorkerHandle, *args: Any, **kwargs: Any) -> None:
        calls.append(self)
        if len(calls) == 3:
            args[0].kill()
            args[0].wait(1.0)
            args[0].reap()
            raise OSError(24, "Too many open files")
        real(self, *args, **kwargs)

    monkeypatch.setattr(WorkerHandle, "__init__", third_fails)
    with pytest.raises(OSError, match="Too many"):
        make_pool(servers.echo, n=4)
