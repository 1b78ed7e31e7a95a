"""A worker thread's end of a pool: requests come in as notes, replies go out when there is room for them.

    notes (queue)  --->  read_notes: room, requests, cancel, stop
    replies (deque) <--  reply: at most `max_batches`, in about `max_bytes`, before the consumer takes one
    bell            <--  ring

The counterpart of sender.py, without copies and frames. What a reply takes of `max_bytes` is estimated:

    arrays, tensors, memoryviews     nbytes
    dicts, lists, tuples, sets       their parts; of a long one 100, evenly spread
    objects with attributes          the attributes
    everything else                  sys.getsizeof
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from splitdata.process.wire import messages
from splitdata.process.wire.pipes import Hangup
from splitdata.process.wire.unpicklable import attributes_of
from splitdata.process.worker.requests import Requests, refuse_early_end, send_all

__all__ = ["STOP", "Bell", "Reply", "ThreadWorker", "estimate_bytes"]

# A kind of note, beside those of messages.py: the consumer has closed.
STOP = 0

# Waiting for a lock cannot be interrupted on Windows: there it is done in steps.
_LONGEST_WAIT = 0.5 if sys.platform == "win32" else threading.TIMEOUT_MAX

# Of an object that is estimated, how many parts are looked at, and how deep.
_MAX_PARTS = 100
_MAX_DEPTH = 20


class Bell:
    """Wakes the consumer. Rung twice before it is heard, it is heard once."""

    def __init__(self) -> None:
        # Locked while it is silent; any thread may release a lock.
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake the consumer now, or when it waits next."""
        with contextlib.suppress(RuntimeError):
            self._silence.release()

    def wait(self, timeout: float | None) -> None:
        """Wait until it rings, or for some time that is not longer than `timeout`."""
        longest = _LONGEST_WAIT if timeout is None else min(max(0.0, timeout), _LONGEST_WAIT)
        self._silence.acquire(timeout=longest)


class Reply(NamedTuple):
    """A reply that a thread hands over: `kind` is ITEM or FAILURE."""

    num_cancels: int
    kind: int
    content: Any


class ThreadWorker:
    """A worker thread's end; it knows nothing of the pool, which may so be collected.

    Attributes:
        replies: What it has made and the consumer has not taken.
        requests: What it was asked.
        has_ended: Nothing more will come.
    """

    def __init__(self, bell: Bell, max_batches: int, max_bytes: int) -> None:
        self._notes: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.replies: deque[Reply] = deque()
        self.requests: Requests[Any] = Requests(self.read_notes, _as_it_is)
        self.has_ended = False
        self._bell = bell
        self._max_batches = max_batches
        self._max_bytes = max_bytes
        self._sizes: deque[int] = deque()
        self._bytes_ahead = 0
        self._is_stopped = False

    def tell(self, kind: int, content: Any = None) -> None:
        """Send it a note: what its consumer calls, also in finalizers and signal handlers."""
        self._notes.put((kind, content))

    def run(self, serve: Callable[..., Iterator[Any]], worker_id: int, args: tuple[Any, ...]) -> None:
        """Serve until the consumer closes: what the thread does."""
        replies: Any = None
        try:
            replies = iter(serve(worker_id, self.requests, *args))
            send_all(replies, self.await_room, self.reply)
            refuse_early_end(self.read_notes)
        except Hangup:
            pass
        except BaseException as error:
            self._hand_over(Reply(self.requests.num_cancels, messages.FAILURE, error))
        finally:
            self.has_ended = True
            self._bell.ring()
            # The generator's own `finally` blocks; what they raise has nobody left to hear it.
            with contextlib.suppress(BaseException):
                replies.close()

    def await_room(self) -> None:
        """Wait until another reply may be made."""
        self.read_notes(block=False)
        while len(self._sizes) >= self._max_batches:
            self.read_notes(block=True)

    def reply(self, reply: Any) -> None:
        """Hand over a reply once there is room for its bytes, unless its request was cancelled."""
        self.read_notes(block=False)
        if not self.requests.settle():
            return
        num_cancels = self.requests.num_cancels
        size = estimate_bytes(reply)
        while self._sizes and self._bytes_ahead + size > self._max_bytes:
            self.read_notes(block=True)
        self._sizes.append(size)
        self._bytes_ahead += size
        self._hand_over(Reply(num_cancels, messages.ITEM, reply))

    def _hand_over(self, reply: Reply) -> None:
        self.replies.append(reply)
        self._bell.ring()

    def read_notes(self, *, block: bool) -> None:
        """Take in the notes that have arrived.

        Raises:
            Hangup: The consumer has closed.
        """
        while not self._is_stopped:
            try:
                kind, content = self._notes.get(block)
            except queue.Empty:
                return
            block = False
            if kind == messages.TAKEN:
                self._bytes_ahead -= self._sizes.popleft()
            elif kind == messages.REQUEST:
                self.requests.add(content)
            elif kind == messages.CANCEL:
                self.requests.cancel()
            elif kind == STOP:
                self._is_stopped = True
        raise Hangup


def _as_it_is(request: Any) -> Any:
    return request


def estimate_bytes(value: Any) -> int:
    """Return about how many bytes an object and its parts take. Never raises for what the object does."""
    return _estimate(value, set(), _MAX_DEPTH)


def _estimate(value: Any, seen: set[int], depth: int) -> int:
    if id(value) in seen or not depth:
        return 0
    seen.add(id(value))
    try:
        nbytes = getattr(value, "nbytes", None)
        if isinstance(nbytes, int):
            return nbytes
        own = sys.getsizeof(value)
        if isinstance(value, dict):
            return own + _estimate_parts(value.values(), seen, depth) + _estimate_parts(value.keys(), seen, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return own + _estimate_parts(value, seen, depth)
        if isinstance(value, str | bytes | bytearray | int | float | type):
            return own
        return own + _estimate_parts([part for _, part in attributes_of(value)], seen, depth)
    except Exception:
        return 0


def _estimate_parts(parts: Collection[Any], seen: set[int], depth: int) -> int:
    step = -(-len(parts) // _MAX_PARTS) or 1
    some: Iterable[Any] = parts if step == 1 else itertools.islice(parts, 0, None, step)
    return step * sum(_estimate(part, seen, depth - 1) for part in some)
