"""A worker of a pool as its consumer sees it: what it was asked, what has arrived of it, how it can fail.

The pool asks for replies in the order of the requests, so each worker keeps a list of those that have no reply yet.
A cancelled request may still be served, so it is kept too, until the worker has confirmed the cancel.

    submit --> [ pending ... ] --reply is taken--> gone
                    | cancel
                    v
               [ cancelled ... ]  until the worker has confirmed; the first of them may still keep it busy
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from splitdata.errors import WorkerCrashedError
from splitdata.process.consumer.lifetime import OwnedWorkers

__all__ = ["RemoteWorker"]

_MAX_DESCRIPTION = 300


class RemoteWorker(ABC):
    """One worker of a pool. Belongs to one thread at a time.

    Attributes:
        handle: What is closed to end it.
        name: The worker in words.
        worker_id: Its number.
        pid: Its process.
        pending: The requests that have no reply yet, oldest first; with each the number that `submit` gave it.
        num_received: Replies handed out so far.
    """

    handle: OwnedWorkers
    name: str
    worker_id: int | None
    pid: int | None
    num_received: int

    def _expect(self, describe: Callable[[Any], str] | None) -> None:
        """Begin with no requests; `describe` says what one is, for messages."""
        self._describe = describe or repr
        self.pending: deque[tuple[int, Any]] = deque()
        # With each the number of the cancel that took it back.
        self._cancelled: deque[tuple[int, Any]] = deque()
        self._num_cancels = 0

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it has started."""

    @property
    @abstractmethod
    def num_reads(self) -> int:
        """Counts up whenever something arrives."""

    @abstractmethod
    def pack(self, requests: Sequence[Any]) -> Any:
        """Make requests ready for `submit`; nothing has changed if that fails."""

    def submit(self, numbers: Iterator[int], requests: Sequence[Any], packed: Any) -> None:
        """Send requests; does not wait. The numbers grow over the whole pool."""
        for request in requests:
            self.pending.append((next(numbers), request))
        self._send(packed)

    @abstractmethod
    def _send(self, packed: Any) -> None:
        """Send what `pack` has made."""

    @abstractmethod
    def peek(self) -> int | None:
        """Return what has arrived and comes next: the kind of a reply, FAILURE, or None."""

    @abstractmethod
    def take(self) -> Any:
        """Return the reply that `peek` has shown; raise the failure."""

    @abstractmethod
    def has_reply(self) -> bool:
        """Whether nothing needs to be waited for: there is a reply or a failure, or nothing more can come."""

    def cancel(self) -> None:
        """Forget all requests, here and there."""
        self._num_cancels += 1
        self._cancelled.extend((self._num_cancels, request) for _, request in self.pending)
        self.pending.clear()
        self._send_cancel()

    @abstractmethod
    def _send_cancel(self) -> None:
        """Tell the worker, and drop what is there."""

    def _dropped_one(self) -> None:
        """Note that the oldest cancelled request has been replied to nevertheless."""
        if self._cancelled:
            self._cancelled.popleft()

    def _confirmed(self, num_cancels: int) -> None:
        """Note that the worker knows of cancel number `num_cancels`."""
        while self._cancelled and self._cancelled[0][0] <= num_cancels:
            self._cancelled.popleft()

    @abstractmethod
    def has_told_why(self) -> bool:
        """Whether a worker that has ended left a failure; it stays for its place in the order."""

    @abstractmethod
    def crash(self) -> WorkerCrashedError:
        """Return the error for a worker that has ended without telling why."""

    def progress(self) -> str:
        """Say how far it has come and what it is at."""
        return f"after {self.num_received} batches{self._current()}"

    @abstractmethod
    def stack(self) -> str | None:
        """Return where it stands, None where that cannot be known."""

    def _current(self) -> str:
        """Say what it is at, as far as that can be known: "" if nothing was asked."""
        if self._cancelled:
            return f", still at {self._text(self._cancelled[0][1])}, which was cancelled"
        if self.pending:
            return f", at {self._text(self.pending[0][1])}"
        return ""

    def _text(self, request: Any) -> str:
        try:
            text = str(self._describe(request))
        except Exception as error:
            text = f"a request that cannot be described ({type(error).__name__})"
        return text if len(text) <= _MAX_DESCRIPTION else f"{text[:_MAX_DESCRIPTION]}..."
