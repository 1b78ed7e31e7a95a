"""Workers of a pool as actors of Ray, on any machine of a cluster: a thread here speaks for each.

A thread takes the requests of its worker, sends them on, two at a time, and hands the replies over in their order. What
is promised of threads holds so for actors: order, cancelling, time limits. A dead actor is an error at once, a dead
machine when Ray has noticed it.

    ThreadPool ──requests──> serve_on_ray (thread) ──> actor: serve(worker_id, requests, *args)
               <──replies──                        <── pickled, arrays through Ray's store, copied on receipt
"""

from __future__ import annotations

import logging
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from splitdata._extras import load_extra
from splitdata._shown import one_line
from splitdata.errors import WorkerCrashedError
from splitdata.process.wire.remote_error import rebuild, report

if TYPE_CHECKING:
    from types import ModuleType

    from splitdata.process.worker.requests import Requests

__all__ = ["serve_on_ray"]

_log = logging.getLogger("splitdata")

# Requests that an actor has, so that it need not wait for the next one while a reply travels.
_AHEAD: Final = 2
# So often it is looked whether the consumer has closed.
_LOOK_SECONDS: Final = 0.1
# A worker for which no machine has a CPU is told of after so long.
_PLACE_SECONDS: Final = 30.0


def serve_on_ray(
    worker_id: int, requests: Requests[Any], serve: Callable[..., Iterator[Any]], *args: Any
) -> Iterator[Any]:
    """Run `serve(worker_id, requests, *args)` in an actor of its own; what ThreadPool calls in each thread.

    Raises:
        WorkerCrashedError: The actor, or the machine that it was on, has died.
        BaseException: What `serve` raised.
    """
    ray = _connected()
    actor = ray.remote(_Server).options(num_cpus=1, max_restarts=0).remote(worker_id, serve, args)
    worker = _Actor(ray, actor, worker_id)
    try:
        for request in requests:
            yield worker.reply(request, requests)
    finally:
        ray.kill(actor)


class _Actor:
    """The thread's end of one actor."""

    def __init__(self, ray: ModuleType, actor: Any, worker_id: int) -> None:
        self._ray = ray
        self._actor = actor
        self._worker_id = worker_id
        # Requests that were sent, and what will hold their replies.
        self._sent: deque[tuple[Any, Any]] = deque()
        self._num_received = 0
        self._begun: float | None = None

    def reply(self, request: Any, requests: Requests[Any]) -> Any:
        """Return the reply to a request; meanwhile those that wait behind it go out."""
        # Those that were cancelled are served and dropped.
        while self._sent and self._sent[0][0] is not request:
            self._sent.popleft()
        self._send([request, *requests.upcoming(_AHEAD - 1)])
        ref = self._sent.popleft()[1]
        while not self._ray.wait([ref], timeout=_LOOK_SECONDS)[0]:
            requests.look()
            self._tell_of_waiting()
            self._send(requests.upcoming(_AHEAD - 1))
        try:
            error, data, buffers = self._ray.get(ref)
        except self._ray.exceptions.RayActorError as died:
            self._refuse(died)
        if error is not None:
            raise rebuild(error, worker_id=self._worker_id, pid=None)
        self._num_received += 1
        # Of Ray's store everything is read-only, and stays there for as long as it is used.
        return pickle.loads(data, buffers=[bytearray(memoryview(buffer)) for buffer in buffers])

    def _send(self, wanted: Sequence[Any]) -> None:
        for request in wanted[len(self._sent) :]:
            self._sent.append((request, self._actor.reply.remote(request)))

    def _tell_of_waiting(self) -> None:
        """Tell once of an actor that nothing has come from for long: no machine may have a CPU for it."""
        if self._num_received or self._begun == 0:
            return
        self._begun = self._begun or time.monotonic()
        if time.monotonic() - self._begun > _PLACE_SECONDS:
            self._begun = 0
            _log.warning(
                "worker %d has answered nothing for %.0f s: has the Ray cluster a free CPU for each of them? It has "
                "%s, of which %s are free",
                self._worker_id,
                _PLACE_SECONDS,
                one_line(self._ray.cluster_resources().get("CPU", 0)),
                one_line(self._ray.available_resources().get("CPU", 0)),
            )

    def _refuse(self, died: Exception) -> NoReturn:
        raise WorkerCrashedError(
            f"worker {self._worker_id}, an actor of Ray, has died after {self._num_received} batches: {died}",
            worker_id=self._worker_id,
            items_received=self._num_received,
        ) from None


class _Server:
    """The actor: it runs the generator of one worker, a step for each request."""

    def __init__(self, worker_id: int, serve: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> None:
        self._requests = _GivenRequests()
        self._replies = iter(serve(worker_id, self._requests, *args))

    def reply(self, request: Any) -> tuple[bytes | None, bytes, list[Any]]:
        """Return an error, or the reply: pickled, and the buffers of its arrays."""
        import cloudpickle
        import numpy as np

        self._requests.waiting.append(request)
        buffers: list[pickle.PickleBuffer] = []
        try:
            data = cloudpickle.dumps(next(self._replies), protocol=5, buffer_callback=buffers.append)
        except StopIteration:
            return report(RuntimeError("the worker's function ended early")), b"", []
        except BaseException as error:
            return report(error), b"", []
        return None, data, [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]


class _GivenRequests:
    """The requests of an actor, as the iterator that its function is given."""

    send_seconds = 0.0

    def __init__(self) -> None:
        self.waiting: deque[Any] = deque()

    def __iter__(self) -> Iterator[Any]:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Return the request that has come: the function is asked for a reply only then."""
        return self.waiting.popleft()

    def upcoming(self, limit: int | None = None) -> list[Any]:
        """Return none: the next request comes when this one is answered."""
        del limit
        return []

    def allocate(self, num_bytes: int) -> None:
        """Return no memory: replies travel by Ray's store."""
        del num_bytes


def _connected() -> Any:
    """Return Ray's module, connected to a cluster: that of the program, of RAY_ADDRESS, or one on this machine."""
    ray = load_extra("ray", "ray", "a worker of kind 'ray'")
    if not ray.is_initialized():
        ray.init(log_to_driver=False, ignore_reinit_error=True)
    return ray
