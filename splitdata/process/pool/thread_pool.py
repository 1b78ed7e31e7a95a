"""ThreadPool: the workers of a pool as threads, for what lets go of the GIL, or must not be copied.

A reply is handed over as the object that it is. Every thread has queues of its own, and nothing is held while Python
code runs (deque, SimpleQueue and the bell are C code), so a thread that hangs or dies at any point stops nobody else.

    consumer                                     worker thread
    submit, taken, cancel, stop --notes------->  ThreadWorker: room in batches and bytes, requests   thread_worker.py
                                                 next(serve) --> reply
    receive <-- its deque of replies <---------- append
       ^------- bell <-------------------------- ring

What counts against `max_bytes` is an estimate of a reply's size (thread_worker.py).
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from splitdata._ownership import renew_after_fork
from splitdata.errors import WorkerCrashedError
from splitdata.process.pool.pool import ReplyType, RequestType, WorkerPool
from splitdata.process.pool.remote_worker import RemoteWorker
from splitdata.process.pool.thread_worker import STOP, Bell, ThreadWorker
from splitdata.process.wire import messages
from splitdata.process.wire.memory_budget import memory_budget

__all__ = ["ThreadPool"]

_log = logging.getLogger("splitdata")

# How long threads may take to end.
_STOP_GRACE = 1.0

# Those that were not told to end.
_live: dict[int, ThreadGroup] = {}
_hooks_set = False


class RemoteThread(RemoteWorker):
    """One worker thread: its replies, and what is expected of it."""

    handle: ThreadGroup
    pid = None
    is_ready = True
    num_reads = 0

    def __init__(
        self,
        handle: ThreadGroup,
        worker_id: int,
        worker: ThreadWorker,
        thread: threading.Thread,
        describe: Callable[[Any], str] | None,
    ) -> None:
        self.handle = handle
        self.name = _name_of(worker_id, thread)
        self.worker_id = worker_id
        self.num_received = 0
        self._worker = worker
        self._thread = thread
        self._expect(describe)

    def stack(self) -> str | None:
        """Return where it stands."""
        return _stack_of(self._thread)

    def peek(self) -> int | None:
        """Return ITEM, FAILURE or None."""
        replies = self._worker.replies
        while replies:
            first = replies[0]
            if first.num_cancels == self._num_cancels:
                self._confirmed(self._num_cancels)
                return first.kind
            if first.kind == messages.FAILURE:
                return first.kind
            replies.popleft()
            self._dropped_one()
            self._worker.tell(messages.TAKEN)
        return None

    def take(self) -> Any:
        """Return the reply that is there."""
        reply = self._worker.replies.popleft()
        if reply.kind == messages.FAILURE:
            try:
                self._fail(reply.content)
            finally:
                # The error knows this frame, and the frame would know it.
                del reply
        self._worker.tell(messages.TAKEN)
        self.num_received += 1
        return reply.content

    def _fail(self, error: BaseException) -> NoReturn:
        # `type` and not `isinstance`: an object may lie about its class.
        try:
            if issubclass(type(error), SystemExit):
                raise self.crash("called sys.exit") from error
            if issubclass(type(error), StopIteration):
                # From a receive within a generator it would look like the end of that (PEP 479 has the same rule).
                raise RuntimeError(f"worker {self.name} raised StopIteration") from error
            raise error
        finally:
            del error

    def has_reply(self) -> bool:
        """Whether nothing needs to be waited for."""
        return self.peek() is not None or self._worker.has_ended

    def has_ended(self) -> bool:
        """Whether nothing more can come from it."""
        return self._worker.has_ended

    def has_told_why(self) -> bool:
        """Whether it left a failure."""
        replies = self._worker.replies
        return bool(replies) and replies[-1].kind == messages.FAILURE

    def crash(self, what: str = "ended before it had finished") -> WorkerCrashedError:
        """Return the error for a thread that has ended without having raised an ordinary exception."""
        return WorkerCrashedError(
            f"worker {self.name} {what}, {self.progress()}",
            worker_id=self.worker_id,
            items_received=self.num_received,
        )

    def pack(self, requests: Sequence[Any]) -> Sequence[Any]:
        """Return the objects themselves."""
        return requests

    def _send(self, packed: Sequence[Any]) -> None:
        for request in packed:
            self._worker.tell(messages.REQUEST, request)

    def _send_cancel(self) -> None:
        self._worker.tell(messages.CANCEL)
        # Drops what is there.
        self.peek()


class ThreadGroup:
    """The threads of one pool, ended together. Whoever holds it starts them: from then on none can be forgotten.

    Attributes:
        is_closed: Whether they were told to end, or stayed behind in the process that forked this one.
    """

    def __init__(self, bell: Bell) -> None:
        self.bell = bell
        self.is_closed = False
        # Not what their consumer sees, which holds this.
        self._members: Sequence[tuple[threading.Thread, ThreadWorker]] = ()
        _set_hooks()
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        self.is_closed = True
        self._members = ()
        _live.pop(id(self), None)

    def start(self, members: Sequence[tuple[threading.Thread, ThreadWorker]]) -> None:
        """Start these threads.

        Raises:
            RuntimeError: No more threads; those that run are to be closed.
        """
        self._members = members
        _live[id(self)] = self
        for thread, _ in members:
            thread.start()

    def begin_close(self) -> None:
        """Tell all threads to end, without waiting."""
        if not self.is_closed:
            for _, worker in self._members:
                worker.tell(STOP)
            # Only now: after Ctrl-C on the way the threads are still there to be ended.
            self.is_closed = True
            _live.pop(id(self), None)

    def close(self) -> None:
        """End all threads; warn of those that do not, once, and leave them alone."""
        self.begin_close()
        threads, self._members = [thread for thread, _ in self._members], ()
        deadline = time.monotonic() + _STOP_GRACE
        for thread in threads:
            if thread is not threading.current_thread() and thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [number for number, thread in enumerate(threads) if thread.is_alive()]
        if stuck:
            _log.warning(
                "%d of %d worker threads do not end; they are left behind, until they return or the program ends. "
                "Worker %s stands at:\n%s",
                len(stuck),
                len(threads),
                _name_of(stuck[0], threads[stuck[0]]),
                _stack_of(threads[stuck[0]]),
            )

    def kill(self) -> None:
        """Wake whoever waits in `receive`."""
        self.bell.ring()

    def drop(self) -> None:
        """Tell the threads to end, and do not wait for them: nobody holds them any more, or one has failed."""
        self.begin_close()


class ThreadPool(WorkerPool[RequestType, ReplyType]):
    """Threads that stay, and serve requests. They are daemons, and share what they are given."""

    _remotes: Sequence[RemoteThread]

    def _start(self) -> None:
        self._bell = Bell()
        group = ThreadGroup(self._bell)
        share = max(1, (self._options.max_bytes or memory_budget()) // self._num_workers)
        remotes, members = [], []
        for worker_id in range(self._num_workers):
            worker = ThreadWorker(self._bell, self._options.max_batches, share)
            thread = threading.Thread(
                target=worker.run,
                args=(self._serve, worker_id, self._args),
                name=f"splitdata-worker-{worker_id}",
                daemon=True,
            )
            members.append((thread, worker))
            remotes.append(RemoteThread(group, worker_id, worker, thread, self._describe))
        self._remotes = remotes
        self._hold(group)
        try:
            group.start(members)
        except BaseException as error:
            self._end(f"ended by {type(error).__name__}")
            raise

    def _wait(self, wanted: tuple[int, ...], patience: float | None) -> Sequence[int]:
        self._can_resume = True
        self._bell.wait(patience)
        self._can_resume = False
        return [number for number, remote in enumerate(self._remotes) if remote.has_ended()]


def _name_of(worker_id: int, thread: threading.Thread) -> str:
    return f"{worker_id} (thread {thread.name})"


def _stack_of(thread: threading.Thread) -> str | None:
    frame = sys._current_frames().get(thread.ident or 0)
    return None if frame is None else "".join(traceback.format_stack(frame))


def _close_all() -> None:
    groups = [group for group in list(_live.values()) if not group.is_closed]
    for group in groups:
        group.begin_close()
    for group in groups:
        group.close()


def _set_hooks() -> None:
    """Once per process: at exit threads get the chance to run their `finally` blocks."""
    global _hooks_set
    if not _hooks_set:
        _hooks_set = True
        atexit.register(_close_all)
