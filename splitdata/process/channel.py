"""The consumer's end of a running worker: an iterator over its batches that cannot hang and cannot lie.

    frame             batch                                            then
    ITEM              unpickled                                        note: taken
    SLOT              arrays look into the slot; copied instead once   slot returns when the last of
                      half of the shared memory is with the user       them is gone
    PARCEL            arrays look into memory that came by the pipe
    END               the count agrees                                 StopIteration
    FAILURE           -                                                the worker's own exception
    end of process    whatever came whole before it, then              WorkerCrashedError
    nothing           after `timeout`                                  WorkerTimeoutError

It waits in one place, for {pipe, process} together. Ctrl-C there leaves the iterator as it was; anywhere
else it ends it, and a later `next` says so instead of leaving a batch out.
"""

from __future__ import annotations

import functools
import logging
import pickle
import threading
import weakref
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, TypeVar

from splitdata.errors import ClosedError, WorkerCrashedError, WorkerError
from splitdata.process import frames
from splitdata.process.batches import load_batch
from splitdata.process.children import describe_exit
from splitdata.process.inlet import Inlet
from splitdata.process.outlet import NO_MEMORY
from splitdata.process.remote import rebuild
from splitdata.process.stall import Stall
from splitdata.process.wires import ENDED

if TYPE_CHECKING:
    from splitdata.process.handle import WorkerHandle
    from splitdata.process.options import ChannelOptions

__all__ = ["Channel"]

# A batch, or memory that holds one: its type is the user's.
Anything: TypeAlias = Any

BatchType = TypeVar("BatchType")

_log = logging.getLogger("splitdata")

# Small batches pass here half a million times a second.
_ITEM = frames.ITEM
_load_item = pickle.loads

# How long a process may take to end after it has let go of its pipe.
_CRASH_GRACE = 0.5


