"""ProcessPool: the workers of a pool as processes; requests go out, replies come in, and none of them dies unnoticed.

A reply travels as a batch of MpQItr does: pickled, large arrays through shared memory. While the consumer waits for
one worker it watches all: a process that has ended without telling why is an error at once.

    submit ---> note pipe 0 ---> process 0 ---> data pipe 0 ---.
           ---> note pipe 1 ---> process 1 ---> data pipe 1 ---+--> receive(1): replies of 1 in order
                                                               `--> receive_any: of whichever has one

        submit ---> note pipe 0 ---> process 0 ---> data pipe 0 ---.
               ---> note pipe 1 ---> process 1 ---> data pipe 1 ---+--> receive(1): replies of 1 in order
                                                                   `--> receive of whichever has one

        receive   1  what is there of the wanted workers: a reply, else a failure
                  2  a worker that has ended without saying why: WorkerCrashedError, whichever it is
                  3  wait for {pipes of the wanted, processes of all}; meanwhile notes go out to all     wait.py

        cancel    what is pending is forgotten here; a note tells the worker to drop it too. What was on its way
                  is dropped on arrival, up to the CANCELLED frame that answers the note. Nothing waits for it.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from splitdata.errors import WorkerCrashedError
from splitdata.process.consumer.launch import interrupts_blocked
from splitdata.process.consumer.receiver import Receiver
from splitdata.process.consumer.start import start_servers
from splitdata.process.consumer.wait import selector_of
from splitdata.process.consumer.worker_handle import HandleGroup, WorkerHandle
from splitdata.process.pool.pool import ReplyType, RequestType, WorkerPool
from splitdata.process.pool.remote_worker import RemoteWorker
from splitdata.process.wire import messages
from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["ProcessPool"]

_REPLIES = (messages.ITEM, messages.SLOT, messages.MULTIPART)
_CANCEL = messages.HEADER.pack(0, messages.CANCEL)


class RemoteProcess(Receiver, RemoteWorker):
    """One worker process: its replies, and what is expected of it."""

    handle: WorkerHandle

    def __init__(self, *started: Any, describe: Callable[[Any], str] | None) -> None:
        super().__init__(*started)
        self._expect(describe)
        self._is_skipping = False

    def progress(self) -> str:
        """Say how far it has come and what it is at."""
        return RemoteWorker.progress(self)

    def peek(self) -> int | None:
        """Return the kind of frame that comes next, None if it has not arrived whole."""
        if self._is_skipping and not self._skip():
            return None
        return super().peek() if self._next is None else self._next[0]

    def has_reply(self) -> bool:
        """Whether nothing needs to be waited for."""
        return self.peek() is not None or self.is_at_end

    def pack(self, requests: Sequence[Any]) -> bytes:
        """Pickle requests."""
        packed = [pickle.dumps(request, 5) for request in requests]
        return b"".join([messages.HEADER.pack(len(request), messages.REQUEST) + request for request in packed])

    def _send(self, packed: bytes) -> None:
        self.send(packed)

    def _send_cancel(self) -> None:
        self._is_skipping = True
        self.send(_CANCEL)
        # What is there is dropped now: its slots are of use to what is asked for next.
        self._skip()
        self.send_notes()

    def _skip(self) -> bool:
        """Drop what was made before the last cancel; return whether that is over."""
        while (kind := super().peek()) is not None:
            if kind == messages.FAILURE:
                # It has failed at what nobody wants any more, but failed it has.
                self._is_skipping = False
                return True
            num_cancels = self.discard()
            if kind != messages.CANCELLED:
                self._dropped_one()
                continue
            self._confirmed(num_cancels)
            if num_cancels == self._num_cancels:
                self._is_skipping = False
                return True
        return False

    def crash(self, where: str = "") -> WorkerCrashedError:
        """Return the error that says how the process ended and at what."""
        # Replies that had arrived, and that nobody asked for yet, are not the request that it died of.
        while self.peek() in _REPLIES:
            self.discard()
            self.pending.popleft()
        return super().crash(self._current())


class ProcessPool(WorkerPool[RequestType, ReplyType]):
    """Processes that stay, and serve requests.

    Replies arrive as batches do from MpQItr: through shared memory, writable, valid for as long as someone holds them.
    A process that dies is WorkerCrashedError within a second, whichever worker is waited for; replies that have
    arrived come first. `args` and `serve` must pickle (cloudpickle), except with start_method="fork".

    Args:
        environments: For each worker, what is set in os.environ before anything of the caller's is unpickled there.
    """

    _remotes: Sequence[RemoteProcess]

    def __init__(
        self,
        serve: Callable[..., Iterator[ReplyType]],
        args: tuple[Any, ...],
        options: ChannelOptions,
        *,
        num_workers: int,
        environments: Sequence[Mapping[str, str]] | None = None,
        describe: Callable[[RequestType], str] | None = None,
    ) -> None:
        super().__init__(serve, args, options, num_workers=num_workers, describe=describe)
        self._environments = environments if environments is not None else [{}] * num_workers
        _check_environments(self._environments, num_workers)

    def _start(self) -> None:
        make = functools.partial(RemoteProcess, describe=self._describe)
        with interrupts_blocked():
            remotes = start_servers(self._serve, self._args, self._options, self._environments, make)
            handles = [remote.handle for remote in remotes]
            self._selector = selector_of(handles)
            self._remotes = remotes
            self._hold(HandleGroup(handles))

    @property
    def bytes_out(self) -> int:
        """Shared memory in bytes under replies that were received and are still in use."""
        return sum(remote.handle.loans.bytes_out for remote in self._remotes if remote.handle.loans is not None)

    def _wait(self, wanted: tuple[int, ...], patience: float | None) -> Sequence[int]:
        for number, remote in enumerate(self._remotes):
            remote.prepare_to_wait(is_wanted=number in wanted)
        writing = tuple(number for number, remote in enumerate(self._remotes) if remote.is_writing)
        self._can_resume = True
        ended = self._selector.wait(wanted, writing, patience)
        self._can_resume = False
        return ended

    def _refuse_crashes(self, wanted: tuple[int, ...], ended: Sequence[int]) -> None:
        super()._refuse_crashes(wanted, ended)
        for worker_id in ended:
            self._selector.forget(worker_id)
        for worker_id in wanted:
            if self._remotes[worker_id].is_at_end:
                raise self._remotes[worker_id].crash()


def _check_environments(environments: Sequence[Mapping[str, str]], num_workers: int) -> None:
    if len(environments) != num_workers:
        raise ValueError(f"environments must be one for each of {num_workers} workers, not {len(environments)}")
    for environment in environments:
        for name, value in environment.items():
            if {type(name), type(value)} != {str}:
                raise TypeError(f"environments must be of strings, not {name!r}: {value!r}")
