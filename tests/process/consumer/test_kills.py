"""Workers killed at random moments and at chosen bytes: a gap-free prefix, then WorkerCrashedError, never a hang."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from splitdata.errors import WorkerCrashedError
from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.channel_options import StartMethod
from tests.process.generators import is_mixed, killed_at_byte, mixed, with_grandchild

METHODS: list[StartMethod] = ["spawn", "fork"]
# 3 methods x 2 tests x 100 = 600 kills in the long draw, half of them in the middle of a message.
TRIALS = [pytest.param(6, id="few"), pytest.param(100, id="many", marks=pytest.mark.soak)]

# Sizes that go through the pipe alone, into slots, and past a budget of 1 MiB.
SIZES = [3, 10_000, 400_000]


def assert_prefix_then_crash(running: Iterator[dict[str, Any]], n: int) -> tuple[int, WorkerCrashedError | None]:
    """Return how many came, and the error if the end was not reached."""
    received = 0
    try:
        for batch in running:
            assert is_mixed(batch, received)
            received += 1
    except WorkerCrashedError as caught:
        error = caught
    else:
        assert received == n
        return received, None
    assert error.items_received == received
    assert error.exit_code == -signal.SIGKILL
    return received, error


@pytest.mark.parametrize("trials", TRIALS)
@pytest.mark.parametrize("method", METHODS)
def test_worker_killed_at_a_random_moment_gives_a_prefix_and_a_crash(
    method: StartMethod, trials: int, report: Callable[[str], None]
) -> None:
    chance = random.Random(f"moments {method}")
    latest = 0.0
    for trial in range(trials):
        options = MpQItr.options(start_method=method, max_bytes=1 << 20, max_batches=chance.choice([1, 4, 16]))
        running: Any = iter(options(mixed, 10**9, size=SIZES[trial % 3]))
        killed: list[float] = []
        # The start of an interpreter belongs to the moments; forked workers start at once.
        delay = chance.uniform(0, 0.25 if method == "spawn" else 0.08)

        def kill(pid: int = running.pid, killed: list[float] = killed) -> None:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            killed.append(time.monotonic())

        killer = threading.Timer(delay, kill)
        killer.start()
        try:
            _, error = assert_prefix_then_crash(running, 10**9)
            assert error is not None
            killer.join()
            latest = max(latest, time.monotonic() - killed[0])
        finally:
            killer.cancel()
            killer.join()
    report(f"{method}: {trials} kills at random moments, noticed after at most {latest:.3f} s")


@pytest.mark.parametrize("trials", TRIALS)
@pytest.mark.parametrize("method", METHODS)
def test_worker_killed_in_the_middle_of_a_message_gives_the_batches_before_it(
    method: StartMethod, trials: int, report: Callable[[str], None]
) -> None:
    chance = random.Random(f"bytes {method}")
    for trial in range(trials):
        size = SIZES[trial % 3]
        # 30 batches; those past the budget are bytes in the pipe, the others a frame each.
        stream = 30 * (4 * size + 400 if size > 300_000 else 150 if size < 100 else 24)
        limit = chance.randrange(1, stream)
        options = MpQItr.options(start_method=method, max_bytes=1 << 20)
        received, error = assert_prefix_then_crash(iter(options(killed_at_byte, limit, 30, size)), 30)
        assert error is not None, (limit, size)
        assert received < 30
    report(f"{method}: {trials} kills at a byte of the stream")


@pytest.mark.parametrize("method", METHODS)
def test_killed_worker_whose_child_holds_the_pipe_is_noticed(method: StartMethod) -> None:
    running: Any = iter(MpQItr.options(start_method=method)(with_grandchild, 3))
    grandchild = next(running)
    assert [next(running) for _ in range(3)] == [0, 1, 2]
    os.kill(running.pid, signal.SIGKILL)

    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        next(running)
    assert wait_until_gone(grandchild)


@pytest.mark.parametrize("method", METHODS)
def test_processes_of_the_generator_end_with_a_closed_iterator(method: StartMethod) -> None:
    running: Any = iter(MpQItr.options(start_method=method)(with_grandchild, 3))
    grandchild = next(running)
    running.close()

    assert wait_until_gone(grandchild)


def wait_until_gone(pid: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            # An orphan's zombie is collected by init, where there is one that does.
            with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("trials", [pytest.param(20, id="few"), pytest.param(200, id="many", marks=pytest.mark.soak)])
def test_break_at_a_random_batch_leaves_nothing(trials: int, report: Callable[[str], None]) -> None:
    chance = random.Random("breaks")
    for trial in range(trials):
        # Fresh interpreters take longer, so they come less often.
        method = chance.choices(METHODS, [1, 8])[0]
        batches = MpQItr.options(start_method=method, max_bytes=1 << 20)(mixed, 200, size=SIZES[trial % 3])
        stop = chance.randrange(0, 60)
        for number, batch in enumerate(batches):
            assert is_mixed(batch, number)
            if number == stop:
                break
    report(f"{trials} breaks")
