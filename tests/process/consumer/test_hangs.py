"""Workers that do not answer: timeouts and warnings that show where they stand, an end that does not wait for them."""

from __future__ import annotations

import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from splitdata.errors import WorkerTimeoutError
from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.channel_options import StartMethod
from splitdata.process.wire.signals import STACK_SIGNAL
from tests.process.generators import count, slowly, stuck

WAYS = ["sleep", "busy", "blocked pipe", "holding the GIL", "ignoring the stop"]
# Every way once, and the hardest with every start method.
COMBINATIONS: list[tuple[StartMethod, str]] = [
    *[("fork", how) for how in WAYS],
    ("spawn", "holding the GIL"),
]


@pytest.mark.parametrize(("method", "how"), COMBINATIONS)
def test_hanging_worker_is_a_timeout_with_its_stack(method: StartMethod, how: str) -> None:
    # Long enough for a fork or a fresh interpreter on a busy machine: the first batch counts too.
    timeout = 1 if method == "fork" else 6
    running = iter(MpQItr.options(start_method=method, timeout=timeout)(stuck, how, 2))
    received = [next(running), next(running)]

    with pytest.raises(WorkerTimeoutError, match=f"no batch for {timeout} s, after 2 batches") as caught:
        next(running)
    assert received == [0, 1]
    assert caught.value.stack is not None
    assert "in stuck" in caught.value.stack
    assert "generators.py" in str(caught.value)


def test_worker_that_is_slow_but_in_time_is_no_timeout() -> None:
    assert list(MpQItr.options(start_method="fork", timeout=5)(slowly, 5, 0.1)) == [0, 1, 2, 3, 4]


def test_stopped_worker_is_a_timeout_without_stack() -> None:
    running: Any = iter(MpQItr.options(start_method="fork", timeout=1)(stuck, "sleep", 1))
    next(running)
    os.kill(running.pid, signal.SIGSTOP)

    with pytest.raises(WorkerTimeoutError, match="gives no stack") as caught:
        next(running)
    assert caught.value.stack is None


def test_worker_that_took_the_signal_away_is_not_killed_by_the_question() -> None:
    def deaf() -> Iterator[int]:
        signal.signal(STACK_SIGNAL, signal.SIG_DFL)
        yield 1
        time.sleep(1.0)
        yield 2

    running = iter(MpQItr.options(start_method="fork", stall_warning=0.1)(deaf))

    assert list(running) == [1, 2]


def test_waiting_long_warns_where_the_worker_stands_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "splitdata"):
        assert list(MpQItr.options(start_method="fork", stall_warning=0.2)(slowly, 2, 0.7)) == [0, 1]

    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) >= 2
    assert all("has produced no batch for" in text and "in slowly" in text for text in texts)


def test_starting_worker_is_not_asked_for_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "splitdata"):
        assert list(MpQItr.options(stall_warning=0.001)(count, 2)) == [0, 1]

    assert any("still starting" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(("method", "how"), COMBINATIONS)
def test_close_ends_a_worker_that_hangs(method: StartMethod, how: str) -> None:
    running: Any = iter(MpQItr.options(start_method=method)(stuck, how, 1))
    next(running)
    # It has to stand there.
    time.sleep(0.05)
    running.close()

    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_generator_runs_its_finally_blocks_when_the_loop_is_left(tmp_path: Path) -> None:
    def careful(place: str, how: str) -> Iterator[int]:
        try:
            yield 0
            if how == "asleep":
                time.sleep(600)
            while True:
                yield 1
        finally:
            with open(place + how, "w") as file:  # noqa: PTH123 - travels by value
                file.write("cleaned")

    for how in ("asleep", "at a yield"):
        running: Any = iter(MpQItr.options(start_method="fork")(careful, str(tmp_path / "mark "), how))
        next(running)
        time.sleep(0.05)
        running.close()
        assert (tmp_path / f"mark {how}").read_text() == "cleaned"


def test_interrupted_wait_leaves_the_iterator_whole() -> None:
    class Rung(Exception):
        pass

    is_waiting = False

    def ring(number: int, frame: object) -> None:
        # On a busy machine it may ring late, when nobody waits any more.
        if is_waiting:
            raise Rung

    before = signal.signal(signal.SIGUSR2, ring)
    running: Any = iter(MpQItr.options(start_method="fork")(slowly, 6, 0.1))
    received: list[int] = []
    interruptions = 0
    try:
        while len(received) < 6:
            ringer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR2))
            ringer.start()
            try:
                is_waiting = True
                received.append(next(running))
                is_waiting = False
            except Rung:
                interruptions += 1
                # It may have rung between the iterator's return and our note of it.
                received += range(len(received), running.num_received)
            is_waiting = False
            ringer.join()
    finally:
        is_waiting = False
        signal.signal(signal.SIGUSR2, before)

    assert received == [0, 1, 2, 3, 4, 5]
    assert interruptions > 0


def test_waiting_consumer_uses_no_processor_time() -> None:
    running = iter(MpQItr.options(start_method="fork")(slowly, 1, 2.0))
    before = resource.getrusage(resource.RUSAGE_SELF)
    next(running)
    after = resource.getrusage(resource.RUSAGE_SELF)

    # Not a limit on speed: a poll every 50 ms would wake 40 times, waiting wakes for the pid, the hello and the batch.
    assert after.ru_nvcsw - before.ru_nvcsw < 20
