"""Executors compute the steps: in this process or by a pool, in order or as they become ready.

The stream of steps asks an Executor and need not know which it is.

    ask(request), ask(request), ...  ──>  InProcess   makes each when it is taken
                                          InOrder     request k to worker k mod n, replies in the order asked
                                          AnyOrder    to the worker with least to do, replies as they come
    receive() ──> (worker_id, reply)
    forget()      everything asked for and not received
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from splitdata.errors import ClosedError
from splitdata.loader.pipeline.worker_job import StepMaker
from splitdata.loader.plan.steps import StepReply, StepRequest

if TYPE_CHECKING:
    from splitdata.loader.pipeline.worker_job import Job
    from splitdata.process.pool.pool import WorkerPool

__all__ = ["AnyOrder", "Executor", "InOrder", "InProcess"]


class Executor(Protocol):
    """Computes steps. Belongs to one thread."""

    def ask(self, *requests: StepRequest) -> None:
        """Ask for steps; returns at once. Several together cost less than one by one."""

    @property
    def have_ended(self) -> bool:
        """Whether a failure, or an interrupt in an unlucky moment, has ended them: others are needed."""

    def receive(self) -> tuple[int, StepReply]:
        """Return the next reply and the number of its worker.

        Raises:
            Exception: What the dataset, the transform or the collate function raised; errors of the pool.
        """

    def next_is_ready(self) -> bool:
        """Tell whether `receive` would return without waiting or working."""

    def num_ready(self) -> int:
        """Return how many workers have a reply waiting."""

    def memory_bytes(self) -> int:
        """Return the bytes of batches that wait here or are in the user's hands, in memory shared with workers."""

    def forget(self) -> None:
        """Drop everything that was asked for and not received."""

    def close(self) -> None:
        """End."""


class InProcess:
    """Makes each step in this thread, when it is taken."""

    def __init__(self, job: Job) -> None:
        if job.init_fn is not None:
            job.init_fn(0)
        self._maker = StepMaker(job, 0)
        self._asked: deque[StepRequest] = deque()

    def ask(self, *requests: StepRequest) -> None:
        """Put them behind the others."""
        self._asked += requests

    @property
    def have_ended(self) -> bool:
        """Never."""
        return False

    def receive(self) -> tuple[int, StepReply]:
        """Make the step that was asked for first."""
        request = self._asked[0]
        self._maker.read_ahead(list(self._asked))
        reply = self._maker.make(request, is_last=len(self._asked) == 1)
        # Only now: after an error or Ctrl-C the step is still there to be asked for.
        self._asked.popleft()
        return 0, reply

    def next_is_ready(self) -> bool:
        """Never: it is made when it is taken."""
        return False

    def num_ready(self) -> int:
        """None is ever made before it is taken."""
        return 0

    def memory_bytes(self) -> int:
        """None: a batch is the user's at once."""
        return 0

    def forget(self) -> None:
        """Drop all."""
        self._asked.clear()

    def close(self) -> None:
        """Drop all, and release the cache."""
        self._asked.clear()
        self._maker.close()


class InOrder:
    """A pool whose workers take turns."""

    def __init__(self, pool: WorkerPool[StepRequest, StepReply]) -> None:
        self._pool = pool
        self._num_workers = pool.num_workers
        self._num_asked = 0
        self._num_received = 0

    def ask(self, *requests: StepRequest) -> None:
        """Give each to the worker whose turn it is."""
        num_workers = self._num_workers
        for offset in range(min(num_workers, len(requests))):
            self._pool.submit((self._num_asked + offset) % num_workers, *requests[offset::num_workers])
        self._num_asked += len(requests)

    @property
    def have_ended(self) -> bool:
        """Ask the pool."""
        return not self._pool.is_open

    def receive(self) -> tuple[int, StepReply]:
        """Return the reply to what was asked first."""
        worker_id = self._num_received % self._num_workers
        reply = self._pool.receive(worker_id)
        self._num_received += 1
        return worker_id, reply

    def next_is_ready(self) -> bool:
        """Ask the worker whose turn it is."""
        return self._pool.has_reply(self._num_received % self._num_workers)

    def num_ready(self) -> int:
        """Ask each worker's pipe; none where the pool has ended: its batches may be on their way to the device."""
        try:
            return sum(self._pool.has_reply(worker_id) for worker_id in range(self._num_workers))
        except ClosedError:
            return 0

    def memory_bytes(self) -> int:
        """Ask the pool."""
        return self._pool.bytes_out

    def forget(self) -> None:
        """Drop all; the workers stay."""
        self._pool.cancel()
        self._num_asked = self._num_received = 0

    def close(self) -> None:
        """End the workers."""
        self._pool.close()


class AnyOrder(InOrder):
    """A pool whose replies are taken as they come, so that one slow batch holds up nothing."""

    def __init__(self, pool: WorkerPool[StepRequest, StepReply]) -> None:
        super().__init__(pool)
        self._waiting = [0] * self._num_workers

    def ask(self, *requests: StepRequest) -> None:
        """Give each to the worker with least to do."""
        shares: dict[int, list[StepRequest]] = {}
        for request in requests:
            worker_id = min(range(len(self._waiting)), key=self._waiting.__getitem__)
            self._waiting[worker_id] += 1
            shares.setdefault(worker_id, []).append(request)
        for worker_id, share in shares.items():
            self._pool.submit(worker_id, *share)

    def receive(self) -> tuple[int, StepReply]:
        """Return whichever reply is there first."""
        worker_id, reply = self._pool.receive_any()
        self._waiting[worker_id] -= 1
        return worker_id, reply

    def next_is_ready(self) -> bool:
        """Ask all of them."""
        return self.num_ready() > 0

    def forget(self) -> None:
        """Drop all; the workers stay."""
        self._pool.cancel()
        self._waiting = [0] * len(self._waiting)
