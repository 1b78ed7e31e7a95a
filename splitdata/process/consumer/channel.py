"""The consumer's end of a running worker: an iterator over its batches that cannot hang and cannot lie.

    next() --> Receiver.poll                                       receiver.py
                 | a batch                                         handed out
                 | nothing yet: wait for {pipe, process} together  wait.py
                 | end mark, the count agrees                      StopIteration
                 | failure                                         the worker's own exception
                 | end of process                                  WorkerCrashedError, after all that came whole
                 `- nothing after `timeout`                        WorkerTimeoutError

Ctrl-C while it waits leaves the iterator as it was; anywhere else it ends it, and a later `next` says so
instead of leaving a batch out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from splitdata.errors import ClosedError
from splitdata.process.consumer.lifetime import Lifetime
from splitdata.process.consumer.receiver import NOTHING, Receiver
from splitdata.process.consumer.wait import selector_of
from splitdata.process.consumer.wait_timeout import WaitTimeout
from splitdata.process.wire.remote_error import WorkerTraceback
from splitdata.process.wire.traceback_folding import fold_traceback

if TYPE_CHECKING:
    from splitdata.process.wire.channel_options import ChannelOptions

__all__ = ["Channel"]

BatchType = TypeVar("BatchType")

_ONLY = (0,)
_NONE = ()


class Channel(Lifetime, Iterator[BatchType]):
    """The batches of one worker, in order, each once.

    Made by `splitdata.process.consumer.start.start_worker`. Safe to use from several threads: each batch goes to one of
    them. After a failure or `close` every further `next` is ClosedError, never a quiet end.

    Attributes:
        pid: Process id of the worker.
    """

    def __init__(self, receiver: Receiver, options: ChannelOptions) -> None:
        super().__init__()
        self.pid = receiver.handle.child.pid
        self._receiver = receiver
        self._handle = receiver.handle
        self._timeout = WaitTimeout(options)
        self._selector = selector_of([receiver.handle])
        self._is_finished = False
        self._can_resume = False
        self._hold(receiver.handle)

    @property
    def num_received(self) -> int:
        """Batches handed out so far."""
        return self._receiver.num_received

    def __next__(self) -> BatchType:
        with self._lock:
            if self._is_running or self._ended is not None or self._handle.is_closed:
                if self._is_finished and not self._is_running:
                    raise StopIteration
                self._refuse()
            try:
                self._is_running = True
                batch: BatchType = self._receiver.poll()
                if batch is NOTHING:
                    batch = self._await_batch()
            except StopIteration:
                self._is_finished = True
                self._end("finished")
                raise
            except BaseException as error:
                if self._can_resume:
                    self._can_resume = False
                else:
                    self._end(f"ended by {type(error).__name__}")
                fold_traceback(error, from_elsewhere=isinstance(error.__cause__, WorkerTraceback))
                raise
            finally:
                self._is_running = False
            return batch

    def _progress(self) -> str:
        return f"after {self.num_received} batches"

    def _await_batch(self) -> Any:
        """Wait until the next batch is there.

        Raises:
            ClosedError: Another thread has closed this iterator.
            WorkerCrashedError: The worker has ended, and everything that it sent whole was read.
            WorkerTimeoutError: `timeout` is over.
            BaseException: As of `Receiver.poll`.
        """
        receiver = self._receiver
        ended: list[int] = []
        num_reads = -1
        while True:
            if self._is_closing:
                raise ClosedError(f"this iterator was closed {self._progress()}")
            # One more look follows the end: what the worker wrote before it is in the pipe.
            if receiver.is_at_end or ended:
                raise receiver.crash()
            if num_reads != receiver.num_reads:
                num_reads = receiver.num_reads
                self._timeout.begin()
            self._timeout.check(receiver)
            receiver.prepare_to_wait()
            self._can_resume = True
            ended = self._selector.wait(_ONLY, _ONLY if receiver.is_writing else _NONE, self._timeout.patience())
            self._can_resume = False
            batch = receiver.poll()
            if batch is not NOTHING:
                return batch
