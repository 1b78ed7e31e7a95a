"""WorkerPool: persistent workers, processes or threads, that serve requests.

    WorkerPool(serve, args, options, num_workers=2)
        start    -->  n workers, each runs serve(worker_id, requests, *args)     process_pool.py  thread_pool.py
        submit   -->  a request into the queue of one worker
        receive  <--  its reply: one for each request, in their order
        cancel        what was submitted and not received is forgotten on both sides

    def serve(worker_id, requests, *args):
        for request in requests:
            yield reply

A worker makes at most `options.max_batches` replies ahead of the consumer, in at most its share of
`options.max_bytes`, however many requests are queued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from splitdata.process.consumer.lifetime import Lifetime
from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["WorkerPool"]

# Requests and replies of any type; what makes up a crew.
Anything: TypeAlias = Any

RequestType = TypeVar("RequestType")
ReplyType = TypeVar("ReplyType")


class WorkerPool(Lifetime, Generic[RequestType, ReplyType]):
    """Workers that stay, and serve requests.

    Replies arrive as batches do from MpQItr: through shared memory, writable, valid for as long as
    someone holds them; from threads, as the objects that they are. What `serve` raises is raised by `receive`
    in the place of that reply, the worker's traceback as its cause. A process that dies is WorkerCrashedError
    within a second, whichever worker is waited for; replies that have arrived come first. After a failure the
    pool is ended: its workers are told so, and every further call is ClosedError; `close` waits for them.

    Belongs to one thread at a time; a second one waits. `close` may be called from anywhere.

    Args:
        serve: Generator function, called once in each worker as `serve(worker_id, requests, *args)`. It
            yields one reply for each request that it takes from the iterator `requests`, in order, and
            returns when `requests` ends. `requests.upcoming()` lists what has arrived and was not taken yet.
        args: For `serve`. They must pickle (cloudpickle), except to threads and with start_method="fork".
        options: `max_batches` for each worker, `max_bytes` for all together.
        num_workers: How many.
        kind: "process" or "thread". Threads are daemons and share what they are given.
        environments: For each worker, what is set in os.environ before anything of the caller's is unpickled
            there. Processes only.
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
        kind: Literal["process", "thread"] = "process",
        environments: Sequence[Mapping[str, str]] | None = None,
        describe: Callable[[RequestType], str] | None = None,
    ) -> None:
        super().__init__()
        _check(num_workers, kind, environments)
        self._serve = serve
        self._args = args
        self._options = options
        self._num_workers = num_workers
        self._environments = environments if environments is not None else [{}] * num_workers
        self._worker_kind = kind
        self._describe = describe
        self._crew: Any = None
        self._server: object | None = None

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
            if self._workers is not None or self._ended is not None:
                if not self._is_open():
                    self._refuse()
                return
            self._crew = self._make_crew()

    def _make_crew(self) -> Anything:
        if self._worker_kind == "thread":
            from splitdata.process.pool.thread_pool import ThreadBackend

            threads = ThreadBackend(self._serve, self._args, self._options, self._num_workers, self._describe)
            self._hold(threads)
            try:
                threads.start()
            except BaseException as error:
                self._end(f"ended by {type(error).__name__}")
                raise
            return threads
        from splitdata.process.consumer.launch import interrupts_blocked
        from splitdata.process.consumer.start import prepare_server, start_servers
        from splitdata.process.pool.process_pool import ProcessBackend

        # Held for as long as the workers may need it.
        self._server = prepare_server(self._options)
        with interrupts_blocked():
            receivers = start_servers(self._serve, self._args, self._options, self._environments)
            processes = ProcessBackend(receivers, self._options, self._describe)
            self._hold(processes)
        return processes

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
        self._check_worker(worker_id)
        with self._lock:
            self._check_open()
            packed = list(map(self._crew.pack, requests))
            self._run(self._crew.submit, worker_id, requests, packed)

    def receive(self, worker_id: int) -> ReplyType:
        """Return the next reply of one worker, in the order of its requests; wait for it.

        Raises:
            ClosedError: The pool has ended.
            ValueError: The worker owes no reply, so none would ever come.
            WorkerCrashedError: A worker has died; this one or, while this one was waited for, another.
            WorkerTimeoutError: `options.timeout` is over.
            BaseException: What `serve` raised.
        """
        self._check_worker(worker_id)
        with self._lock:
            self._check_open()
            if not self._crew.num_pending(worker_id):
                raise ValueError(f"worker {worker_id} owes no reply: submit a request to it first")
            reply: ReplyType = self._run(self._crew.receive, (worker_id,))[1]
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
            self._check_open()
            wanted = tuple(number for number in range(self._num_workers) if self._crew.num_pending(number))
            if not wanted:
                raise ValueError("no worker owes a reply: submit a request first")
            found: tuple[int, ReplyType] = self._run(self._crew.receive, wanted)
            return found

    def has_reply(self, worker_id: int) -> bool:
        """Whether `receive` of this worker would return, or raise its failure, without waiting."""
        self._check_worker(worker_id)
        with self._lock:
            self._check_open()
            return bool(self._run(self._crew.has_reply, worker_id))

    def cancel(self) -> None:
        """Forget all requests that were submitted and not received, on both sides. Never waits.

        The workers stay and take new requests at once, but for one that a worker is just serving: it is
        finished first, and its reply dropped.
        """
        with self._lock:
            self._check_open()
            self._run(self._crew.cancel)

    def num_pending(self, worker_id: int) -> int:
        """Return how many requests of a worker have neither been received nor cancelled."""
        self._check_worker(worker_id)
        return int(self._crew.num_pending(worker_id)) if self._crew is not None else 0

    def num_submitted(self, worker_id: int) -> int:
        """Return how many requests a worker got in all, cancelled ones counted."""
        self._check_worker(worker_id)
        return int(self._crew.num_submitted(worker_id)) if self._crew is not None else 0

    def num_received(self, worker_id: int) -> int:
        """Return how many replies of a worker were received."""
        self._check_worker(worker_id)
        return int(self._crew.num_received(worker_id)) if self._crew is not None else 0

    @property
    def is_open(self) -> bool:
        """Whether it was started in this process, and neither closed nor ended by a failure."""
        return self._is_open()

    @property
    def bytes_out(self) -> int:
        """Shared memory in bytes under replies that were received and are still in use."""
        return int(self._crew.bytes_out()) if self._crew is not None else 0

    def _check_worker(self, worker_id: int) -> None:
        if not 0 <= worker_id < self._num_workers:
            raise ValueError(f"there is no worker {worker_id}: this pool has {self._num_workers}, from 0")

    def _check_open(self) -> None:
        if not self._is_open():
            self._refuse()

    def _run(self, step: Callable[..., Any], *args: Anything) -> Anything:
        """Do one step; an exception in it ends the pool, unless it came while nothing was half done."""
        self._is_running = True
        try:
            return step(*args)
        except BaseException as error:
            if self._crew.is_waiting:
                self._crew.is_waiting = False
            else:
                # The news must not wait for workers that are slow to end.
                self._end_soon(f"ended by {type(error).__name__}")
            raise
        finally:
            self._is_running = False

    def _progress(self) -> str:
        total = sum(self.num_received(number) for number in range(self._num_workers))
        return f"after {total} batches"


def _check(num_workers: int, kind: str, environments: Sequence[Mapping[str, str]] | None) -> None:
    if isinstance(num_workers, bool) or not isinstance(num_workers, int):
        raise TypeError(f"num_workers must be an int, not {num_workers!r}")
    if num_workers < 1:
        raise ValueError(f"num_workers must be at least 1, not {num_workers}")
    if kind not in ("process", "thread"):
        raise ValueError(f"kind must be 'process' or 'thread', not {kind!r}")
    if environments is None:
        return
    if kind == "thread":
        raise ValueError("threads share one environment: environments needs kind='process'")
    if len(environments) != num_workers:
        raise ValueError(f"environments must be one for each of {num_workers} workers, not {len(environments)}")
    for environment in environments:
        for name, value in environment.items():
            if {type(name), type(value)} != {str}:
                raise TypeError(f"environments must be of strings, not {name!r}: {value!r}")
