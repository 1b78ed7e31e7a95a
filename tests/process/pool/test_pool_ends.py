"""How a pool ends: closed, dropped, interrupted, forked, killed with its program; and what other systems lack."""

from __future__ import annotations

import gc
import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from splitdata.errors import WorkerCrashedError, WorkerTimeoutError
from tests.command import ROOT, run_python
from tests.process import servers
from tests.process.consumer.test_fallbacks import FALLBACKS
from tests.process.family import environment, members, new_mark, seconds_until_gone
from tests.process.servers import Way, await_start, is_reply, make_pool
from tests.process.terminal import interrupt_at_random

WAYS: list[Way] = ["spawn", "fork", "thread"]
METHODS: list[Way] = ["spawn", "fork"]
KINDS: list[Way] = ["fork", "thread"]


@pytest.mark.parametrize("way", WAYS)
def test_pool_that_is_closed_or_dropped_runs_the_finally_blocks_of_its_workers(way: Way, tmp_path: Path) -> None:
    for how in ("closed", "dropped"):
        pool = make_pool(servers.marks_its_end, str(tmp_path / how), way=way)
        for worker_id in (0, 1):
            pool.submit(worker_id, ("ok", 1))
            pool.receive(worker_id)
            # One waits for requests, the other one is ahead of the consumer.
        for _ in range(30):
            pool.submit(1, ("ok", 1))
        if how == "closed":
            pool.close()
        del pool
        gc.collect()
        deadline = time.monotonic() + 20
        while marks_left(tmp_path, how) != ["ended", "ended"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert marks_left(tmp_path, how) == ["ended", "ended"]


def marks_left(folder: Path, name: str) -> list[str]:
    """Return what the workers have written when they ended."""
    return [path.read_text() for path in folder.glob(f"{name}*")]


def test_stuck_processes_end_together_and_all_are_asked_first(tmp_path: Path) -> None:
    pool = make_pool(servers.marks_its_end, str(tmp_path / "end"), n=4)
    await_start(pool, *range(4))
    for worker_id in range(4):
        pool.submit(worker_id, ("sleep", 600))
    time.sleep(0.1)
    pool.close()

    # Each was asked and got the time to unwind, also those that came last.
    assert len(list(tmp_path.glob("end*"))) == 4


def test_stuck_thread_is_left_behind_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "splitdata"):
        pool = make_pool(servers.orders, way="thread")
        pool.submit(0, ("sleep", 1.6))
        time.sleep(0.1)
        pool.close()
        pool.close()

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "1 of 2 worker threads do not end" in caplog.text
    assert "in _obey" in caplog.text


def test_stuck_thread_does_not_keep_the_program_from_ending() -> None:
    source = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom tests.process import servers\n"
        "pool = servers.make_pool(servers.orders, way='thread')\npool.submit(0, ('sleep', 600))\n"
        "pool.submit(1, ('sleep', 0.5))\nprint(pool.receive(1))\n"
    )
    ended = run_python("-c", source)

    assert ended.stdout == "0.5\n"
    assert ended.returncode == 0
    assert "1 of 2 worker threads do not end" in ended.stderr
    assert "Error" not in ended.stderr


@pytest.mark.parametrize("way", WAYS)
def test_program_that_ends_without_close_ends_quietly(way: Way, tmp_path: Path) -> None:
    source = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}]\nfrom tests.process import servers\n"
        f"pool = servers.make_pool(servers.marks_its_end, {str(tmp_path / 'end')!r}, way={way!r}, n=3)\n"
        "for number in range(90):\n    pool.submit(number % 3, ('ok', number))\n"
        "print([pool.receive(number % 3) for number in range(6)])\n"
    )
    mark = new_mark()
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env=environment(mark),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ended.stdout, ended.stderr, ended.returncode) == ("[0, 1, 2, 3, 4, 5]\n", "", 0)
    assert len(list(tmp_path.glob("end*"))) == 3
    assert members(mark) == {}


