"""Batches sent to the device ahead of the loop that uses them.

The order is kept. An error while a batch is taken or sent is raised in that batch's place, after those before it.

    batches   (token, batch), ...      taken while no more than device_batches are ahead and one is ready
       | send
    ahead     [ k | k+1 | ... ]        on their way; discarded by close()
       | hand_over
    loop      (token k, batch k)       only now it counts as seen
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from splitdata.errors import ClosedError

if TYPE_CHECKING:
    from splitdata.loader.device.transfer import DeviceTransfer, SentBatch

__all__ = ["DevicePrefetcher"]

Token = TypeVar("Token")


class DevicePrefetcher(Generic[Token]):
    """Iterates over (token, batch on the device). One for each `iter()` of the loader; not thread-safe.

    Args:
        batches: (token, batch) pairs. The token is the caller's: it learns from it which batch was handed out.
            Stays the caller's to close.
        transfer: What moves them, and says how far ahead. Used by one of these at a time.
        is_ready: Whether `next(batches)` would return without waiting. Where it would not, batches that are
            there already are handed out first. The default never holds back.
    """

    def __init__(
        self,
        batches: Iterator[tuple[Token, Any]],
        transfer: DeviceTransfer,
        *,
        is_ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._batches = batches
        self._transfer = transfer
        self._is_ready = is_ready
        self._ahead: deque[tuple[Token, SentBatch]] = deque()
        self._is_ended = False
        self._failure: Exception | None = None
        self._why_closed: str | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Token, Any]:
        """Return the next batch, when the copies of up to `device_batches` after it have been queued.

        Raises:
            Exception: What `batches`, the transfer or the user's `to_device` raised; once.
            ClosedError: It was closed, or ended with an error before.
        """
        if self._why_closed is not None:
            raise ClosedError(f"no further batches: {self._why_closed}")
        try:
            return self._advance()
        except StopIteration:
            raise
        except BaseException as error:
            # The batch that it hit is lost: going on after it would leave a gap.
            self.close()
            self._why_closed = f"this iterator ended with {type(error).__name__}"
            raise

    def _advance(self) -> tuple[Token, Any]:
        if not self._ahead:
            self._take()
        while len(self._ahead) <= self._transfer.device_batches and not self._is_ended and self._is_ready():
            self._take()
        if self._ahead:
            token, sent = self._ahead.popleft()
            return token, self._transfer.hand_over(sent)
        if self._failure is not None:
            raise self._failure
        raise StopIteration

    def _take(self) -> None:
        if self._is_ended:
            return
        try:
            token, batch = next(self._batches)
        except StopIteration:
            self._is_ended = True
            return
        except Exception as error:
            self._fail(error)
            return
        try:
            self._ahead.append((token, self._transfer.send(batch)))
        except StopIteration as error:
            # Raised as it is, it would look like the end of the epoch.
            failure = RuntimeError("to_device raised StopIteration")
            failure.__cause__ = error
            self._fail(failure)
            # Its cause knows this frame, and the frame would know it.
            del failure
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._is_ended = True
        self._failure = error

    def close(self) -> None:
        """Discard what is ahead. Batches handed out stay valid. May be called more than once."""
        self._why_closed = self._why_closed or "this iterator was closed"
        self._ahead.clear()
        self._failure = None
