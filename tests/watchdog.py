"""The watchdog: no test hangs, and none leaves a process behind.

    setup -> call -> teardown        each phase of a test has the limit; at the limit
                                       1. the stacks of all threads go to stderr
                                       2. processes that the test started are ended
                                       3. the test fails

The limit is an alarm signal, which interrupts waiting for a process, a pipe or a lock. Where
there is no such signal, or where the main thread runs no Python any more, the run is ended by
`faulthandler_timeout` in pyproject.toml.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

DEFAULT_SECONDS = 120.0
SOAK_SECONDS = 3600.0

# After the limit, one more alarm each time this has passed: a test may hang in its cleanup too.
REPEAT_SECONDS = 20.0

# For a process to write its stacks after SIGABRT, and for one that is ending anyway to be gone.
GRACE_SECONDS = 2.0

# Started by multiprocessing once in a program's life, and ended with it.
PERMANENT = "multiprocessing.resource_tracker"


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    is_zombie: bool
    command: str


def limit_of(item: pytest.Item) -> float:
    """Return the seconds that each phase of a test may take: its own, or those of its kind."""
    own = item.get_closest_marker("time_limit")
    if own is not None:
        return float(own.args[0])
    return SOAK_SECONDS if item.get_closest_marker("soak") is not None else DEFAULT_SECONDS


@contextmanager
def time_limit(seconds: float, *, spared: frozenset[int] | None = None) -> Iterator[None]:
    """Fail the block, and end the processes that it started, once it has taken `seconds`.

    Blocks nest: the inner limit holds until its block is left. For the main thread only.

    Args:
        spared: Ids of the processes that are not ended; by default those that run already.
    """
    if not hasattr(signal, "setitimer"):
        yield
        return
    known = running_ids() if spared is None else spared

    def ring(_signal: int, _frame: FrameType | None) -> NoReturn:
        faulthandler.dump_traceback(file=2, all_threads=True)
        ended = end_processes([process for process in descendants() if process.pid not in known])
        pytest.fail(f"still running after {seconds:g} s; the watchdog ended the processes {ended}")

    outer_handler = signal.signal(signal.SIGALRM, ring)
    started = time.monotonic()
    outer_delay, outer_interval = signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, outer_handler)
        if outer_delay:
            # A limit that has passed meanwhile must still ring: zero would turn it off.
            remaining = max(outer_delay - (time.monotonic() - started), 0.001)
            signal.setitimer(signal.ITIMER_REAL, remaining, outer_interval)


def running_ids() -> frozenset[int]:
    """Return the ids of all processes below this one."""
    return frozenset(process.pid for process in descendants())


def processes_left(known: frozenset[int]) -> list[Process]:
    """Return the live processes below this one that are not `known`, after a grace to end."""
    deadline = time.monotonic() + GRACE_SECONDS
    while True:
        left = [
            process
            for process in descendants()
            if process.pid not in known and not process.is_zombie and PERMANENT not in process.command
        ]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def end_processes(processes: list[Process]) -> list[int]:
    """End processes for good and return their ids; a Python with faulthandler shows its stacks."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGABRT)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and _alive(processes):
        time.sleep(0.02)
    for process in _alive(processes):
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return [process.pid for process in processes]


def descendants() -> list[Process]:
    """Return the processes that this one started, theirs, and so on, parents before children."""
    if os.name == "nt" or _has_no_child():
        return []
    if _lists_children():
        return _descendants_from_children()
    return _descendants_from_table(_table_from_proc() if _has_proc() else _table_from_ps())


def _lists_children() -> bool:
    return Path("/proc/thread-self/children").exists()


def _has_proc() -> bool:
    return Path("/proc/self/stat").exists()


def _descendants_from_children() -> list[Process]:
    # Three times for each of thousands of tests: ten times as fast as a look at all processes of the machine.
    found: list[Process] = []
    parents = [os.getpid()]
    while parents:
        children = [child for parent in parents for child in _children_of(parent)]
        found += [process for child in children if (process := _read_process(child)) is not None]
        parents = children
    return found


def _children_of(parent: int) -> list[int]:
    """Return the ids of a process's children, also of those that have ended and nobody waited for."""
    seen: set[int] | None = None
    while True:
        children: set[int] = set()
        # A process, or a thread, may end between the listing and the reading.
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                with suppress(OSError):
                    children.update(map(int, (thread / "children").read_text().split()))
        # Where one ends during a reading, the kernel may leave out another: two readings have to agree.
        if children == seen:
            return sorted(children)
        seen = children


def _descendants_from_table(table: list[Process]) -> list[Process]:
    found: list[Process] = []
    parents = {os.getpid()}
    while parents:
        level = [process for process in table if process.parent in parents]
        found += level
        parents = {process.pid for process in level}
    return found


def _has_no_child() -> bool:
    # Reading the whole process table around each of thousands of tests would cost more than the tests.
    if not hasattr(os, "waitid"):
        return False
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def _alive(processes: list[Process]) -> list[Process]:
    present = {process.pid for process in descendants() if not process.is_zombie}
    return [process for process in processes if process.pid in present]


def _table_from_proc() -> list[Process]:
    ids = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
    return [process for pid in ids if (process := _read_process(pid)) is not None]


def _read_process(pid: int) -> Process | None:
    # It may have ended.
    with suppress(OSError):
        # The name in parentheses may hold blanks and parentheses itself.
        state, parent = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return Process(pid, int(parent), state == "Z", command.strip())
    return None


def _table_from_ps() -> list[Process]:
    arguments = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "command="]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as ps:
        lines = ps.communicate()[0].splitlines()
    table = []
    for line in lines:
        pid, parent, state, *command = line.split(maxsplit=3)
        if int(pid) != ps.pid:
            table.append(Process(int(pid), int(parent), state.startswith("Z"), "".join(command)))
    return table
