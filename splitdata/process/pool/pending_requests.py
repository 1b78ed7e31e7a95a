"""The requests that a consumer has given to one worker: those without a reply, and those that it has taken back.

Replies come in the order of the requests, so the oldest request belongs to the next reply.

    submit --> [ pending ... ] --reply arrives--> gone
                    | cancel
                    v
               [ cancelled ... ]  until the worker has confirmed; the first of them may still keep it busy
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PendingRequests"]

RequestType = TypeVar("RequestType")

_MAX_DESCRIPTION = 300


class PendingRequests(Generic[RequestType]):
    """The requests to one worker that have no reply yet, oldest first.

    Args:
        describe: Says what a request is, for messages. None: its repr.

    Attributes:
        num_submitted: Requests so far, cancelled ones counted.
    """

    def __init__(self, describe: Callable[[RequestType], str] | None) -> None:
        self._describe = describe or repr
        # Each with the number of its submission in the pool, or of the cancel that took it back.
        self._pending: deque[tuple[int, RequestType]] = deque()
        self._cancelled: deque[tuple[int, RequestType]] = deque()
        self.num_submitted = 0

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, number: int, request: RequestType) -> None:
        """Note a request; `number` grows over the whole pool."""
        self._pending.append((number, request))
        self.num_submitted += 1

    def settle(self) -> None:
        """Note that the oldest pending request has its reply."""
        self._pending.popleft()

    def cancel(self, generation: int) -> None:
        """Take all back, by cancel number `generation`."""
        self._cancelled.extend((generation, request) for _, request in self._pending)
        self._pending.clear()

    def settle_cancelled(self) -> None:
        """Note that the oldest cancelled request has been replied to nevertheless."""
        if self._cancelled:
            self._cancelled.popleft()

    def confirm(self, generation: int) -> None:
        """Note that the worker knows of cancel number `generation`."""
        while self._cancelled and self._cancelled[0][0] <= generation:
            self._cancelled.popleft()

    @property
    def oldest(self) -> int:
        """Number of the oldest pending request; there must be one."""
        return self._pending[0][0]

    def current(self) -> str:
        """Say what the worker is at, as far as that can be known: "" if nothing was asked."""
        if self._cancelled:
            return f", still at {self._text(self._cancelled[0][1])}, which was cancelled"
        if self._pending:
            return f", at {self._text(self._pending[0][1])}"
        return ""

    def _text(self, request: RequestType) -> str:
        try:
            text = str(self._describe(request))
        except Exception as error:
            text = f"a request that cannot be described ({type(error).__name__})"
        return text if len(text) <= _MAX_DESCRIPTION else f"{text[:_MAX_DESCRIPTION]}..."
