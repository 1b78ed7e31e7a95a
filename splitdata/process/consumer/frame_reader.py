"""Cuts what a worker sends into frames: the consumer's reading end of the pipe.

    pipe --frame--> [ taken | frame | frame | fra....      ]   one buffer of 256 KiB, reused
                            ^begin               ^end

`frame()` cuts whole frames; `body()` reads what follows a MULTIPART or FAILURE frame straight into
memory of its own. Neither waits: its caller does, between calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.errors import WorkerError
from splitdata.process.wire import messages

if TYPE_CHECKING:
    from splitdata.process.wire.pipes import ConsumerPipe

__all__ = ["FrameReader"]

_BUFFER_BYTES = 256 * 1024
_HEADER_SIZE = messages.HEADER.size
_unpack_header = messages.HEADER.unpack_from


class FrameReader:
    """Cuts the stream of one worker into frames. Belongs to one thread at a time.

    Attributes:
        num_reads: Counts up whenever something arrives.
        is_at_end: Nothing more will arrive.
    """

    def __init__(self, pipe: ConsumerPipe) -> None:
        self._pipe = pipe
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._begin = 0
        self._end = 0
        self.num_reads = 0
        self.is_at_end = False

    def frame(self) -> tuple[int, memoryview] | None:
        """Read what has arrived; return kind and body of the next frame, or None where it has not arrived whole.

        The body is valid until the next call.

        Raises:
            WorkerError: If the bytes are not frames: something else wrote into the pipe.
        """
        while True:
            begin = self._begin + _HEADER_SIZE
            if begin <= self._end:
                length, kind = _unpack_header(self._buffer, self._begin)
                if length > messages.MAX_ITEM_BYTES:
                    raise WorkerError(
                        f"the worker's pipe carries something else: a frame of {length} bytes, kind {kind}"
                    )
                end = begin + length
                if end <= self._end:
                    self._begin = end
                    return kind, self._view[begin:end]
            if self._begin:
                left = self._end - self._begin
                self._buffer[:left] = self._buffer[self._begin : self._end]
                self._begin, self._end = 0, left
            count = self._pipe.read_into(self._view[self._end :])
            if not count:
                self.is_at_end = self.is_at_end or count == 0
                return None
            self.num_reads += 1
            self._end += count

    def body(self, target: memoryview) -> int:
        """Move bytes that follow the last frame to the head of `target`; return how many, 0 if there are none now."""
        ready = min(self._end - self._begin, len(target))
        if ready:
            target[:ready] = self._view[self._begin : self._begin + ready]
            self._begin += ready
            return ready
        count = self._pipe.read_into(target)
        self.is_at_end = self.is_at_end or count == 0
        self.num_reads += bool(count)
        return count or 0

    def drain(self) -> int:
        """Read all that is there, into a larger buffer if need be, and return how much that makes."""
        while True:
            if self._end == len(self._buffer):
                # The old one stays as it is: the body of a frame may still be looked at.
                larger = bytearray(2 * self._end)
                larger[: self._end] = self._buffer
                self._buffer, self._view = larger, memoryview(larger)
            count = self._pipe.read_into(self._view[self._end :])
            if not count:
                return self._end - self._begin
            self._end += count

    def leads_to_failure(self, rest: int) -> bool:
        """Whether a whole FAILURE is among all that is there, behind `rest` bytes of a body."""
        end = self._begin + self.drain()
        place = self._begin + rest
        while place + _HEADER_SIZE <= end:
            length, kind = _unpack_header(self._buffer, place)
            body = place + _HEADER_SIZE
            place = body + length
            if place > end:
                return False
            if kind == messages.MULTIPART:
                place += messages.TWO.unpack_from(self._buffer, body)[0]
            elif kind == messages.FAILURE:
                return bool(place + messages.TWO.unpack_from(self._buffer, body)[1] <= end)
        return False