@pytest.mark.parametrize("trials", [pytest.param(10, id="few"), pytest.param(200, id="many", marks=pytest.mark.soak)])
def test_pool_left_at_a_random_moment_leaves_nothing(trials: int) -> None:
    chance = random.Random("left")
    for _ in range(trials):
        way: Way = chance.choices(WAYS, [1, 4, 4])[0]
        pool = make_pool(servers.arrays, chance.choice([3, 30_000, 400_000]), way=way, n=3, max_bytes=1 << 20)
        for number in range(chance.randrange(300)):
            pool.submit(number % 3, number)
        for number in range(min(pool.num_pending(2), chance.randrange(20))):
            assert is_reply(pool.receive(2), 2, 3 * number + 2)
        if chance.random() < 0.3:
            pool.cancel()
        if chance.random() < 0.5:
            pool.close()
        # The leak check of this folder looks at what is left.
        del pool


@pytest.mark.parametrize("way", KINDS)
def test_fork_of_the_consumer_may_end_without_disturbing_it(way: Way) -> None:
    source = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
import os
from splitdata.errors import ClosedError
from tests.process import servers
pool = servers.make_pool(servers.arrays, 30_000, way={way!r})
for number in range(40):
    pool.submit(number % 2, number)
held = pool.receive(0)
pid = os.fork()
if pid == 0:
    for call in (pool.cancel, pool.receive_any):
        try:
            call()
        except ClosedError as error:
            print("child:", str(error).split(" process ")[0], flush=True)
    pool.close()
    del pool
    print("child still sees", held["large"].min(), held["large"].max(), flush=True)
    sys.exit()
del held
os.waitpid(pid, 0)
assert all(servers.is_reply(pool.receive(number % 2), number % 2, number) for number in range(1, 40))
print("parent took all")
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "child: this pool belongs to",
        "child: this pool belongs to",
        "child still sees 0 0",
        "parent took all",
    ]


@pytest.mark.parametrize("what", ["pool of threads", "pool of processes", "iterator"])
def test_fork_while_another_thread_waits_does_not_hang_the_child(what: str) -> None:
    source = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
import os, threading, time
from splitdata.errors import ClosedError
from splitdata.process.mpqitr import MpQItr
from tests.process import generators, servers
if {what!r} == "iterator":
    used = iter(MpQItr.options(start_method="fork")(generators.slowly, 1, 1.0))
    take = lambda: next(used)
else:
    used = servers.make_pool(servers.orders, way="thread" if {what!r} == "pool of threads" else "fork")
    used.submit(0, ("sleep", 1.0))
    take = lambda: used.receive(0)
taken = []
waiting = threading.Thread(target=lambda: taken.append(take()))
waiting.start()
time.sleep(0.3)
pid = os.fork()
if pid == 0:
    try:
        take()
    except ClosedError as error:
        print("child:", str(error)[-53:], flush=True)
    used.close()
    os._exit(0)
os.waitpid(pid, 0)
waiting.join()
print(taken)
"""
    ended = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)

    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "child: nothing was done; make one of its own in each process",
        "[0]" if what == "iterator" else "[1.0]",
    ]


PROGRAM = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
from tests.process import servers
way, what = sys.argv[1:]
# Python itself loses a Ctrl-C that arrives in a finalizer, be it of its import system or of a pool that is dropped: so
# each pool is closed.
servers.make_pool(servers.echo, way=way).close()
print("begin", flush=True)
for _ in range(1000):
    if what == "flowing":
        with servers.make_pool(servers.arrays, 30_000, way=way, n=3, max_bytes=1 << 20) as pool:
            for number in range(600):
                pool.submit(number % 3, number)
            for number in range(60):
                pool.receive(number % 3)
            pool.cancel()
    else:
        with servers.make_pool(servers.orders, way=way, n=3) as pool:
            pool.submit(0, ("sleep" if what == "waiting" else "sleep holding the GIL", 1 if way == "thread" else 600))
            pool.submit(1, ("ok", 1))
            pool.receive(1)
            pool.receive(0)
"""


@pytest.mark.parametrize("trials", [pytest.param(6, id="few"), pytest.param(120, id="many", marks=pytest.mark.soak)])
def test_ctrl_c_at_a_random_moment_is_one_interrupt_and_leaves_nothing(trials: int) -> None:
    chance = random.Random("ctrl-c")
    for trial in range(trials):
        what = chance.choice(["flowing", "waiting", "stuck"])
        interrupt_at_random(["-c", PROGRAM, WAYS[trial % len(WAYS)], what], chance)


