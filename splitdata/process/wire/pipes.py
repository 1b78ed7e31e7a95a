"""The pipes that carry frames and notes: two pipes on POSIX, one message connection elsewhere.

    consumer                               worker
    ConsumerPipes     read  <--- data pipe ---- write    WorkerPipes
                      write ---- note pipe ---> read
    ConsumerConnection  <==== one Connection ===> WorkerConnection      (Windows; forced in tests)

The consumer's end blocks neither on writing nor on reading: wait.py waits, for several workers at once.
A read takes everything that has arrived, so a consumer that is behind gets many small items for one
system call, and one that waits gets each as soon as it is yielded.
The worker's end reads notes without blocking unless it has to wait for one; `Hangup` means that the
consumer has closed its end.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = [
    "ConsumerConnection",
    "ConsumerPipe",
    "ConsumerPipes",
    "Hangup",
    "WorkerConnection",
    "WorkerPipe",
    "WorkerPipes",
    "new_pipes",
]

# Room for a consumer that is busy while small items arrive; the system's default is 64 KiB, its usual limit 1 MiB.
_PIPE_BYTES = 256 * 1024


class Hangup(Exception):
    """The consumer has closed its end."""


class ConsumerPipe(Protocol):
    """The consumer's end."""

    @property
    def incoming(self) -> int | Connection:
        """The object to wait for when bytes are wanted."""

    @property
    def outgoing(self) -> int | None:
        """The descriptor to wait for when there was no room to write; None where that cannot be."""

    def read_into(self, view: memoryview) -> int | None:
        """Read what is there: number of bytes, 0 at the end of the stream, None if nothing has arrived."""

    def write(self, data: bytes | bytearray) -> int:
        """Write what fits without waiting and return how much that was; writing to the dead succeeds."""

    def descriptors(self) -> list[int]:
        """The descriptors that a forked worker must close."""

    def close(self) -> None:
        """Close this end: the worker sees a Hangup."""


class WorkerPipe(Protocol):
    """The worker's end."""

    def read(self, *, block: bool) -> bytes:
        """Return bytes from the consumer, b"" if there are none and `block` is false."""

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Write all parts, waiting as long as it takes."""


def new_pipes() -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (read, write) of a data pipe and of a note pipe."""
    data = os.pipe()
    try:
        notes = os.pipe()
    except BaseException:
        os.close(data[0])
        os.close(data[1])
        raise
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        # Refused where the user's pipes are large already; then the default does.
        fcntl.fcntl(data[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        fcntl.fcntl(notes[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return data, notes


class ConsumerPipes:
    """The consumer's ends of two pipes. `close` is safe while no other call runs."""

    def __init__(self, data: int, notes: int) -> None:
        self._data = data
        self._notes = notes
        os.set_blocking(data, False)
        os.set_blocking(notes, False)

    @property
    def incoming(self) -> int:
        """The data pipe."""
        return self._data

    @property
    def outgoing(self) -> int:
        """The note pipe."""
        return self._notes

    def read_into(self, view: memoryview) -> int | None:
        """Read what is there."""
        try:
            return os.readv(self._data, [view])
        except BlockingIOError:
            return None

    def write(self, data: bytes | bytearray) -> int:
        """Write what fits."""
        try:
            return os.write(self._notes, data)
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(data)

    def descriptors(self) -> list[int]:
        """Both pipes."""
        return [self._data, self._notes]

    def close(self) -> None:
        """Close both pipes."""
        for name in ("_data", "_notes"):
            descriptor = getattr(self, name)
            setattr(self, name, -1)
            if descriptor >= 0:
                os.close(descriptor)


class WorkerPipes:
    """The worker's ends of two pipes."""

    def __init__(self, data: int, notes: int) -> None:
        self._data = data
        self._notes = notes
        os.set_blocking(notes, False)

    def read(self, *, block: bool) -> bytes:
        """Read notes."""
        while True:
            try:
                received = os.read(self._notes, 65536)
            except BlockingIOError:
                if not block:
                    return b""
                poller = select.poll()
                poller.register(self._notes, select.POLLIN)
                poller.poll()
                continue
            if not received:
                raise Hangup
            return received

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Write all parts; one system call where they fit into the pipe."""
        try:
            for part in parts:
                written = os.write(self._data, part)
                if written < len(part):
                    rest = memoryview(part)[written:]
                    while len(rest):
                        rest = rest[os.write(self._data, rest) :]
        except BrokenPipeError:
            raise Hangup from None


class ConsumerConnection:
    """The consumer's end of a multiprocessing Connection, read as a stream of bytes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rest = memoryview(b"")

    @property
    def incoming(self) -> Connection:
        """The connection."""
        return self._connection

    @property
    def outgoing(self) -> None:
        """Nothing: `write` leaves nothing over."""
        return

    def read_into(self, view: memoryview) -> int | None:
        """Read what is there."""
        try:
            if not self._rest:
                if not self._connection.poll():
                    return None
                self._rest = memoryview(self._connection.recv_bytes())
        except (EOFError, OSError):
            return 0
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def write(self, data: bytes | bytearray) -> int:
        """Write everything: a thread in the worker always reads."""
        with contextlib.suppress(OSError):
            self._connection.send_bytes(data)
        return len(data)

    def descriptors(self) -> list[int]:
        """The connection's one."""
        return [self._connection.fileno()]

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()


class WorkerConnection:
    """The worker's end of a multiprocessing Connection. A thread reads all notes, so the consumer never waits."""

    # Small enough that a reader can keep pace, large enough that the calls do not count.
    _CHUNK = 1 << 20

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._received = bytearray()
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, name="splitdata-notes", daemon=True).start()

    def _listen(self) -> None:
        while not self._ended:
            try:
                received = self._connection.recv_bytes()
            except (EOFError, OSError):
                received = b""
            with self._changed:
                self._received += received
                self._ended = not received
                self._changed.notify()

    def read(self, *, block: bool) -> bytes:
        """Return the notes that the thread has read."""
        with self._changed:
            if block:
                self._changed.wait_for(lambda: self._received or self._ended)
            received = bytes(self._received)
            self._received.clear()
            if self._ended and not received:
                raise Hangup
            return received

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send all parts as messages of bounded size."""
        try:
            for part in parts:
                view = memoryview(part)
                for begin in range(0, len(view), self._CHUNK):
                    self._connection.send_bytes(view[begin : begin + self._CHUNK])
        except OSError:
            raise Hangup from None
