"""The one place where a consumer waits: for bytes, for room to write, and for the end of any worker.

    worker 0   sentinel     always
               data pipe    if its batch is wanted
               note pipe    if it was full
    worker 1   ...
               all in one system call, without polling

What a worker sends that nobody waits for stays in its pipe and wakes nobody. Where a process has no
descriptor that tells its end (child_process.py), the end of its pipe does if its batch is wanted; of the others
it is asked twice a second.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from splitdata.process.wire.pipes import ConsumerPipes

if TYPE_CHECKING:
    from splitdata.process.consumer.worker_handle import WorkerHandle

__all__ = ["Selector", "selector_of"]

# How often the end of a process is asked for that has no other way to tell it.
_ASK_SECONDS = 0.5


class Selector(Protocol):
    """Waits for any of several workers, known by their places in a list. Belongs to one thread at a time."""

    def wait(self, wanted: tuple[int, ...], writing: tuple[int, ...], timeout: float | None) -> list[int]:
        """Wait for bytes from `wanted`, for room for the notes to `writing`, or for the end of any worker.

        Returns:
            The workers whose processes have ended; what they wrote before is in their pipes.
        """

    def forget(self, worker: int) -> None:
        """Do not report the end of this worker any more."""


def selector_of(handles: Sequence[WorkerHandle]) -> Selector:
    """Return the selector of these workers."""
    if sys.platform != "win32" and all(isinstance(handle.pipe, ConsumerPipes) for handle in handles):
        return _PollSelector(handles)
    return _ConnectionSelector(handles)


def _sentinels(handles: Sequence[WorkerHandle]) -> dict[int, int]:
    """Return the worker of every sentinel."""
    sentinels = [(handle.child.sentinel, number) for number, handle in enumerate(handles)]
    return {sentinel: number for sentinel, number in sentinels if sentinel is not None}


class _Blind:
    """The workers without sentinel, and how long one may wait without asking for them."""

    def __init__(self, handles: Sequence[WorkerHandle]) -> None:
        children = {number: handle.child for number, handle in enumerate(handles)}
        self._children = {number: child for number, child in children.items() if child.sentinel is None}

    def forget(self, worker: int) -> None:
        self._children.pop(worker, None)

    def patience(self, wanted: Sequence[int], timeout: float | None) -> float | None:
        if timeout is not None:
            timeout = max(0.0, timeout)
        if all(number in wanted for number in self._children):
            return timeout
        return _ASK_SECONDS if timeout is None else min(_ASK_SECONDS, timeout)

    def ended(self, wanted: Sequence[int]) -> list[int]:
        return [number for number, child in self._children.items() if number not in wanted and child.wait(0)]


class _PollSelector:
    """By poll. What is registered is kept for as long as the same is wanted."""

    def __init__(self, handles: Sequence[WorkerHandle]) -> None:
        self._handles = handles
        self._blind = _Blind(handles)
        self._sentinels = _sentinels(handles)
        self._poller = select.poll()
        self._registered: tuple[Sequence[int], Sequence[int]] | None = None

    def wait(self, wanted: tuple[int, ...], writing: tuple[int, ...], timeout: float | None) -> list[int]:
        """Wait."""
        if self._registered != (wanted, writing):
            self._register(wanted, writing)
        patience = self._blind.patience(wanted, timeout)
        ready = self._poller.poll(None if patience is None else patience * 1000)
        ended = [self._sentinels[descriptor] for descriptor, _ in ready if descriptor in self._sentinels]
        return ended or self._blind.ended(wanted)

    def _register(self, wanted: tuple[int, ...], writing: tuple[int, ...]) -> None:
        # All anew, so that a Ctrl-C in here leaves nothing half done.
        self._registered = None
        self._poller = select.poll()
        for sentinel in self._sentinels:
            self._poller.register(sentinel, select.POLLIN)
        for number in wanted:
            self._poller.register(self._handles[number].pipe.incoming, select.POLLIN)
        for number in writing:
            outgoing = self._handles[number].pipe.outgoing
            if outgoing is not None:
                self._poller.register(outgoing, select.POLLOUT)
        self._registered = wanted, writing

    def forget(self, worker: int) -> None:
        """Forget a worker."""
        self._blind.forget(worker)
        self._registered = None
        self._sentinels = {sentinel: number for sentinel, number in self._sentinels.items() if number != worker}


class _ConnectionSelector:
    """By what multiprocessing has for connections and process handles: on Windows, and in tests."""

    def __init__(self, handles: Sequence[WorkerHandle]) -> None:
        self._handles = handles
        self._blind = _Blind(handles)
        self._sentinels = _sentinels(handles)

    def wait(self, wanted: tuple[int, ...], writing: tuple[int, ...], timeout: float | None) -> list[int]:
        """Wait; `writing` is empty here."""
        from multiprocessing import connection

        waiting: list[Any] = [self._handles[number].pipe.incoming for number in wanted]
        ready = connection.wait([*waiting, *self._sentinels], self._blind.patience(wanted, timeout))
        ended = [number for sentinel, number in self._sentinels.items() if sentinel in ready]
        return ended or self._blind.ended(wanted)

    def forget(self, worker: int) -> None:
        """Forget a worker."""
        self._blind.forget(worker)
        self._sentinels = {sentinel: number for sentinel, number in self._sentinels.items() if number != worker}
