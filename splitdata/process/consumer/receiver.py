"""The consumer's end of one worker's channel: makes batches from frames and sends acknowledgements. It never waits.

    frame       poll                                             then
    ITEM        unpickled                                        note: taken
    SLOT        arrays look into the slot; copied instead once   slot returns when the last of
                half of the shared memory is with the user       them is gone
    PARCEL      arrays look into memory that came by the pipe
    END         the count agrees                                 StopIteration
    FAILURE     -                                                the worker's own exception
    not whole   NOTHING; what there is of it is kept

Who waits in between: channel.py for one worker, process_pool.py for many.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeAlias

from splitdata.errors import WorkerCrashedError, WorkerError
from splitdata.process.consumer.child_process import describe_exit
from splitdata.process.consumer.frame_reader import FrameReader
from splitdata.process.wire import messages
from splitdata.process.wire.batch_pickle import load_batch
from splitdata.process.wire.remote_error import rebuild
from splitdata.process.worker.sender import NO_MEMORY

if TYPE_CHECKING:
    from splitdata.process.consumer.worker_handle import WorkerHandle
    from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["NOTHING", "Receiver"]

# A batch, or memory that holds one: its type is the user's.
Anything: TypeAlias = Any

NOTHING: Final = object()

# No frame is of this kind.
_NEVER: tuple[int, Any] = (0, b"")

_log = logging.getLogger("splitdata")

# Small batches pass here half a million times a second.
_ITEM = messages.ITEM
_load_item = pickle.loads

# How long a process may take to end after it has let go of its pipe.
_CRASH_GRACE = 0.5


class _Body(NamedTuple):
    """The bytes behind a PARCEL or FAILURE frame, on their way into memory of their own.

    `num_items` is what a FAILURE names.
    """

    kind: int
    memory: Anything
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
        num_reads: Counts up whenever something arrives.
        is_at_end: Nothing more will arrive.
    """

    def __init__(
        self, handle: WorkerHandle, options: ChannelOptions, outgoing: bytes, arena_size: int, worker_id: int | None
    ) -> None:
        self.handle = handle
        self.worker_id = worker_id
        self.pid: int | None = handle.child.pid
        self.name = f"(pid {self.pid})" if worker_id is None else f"{worker_id} (pid {self.pid})"
        self.num_received = 0
        self.num_reads = 0
        self.is_at_end = False
        self._options = options
        self._inlet = FrameReader(handle.wire)
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
        self.flush()

    @property
    def is_ready(self) -> bool:
        """Whether the worker has said hello."""
        return self.handle.is_ready

    @property
    def is_writing(self) -> bool:
        """Whether notes wait for room in their pipe."""
        return bool(self._outgoing)

    def progress(self) -> str:
        """Say how far the worker has come."""
        return f"after {self.num_received} batches"

    def stack(self) -> str | None:
        """Ask the worker where it stands."""
        return self.handle.stack()

    def poll(self) -> Anything:
        """Return the next batch, NOTHING if it has not arrived whole.

        Raises:
            StopIteration: The worker has finished, and everything has been handed out.
            WorkerError: What has arrived is nonsense, or not everything.
            BaseException: What the worker's function raised; what unpickling a batch raised.
        """
        if self._has_slots and self.handle.loans is not None and self.handle.loans.has_returns:
            self.send_notes()
        if self._next is None:
            frame = self._inlet.frame() if self._body is None else None
            if frame is not None and frame[0] == _ITEM:
                return self._hand_out(_load_item, frame[1])
            if not self._complete(frame):
                return NOTHING
        return self._take_next()

    def peek(self) -> int | None:
        """Return the kind of frame that has arrived whole and comes next, None if there is none."""
        if self._next is None and not self._complete(None):
            return None
        return self._next[0] if self._next is not None else None

    def discard(self) -> int:
        """Take what `peek` has shown, drop it, and return the number that a GENERATION carries, else 0."""
        kind, content = self._next or _NEVER
        self._next = None
        if kind == messages.GENERATION:
            return int(messages.COUNT.unpack(content)[0])
        self._num_discarded += 1
        self._num_taken += 1
        if kind == messages.SLOT:
            self._has_slots = True
            self._discarded.append(messages.TWO.unpack(content)[0])
        if self._num_taken >= self._note_every:
            self.send_notes()
        return 0

    def _take_next(self) -> Anything:
        kind, content = self._next or _NEVER
        if kind == messages.END:
            # It stays: a consumer that is interrupted while it notes the end meets it again.
            self._finish(*messages.COUNT.unpack(content))
        self._next = None
        if kind == _ITEM:
            return self._hand_out(_load_item, content)
        if kind == messages.SLOT:
            return self._hand_out(self._open_slot, *messages.TWO.unpack(content))
        if kind == messages.PARCEL:
            return self._hand_out(_open_parcel, content.memory)
        if kind == messages.FAILURE:
            self._fail(content)
        raise WorkerError(f"the worker's pipe carries something else: a frame of kind {kind}", pid=self.pid)

    def _complete(self, frame: tuple[int, memoryview] | None) -> bool:
        """Read until the next frame, which may begin with `frame`, is whole with all that follows it."""
        while True:
            if self._body is not None:
                if not self._read_body(self._body):
                    return False
                self._next, self._body = (self._body.kind, self._body), None
                return True
            frame = frame or self._inlet.frame()
            if frame is None:
                if not self._has_read(self._inlet.fill()):
                    return False
                continue
            kind, body = frame
            if kind == messages.HELLO:
                self._greet(*messages.TWO.unpack(body))
            elif kind == messages.PARCEL:
                self._body = self._begin_parcel(*messages.TWO.unpack(body))
            elif kind == messages.FAILURE:
                count, size = messages.TWO.unpack(body)
                report = memoryview(bytearray(size))
                self._body = _Body(kind, report, report, count)
            else:
                self._next = frame
                return True
            frame = None

    def _has_read(self, count: int | None) -> bool:
        self.num_reads += bool(count)
        self.is_at_end = self.is_at_end or count == 0
        return bool(count)

    def _read_body(self, body: _Body) -> bool:
        rest = body.rest
        while len(rest):
            count = self._inlet.body(rest)
            if count is None or not self._has_read(count):
                return False
            rest = rest[count:]
            self._body = body = body._replace(rest=rest)
        return True

    def _greet(self, pid: int, version: int) -> None:
        if version != messages.VERSION:
            raise WorkerError(
                f"worker process {pid} runs another version of splitdata: its frames have version {version}, ours "
                f"{messages.VERSION}. Look for a second installation on sys.path.",
                pid=pid,
            )
        self.handle.is_ready = True

    def _hand_out(self, load: Callable[..., Any], *source: Anything) -> Anything:
        self._num_taken += 1
        if self._num_taken >= self._note_every:
            self.send_notes()
        try:
            batch = load(*source)
        except Exception as error:
            error.add_note(f"raised while batch number {self.num_received} of worker {self.name} was unpickled")
            raise
        self.num_received += 1
        return batch

    def _open_slot(self, offset: int, size: int) -> Anything:
        loans = self.handle.loans
        if loans is None:
            raise WorkerError("the worker speaks of shared memory that there is not", pid=self.pid)
        copies = self._options.copy or loans.bytes_out >= self._arena_half
        self._has_slots = True
        slot = loans.lend(offset, size)
        return _open_parcel(slot.copy() if copies else slot)

    def _begin_parcel(self, size: int, reason: int) -> _Body:
        import numpy

        if reason == NO_MEMORY and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "worker %d finds no memory for its batches: they come through the pipe, which is slower. "
                "Free memory, or lower max_bytes.",
                self.pid,
            )
        parcel: Any = numpy.empty(size, numpy.uint8)
        return _Body(messages.PARCEL, parcel, memoryview(parcel), 0)

    def send_notes(self) -> None:
        """Tell the worker what was taken and which slots are free again."""
        loans = self.handle.loans
        returned = loans.collect() if loans is not None else []
        if self._discarded:
            returned += self._discarded
            self._discarded = []
        if self._num_taken or returned:
            self._outgoing += messages.taken(self._num_taken, returned)
            self._num_taken = 0
        self.flush()

    def send(self, note: bytes) -> None:
        """Send a note after those before it, as soon as there is room; never waits."""
        self._outgoing += note
        self.flush()

    def flush(self) -> None:
        """Write what fits of the notes that wait."""
        if self._outgoing:
            del self._outgoing[: self.handle.wire.write(self._outgoing)]

    def prepare_to_wait(self, *, is_wanted: bool = True) -> None:
        """Tell the worker what it may need to go on, before its next batch, or another worker's, is waited for."""
        loans = self.handle.loans
        if self._has_slots and (is_wanted or (loans is not None and loans.has_returns)):
            # It may be waiting for a slot; if its batch is wanted it has to know that we have taken everything.
            self.send_notes()
        else:
            # It has room for half a window at least: notes would only cost system calls.
            self.flush()

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
            return self._inlet.drain() >= rest
        return self._inlet.leads_to_failure(rest)

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


def _open_parcel(parcel: Anything) -> Anything:
    pickled, *buffers = messages.read_table(memoryview(parcel))
    views = [memoryview(parcel[begin:end]) for begin, end in buffers]
    return load_batch(memoryview(parcel[slice(*pickled)]), views)
