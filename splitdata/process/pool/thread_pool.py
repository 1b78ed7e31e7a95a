"""The threads of a pool: the same requests, bounds and ends as for processes, and no copies.

Every thread has queues of its own. Nothing here is held while Python code runs: deque, SimpleQueue and the
bell are C code, so a thread that hangs or dies at any point stops nobody else. A reply is handed over as the
object that it is; what counts against `max_bytes` is an estimate of its size (object_sizes.py).

    consumer                                     worker thread
    submit, taken, cancel, stop --notes------->  ThreadWorker: room in batches and bytes, requests      thread_worker.py
                                                 next(serve) --> reply
    receive <-- its deque of replies <---------- append
       ^------- bell <-------------------------- ring
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeAlias

from splitdata._ownership import OwnerProcess
from splitdata.errors import ClosedError, WorkerCrashedError
from splitdata.process.pool.pending_requests import PendingRequests
from splitdata.process.pool.pool_base import PoolBackend
from splitdata.process.pool.thread_worker import STOP, Bell, ThreadWorker
from splitdata.process.wire import messages
from splitdata.process.wire.channel_options import ChannelOptions
from splitdata.process.wire.memory_budget import memory_budget

__all__ = ["ThreadBackend"]

# Requests and replies: their types are the user's.
Anything: TypeAlias = Any

_log = logging.getLogger("splitdata")

# How long threads may take to end.
_STOP_GRACE = 1.0

# Crews that were not told to end.
_live: dict[int, ThreadBackend] = {}
_hooks_set = False


class _ServingThread:
    """One worker thread, as its consumer sees it."""

    pid: int | None = None
    is_ready = True

    def __init__(
        self, worker_id: int, desk: ThreadWorker, thread: threading.Thread, backlog: PendingRequests[Any]
    ) -> None:
        self.name = f"{worker_id} (thread {thread.name})"
        self.worker_id: int | None = worker_id
        self.backlog = backlog
        self.num_received = 0
        self.thread = thread
        self._desk = desk
        self._generation = 0

    def progress(self) -> str:
        """Say how far it has come and what it is at."""
        return f"after {self.num_received} batches{self.backlog.current()}"

    def stack(self) -> str | None:
        """Return where it stands."""
        frame = sys._current_frames().get(self.thread.ident or 0)
        return None if frame is None else "".join(traceback.format_stack(frame))

    def peek(self) -> int | None:
        """Return ITEM, FAILURE or None."""
        replies = self._desk.replies
        while replies:
            first = replies[0]
            if first.generation == self._generation:
                self.backlog.confirm(self._generation)
                return first.kind
            if first.kind == messages.FAILURE:
                return first.kind
            replies.popleft()
            self.backlog.settle_cancelled()
            self.send(messages.TAKEN)
        return None

    def take(self) -> Anything:
        """Return the reply that is there."""
        reply = self._desk.replies.popleft()
        if reply.kind == messages.FAILURE:
            try:
                self._fail(reply.content)
            finally:
                # The error knows this frame, and the frame would know it.
                del reply
        self.send(messages.TAKEN)
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

    def has_told_why(self) -> bool:
        """Whether a thread that has ended left a failure; it stays for its place in the order."""
        replies = self._desk.replies
        return bool(replies) and replies[-1].kind == messages.FAILURE

    def crash(self, what: str) -> WorkerCrashedError:
        """Return the error for a thread that has ended without having raised an ordinary exception."""
        return WorkerCrashedError(
            f"worker {self.name} {what}, {self.progress()}",
            worker_id=self.worker_id,
            items_received=self.num_received,
        )

    def has_ended(self) -> bool:
        """Whether the thread has ended."""
        return self._desk.has_ended

    def submit(self, packed: Sequence[Anything]) -> None:
        """Send requests."""
        for request in packed:
            self.send(messages.REQUEST, request)

    def cancel(self) -> None:
        """Forget all requests, here and there."""
        self._generation += 1
        self.backlog.cancel(self._generation)
        self.send(messages.CANCEL)
        # Drops what is there.
        self.peek()

    def send(self, kind: int, content: Anything = None) -> None:
        """Send a note; safe in finalizers and signal handlers."""
        self._desk.notes.put((kind, content))


class ThreadBackend(PoolBackend[_ServingThread]):
    """Threads that serve requests. Their owner starts them: from then on nothing can be forgotten."""

    def __init__(
        self,
        serve: Callable[..., Iterator[Any]],
        args: tuple[Any, ...],
        options: ChannelOptions,
        num_workers: int,
        describe: Callable[[Any], str] | None,
    ) -> None:
        self._bell = Bell()
        self._owner = OwnerProcess()
        self._is_ended = False
        self._is_killed = False
        share = max(1, (options.max_bytes or memory_budget()) // num_workers)
        servers = []
        for worker_id in range(num_workers):
            desk = ThreadWorker(self._bell, options.max_batches, share)
            thread = threading.Thread(
                target=desk.run, args=(serve, worker_id, args), name=f"splitdata-worker-{worker_id}", daemon=True
            )
            servers.append(_ServingThread(worker_id, desk, thread, PendingRequests(describe)))
        super().__init__(servers, options)
        self._waited_for = servers
        _set_hooks()
        _live[id(self)] = self

    def start(self) -> None:
        """Start the threads.

        Raises:
            RuntimeError: No more threads; those that run are to be closed.
        """
        for server in self._servers:
            server.thread.start()

    @property
    def is_closed(self) -> bool:
        """Whether the threads were told to end, or stayed behind in the process that forked this one."""
        return self._is_ended or not self._owner.is_current

    def bytes_out(self) -> int:
        """Return 0: there is no shared memory."""
        return 0

    def _await(self, wanted: tuple[int, ...]) -> tuple[int, Anything]:
        self._stall.begin()
        while True:
            if self._is_killed:
                raise ClosedError("this pool was closed while a reply was waited for")
            self._stall.check(self._oldest(wanted))
            self.is_waiting = True
            self._bell.wait(self._stall.patience())
            self.is_waiting = False
            dead = [server for server in self._servers if server.has_ended()]
            found = self._take(wanted)
            if found is not None:
                return found
            for server in dead:
                if not server.has_told_why() and not self._is_killed:
                    raise server.crash("ended before it had finished")

    def begin_close(self) -> None:
        """Tell all threads to end, without waiting."""
        if not self.is_closed:
            self._is_ended = True
            _live.pop(id(self), None)
            for server in self._servers:
                server.send(STOP)

    def close(self) -> None:
        """End all threads; warn of those that do not, once, and leave them alone."""
        self.begin_close()
        if not self._owner.is_current:
            return
        waited_for, self._waited_for = self._waited_for, []
        deadline = time.monotonic() + _STOP_GRACE
        for server in waited_for:
            if server.thread is not threading.current_thread() and server.thread.ident is not None:
                server.thread.join(max(0.0, deadline - time.monotonic()))
        stuck = [server for server in waited_for if server.thread.is_alive()]
        if stuck:
            _log.warning(
                "%d of %d worker threads do not end; they are left behind, until they return or the program ends. "
                "Worker %s stands at:\n%s",
                len(stuck),
                len(waited_for),
                stuck[0].name,
                stuck[0].stack(),
            )

    def kill(self) -> None:
        """Wake a consumer that waits in `receive`."""
        self._is_killed = True
        self._bell.ring()

    def drop(self) -> None:
        """Tell the threads to end, and do not wait for them: nobody holds them any more, or one has failed."""
        self.begin_close()


def _close_all() -> None:
    crews = [crew for crew in list(_live.values()) if not crew.is_closed]
    for crew in crews:
        crew.begin_close()
    for crew in crews:
        crew.close()


def _set_hooks() -> None:
    """Once per process: at exit threads get the chance to run their `finally` blocks."""
    global _hooks_set
    if not _hooks_set:
        _hooks_set = True
        atexit.register(_close_all)
