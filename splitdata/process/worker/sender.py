"""Sends a worker's batches to its consumer, one after the other: the worker's end of the channel.

    batch --BatchPickler--> pickle + buffers
              |  small            ITEM       the pickle in the pipe
              |  fits the arena   SLOT       copied once into a free slot, its place in the pipe; arrays that
              |                              were made in one (`requests.allocate`) are there already  in_place_reply.py
              `- does not         MULTIPART  all of it through the pipe, into memory of the consumer's own

    notes from the consumer: items taken (at most `max_batches` are on their way), slots returned,
                             and to a worker that serves: requests, cancels      requests.py

When no slot is free the worker waits for one to return, unless the consumer has taken everything that was
sent: then it may be waiting for this very batch while its user holds the slots, and the batch goes
through the pipe. So neither side can wait for the other. Notes are read whole whenever they are read:
however many requests are queued, they never hide one that makes room.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from splitdata.process.wire import messages
from splitdata.process.wire.batch_pickle import INLINE_BYTES, BatchPickler
from splitdata.process.wire.slots import FreeRanges
from splitdata.process.worker.in_place_reply import InPlaceReply
from splitdata.process.worker.requests import Requests

if TYPE_CHECKING:
    from splitdata.process.wire.arena import Arena
    from splitdata.process.wire.pipes import WorkerPipe

__all__ = ["Sender"]

# Notes are read at least once in so many batches, so that they cannot fill their pipe.
_MAX_UNREAD = 64

# Room before the arrays of an in-place reply, until a reply needs more.
_HEAD_BYTES = 2048

_ITEM_LIMIT = messages.MAX_ITEM_BYTES
_pack_header = messages.HEADER.pack


class Sender:
    """Sends batches in order, at most `max_batches` ahead of the consumer. Belongs to one thread.

    Attributes:
        num_sent: Batches sent so far.
        requests: What the consumer asked, for a worker that serves.
    """

    def __init__(self, port: WorkerPipe, arena: Arena | None) -> None:
        self._port = port
        self._arena = arena
        self._free = FreeRanges(arena.size if arena is not None else 0)
        self._pickler = BatchPickler()
        self._notes = bytearray()
        self._num_taken = 0
        self._unread = 0
        self._num_cancels = 0
        # Seconds spent waiting for a free slot, since the last reply.
        self._waited = 0.0
        self.max_batches = 1
        self.num_sent = 0
        self.requests: Requests[Any] = Requests(self.read_notes, pickle.loads, self.allocate)
        self._in_place: InPlaceReply | None = None
        self._in_place_head = _HEAD_BYTES
        self._in_place_bytes = 0
        # A message that was made in place begins somewhere in its slot.
        self._slots_of_messages: dict[int, int] = {}

    def hello(self, pid: int) -> None:
        """Tell the consumer that this process runs and can be asked for its stack."""
        self._frame(messages.HELLO, messages.TWO.pack(pid, messages.VERSION))

    def read_job(self) -> dict[str, Any]:
        """Wait for what the consumer wants done. It is the parent: its bytes may be unpickled."""
        while len(self._notes) < messages.COUNT.size:
            self._notes += self._port.read(block=True)
        (size,) = messages.COUNT.unpack_from(self._notes)
        while len(self._notes) < messages.COUNT.size + size:
            self._notes += self._port.read(block=True)
        job: dict[str, Any] = pickle.loads(self._notes[messages.COUNT.size : messages.COUNT.size + size])
        del self._notes[: messages.COUNT.size + size]
        return job

    def await_room(self) -> None:
        """Wait until another batch may be on its way."""
        room = self.max_batches - (self.num_sent - self._num_taken)
        if room > 0 and self._unread < _MAX_UNREAD:
            self._unread += 1
            return
        self.read_notes(block=room <= 0)
        while self.num_sent - self._num_taken >= self.max_batches:
            self.read_notes(block=True)

    def reply(self, reply: object) -> None:
        """Send the reply to the oldest open request, unless that was cancelled.

        Raises:
            RuntimeError: There is no open request.
            Exception: As of `send`.
        """
        self.read_notes(block=False)
        if self.requests.settle():
            # A cancel that arrives from here on finds this reply on its way, so its frame must come after.
            if self._num_cancels != self.requests.num_cancels:
                self._num_cancels = self.requests.num_cancels
                self._frame(messages.CANCELLED, messages.COUNT.pack(self._num_cancels))
            begin = time.perf_counter()
            self._waited = 0.0
            self.send(reply)
            self.requests.send_seconds = time.perf_counter() - begin - self._waited
        else:
            self._drop_in_place()

    def allocate(self, num_bytes: int) -> memoryview | None:
        """Return shared memory for an array of the next reply, None where there is none; may wait for a slot."""
        if self._arena is None or num_bytes < INLINE_BYTES:
            return None
        if self._in_place is None:
            size = self._in_place_head + max(num_bytes, self._in_place_bytes)
            offset, _ = self._take_slot(size)
            if offset is None:
                return None
            self._in_place = InPlaceReply(self._arena.map, offset, size, self._in_place_head, messages.ALIGNMENT)
        return self._in_place.allocate(num_bytes)

    def _drop_in_place(self) -> None:
        in_place, self._in_place = self._in_place, None
        if in_place is not None:
            self._free.give_back(in_place.offset)

    def send(self, batch: object) -> None:
        """Send one batch; it may be changed afterwards.

        Raises:
            Exception: What pickling it raised, with a note that names the part.
            Hangup: The consumer has closed its end.
        """
        try:
            pickled, buffers = self._pickler.dump(batch)
        except Exception as error:
            from splitdata.process.wire.unpicklable import find_unpicklable

            path, part = find_unpicklable(batch, "batch", lambda value: pickle.dumps(value, 5))
            kind = type(part)
            error.add_note(
                f"batch number {self.num_sent} cannot be pickled: {path} is a {kind.__module__}.{kind.__qualname__}"
            )
            raise
        if not buffers and len(pickled) < INLINE_BYTES:
            self._port.write((_pack_header(len(pickled), messages.ITEM) + pickled,))
        else:
            parts = [memoryview(pickled), *buffers]
            if self._in_place is None or not self._send_in_place(self._in_place, parts):
                self._send_message(parts)
        self._drop_in_place()
        self.num_sent += 1

    def end(self) -> None:
        """Tell the consumer that there are no more batches, and how many there were."""
        self._frame(messages.END, messages.COUNT.pack(self.num_sent))

    def fail(self, error: BaseException) -> None:
        """Tell the consumer what stopped the generator."""
        from splitdata.process.wire.remote_error import report

        packed = report(error)
        self._frame(messages.FAILURE, messages.TWO.pack(self.num_sent, len(packed)))
        self._port.write((packed,))

    def _frame(self, kind: int, body: bytes) -> None:
        self._port.write((messages.HEADER.pack(len(body), kind) + body,))

    def _send_in_place(self, in_place: InPlaceReply, parts: Sequence[memoryview]) -> bool:
        """Send a message whose buffers are in the slot already; False where they are not."""
        places, size = messages.part_places([len(part) for part in parts])
        self._in_place_bytes = max(self._in_place_bytes, in_place.num_wanted)
        if len(parts) > 1:
            self._in_place_head = max(self._in_place_head, places[1])
        offset = in_place.message_offset(parts, places)
        if offset is None:
            return False
        self._fill_slot(offset, parts, places, num_copied=1)
        self._slots_of_messages[offset] = in_place.offset
        self._in_place = None
        self._frame(messages.SLOT, messages.TWO.pack(offset, size))
        return True

    def _send_message(self, parts: Sequence[memoryview]) -> None:
        lengths = [len(part) for part in parts]
        places, size = messages.part_places(lengths)
        offset, reason = self._take_slot(size)
        if offset is not None:
            self._fill_slot(offset, parts, places, num_copied=len(parts))
            self._frame(messages.SLOT, messages.TWO.pack(offset, size))
        elif len(parts) == 1 and lengths[0] < _ITEM_LIMIT:
            self._frame(messages.ITEM, bytes(parts[0]))
        else:
            self._frame(messages.MULTIPART, messages.TWO.pack(size, reason))
            self._stream(parts, places, size)

    def _take_slot(self, size: int) -> tuple[int | None, int]:
        arena = self._arena
        if arena is None or size > arena.size:
            return None, messages.NO_SLOT
        # Slots that have come back are used first: their memory is in the caches.
        self.read_notes(block=False)
        while (offset := self._free.take(size)) is None:
            if self.num_sent == self._num_taken:
                return None, messages.NO_SLOT
            begin = time.perf_counter()
            self.read_notes(block=True)
            self._waited += time.perf_counter() - begin
        try:
            arena.reserve(offset + size)
        except OSError:
            self._free.give_back(offset)
            return None, messages.NO_MEMORY
        return offset, messages.NO_SLOT

    def _fill_slot(self, offset: int, parts: Sequence[memoryview], places: Sequence[int], *, num_copied: int) -> None:
        """Write the table of a message and its first parts; the others are there."""
        import numpy

        if self._arena is None:
            raise RuntimeError("a slot without an arena")
        table = messages.part_table([len(part) for part in parts])
        self._arena.map[offset : offset + len(table)] = table
        for part, place in zip(parts[:num_copied], places[:num_copied], strict=True):
            if len(part):
                # numpy copies without holding the GIL: threads of the generator go on.
                slot = numpy.frombuffer(self._arena.map, numpy.uint8, len(part), offset + place)
                numpy.copyto(slot, numpy.frombuffer(part, numpy.uint8))

    def _stream(self, parts: Sequence[memoryview], places: Sequence[int], size: int) -> None:
        table = messages.part_table([len(part) for part in parts])
        written = len(table)
        pieces: list[bytes | memoryview] = [table]
        for part, place in zip(parts, places, strict=True):
            pieces += [bytes(place - written), part]
            written = place + len(part)
        pieces.append(bytes(size - written))
        self._port.write([piece for piece in pieces if len(piece)])

    def read_notes(self, *, block: bool) -> None:
        """Take in the notes that have arrived.

        Raises:
            Hangup: The consumer has closed its end.
        """
        self._unread = 0
        notes = self._notes
        notes += self._port.read(block=block)
        place = 0
        while len(notes) - place >= messages.HEADER.size:
            length, kind = messages.HEADER.unpack_from(notes, place)
            begin = place + messages.HEADER.size
            if begin + length > len(notes):
                break
            place = begin + length
            self._take_note(kind, bytes(notes[begin:place]))
        del notes[:place]

    def _take_note(self, kind: int, body: bytes) -> None:
        if kind == messages.TAKEN:
            num_items, *returned = messages.offsets_of(body)
            self._num_taken += num_items
            for offset in returned:
                self._free.give_back(self._slots_of_messages.pop(offset, offset))
        elif kind == messages.REQUEST:
            self.requests.add(body)
        elif kind == messages.CANCEL:
            self.requests.cancel()
        else:
            raise RuntimeError(f"a note of kind {kind}: something else wrote into the pipe")
