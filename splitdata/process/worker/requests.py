"""The requests to a worker that serves, as the iterator that the worker's function is given.

    notes ---add---> [ waiting | waiting | waiting ]     `upcoming` looks at them, to read ahead
    CANCEL -cancel-> all of them are dropped                  |
                                                           next: the oldest; waits until there is one
                                                              v
                     open: taken, not yet answered        serve(worker_id, requests): for request in requests:
                                                              |                           yield reply
                     settle <---------------------------------'
                     does anybody still want this reply?

The same for processes and for threads: where notes come from is the business of `read_notes`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

from splitdata.process.wire.pipes import Hangup

__all__ = ["Requests", "refuse_early_end", "send_all"]

RequestType = TypeVar("RequestType")


class Requests(Iterator[RequestType], Generic[RequestType]):
    """The requests to one worker, in order, each once; ends when the consumer closes. Belongs to one thread.

    Attributes:
        num_cancels: Counts the cancels; what is asked for before one counts no more.
        send_seconds: What sending the last reply has cost, waiting for room left out; 0 between threads.
    """

    def __init__(
        self,
        read_notes: Callable[..., None],
        load: Callable[[Any], RequestType],
        allocate: Callable[[int], memoryview | None] | None = None,
    ) -> None:
        self._read_notes = read_notes
        self._load = load
        self._allocate = allocate
        self._packed: deque[Any] = deque()
        # Those that `upcoming` has unpickled: they come before the packed ones.
        self._loaded: deque[RequestType] = deque()
        self._open: deque[int] = deque()
        self.num_cancels = 0
        self.send_seconds = 0.0

    def __next__(self) -> RequestType:
        try:
            # A cancel that has arrived takes effect before another request is begun.
            self._read_notes(block=False)
            while not self._loaded and not self._packed:
                self._read_notes(block=True)
        except Hangup:
            raise StopIteration from None
        request = self._loaded.popleft() if self._loaded else self._load(self._packed.popleft())
        self._open.append(self.num_cancels)
        return request

    def look(self) -> None:
        """Take in what has arrived, without waiting: for a function that waits for something else.

        Raises:
            Hangup: The consumer has closed. Let it pass.
        """
        self._read_notes(block=False)

    def upcoming(self, limit: int | None = None) -> list[RequestType]:
        """Return the requests that have arrived and were not taken yet, oldest first; does not wait.

        Args:
            limit: At most so many. None: all of them.
        """
        while self._packed and (limit is None or len(self._loaded) < limit):
            self._loaded.append(self._load(self._packed.popleft()))
        return list(islice(self._loaded, limit))

    def allocate(self, num_bytes: int) -> memoryview | None:
        """Return writable memory for an array of the next reply, which then travels without being copied.

        None if there is no such memory, or the array is too small to be worth it: make it as usual. The memory
        is good for that reply alone: once it was yielded, nothing of it may be used any more. May wait until the
        consumer gives memory back.
        """
        return None if self._allocate is None else self._allocate(num_bytes)

    def add(self, packed: Any) -> None:
        """Note that a request has arrived."""
        self._packed.append(packed)

    def cancel(self) -> None:
        """Drop what waits; replies to what is open are not wanted any more."""
        self.num_cancels += 1
        self._packed.clear()
        self._loaded.clear()

    def settle(self) -> bool:
        """Note that the oldest open request has its reply, and tell whether that is still wanted.

        Raises:
            RuntimeError: No request is open.
        """
        if not self._open:
            raise RuntimeError("a worker's function yielded more replies than it has taken requests: one for each")
        return self._open.popleft() == self.num_cancels


def send_all(batches: Iterator[Any], await_room: Callable[[], None], send: Callable[[Any], None]) -> None:
    """Send what a worker's function yields, each as soon as it is there, none before there is room for it."""
    nothing = object()
    while True:
        await_room()
        batch = next(batches, nothing)
        if batch is nothing:
            return
        send(batch)
        # Nothing of the batch lives on here while the next one is made.
        batch = nothing


def refuse_early_end(read_notes: Callable[..., None]) -> None:
    """Check that a function that serves has ended because its requests have.

    Raises:
        Hangup: The consumer has closed: all is well.
        RuntimeError: It has not.
    """
    read_notes(block=False)
    raise RuntimeError("the worker's function ended early: it must go on until the iterator `requests` ends")
