"""From the start of workers to their end: one call at a time, an end that is final, close from anywhere.

    held ---- __next__, receive: one at a time, under the lock ----> failure   --.
      |                                                                          |-> every later call: ClosedError
      |------ close(): from any thread, signal handler or finalizer -----------'
      |------ collected: a thread closes
      `------ this process was forked: the workers belong to the parent

Channel (one worker) and WorkerPool (many) stand on it.
"""

from __future__ import annotations

import _thread
import os
import threading
import weakref
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

from splitdata.errors import ClosedError

__all__ = ["Lifetime", "Workers"]


# No WeakSet: what it does when a member is collected is Python code, in which a Ctrl-C would be lost.
_held: dict[int, weakref.ref[Lifetime]] = {}
_hooks_set = False


def _renew_locks() -> None:
    """In a forked child: the thread that held a lock stayed behind, and nothing runs here."""
    for lifetime in [reference() for reference in list(_held.values())]:
        if lifetime is not None:
            lifetime._lock = threading.RLock()
            lifetime._is_running = False


def _set_hooks() -> None:
    """Once per process, when the first worker is held: importing the library sets none."""
    global _hooks_set
    if not _hooks_set:
        _hooks_set = True
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_renew_locks)


def _note_down(lifetime: Lifetime) -> None:
    for key, reference in list(_held.items()):
        if reference() is None:
            _held.pop(key, None)
    _held[id(lifetime)] = weakref.ref(lifetime)


def _drop_aside(workers: Workers) -> None:
    """Have a thread close; as little as possible is done here, because Python loses a Ctrl-C in a finalizer."""
    try:
        # Not threading.Thread: a finalizer may run while this thread holds that module's locks.
        _thread.start_new_thread(workers.drop, ())
    except RuntimeError:
        # The interpreter is ending.
        workers.drop()


class Workers(Protocol):
    """What is given back at the end; `splitdata.process.handle.WorkerHandle` is one."""

    @property
    def is_closed(self) -> bool:
        """Whether it was given back, or belongs to the process that forked this one."""

    def begin_close(self) -> None:
        """Tell the workers to end, without waiting."""

    def close(self) -> None:
        """End the workers and give everything back."""

    def kill(self) -> None:
        """Wake whoever waits for a worker, now: `close` will follow."""

    def drop(self) -> None:
        """Close, in a thread of its own, after a failure or when the holder was collected."""


class Lifetime:
    """Base of what holds workers. `close` is safe at any time, from any thread, more than once."""

    # In words, for messages.
    _kind = "iterator"

    def __init__(self) -> None:
        self._workers: Workers | None = None
        self._ended: str | None = None
        self._is_closing = False
        self._is_running = False
        self._lock = threading.RLock()
        self._finalizer: weakref.finalize[..., Any] | None = None

    def _hold(self, workers: Workers) -> None:
        """Be answerable for these workers from now on."""
        _set_hooks()
        _note_down(self)
        self._workers = workers
        self._finalizer = weakref.finalize(self, _drop_aside, workers)
        # At exit the handles are closed together.
        self._finalizer.atexit = False

    def begin_close(self) -> None:
        """Tell the workers to end, without waiting for it; `close` does the rest."""
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

        May be called at any time, from any thread, more than once.
        """
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

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
        """End without waiting: whoever closes, or the end of the program, waits for what is left of the workers."""
        if self._ended is None:
            self._ended = reason
        if self._workers is not None:
            _drop_aside(self._workers)

    def _is_open(self) -> bool:
        return not (self._is_running or self._ended is not None or self._workers is None or self._workers.is_closed)

    def _refuse(self) -> NoReturn:
        """Say why a call is not possible now."""
        if self._is_running:
            raise ValueError(f"this {self._kind} is already executing")
        if self._workers is None and self._ended is None:
            raise ValueError(f"this {self._kind} was not started: call start() first")
        if self._ended is None:
            raise ClosedError(f"this {self._kind} belongs to the process that forked this one: start another one here")
        raise ClosedError(f"this {self._kind} was {self._ended} {self._progress()}: start another one")

    def _progress(self) -> str:
        """Say how far it had come."""
        raise NotImplementedError
