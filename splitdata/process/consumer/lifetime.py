"""The life of what holds workers: one call at a time, an end that is final, `close` from anywhere.

    held ---- __next__, receive: one at a time, under the lock ----> failure   --.
      |                                                                          |-> every later call: ClosedError
      |------ close(): from any thread, signal handler or finalizer -----------'
      |------ collected: a thread closes
      `------ this process was forked: the workers belong to the parent

Channel (one worker) and WorkerPool (many) are subclasses.
"""

from __future__ import annotations

import _thread
import threading
import weakref
from abc import ABC, abstractmethod
from typing import Any, NoReturn, Protocol

from splitdata._ownership import Closeable, OwnerProcess, renew_after_fork
from splitdata.errors import ClosedError

__all__ = ["Lifetime", "OwnedWorkers"]


def _drop_aside(workers: OwnedWorkers) -> None:
    """Have a thread close; as little as possible is done here, because Python loses a Ctrl-C in a finalizer."""
    try:
        # Not threading.Thread: a finalizer may run while this thread holds that module's locks.
        _thread.start_new_thread(workers.drop, ())
    except RuntimeError:
        # The interpreter is ending.
        workers.drop()


class OwnedWorkers(Protocol):
    """A resource that is given back at the end; `splitdata.process.consumer.worker_handle.WorkerHandle` is one."""

    @property
    def is_closed(self) -> bool:
        """Whether it was given back."""

    def begin_close(self) -> None:
        """Tell the workers to end, without waiting."""

    def close(self) -> None:
        """End the workers and give everything back."""

    def kill(self) -> None:
        """Wake all that wait for a worker, now: `close` will follow."""

    def drop(self) -> None:
        """Close, in a thread of its own, after a failure or when the holder was collected."""


class Lifetime(Closeable, ABC):
    """Base of what holds workers. `close` is safe at any time, from any thread, more than once."""

    # In words, for messages.
    _kind = "iterator"

    def __init__(self) -> None:
        self._workers: OwnedWorkers | None = None
        self._ended: str | None = None
        self._is_closing = False
        self._is_running = False
        self._lock = threading.RLock()
        self._finalizer: weakref.finalize[..., Any] | None = None
        # The process that owns the workers: before there are any, each process may start its own.
        self._owner: OwnerProcess | None = None
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        # The thread that held the lock stayed behind, and nothing runs here.
        self._lock = threading.RLock()
        self._is_running = False
        if self._finalizer is not None:
            self._finalizer.detach()

    @property
    def _is_inherited(self) -> bool:
        return self._owner is not None and not self._owner.is_current

    def _hold(self, workers: OwnedWorkers) -> None:
        """Take ownership of these workers."""
        self._owner = OwnerProcess()
        self._workers = workers
        self._finalizer = weakref.finalize(self, _drop_aside, workers)
        # At exit the handles are closed together.
        self._finalizer.atexit = False

    def begin_close(self) -> None:
        """Tell the workers to end, without waiting for it; `close` does the rest."""
        if self._is_inherited:
            return
        if self._lock.acquire(blocking=False):
            try:
                if not self._is_running and self._ended is None:
                    self._ended = "closed"
                    if self._workers is not None:
                        self._workers.begin_close()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the workers and give everything back. Batches already handed out stay valid.

        May be called at any time, from any thread, more than once. In a forked child nothing is done: the workers
        are the parent's.
        """
        if self._is_inherited:
            return
        self._is_closing = True
        if not self._lock.acquire(timeout=0):
            # Another thread waits for a batch: the end of the worker wakes it.
            self._kill()
            self._lock.acquire()
        try:
            if self._is_running:
                # We are in a signal handler or finalizer on top of our own call, which will find out.
                self._kill()
            else:
                self._end("closed")
        finally:
            self._lock.release()

    def _kill(self) -> None:
        if self._workers is not None:
            self._workers.kill()

    def _end(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
        if self._workers is not None:
            self._workers.close()
        if self._finalizer is not None:
            self._finalizer.detach()

    def _end_soon(self, reason: str) -> None:
        """End without waiting: `close`, or the end of the program, waits for what is left of the workers."""
        if self._ended is None:
            self._ended = reason
        if self._workers is not None:
            _drop_aside(self._workers)

    def _refuse(self) -> NoReturn:
        """Say why a call is not possible now."""
        if self._owner is not None:
            self._owner.check("this %s", self._kind)
        if self._is_running:
            raise ValueError(f"this {self._kind} is already executing")
        if self._workers is None and self._ended is None:
            raise ValueError(f"this {self._kind} was not started: call start() first")
        raise ClosedError(f"this {self._kind} was {self._ended} {self._progress()}: start another one")

    @abstractmethod
    def _progress(self) -> str:
        """Say how far it had come."""