@pytest.mark.parametrize(
    ("trials", "pause"),
    [pytest.param(1, 0.0, id="few"), pytest.param(60, 0.5, id="many", marks=pytest.mark.soak)],
)
@pytest.mark.parametrize("what", ["flowing", "waiting", "stuck"])
@pytest.mark.parametrize("way", METHODS)
def test_killed_program_takes_all_workers_along(way: Way, what: str, trials: int, pause: float) -> None:
    chance = random.Random(f"{way} {what}")
    for _ in range(trials):
        mark = new_mark()
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, way, what], env=environment(mark), cwd=ROOT, stdout=subprocess.PIPE
        )
        assert program.stdout is not None
        assert program.stdout.readline() == b"begin\n"
        time.sleep(chance.uniform(0.0, 0.1 + pause))
        program.kill()
        program.wait()
        program.stdout.close()

        assert seconds_until_gone(mark, 20.0) < 20.0, members(mark)


@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_carries_requests_replies_and_cancels(name: str) -> None:
    cases: list[tuple[Way, int]] = [("fork", 3), ("fork", 30_000), ("fork", 400_000), ("spawn", 30_000)]
    for way, size in cases:
        with make_pool(servers.arrays, size, way=way, max_bytes=1 << 20, **FALLBACKS[name]) as pool:
            for repetition in range(3):
                for number in range(40):
                    pool.submit(number % 2, number)
                for number in range(20 - repetition):
                    assert is_reply(pool.receive(number % 2), number % 2, number)
                pool.cancel()
            pool.submit(1, 7)
            assert is_reply(pool.receive_any()[1], 1, 7)


@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_notices_a_dead_worker_while_another_is_waited_for(name: str) -> None:
    with make_pool(servers.orders, **FALLBACKS[name]) as pool:
        pool.submit(1, ("ok", 1))
        pool.submit(1, ("kill", "SIGKILL"))
        pool.submit(0, ("sleep", 600))
        with pytest.raises(WorkerCrashedError, match="SIGKILL") as caught:
            pool.receive(0)

        assert caught.value.worker_id == 1


@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_keeps_an_exception_for_its_place(name: str) -> None:
    with make_pool(servers.orders, **FALLBACKS[name]) as pool:
        pool.submit(1, ("ok", 1))
        pool.submit(1, ("raise", KeyError("lost")))
        pool.submit(0, ("sleep", 1.2))

        assert pool.receive(0) == 1.2
        assert pool.receive(1) == 1
        with pytest.raises(KeyError):
            pool.receive(1)


@pytest.mark.parametrize("name", FALLBACKS)
def test_fallback_times_out_with_a_stack(name: str) -> None:
    with make_pool(servers.orders, timeout=1.0, **FALLBACKS[name]) as pool:
        pool.submit(1, ("sleep", 600))
        with pytest.raises(WorkerTimeoutError) as caught:
            pool.receive(1)

        assert "in _obey" in (caught.value.stack or "")


def test_pools_may_be_used_from_many_threads_each_its_own() -> None:
    failures: list[BaseException] = []

    def use(way: Way) -> None:
        try:
            with make_pool(servers.arrays, 20_000, way=way, max_bytes=1 << 20) as pool:
                for number in range(200):
                    pool.submit(number % 2, number)
                for number in range(200):
                    assert is_reply(pool.receive(number % 2), number % 2, number)
        except BaseException as error:
            failures.append(error)

    ways: list[Any] = ["spawn", "spawn", "thread", "thread"]
    threads = [threading.Thread(target=use, args=(way,)) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_many_pools_leave_no_descriptor_map_or_process() -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count

    before = descriptors()
    for round_number in range(15):
        pool = make_pool(servers.arrays, 30_000, n=3, max_bytes=1 << 20)
        for number in range(12):
            pool.submit(number % 3, number)
        for number in range(round_number % 12):
            pool.receive(number % 3)
        pool.close()

    assert descriptors() == before
    assert "memfd:splitdata" not in Path("/proc/self/maps").read_text()
