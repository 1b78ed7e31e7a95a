"""The two ways to a worker process. Neither imports the user's `__main__`.

    spawn   a fresh interpreter that runs one line; it gets sys.path as a literal in that line
    fork    a copy of this process, on request only: threads and CUDA do not survive it

Each gives the worker exactly the descriptors in WorkerEnds and makes it the leader of its own group.
Callers hold interrupts back meanwhile: a process that exists must not be forgotten.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from splitdata.process.consumer.child_process import ChildProcess
from splitdata.process.wire.signals import OF_THE_PROGRAM
from splitdata.process.worker.worker import Call, WorkerEnds, forked_main

__all__ = [
    "fork_worker",
    "import_environment",
    "import_path",
    "interrupts_blocked",
    "parent_to_bind",
    "spawn_worker",
    "thread_environment",
]

# What the libraries that start threads of their own look at, once, when they are loaded.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_PATH_VARIABLE = "PYTHONPATH"


# Arms the lifeline before the library is imported, which takes a tenth of a second: worker_setup.py does the rest.
_LIFELINE_FIRST = (
    "import fcntl, os, select; "
    "fcntl.fcntl({0}, fcntl.F_SETOWN, os.getpid()); fcntl.fcntl({0}, fcntl.F_SETSIG, 9); "
    "fcntl.fcntl({0}, fcntl.F_SETFL, fcntl.FASYNC); "
    "poller = select.poll(); poller.register({0}, select.POLLIN); poller.poll(0) and os._exit(1); "
)


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Hold the program's signals back while a process exists that nobody has noted down yet.

    The mask is for the child, which inherits it until it can leave them to the program; it does not keep them
    from this process, whose other threads may receive them: here a handler keeps them for later.
    """
    arrived: list[int] = []
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
    before = None
    try:
        if threading.current_thread() is threading.main_thread():
            for number in map(int, OF_THE_PROGRAM):
                handler = signal.getsignal(number)
                if callable(handler):
                    handlers[number] = handler
                    signal.signal(number, lambda number, frame: arrived.append(number))
        if hasattr(signal, "pthread_sigmask"):
            before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_THE_PROGRAM)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _deliver(arrived, handlers)


def _deliver(arrived: Sequence[int], handlers: Mapping[int, Callable[[int, FrameType | None], Any]]) -> None:
    """Call the handler of each signal, also of those behind one whose handler raises."""
    if arrived:
        try:
            handlers[arrived[0]](arrived[0], None)
        finally:
            _deliver(arrived[1:], handlers)


def parent_to_bind() -> int:
    """Return the pid a direct child may bind its life to; 0 from other threads, whose end would count as ours."""
    return os.getpid() if threading.current_thread() is threading.main_thread() else 0


def thread_environment(worker_threads: int | None) -> dict[str, str]:
    """Return the variables that give the libraries of a worker so many threads; none for None."""
    return {} if worker_threads is None else dict.fromkeys(_THREAD_VARIABLES, str(worker_threads))


def _interpreter_environment(added: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with more variables, as a fresh interpreter may have it.

    Relative entries of PYTHONPATH are left out: they would count from our present folder, where data may lie, and
    not from where this program was started. Our own sys.path, which workers get, has them as they were meant.
    """
    environment = {**os.environ, **added}
    if _PATH_VARIABLE in environment:
        entries = environment[_PATH_VARIABLE].split(os.pathsep)
        environment[_PATH_VARIABLE] = os.pathsep.join(filter(os.path.isabs, entries))
    return environment


def import_environment() -> dict[str, str]:
    """Return the variables that `_interpreter_environment` may have changed, for the programs that a worker starts."""
    return {name: os.environ[name] for name in (_PATH_VARIABLE,) if name in os.environ}


def import_path() -> list[str]:
    """Return sys.path as this process means it: a worker stands in another folder while it starts."""
    path = []
    for entry in map(str, sys.path):
        # A relative entry that was imported from stays where it was then; the empty one is always the present folder.
        finder = sys.path_importer_cache.get(entry) if entry else None
        path.append(getattr(finder, "path", None) or str(Path(entry).absolute()))
    return path


def _interpreter(statement: str) -> list[str]:
    """Return the command line of a fresh interpreter with our sys.path that runs one statement.

    Raises:
        RuntimeError: This program has no interpreter that could be started again.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise RuntimeError("sys.executable is not a Python interpreter: use start_method='fork'")
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    path = ascii(import_path())
    return [sys.executable, *flags, "-c", f"import sys; sys.path[:] = {path}; {statement}"]


def spawn_worker(ends: WorkerEnds, environment: Mapping[str, str], *, use_sentinel: bool = True) -> ChildProcess:
    """Start a worker in a fresh interpreter, with variables added to ours."""
    statement = f"from splitdata.process.worker.worker import spawned_main; spawned_main(*{tuple(ends)})"
    if sys.platform == "linux" and ends.use_signals is not False:
        statement = _LIFELINE_FIRST.format(ends.lifeline) + statement
    command = _interpreter(statement)
    if sys.platform == "win32":
        popen = _popen_windows(command, ends, environment)
    else:
        popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=ends.descriptors(),
            process_group=0,
            close_fds=True,
            env=_interpreter_environment(environment),
        )
    return ChildProcess(popen.pid, popen, use_sentinel=use_sentinel)


def _popen_windows(command: list[str], ends: WorkerEnds, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start with exactly the handles of the worker inherited, and out of reach of Ctrl-C."""
    startup: Any = subprocess.STARTUPINFO(lpAttributeList={"handle_list": ends.descriptors()})  # type: ignore[attr-defined]
    for handle in ends.descriptors():
        os.set_handle_inheritable(handle, True)  # type: ignore[attr-defined]
    try:
        group: int = subprocess.CREATE_NEW_PROCESS_GROUP  # type: ignore[attr-defined]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            startupinfo=startup,
            creationflags=group,
            close_fds=True,
            env=_interpreter_environment(environment),
        )
    finally:
        for handle in ends.descriptors():
            os.set_handle_inheritable(handle, False)  # type: ignore[attr-defined]


def fork_worker(
    ends: WorkerEnds, call: Call, consumer_ends: Sequence[int], *, use_sentinel: bool = True
) -> ChildProcess:
    """Copy this process; the copy closes the consumer's ends, runs the worker and never returns."""
    for stream in (sys.stdout, sys.stderr):
        # The copy would print once more what is left in them. There may be none, or one that is closed or full.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
    pid = os.fork()
    if pid == 0:
        forked_main(ends, call, consumer_ends)
    with contextlib.suppress(OSError):
        # Both sides do it, so that neither has to wait for the other.
        os.setpgid(pid, pid)
    return ChildProcess(pid, None, use_sentinel=use_sentinel)
