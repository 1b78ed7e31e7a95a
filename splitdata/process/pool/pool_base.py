"""The part of a pool that is the same for threads and processes: which worker gets a request, whose reply is next.

    submit(k) --> server k, its backlog grows         pending_requests.py
    receive   <-- of the wanted servers, the first that has a reply; else one that has failed;
                  else wait, which process_pool.py and thread_pool.py do in their own ways

A worker that has failed by an exception keeps it until its place in the order has come.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from splitdata.process.consumer.wait_timeout import Waited, WaitTimeout
from splitdata.process.pool.pending_requests import PendingRequests
from splitdata.process.wire import messages
from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["PoolBackend", "Server"]

# Requests and replies: their types are the user's.
Anything: TypeAlias = Any


class Server(Waited, Protocol):
    """One worker, as its consumer sees it.

    Attributes:
        backlog: What it still owes.
        num_received: Replies handed out so far.
    """

    backlog: PendingRequests[Any]

    @property
    def num_received(self) -> int:
        """Replies handed out so far."""

    def peek(self) -> int | None:
        """Return what has arrived and comes next: ITEM, SLOT or PARCEL for a reply, FAILURE, or None."""

    def take(self) -> Anything:
        """Return the reply that `peek` has shown; raise the failure."""

    def has_ended(self) -> bool:
        """Whether nothing more can come from it."""

    def submit(self, packed: Sequence[Anything]) -> None:
        """Send requests."""

    def cancel(self) -> None:
        """Forget all requests, here and there; there is at least one."""


ServerType = TypeVar("ServerType", bound=Server)


class PoolBackend(Generic[ServerType]):
    """Started workers that serve requests. Belongs to one thread at a time.

    Attributes:
        is_waiting: It stands where an exception, as Ctrl-C raises one, leaves it as it was.
    """

    def __init__(self, servers: Sequence[ServerType], options: ChannelOptions) -> None:
        self._servers = servers
        self._stall = WaitTimeout(options)
        self._numbers = itertools.count()
        self._next = 0
        self.is_waiting = False

    def pack(self, request: Anything) -> Anything:
        """Make ready to be sent what `submit` is given; nothing has changed if that fails."""
        return request

    def submit(self, worker_id: int, requests: Sequence[Anything], packed: Sequence[Anything]) -> None:
        """Send requests; does not wait."""
        server = self._servers[worker_id]
        for request in requests:
            server.backlog.add(next(self._numbers), request)
        server.submit(packed)

    def num_pending(self, worker_id: int) -> int:
        """Return how many replies a worker owes."""
        return len(self._servers[worker_id].backlog)

    def num_submitted(self, worker_id: int) -> int:
        """Return how many requests a worker got."""
        return self._servers[worker_id].backlog.num_submitted

    def num_received(self, worker_id: int) -> int:
        """Return how many replies of a worker were handed out."""
        return self._servers[worker_id].num_received

    def has_reply(self, worker_id: int) -> bool:
        """Whether `receive` would not have to wait: for a reply, a failure or a crash."""
        server = self._servers[worker_id]
        return server.peek() is not None or server.has_ended()

    def cancel(self) -> None:
        """Forget all requests; does not wait."""
        for server in self._servers:
            if server.backlog:
                server.cancel()

    def receive(self, wanted: tuple[int, ...]) -> tuple[int, Anything]:
        """Return the next reply of one of the wanted workers, and which it was."""
        found = self._take(wanted)
        return found if found is not None else self._await(wanted)

    def _await(self, wanted: tuple[int, ...]) -> tuple[int, Anything]:
        """Wait until `_take` finds something."""
        raise NotImplementedError

    def _take(self, wanted: tuple[int, ...]) -> tuple[int, Anything] | None:
        failed: int | None = None
        # Those behind the last one first, so that none is left waiting by the others.
        for worker_id in sorted(wanted, key=lambda worker_id: worker_id < self._next) if len(wanted) > 1 else wanted:
            kind = self._servers[worker_id].peek()
            if kind == messages.FAILURE:
                failed = worker_id
            elif kind is not None:
                self._next = worker_id + 1
                return self._settle(worker_id)
        return None if failed is None else self._settle(failed)

    def _settle(self, worker_id: int) -> tuple[int, Anything]:
        server = self._servers[worker_id]
        reply = server.take()
        server.backlog.settle()
        return worker_id, reply

    def _oldest(self, wanted: Sequence[int]) -> ServerType:
        """Return the worker that has been waited for longest."""
        return min((self._servers[worker_id] for worker_id in wanted), key=_age)


def _age(server: Server) -> int:
    return server.backlog.oldest
