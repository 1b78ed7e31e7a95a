"""A process that does nothing but fork: workers start fast from it, and without the user's threads.

One server serves the whole process, or one for each number of threads that workers are given: numpy, which
the server imports, takes it once. It lives as long as someone holds it (every MpQItr that uses
forkserver does), and ends with the process that started it. It imports splitdata, never the user's code.

    consumer                        server                          worker
    ForkServer.start  --spawn-->    serve()
    start_worker      --request-->  fork ------------------------>  forked_main
       descriptors by SCM_RIGHTS    status pipe: pid
                                    SIGCHLD: end its group,
                                    status pipe: exit status, reap
"""

from __future__ import annotations

import _thread
import array
import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from typing import NoReturn

from splitdata._ownership import renew_after_fork
from splitdata.process.consumer.child_process import Child, ServedChild, read_pid
from splitdata.process.consumer.launch import (
    interpreter,
    interpreter_environment,
    interrupts_blocked,
    thread_environment,
)
from splitdata.process.wire.messages import COUNT
from splitdata.process.wire.signals import leave_to_program
from splitdata.process.worker.worker import WorkerEnds, forked_main

__all__ = ["ForkServer", "serve"]

_MAX_REQUEST = 65536
_MAX_DESCRIPTORS = 16
_INT_BYTES = array.array("i").itemsize


class ForkServer:
    """A running fork server. Held by all that may want workers from it; closed with its last holder."""

    def __init__(self, worker_threads: int | None) -> None:
        ours, theirs = socket.socketpair()
        command = interpreter(f"from splitdata.process.consumer.forkserver import serve; serve({theirs.fileno()})")
        try:
            with theirs, interrupts_blocked():
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                    env=interpreter_environment(thread_environment(worker_threads)),
                )
        except BaseException:
            ours.close()
            raise
        self._socket = ours
        self._finalizer = weakref.finalize(self, _stop_aside, ours, self._popen)
        self._finalizer.atexit = False
        self._lock = threading.Lock()
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        """A fork of this process that outlives it must not keep the server running."""
        self._lock = threading.Lock()
        self._finalizer.detach()
        self._socket.close()
        # Not ours to wait for.
        self._popen.returncode = 0

    @staticmethod
    def shared(worker_threads: int | None = 1) -> ForkServer:
        """Return this process's server for workers of so many threads; start one if there is none."""
        return _this_process.server(worker_threads)

    def stop(self) -> None:
        """End the server and wait for it; nothing where that was done."""
        if self._finalizer.detach() is not None:
            self._socket.close()
            _wait_for_end(self._popen)

    @property
    def is_running(self) -> bool:
        """Whether it runs, for this process."""
        return self._popen.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._popen.pid

    def start_worker(self, ends: WorkerEnds) -> Child:
        """Have a worker forked.

        Raises:
            OSError: The server could not fork, or has ended.
        """
        status, their_status = os.pipe()
        try:
            with self._lock:
                try:
                    numbers = array.array("i", [their_status, *ends.descriptors()])
                    message = json.dumps(ends).encode()
                    self._socket.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
                finally:
                    os.close(their_status)
                pid = read_pid(status)
            if not pid:
                raise OSError(f"the fork server (pid {self.pid}) could not fork a worker")
            return ServedChild(pid, status, self)
        except BaseException:
            os.close(status)
            raise


class _ThisProcess:
    """The servers that this process shares, by the threads of their workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: dict[int | None, weakref.ref[ForkServer]] = {}
        self._is_hooked = False

    def _after_fork_in_child(self) -> None:
        self._lock = threading.Lock()
        self._current = {}

    def server(self, worker_threads: int | None) -> ForkServer:
        if not self._is_hooked:
            self._is_hooked = True
            renew_after_fork(self)
            atexit.register(self._stop)
        with self._lock:
            reference = self._current.get(worker_threads)
            server = None if reference is None else reference()
            if server is None or not server.is_running:
                server = ForkServer(worker_threads)
                self._current[worker_threads] = weakref.ref(server)
            return server

    def _stop(self) -> None:
        for reference in list(self._current.values()):
            server = reference()
            if server is not None:
                server.stop()


_this_process = _ThisProcess()


def _stop_aside(connection: socket.socket, popen: subprocess.Popen[bytes]) -> None:
    """Stop a server from a finalizer, which must not wait: Python loses a Ctrl-C that arrives in one."""
    connection.close()
    try:
        _thread.start_new_thread(_wait_for_end, (popen,))
    except RuntimeError:
        # The interpreter is ending.
        _wait_for_end(popen)


def _wait_for_end(popen: subprocess.Popen[bytes]) -> None:
    try:
        popen.wait(1.0)
    except BaseException as error:
        popen.kill()
        popen.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def serve(descriptor: int) -> NoReturn:
    """Run the server until its owner closes the connection."""
    leave_to_program()
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    connection.settimeout(None)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    os.set_blocking(wake_read, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    statuses: dict[int, int] = {}
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    poller.register(wake_read, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poller.poll()}
        if wake_read in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake_read, 4096)
            _collect(statuses)
        if connection.fileno() in ready:
            message, descriptors = _receive(connection)
            if not message:
                os._exit(0)
            _fork(message, descriptors, statuses, (connection.fileno(), wake_read, wake_write))


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    room = socket.CMSG_SPACE(_MAX_DESCRIPTORS * _INT_BYTES)
    try:
        message, ancillary, _, _ = connection.recvmsg(_MAX_REQUEST, room)
    except OSError:
        return b"", []
    numbers = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % _INT_BYTES])
    return message, list(numbers)


def _fork(message: bytes, descriptors: list[int], statuses: dict[int, int], own: tuple[int, ...]) -> None:
    status, *passed = descriptors
    sent = WorkerEnds(*json.loads(message))
    # They have other numbers here: same order, new names.
    names = dict(zip(sent.descriptors(), passed, strict=True))
    handle = names[sent.arena_handle] if sent.arena_size and isinstance(sent.arena_handle, int) else sent.arena_handle
    ends = sent._replace(
        data=names[sent.data],
        notes=names.get(sent.notes, -1),
        lifeline=names[sent.lifeline],
        stack=names[sent.stack],
        arena_handle=handle,
    )
    pid = 0
    try:
        pid = os.fork()
    except OSError as error:
        sys.stderr.write(f"splitdata fork server: {error}\n")
    else:
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (*own, status, *statuses.values()):
                os.close(descriptor)
            forked_main(ends, None)
    for descriptor in passed:
        os.close(descriptor)
    with contextlib.suppress(OSError):
        os.write(status, COUNT.pack(pid))
    if pid:
        statuses[pid] = status
    else:
        os.close(status)


def _collect(statuses: dict[int, int]) -> None:
    """Report and reap every child that has ended."""
    while statuses:
        pid, code = 0, 0
        if hasattr(os, "waitid"):
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            pid = ended.si_pid if ended is not None else 0
        else:
            pid, code = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGTERM)
        if hasattr(os, "waitid"):
            _, code = os.waitpid(pid, 0)
        status = statuses.pop(pid, None)
        if status is not None:
            # A consumer that has ended does not want to know.
            with contextlib.suppress(OSError):
                os.write(status, COUNT.pack(code))
            os.close(status)