class Channel(Iterator[BatchType]):
    """The batches of one worker, in order, each once.

    Made by `splitdata.process.start.start_worker`. Safe to use from several threads: each batch goes to one of
    them. After a failure or `close` every further `next` is ClosedError, never a quiet end.

    Attributes:
        pid: Process id of the worker.
        num_received: Batches handed out so far.
    """

    def __init__(
        self, handle: WorkerHandle, options: ChannelOptions, outgoing: bytes, arena_size: int, worker_id: int | None
    ) -> None:
        self._handle = handle
        self._options = options
        self._worker_id = worker_id
        self.pid = handle.child.pid
        self.num_received = 0
        self._inlet = Inlet(handle.wire)
        self._stall = Stall(handle, options, worker_id)
        self._outgoing = bytearray(outgoing)
        self._arena_half = arena_size // 2
        self._num_taken = 0
        # Half a window at a time: the worker has the other half to go on with.
        self._note_every = max(1, options.max_batches // 2)
        self._ended: str | None = None
        self._is_finished = False
        self._is_closing = False
        self._is_running = False
        self._can_resume = False
        self._has_warned = False
        self._has_slots = False
        self._lock = threading.RLock()
        self._finalizer = weakref.finalize(self, handle.drop)
        # At exit the handles are closed together.
        self._finalizer.atexit = False
        self._flush()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> BatchType:
        with self._lock:
            if self._is_running or self._ended is not None or self._handle.is_closed:
                self._refuse()
            self._is_running = True
            try:
                batch: BatchType = self._receive()
            except BaseException as error:
                if self._can_resume:
                    self._can_resume = False
                else:
                    self._end(f"ended by {type(error).__name__}")
                raise
            finally:
                self._is_running = False
            return batch

    def begin_close(self) -> None:
        """Tell the worker to end, without waiting for it; `close` does the rest."""
        if self._lock.acquire(blocking=False):
            try:
                if not self._is_running and self._ended is None:
                    self._ended = "closed"
                    self._handle.begin_close()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the worker and give everything back. Batches already handed out stay valid.

        May be called at any time, from any thread, more than once.
        """
        self._is_closing = True
        if not self._lock.acquire(timeout=0):
            # Another thread waits for a batch: the end of the worker wakes it.
            self._handle.kill()
            self._lock.acquire()
        try:
            if self._is_running:
                # We are in a signal handler or finalizer on top of our own __next__, which will find out.
                self._handle.kill()
            else:
                self._end("closed")
        finally:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
        self._handle.close()
        self._finalizer.detach()

    def _refuse(self) -> NoReturn:
        if self._is_running:
            raise ValueError("this iterator is already executing")
        if self._is_finished:
            raise StopIteration
        if self._ended is None:
            raise ClosedError("this iterator belongs to the process that forked this one: start another one here")
        raise ClosedError(f"this iterator was {self._ended} after {self.num_received} batches: start another one")

    def _receive(self) -> Anything:
        if self._has_slots and self._handle.loans is not None and self._handle.loans.has_returns:
            self._send_notes()
        inlet = self._inlet
        while True:
            frame = inlet.frame()
            if frame is None:
                self._await(inlet.fill, is_halfway=False)
                continue
            kind, body = frame
            if kind == _ITEM:
                return self._hand_out(_load_item, body)
            if kind == frames.SLOT:
                return self._hand_out(self._open_slot, *frames.TWO.unpack(body))
            if kind == frames.PARCEL:
                return self._hand_out(_open_parcel, self._read_parcel(*frames.TWO.unpack(body)))
            if kind == frames.HELLO:
                self._greet(*frames.TWO.unpack(body))
            elif kind == frames.END:
                self._finish(*frames.COUNT.unpack(body))
            elif kind == frames.FAILURE:
                self._fail(*frames.TWO.unpack(body))
            else:
                raise WorkerError(f"the worker's pipe carries something else: a frame of kind {kind}", pid=self.pid)

    def _greet(self, pid: int, version: int) -> None:
        if version != frames.VERSION:
            raise WorkerError(
                f"worker process {pid} runs another version of splitdata: its frames have version {version}, ours "
                f"{frames.VERSION}. Look for a second installation on sys.path.",
                pid=pid,
            )
        self._handle.is_ready = True

    def _hand_out(self, load: Callable[..., Any], *source: Anything) -> Anything:
        self._num_taken += 1
        if self._num_taken >= self._note_every:
            self._send_notes()
        try:
            batch = load(*source)
        except Exception as error:
            error.add_note(f"raised while batch number {self.num_received} of worker {self.pid} was unpickled")
            raise
        self.num_received += 1
        return batch

    def _open_slot(self, offset: int, size: int) -> Anything:
        loans = self._handle.loans
        if loans is None:
            raise WorkerError("the worker speaks of shared memory that there is not", pid=self.pid)
        copies = self._options.copy or loans.bytes_out >= self._arena_half
        self._has_slots = True
        slot = loans.lend(offset, size)
        return _open_parcel(slot.copy() if copies else slot)

    def _read_parcel(self, size: int, reason: int) -> Anything:
        import numpy

        if reason == NO_MEMORY and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "worker %d finds no memory for its batches: they come through the pipe, which is slower. "
                "Free memory, or lower max_bytes.",
                self.pid,
            )
        parcel: Any = numpy.empty(size, numpy.uint8)
        self._read_body(memoryview(parcel))
        return parcel

    def _read_body(self, target: memoryview) -> None:
        while len(target):
            target = target[self._await(functools.partial(self._inlet.body, target), is_halfway=True) :]

    def _send_notes(self) -> None:
        loans = self._handle.loans
        returned = loans.collect() if loans is not None else []
        if self._num_taken or returned:
            self._outgoing += frames.note(self._num_taken, returned)
            self._num_taken = 0
        self._flush()

    def _flush(self) -> None:
        if self._outgoing:
            del self._outgoing[: self._handle.wire.write(self._outgoing)]

    def _await(self, read: Callable[[], int | None], *, is_halfway: bool) -> int:
        """Call `read` until it has read something, waiting for pipe and process in between.

        Raises:
            ClosedError: Another thread has closed this iterator.
            WorkerCrashedError: The worker has ended, and everything that it sent whole was read.
            WorkerTimeoutError: `timeout` is over.
        """
        child, wire = self._handle.child, self._handle.wire
        has_ended = False
        self._stall.begin()
        while True:
            count = read()
            if count:
                return count
            if self._is_closing:
                raise ClosedError(f"this iterator was closed after {self.num_received} batches")
            if count == 0 or has_ended:
                self._crash()
            if self._has_slots:
                # The worker may be waiting for a slot, and has to know that we have taken everything.
                self._send_notes()
            else:
                # It has room for half a window at least: notes would only cost system calls.
                self._flush()
            self._can_resume = not is_halfway
            event = wire.wait(child.sentinel, self._stall.patience(), writing=bool(self._outgoing))
            self._can_resume = False
            # One more read follows the end: what the worker wrote before it is in the pipe.
            has_ended = event == ENDED
            if event is None:
                self._stall.check(self.num_received)

    def _finish(self, count: int) -> NoReturn:
        if count != self.num_received:
            raise WorkerError(
                f"worker {self._stall.name} sent {count} batches, {self.num_received} arrived: the epoch is not whole",
                worker_id=self._worker_id,
                pid=self.pid,
            )
        self._is_finished = True
        self._end("finished")
        raise StopIteration

    def _fail(self, count: int, size: int) -> NoReturn:
        report = memoryview(bytearray(size))
        self._read_body(report)
        error = rebuild(report, worker_id=self._worker_id, pid=self.pid)
        if count != self.num_received:
            error.add_note(f"before it, {count} batches were sent and only {self.num_received} arrived")
        raise error

    def _crash(self) -> NoReturn:
        goes_on = not self._handle.child.wait(_CRASH_GRACE)
        self._end("ended by the end of its worker")
        code = self._handle.exit_code
        what = "closed its end of the pipe and went on running: it was ended" if goes_on else describe_exit(code)
        when = f"after batch number {self.num_received - 1}" if self.num_received else "before its first batch"
        if not self._handle.is_ready:
            when = "before it was ready; what it printed may tell why"
        raise WorkerCrashedError(
            f"worker {self._stall.name} {what}, {when}. "
            f"{self.num_received} batches arrived, none is missing among them.",
            worker_id=self._worker_id,
            pid=self.pid,
            exit_code=code,
            items_received=self.num_received,
        )


def _open_parcel(parcel: Anything) -> Anything:
    pickled, *buffers = frames.read_table(memoryview(parcel))
    views = [memoryview(parcel[begin:end]) for begin, end in buffers]
    return load_batch(memoryview(parcel[slice(*pickled)]), views)
