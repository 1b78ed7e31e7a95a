"""Turns the frames of one worker into batches, and sends the notes that go back; it never waits.

    frame       poll                                             then
    ITEM        unpickled                                        note: taken
    SLOT        arrays look into the slot; copied instead once   slot returns when the last of
                half of the shared memory is with the user       them is gone
    MULTIPART   arrays look into memory that came by the pipe
    END         the count agrees                                 StopIteration
    FAILURE     -                                                the worker's own exception
    not whole   NOTHING; what there is of it is kept

In between, channel.py waits for one worker and process_pool.py for many.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from splitdata.errors import WorkerCrashedError, WorkerError
from splitdata.process.consumer.child_process import describe_exit
from splitdata.process.consumer.frame_reader import FrameReader
from splitdata.process.wire import messages
from splitdata.process.wire.remote_error import rebuild

if TYPE_CHECKING:
    from splitdata.process.consumer.worker_handle import WorkerHandle
    from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["NOTHING", "Receiver"]

NOTHING: Final = object()

# No frame is of this kind.
_NEVER: tuple[int, Any] = (0, b"")

_log = logging.getLogger("splitdata")

# Small batches pass here half a million times a second.
_ITEM = messages.ITEM
_SLOT = messages.SLOT
_HANDED_OUT_AT_ONCE = (_ITEM, _SLOT)
_load_item: Callable[..., Any] = pickle.loads

# How long a process may take to end after it has let go of its pipe.
_CRASH_GRACE = 0.5


class _Body(NamedTuple):
    """What follows a MULTIPART or FAILURE frame, on its way into memory of its own.

    `num_items` is what a FAILURE names.
    """

    kind: int
    memory: Any
    rest: memoryview
    num_items: int


class Receiver:
    """The batches of one worker, in order, each once, as far as they have arrived. Belongs to one thread.

    Attributes:
        handle: The worker.
        worker_id: Its number, where it has one.
        pid: Its process.
        name: The worker in words.
        num_received: Batches handed out so far.
    """

    def __init__(
        self, handle: WorkerHandle, options: ChannelOptions, outgoing: bytes, arena_size: int, worker_id: int | None
    ) -> None:
        self.handle = handle
        self.worker_id = worker_id
        self.pid: int | None = handle.child.pid
        self.name = f"(pid {self.pid})" if worker_id is None else f"{worker_id} (pid {self.pid})"
        self.num_received = 0
        self._options = options
        self._frames = FrameReader(handle.pipe)
        self._outgoing = bytearray(outgoing)
        self._arena_half = arena_size // 2
        self._num_taken = 0
        # Half a window at a time: the worker has the other half to go on with.
        self._note_every = max(1, options.max_batches // 2)
        # The frame that has arrived and was not handed out yet: its kind, and its body or a _Body.
        self._next: tuple[int, Any] | None = None
        self._body: _Body | None = None
        self._num_discarded = 0
        self._discarded: list[int] = []
        self._has_warned = False
        self._has_slots = False
        # Not the loans: they hold the memory, which the handle lets go of.
        self._returned: Collection[object] = handle.loans.returned if handle.loans is not None else ()
        self.send(b"")

    @property
    def is_ready(self) -> bool:
        """Whether the worker has said hello."""
        return self.handle.is_ready

    @property
    def is_writing(self) -> bool:
        """Whether notes wait for room in their pipe."""
        return bool(self._outgoing)

    @property
    def num_reads(self) -> int:
        """Counts up whenever something arrives."""
        return self._frames.num_reads

    @property
    def is_at_end(self) -> bool:
        """Whether nothing more will arrive."""
        return self._frames.is_at_end

    def progress(self) -> str:
        """Say how far the worker has come."""
        return f"after {self.num_received} batches"

    def stack(self) -> str | None:
        """Ask the worker where it stands."""
        return self.handle.stack()

    def poll(self) -> Any:
        """Return the next batch, NOTHING if it has not arrived whole.

        Raises:
            StopIteration: The worker has finished, and everything has been handed out.
            WorkerError: What has arrived is nonsense, or not everything.
            BaseException: What the worker's function raised; what unpickling a batch raised.
        """
        if self._next is None:
            frame = None
            if self._body is None:
                frame = self._frames.frame()
                if frame is None:
                    return NOTHING
                if frame[0] in _HANDED_OUT_AT_ONCE:
                    return self._hand_out(*frame)
            if not self._advance(frame):
                return NOTHING
        return self.take()

    def peek(self) -> int | None:
        """Return the kind of frame that has arrived whole and comes next, None if there is none."""
        if self._next is None and not self._advance():
            return None
        return (self._next or _NEVER)[0]

    def take(self) -> Any:
        """Return the batch that `peek` has shown; raises what `poll` does."""
        kind, content = self._next or _NEVER
        if kind == messages.END:
            # It stays: a call that is interrupted here meets it again.
            self._finish(*messages.COUNT.unpack(content))
        self._next = None
        if kind == messages.FAILURE:
            self._fail(content)
        return self._hand_out(kind, content)

    def discard(self) -> int:
        """Take what `peek` has shown, drop it, and return the number that a CANCELLED carries, else 0."""
        kind, content = self._next or _NEVER
        self._next = None
        if kind == messages.CANCELLED:
            return int(messages.COUNT.unpack(content)[0])
        self._num_discarded += 1
        self._num_taken += 1
        if kind == messages.SLOT:
            self._has_slots = True
            self._discarded.append(messages.TWO.unpack(content)[0])
        if self._num_taken >= self._note_every:
            self.send_notes()
        return 0

    def _advance(self, frame: tuple[int, memoryview] | None = None) -> bool:
        """Read until the next frame, which may be `frame`, is whole with all that follows it; False if it is not."""
        while self._body is None:
            frame = frame or self._frames.frame()
            if frame is None:
                return False
            kind, content = frame
            if kind == messages.HELLO:
                self._greet(*messages.TWO.unpack(content))
            elif kind == messages.MULTIPART:
                self._body = self._begin_message(*messages.TWO.unpack(content))
            elif kind == messages.FAILURE:
                count, size = messages.TWO.unpack(content)
                report = memoryview(bytearray(size))
                self._body = _Body(kind, report, report, count)
            else:
                self._next = frame
                return True
            frame = None
        body = self._body
        while len(body.rest):
            count = self._frames.body(body.rest)
            if not count:
                return False
            self._body = body = body._replace(rest=body.rest[count:])
        self._next, self._body = (body.kind, body), None
        return True

    def _greet(self, pid: int, version: int) -> None:
        if version != messages.VERSION:
            raise WorkerError(
                f"worker process {pid} runs another version of splitdata: its frames have version {version}, ours "
                f"{messages.VERSION}. Look for a second installation on sys.path.",
                pid=pid,
            )
        self.handle.is_ready = True

    def _hand_out(self, kind: int, content: Any) -> Any:
        """Return the batch in a frame."""
        self._num_taken += 1
        if self._num_taken >= self._note_every or self._returned:
            self.send_notes()
        try:
            if kind == _ITEM:
                batch = _load_item(content)
            elif kind == _SLOT:
                batch = self._open_slot(*messages.TWO.unpack(content))
            elif kind == messages.MULTIPART:
                batch = _load_message(content.memory)
            else:
                raise WorkerError(f"the worker's pipe carries something else: a frame of kind {kind}", pid=self.pid)
        except Exception as error:
            error.add_note(f"raised while batch number {self.num_received} of worker {self.name} was unpickled")
            raise
        self.num_received += 1
        return batch

    def _open_slot(self, offset: int, size: int) -> Any:
        loans = self.handle.loans
        if loans is None:
            raise WorkerError("the worker speaks of shared memory that there is not", pid=self.pid)
        copies = self._options.copy or loans.bytes_out >= self._arena_half
        self._has_slots = True
        slot = loans.lend(offset, size)
        return _load_message(slot.copy() if copies else slot)

    def _begin_message(self, size: int, reason: int) -> _Body:
        import numpy

        if reason == messages.NO_MEMORY and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "worker %d finds no memory for its batches: they come through the pipe, which is slower. "
                "Free memory, or lower max_bytes.",
                self.pid,
            )
        message: Any = numpy.empty(size, numpy.uint8)
        return _Body(messages.MULTIPART, message, memoryview(message), 0)

    def send_notes(self) -> None:
        """Tell the worker what was taken and which slots are free again."""
        loans = self.handle.loans
        returned = loans.collect() if self._returned and loans is not None else []
        if self._discarded:
            returned += self._discarded
            self._discarded = []
        note = messages.taken(self._num_taken, returned) if self._num_taken or returned else b""
        self._num_taken = 0
        self.send(note)

    def send(self, note: bytes) -> None:
        """Send a note after those that wait for room, as far as there is room; never waits."""
        self._outgoing += note
        if self._outgoing:
            del self._outgoing[: self.handle.pipe.write(self._outgoing)]

    def prepare_to_wait(self, *, is_wanted: bool = True) -> None:
        """Tell the worker what it may need to go on, before its next batch, or another worker's, is waited for."""
        if self._has_slots and (is_wanted or self._returned):
            # It may be waiting for a slot; if its batch is wanted it has to know that we have taken everything.
            self.send_notes()
        else:
            # It has room for half a window at least: notes would only cost system calls.
            self.send(b"")

    def _finish(self, count: int) -> NoReturn:
        num_arrived = self.num_received + self._num_discarded
        if count != num_arrived:
            raise WorkerError(
                f"worker {self.name} sent {count} batches, {num_arrived} arrived: the epoch is not whole",
                worker_id=self.worker_id,
                pid=self.pid,
            )
        raise StopIteration

    def _fail(self, body: _Body) -> NoReturn:
        error = rebuild(body.memory, worker_id=self.worker_id, pid=self.pid)
        num_arrived = self.num_received + self._num_discarded
        if body.num_items != num_arrived:
            error.add_note(f"before it, {body.num_items} batches were sent and only {num_arrived} arrived")
        try:
            raise error
        finally:
            # It knows this frame, and the frame would know it.
            del error

    def has_told_why(self) -> bool:
        """Whether a worker whose process has ended sent a failure first; it stays for its place in the order."""
        if self._next is not None and self._next[0] in (messages.FAILURE, messages.END):
            return True
        rest = 0 if self._body is None else len(self._body.rest)
        if self._body is not None and self._body.kind == messages.FAILURE:
            return self._frames.drain() >= rest
        return self._frames.leads_to_failure(rest)

    def crash(self, where: str = "") -> WorkerCrashedError:
        """Give the worker back and return the error that says how it ended.

        Args:
            where: What it was working on, in words.
        """
        goes_on = not self.handle.child.wait(_CRASH_GRACE)
        self.handle.close()
        code = self.handle.exit_code
        what = "closed its end of the pipe and went on running: it was ended" if goes_on else describe_exit(code)
        when = f"after batch number {self.num_received - 1}" if self.num_received else "before its first batch"
        if not self.handle.is_ready:
            when = "before it was ready; what it printed may tell why"
        return WorkerCrashedError(
            f"worker {self.name} {what}, {when}{where}. "
            f"{self.num_received} batches arrived, none is missing among them.",
            worker_id=self.worker_id,
            pid=self.pid,
            exit_code=code,
            items_received=self.num_received,
        )


def _load_message(message: Any) -> Any:
    pickled, *buffers = messages.read_parts(memoryview(message))
    return _load_item(pickled, buffers=buffers)
