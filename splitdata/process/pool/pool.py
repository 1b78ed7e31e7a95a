"""WorkerPool: persistent workers that serve requests, so that several batches are in the making at once.

Each worker runs one generator function for its whole life. The consumer queues requests for it and takes its replies
in the order of the requests; of several workers it takes the first reply that is there.

    pool = ProcessPool(serve, args, options, num_workers=2)       process_pool.py; threads: thread_pool.py
    start    -->  each worker runs serve(worker_id, requests, *args)
    submit   -->  a request into the queue of one worker          remote_worker.py
    receive  <--  its reply: one for each request, in their order
    cancel        what was submitted and not received is forgotten on both sides

    def serve(worker_id, requests, *args):
        for request in requests:
            yield reply

A worker makes at most `options.max_batches` replies ahead of the consumer, in at most its share of
`options.max_bytes`, however many requests are queued. A worker that has failed by an exception keeps it until its
place in the order has come.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from splitdata.errors import ClosedError
from splitdata.process.consumer.lifetime import Lifetime
from splitdata.process.consumer.wait_timeout import WaitTimeout
from splitdata.process.pool.remote_worker import RemoteWorker
from splitdata.process.wire import messages
from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["WorkerPool"]

RequestType = TypeVar("RequestType")
ReplyType = TypeVar("ReplyType")


class WorkerPool(Lifetime, Generic[RequestType, ReplyType]):
    """Workers that stay, and serve requests: the base of ProcessPool and ThreadPool.

    What `serve` raises is raised by `receive` in the place of that reply, the worker's traceback as its cause. After a
    failure the pool is ended: its workers are told so, and every further call is ClosedError; `close` waits for them.

    Belongs to one thread at a time; a second one waits. `close` may be called from anywhere.

    Args:
        serve: Generator function, called once in each worker as `serve(worker_id, requests, *args)`. It
            yields one reply for each request that it takes from the iterator `requests`, in order, and
            returns when `requests` ends. `requests.upcoming()` lists what has arrived and was not taken yet.
        args: For `serve`.
        options: `max_batches` for each worker, `max_bytes` for all together.
        num_workers: How many.
        describe: Says what a request is, for messages about the worker that is at it. None: its repr.

    Raises:
        TypeError: An argument of a wrong type.
        ValueError: An argument out of range.
    """

    _kind = "pool"

    def __init__(
        self,
        serve: Callable[..., Iterator[ReplyType]],
        args: tuple[Any, ...],
        options: ChannelOptions,
        *,
        num_workers: int,
        describe: Callable[[RequestType], str] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(num_workers, bool) or not isinstance(num_workers, int):
            raise TypeError(f"num_workers must be an int, not {num_workers!r}")
        if num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, not {num_workers}")
        self._serve = serve
        self._args = args
        self._options = options
        self._num_workers = num_workers
        self._describe = describe
        self._timeout = WaitTimeout(options)
        self._numbers = itertools.count()
        self._turn = 0
        # An exception, as Ctrl-C raises one, leaves everything as it was.
        self._can_resume = False
        # Of running workers: none before `start`.
        self._remotes: Sequence[RemoteWorker] = ()

    @property
    def num_workers(self) -> int:
        """How many workers there are."""
        return self._num_workers

    def start(self) -> None:
        """Start all workers and return at once, while they are starting. Does nothing if they run.

        Raises:
            ClosedError: The pool was closed, or a failure has ended it.
            TypeError: Part of `serve` or of `args` cannot be sent to a process; none was started.
            OSError: No more processes or descriptors; none is left.
        """
        with self._lock:
            if self._workers is None and self._ended is None:
                self._start()
            elif not self.is_open:
                self._refuse()

    @abstractmethod
    def _start(self) -> None:
        """Start the workers, hold them, and set `_remotes`."""

    def submit(self, worker_id: int, *requests: RequestType) -> None:
        """Queue requests for one worker. Never waits, however many are queued.

        Several at once cost one system call, and wake the worker once.

        Args:
            worker_id: From 0 to num_workers - 1.
            requests: Pickled to processes: keep them small. Threads get the objects themselves.

        Raises:
            ClosedError: The pool has ended.
            ValueError: No such worker.
            Exception: What pickling a request raised; nothing was submitted then.
        """
        with self._lock:
            remote = self._remote(worker_id)
            packed = remote.pack(requests)
            self._run(remote.submit, self._numbers, requests, packed)

    def receive(self, worker_id: int) -> ReplyType:
        """Return the next reply of one worker, in the order of its requests; wait for it.

        Raises:
            ClosedError: The pool has ended.
            ValueError: The worker owes no reply, so none would ever come.
            WorkerCrashedError: A worker has died; this one or, while this one was waited for, another.
            WorkerTimeoutError: `options.timeout` is over.
            BaseException: What `serve` raised.
        """
        with self._lock:
            remote = self._remote(worker_id)
            if not remote.pending:
                raise ValueError(f"worker {worker_id} owes no reply: submit a request to it first")
            reply: ReplyType = self._run(self._receive, (worker_id,))[1]
            return reply

    def receive_any(self) -> tuple[int, ReplyType]:
        """Return the number of a worker that has a reply, and the reply; wait for the first.

        The replies of each worker come in the order of its requests. A failure comes when no other reply is there.

        Raises:
            ClosedError: The pool has ended.
            ValueError: No worker owes a reply.
            BaseException: As of `receive`.
        """
        with self._lock:
            if not self.is_open:
                self._refuse()
            wanted = tuple(number for number, remote in enumerate(self._remotes) if remote.pending)
            if not wanted:
                raise ValueError("no worker owes a reply: submit a request first")
            found: tuple[int, ReplyType] = self._run(self._receive, wanted)
            return found

    def has_reply(self, worker_id: int) -> bool:
        """Whether `receive` of this worker would return, or raise its failure, without waiting."""
        with self._lock:
            return bool(self._run(self._remote(worker_id).has_reply))

    def cancel(self) -> None:
        """Forget all requests that were submitted and not received, on both sides. Never waits.

        The workers stay and take new requests at once, but for one that a worker is just serving: it is
        finished first, and its reply dropped.
        """
        with self._lock:
            if not self.is_open:
                self._refuse()
            self._run(self._cancel)

    def _cancel(self) -> None:
        for remote in self._remotes:
            if remote.pending:
                remote.cancel()

    def num_pending(self, worker_id: int) -> int:
        """Return how many requests of a worker have neither been received nor cancelled."""
        self._check_number(worker_id)
        return len(self._remotes[worker_id].pending) if self._remotes else 0

    @property
    def is_open(self) -> bool:
        """Whether it was started in this process, and neither closed nor ended by a failure."""
        if self._is_running or self._ended is not None or self._is_inherited:
            return False
        return self._workers is not None and not self._workers.is_closed

    @property
    def bytes_out(self) -> int:
        """Shared memory in bytes under replies that were received and are still in use."""
        return 0

    def _check_number(self, worker_id: int) -> None:
        if not 0 <= worker_id < self._num_workers:
            raise ValueError(f"there is no worker {worker_id}: this pool has {self._num_workers}, from 0")

    def _remote(self, worker_id: int) -> RemoteWorker:
        """Return a worker that can be used now."""
        if 0 <= worker_id < len(self._remotes):
            remote = self._remotes[worker_id]
            if not (self._is_running or self._ended is not None or remote.handle.is_closed):
                return remote
        self._check_number(worker_id)
        self._refuse()

    def _run(self, step: Callable[..., Any], *args: Any) -> Any:
        """Do one step; an exception in it ends the pool, unless it came while nothing was half done."""
        self._is_running = True
        try:
            return step(*args)
        except BaseException as error:
            if self._can_resume:
                self._can_resume = False
            else:
                # The news must not wait for workers that are slow to end.
                self._end_soon(f"ended by {type(error).__name__}")
            raise
        finally:
            self._is_running = False

    def _receive(self, wanted: tuple[int, ...]) -> tuple[int, Any]:
        """Return the next reply of one of the wanted workers, and which it was."""
        worker_id = self._next_of(wanted)
        if worker_id is None:
            worker_id = self._await(wanted)
        remote = self._remotes[worker_id]
        reply = remote.take()
        remote.pending.popleft()
        return worker_id, reply

    def _next_of(self, wanted: tuple[int, ...]) -> int | None:
        """Return the first of the wanted workers that has a reply, else one that has failed, else None."""
        failed: int | None = None
        # Those behind the last one first, so that none is left waiting by the others.
        for worker_id in sorted(wanted, key=self._turn.__gt__) if len(wanted) > 1 else wanted:
            kind = self._remotes[worker_id].peek()
            if kind == messages.FAILURE:
                failed = worker_id
            elif kind is not None:
                self._turn = worker_id + 1
                return worker_id
        return failed

    def _await(self, wanted: tuple[int, ...]) -> int:
        """Wait until one of the wanted workers has a reply, or a failure."""
        remotes = [self._remotes[worker_id] for worker_id in wanted]
        ended: Sequence[int] = ()
        num_reads = -1
        while True:
            if self._is_closing:
                raise ClosedError("this pool was closed while a reply was waited for")
            self._refuse_crashes(wanted, ended)
            reads = sum(remote.num_reads for remote in remotes)
            if num_reads != reads:
                num_reads = reads
                self._timeout.begin()
            # The one that has been waited for longest.
            self._timeout.check(min(remotes, key=lambda remote: remote.pending[0][0]))
            ended = self._wait(wanted, self._timeout.patience())
            found = self._next_of(wanted)
            if found is not None:
                return found

    @abstractmethod
    def _wait(self, wanted: tuple[int, ...], patience: float | None) -> Sequence[int]:
        """Wait until something arrives, for at most so many seconds; return the workers that have ended."""

    def _refuse_crashes(self, wanted: tuple[int, ...], ended: Sequence[int]) -> None:
        """Raise if one of the workers that have ended did not tell why."""
        for worker_id in ended:
            if not self._remotes[worker_id].has_told_why():
                raise self._remotes[worker_id].crash()

    def _progress(self) -> str:
        return f"after {sum(remote.num_received for remote in self._remotes)} batches"
