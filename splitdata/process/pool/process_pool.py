"""The processes of a pool: requests go out, replies come in, and none of them dies unnoticed.

One call waits for all that can happen, so the end of any process is seen whichever reply is wanted.

    submit ---> note pipe 0 ---> process 0 ---> data pipe 0 ---.
           ---> note pipe 1 ---> process 1 ---> data pipe 1 ---+--> receive(1): replies of 1 in order
                                                               `--> receive of whichever has one

    receive   1  what is there of the wanted workers: a reply, else a failure
              2  a worker that has ended without saying why: WorkerCrashedError, whichever it is
              3  wait for {pipes of the wanted, processes of all}; meanwhile notes go out to all     wait.py

    cancel    what is pending is forgotten here; a note tells the worker to drop it too. What was on its way
              is dropped on arrival, up to the GENERATION frame that answers the note. Nothing waits for it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from splitdata.errors import ClosedError, WorkerCrashedError
from splitdata.process.consumer.receiver import Receiver
from splitdata.process.consumer.wait import watch
from splitdata.process.consumer.worker_handle import close_together
from splitdata.process.pool.pending_requests import PendingRequests
from splitdata.process.pool.pool_base import PoolBackend
from splitdata.process.wire import messages
from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["ProcessBackend"]

# Requests and replies: their types are the user's.
Anything: TypeAlias = Any

_REPLIES = (messages.ITEM, messages.SLOT, messages.PARCEL)
_CANCEL = messages.HEADER.pack(0, messages.CANCEL)


class _ServingProcess:
    """One worker: its replies, what is expected of it, how it is named when it is waited for."""

    def __init__(self, receiver: Receiver, describe: Callable[[Any], str] | None) -> None:
        self.receiver = receiver
        self.backlog: PendingRequests[Any] = PendingRequests(describe)
        self.name = receiver.name
        self.worker_id = receiver.worker_id
        self.pid = receiver.pid
        self._generation = 0
        self._is_skipping = False

    @property
    def is_ready(self) -> bool:
        """Whether it has said hello."""
        return self.receiver.is_ready

    @property
    def num_received(self) -> int:
        """Replies handed out so far."""
        return self.receiver.num_received

    def progress(self) -> str:
        """Say how far it has come and what it is at."""
        return f"{self.receiver.progress()}{self.backlog.current()}"

    def stack(self) -> str | None:
        """Ask where it stands."""
        return self.receiver.stack()

    def peek(self) -> int | None:
        """Return the kind of frame that comes next, None if it has not arrived whole."""
        if self._is_skipping and not self._skip():
            return None
        return self.receiver.peek()

    def take(self) -> Anything:
        """Return the reply that has arrived."""
        return self.receiver.poll()

    def has_ended(self) -> bool:
        """Whether its pipe has ended."""
        return self.receiver.is_at_end

    def submit(self, packed: Sequence[bytes]) -> None:
        """Send requests."""
        notes = [messages.HEADER.pack(len(request), messages.REQUEST) + request for request in packed]
        self.receiver.send(b"".join(notes))

    def cancel(self) -> None:
        """Forget all requests, here and there."""
        self._generation += 1
        self._is_skipping = True
        self.backlog.cancel(self._generation)
        self.receiver.send(_CANCEL)
        # Replies that are there are dropped now: the next generation can use their slots.
        self._skip()
        self.receiver.send_notes()

    def _skip(self) -> bool:
        """Drop what arrives of older generations; return whether that is over."""
        while (kind := self.receiver.peek()) is not None:
            if kind == messages.FAILURE:
                # It has failed at what nobody wants any more, but failed it has.
                self._is_skipping = False
                return True
            generation = self.receiver.discard()
            if kind != messages.GENERATION:
                self.backlog.settle_cancelled()
                continue
            self.backlog.confirm(generation)
            if generation == self._generation:
                self._is_skipping = False
                return True
        return False

    def crash(self) -> WorkerCrashedError:
        """Return the error that says how the process ended and at what."""
        # Replies that had arrived, and that nobody asked for yet, are not the request that it died of.
        while self.peek() in _REPLIES:
            self.receiver.discard()
            self.backlog.settle()
        return self.receiver.crash(self.backlog.current())


class ProcessBackend(PoolBackend[_ServingProcess]):
    """Started processes that serve requests. `kill`, `close` and `drop` may be called from any thread."""

    def __init__(
        self, receivers: Sequence[Receiver], options: ChannelOptions, describe: Callable[[Any], str] | None
    ) -> None:
        super().__init__([_ServingProcess(receiver, describe) for receiver in receivers], options)
        self._handles = [receiver.handle for receiver in receivers]
        self._watch = watch(self._handles)
        self._is_killed = False

    @property
    def is_closed(self) -> bool:
        """Whether the workers were given back, or belong to the process that forked this one."""
        return self._handles[0].is_closed

    def pack(self, request: Anything) -> bytes:
        """Pickle a request."""
        return pickle.dumps(request, 5)

    def bytes_out(self) -> int:
        """Return how much shared memory the arrays take that were handed out and are still in use."""
        return sum(handle.loans.bytes_out for handle in self._handles if handle.loans is not None)

    def _await(self, wanted: tuple[int, ...]) -> tuple[int, Anything]:
        ended: list[int] = []
        num_reads = -1
        while True:
            if self._is_killed:
                raise ClosedError("this pool was closed while a reply was waited for")
            self._refuse_crashes(ended, wanted)
            reads = sum(self._servers[worker_id].receiver.num_reads for worker_id in wanted)
            if num_reads != reads:
                num_reads = reads
                self._stall.begin()
            self._stall.check(self._oldest(wanted))
            for worker_id, server in enumerate(self._servers):
                server.receiver.prepare_to_wait(is_wanted=worker_id in wanted)
            writing = tuple(number for number, server in enumerate(self._servers) if server.receiver.is_writing)
            self.is_waiting = True
            ended = self._watch.wait(wanted, writing, self._stall.patience())
            self.is_waiting = False
            found = self._take(wanted)
            if found is not None:
                return found

    def _refuse_crashes(self, ended: Sequence[int], wanted: tuple[int, ...]) -> None:
        """Raise if one of the ended workers, or one whose pipe has ended, did not say why; forget the others."""
        for worker_id in ended:
            if not self._servers[worker_id].receiver.has_told_why():
                raise self._servers[worker_id].crash()
            self._watch.forget(worker_id)
        for worker_id in wanted:
            if self._servers[worker_id].receiver.is_at_end:
                raise self._servers[worker_id].crash()

    def begin_close(self) -> None:
        """Tell all workers to end, without waiting."""
        for handle in self._handles:
            handle.begin_close()

    def close(self) -> None:
        """End all workers and give everything back."""
        close_together(self._handles)

    def kill(self) -> None:
        """Wake a consumer that waits in `receive`."""
        self._is_killed = True
        for handle in self._handles:
            handle.kill()

    def drop(self) -> None:
        """Close: nobody holds it any more, or it has failed."""
        self.close()
