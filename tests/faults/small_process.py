"""A task that is killed where its budget is spent, in a child of a small process.

A fork copies the page tables of the whole process. Those of pytest, which has collected thousands of tests and loaded
torch, take longer to copy than most tasks take to run; so a process forks that has loaded little more than the library.

    test ── task, budget ──> small process ── fork ──> task ── budget spent ── SIGKILL
         <── exit code, items, spent ──

A task that is not to be killed, as the first of a kind is to tell what it costs, runs in that process itself: what it
imports and fills is then there for the others, which take a third of the time less.

A test module that kills tasks names the fixture `small_process`, which lives as long as its tests.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeAlias

import cloudpickle
import pytest

from tests.command import ROOT
from tests.faults.file_faults import Budget, intercepted
from tests.holdings import collect_and_freeze

__all__ = ["Ending", "run_until_killed", "serve", "small_process"]

# Each item of it is something that was acknowledged. Whatever cloudpickle can carry.
Task: TypeAlias = Callable[[], Iterable[object]]

_connections: list[Connection[Any, Any]] = []


class Ending(NamedTuple):
    """How a task ended: its exit code, the items it gave, and what its operations cost, 0 if it was killed."""

    exit_code: int
    items: int
    spent: int


@pytest.fixture(scope="module")
def small_process() -> Iterator[None]:
    """Start the process, and end it behind the last test."""
    ours, theirs = Pipe()
    source = f"from tests.faults.small_process import serve; serve({theirs.fileno()})"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", source],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "cli")))},
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    _connections.append(ours)
    try:
        yield
    finally:
        _connections.remove(ours)
        ours.close()
        process.wait()


def run_until_killed(
    task: Task, budget: int | None, *, patch: Callable[[pytest.MonkeyPatch], None] = lambda patch: None
) -> Ending:
    """Run a task in a child, in which `patch` was applied before; None as the budget only counts."""
    (connection,) = _connections
    connection.send_bytes(cloudpickle.dumps((task, budget, patch)))
    ending: Ending = connection.recv()
    return ending


def serve(descriptor: int) -> None:
    """Fork for each request, until nobody is left who could make one."""
    with Connection(descriptor) as connection, suppress(EOFError):
        while True:
            # Here and not in the child, so that each module is imported once.
            task, budget, patch = pickle.loads(connection.recv_bytes())
            if budget is None:
                connection.send(_run_here(task, patch))
                # A collection of garbage in a child would write to each object, and so copy its page.
                collect_and_freeze()
            else:
                connection.send(_run_in_child(task, budget, patch))


def _run_here(task: Task, patch: Callable[[pytest.MonkeyPatch], None]) -> Ending:
    """Run a task to its end; one that fails ends as a child that failed."""
    counter, items = Budget(None), 0
    try:
        with pytest.MonkeyPatch.context() as changes:
            patch(changes)
            with intercepted(counter):
                for _ in task():
                    items += 1
    except BaseException:
        traceback.print_exc()
        return Ending(1, items, 0)
    return Ending(0, items, counter.spent)


def _run_in_child(task: Task, budget: int, patch: Callable[[pytest.MonkeyPatch], None]) -> Ending:
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            counter = Budget(budget)
            with pytest.MonkeyPatch.context() as changes:
                patch(changes)
                with intercepted(counter):
                    for _ in task():
                        os.write(sender, b".")
            os.write(sender, str(counter.spent).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(sender)
    with os.fdopen(receiver, "rb") as report:
        told = report.read()
    exit_code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ending(exit_code, told.count(b"."), int(told.lstrip(b".") or b"0"))
