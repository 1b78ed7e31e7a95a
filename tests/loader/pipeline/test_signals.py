"""Signals that a scheduler sends to every process of a job: the program decides, its workers go on.

scancel, preemption ── SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 ──> program: its handler, or its end
                                                         ──> workers: nothing
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import WorkerOptions
from splitdata.process.consumer.launch import interrupts_blocked
from splitdata.process.consumer.start import start_worker
from splitdata.process.mpqitr import MpQItr
from splitdata.process.wire.channel_options import ChannelOptions, StartMethod
from splitdata.process.wire.signals import OF_THE_PROGRAM
from tests.command import ROOT
from tests.loader.workloads import Numbers
from tests.process.family import environment, members, new_mark, seconds_until_gone
from tests.process.generators import count, stuck
from tests.watchdog import descendants, running_ids

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals are another thing there"),
    pytest.mark.usefixtures("leaves_nothing_behind"),
]

METHODS: list[StartMethod] = ["spawn", "fork"]
SIGNALS = sorted(OF_THE_PROGRAM)


def make(kind: str, method: StartMethod) -> Iterable[Any]:
    """Return something that yields the numbers to 39, from a worker process."""
    if kind == "MpQItr":
        return MpQItr.options(start_method=method)(count, 40)
    return DistributedLoader(Numbers(40), collate_fn=sum, num_workers=1, workers=WorkerOptions(start_method=method))


def send(number: int, pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@pytest.mark.parametrize("kind", ["MpQItr", "DistributedLoader"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", SIGNALS, ids=[number.name for number in SIGNALS])
def test_signal_to_the_whole_job_reaches_the_program_and_leaves_its_workers_at_work(
    number: signal.Signals, method: StartMethod, kind: str
) -> None:
    heard: list[int] = []
    known = running_ids()

    def workers() -> set[int]:
        return {process.pid for process in descendants()} - known

    before = signal.signal(number, lambda signal_number, frame: heard.append(signal_number))
    try:
        running: Any = iter(make(kind, method))
        # They are starting, and then at work.
        starting = workers()
        send(number, [*starting, os.getpid()])
        received = [next(running)]
        working = workers()
        send(number, [*working, os.getpid()])
        received += running
    finally:
        signal.signal(number, before)
        with suppress(AttributeError):
            running.close()

    assert received == list(range(40))
    assert heard == [number, number]
    assert starting
    assert working >= starting


PROGRAM = f"""
import sys; sys.path[:0] = [{str(ROOT)!r}]
from splitdata import DistributedLoader, WorkerOptions
from tests.loader.workloads import Numbers
way = WorkerOptions(start_method=sys.argv[1])
loader = DistributedLoader(Numbers(10**6), batch_size=8, num_workers=2, workers=way)
for number, _ in enumerate(loader):
    if number == 4:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("method", METHODS)
def test_program_without_a_handler_ends_as_usual_and_leaves_nothing(method: StartMethod) -> None:
    numbers = [signal.SIGTERM, signal.SIGUSR1]
    marks = {number: new_mark() for number in numbers}
    programs = {
        number: subprocess.Popen(
            [sys.executable, "-c", PROGRAM, method], env=environment(mark), cwd=ROOT, stdout=subprocess.PIPE
        )
        for number, mark in marks.items()
    }
    for number, program in programs.items():
        assert program.stdout is not None
        with program.stdout as output:
            assert output.readline() == b"ready\n"
            family = members(marks[number])
            send(number, family)
            program.wait()
        assert len(family) >= 3
        assert program.returncode == -number
        assert seconds_until_gone(marks[number], 20.0) < 20.0, members(marks[number])


@pytest.mark.parametrize("use_signals", [None, False], ids=["by signal", "by the thread that listens"])
@pytest.mark.parametrize("how", ["sleep", "busy"])
def test_generator_that_is_stuck_unwinds_when_it_is_closed(how: str, use_signals: bool | None, tmp_path: Path) -> None:
    def marks_its_end(path: str) -> Iterator[int]:
        try:
            yield from stuck(how, 1)
        finally:
            Path(path).write_text("unwound")

    options = ChannelOptions(start_method="fork", use_signals=use_signals)
    running = start_worker(marks_its_end, (str(tmp_path / "end"),), {}, options)
    assert next(running) == 0
    # So that it is stuck in what it does.
    time.sleep(0.1)
    running.close()

    assert (tmp_path / "end").read_text() == "unwound"


def hear_both_while_blocked() -> None:
    """As another thread receives what this one has blocked."""
    with interrupts_blocked():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            assert callable(handler)
            handler(number, None)


def test_signals_that_arrive_while_a_worker_starts_are_all_delivered_although_one_handler_raises() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with pytest.raises(KeyboardInterrupt):
            hear_both_while_blocked()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == [signal.SIGTERM]
