"""One pass over the batches of an epoch, as the user's `for` sees it.

It notes the position behind each batch before it hands the batch out, so that a checkpoint is exact at any moment.

    next() ──> runtime's run ──> note the position behind the batch ──> batch
    Ctrl-C at any place                   the next iterator goes on behind the last batch that was noted
    a newer iterator, load, set_epoch     this one is over: ClosedError, never a quiet short epoch
    seek, skip inside the loop            it goes on from there; skip beyond the epoch ends it
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from splitdata._ownership import OwnerProcess, renew_after_fork
from splitdata.errors import ClosedError
from splitdata.loader.plan.steps import Position
from splitdata.process.wire.remote_error import WorkerTraceback
from splitdata.process.wire.traceback_folding import fold_traceback

if TYPE_CHECKING:
    from splitdata.loader.plan.progress import EpochProgress
    from splitdata.loader.plan.steps import BatchInfo, SkippedRecord
    from splitdata.loader.runtime import Runtime
    from splitdata.loader.stats.meter import StatsMeter

__all__ = ["EpochIterator"]


class EpochIterator(Iterator[Any]):
    """The rest of one epoch. Belongs to one thread at a time.

    Attributes:
        epoch: Which.
    """

    def __init__(
        self,
        runtime: Runtime,
        progress: EpochProgress,
        meter: StatsMeter,
        start: Position,
        note_skipped: Callable[[Sequence[SkippedRecord]], None],
        check_ranks: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self._progress = progress
        self._meter = meter
        self._note_skipped = note_skipped
        self._check_ranks = check_ranks
        self._shape = runtime.plan.shape
        self._owner = OwnerProcess()
        self.epoch = start.epoch
        self._beginning = Position(start.epoch, 0, start.origin)
        self._position = start
        # While a batch is fetched, where that began: an interrupt may leave everything else half done.
        self._interrupted_at: Position | None = None
        self._over: str | None = None
        self._num_handed_out = 0
        meter.begin(start.epoch)
        self._items: Iterator[tuple[BatchInfo, Any]] = runtime.run(start)
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        # `_refuse` tells whose it is; so `next` need not ask.
        self._over = self._over or ""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if self._over is not None:
            self._refuse()
        if not self._num_handed_out:
            # Ranks may have come into being since `iter()`.
            self._check_ranks()
        begin, begin_processor = time.perf_counter(), time.thread_time()
        try:
            if self._interrupted_at is not None:
                self._restart(self._interrupted_at)
            self._interrupted_at = self._position
            info, batch = next(self._items)
            if info.skipped:
                self._note_skipped(info.skipped)
        except StopIteration:
            self._finish()
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.end(f"was ended by {type(error).__name__}")
            self._runtime.close()
            fold_traceback(error, from_elsewhere=isinstance(error.__cause__, WorkerTraceback))
            raise
        if info.skipped:
            self._meter.skipped(len(info.skipped))
        waited, processor = time.perf_counter() - begin, time.thread_time() - begin_processor
        self._meter.handed_out(info.num_samples, info.num_bytes, waited, processor)
        if info.fill is not None:
            self._meter.filled(info.fill)
        self._num_handed_out += 1
        # In this order: an interrupt before the last line lets the batch be made again, it is never left out.
        self._progress.hand_out(info.position, self._shape)
        self._position = info.position
        self._interrupted_at = None
        return batch

    @property
    def beginning(self) -> Position | None:
        """The position at which its epoch began; None when the loop is over."""
        return self._beginning if self._over is None else None

    def _restart(self, position: Position) -> None:
        """Go on from where a batch was wanted, whatever an interrupt has left half done."""
        self._close_items()
        self._runtime.note_interrupt()
        if position.epoch != self.epoch:
            raise StopIteration
        self._items = self._runtime.run(position)
        self._position = position

    def _refuse(self) -> None:
        self._owner.check("this iterator over epoch %d", self.epoch)
        if self._over:
            raise ClosedError(
                f"this iterator over epoch {self.epoch} {self._over}: resume() on the loader goes on behind the last "
                "batch, iter() leaves out the rest of a broken epoch"
            )
        raise StopIteration

    def _finish(self) -> None:
        if self._over is None and not self._num_handed_out:
            # There was no step to take: the epoch is over all the same.
            self._progress.hand_out(self._runtime.end_of_run(), self._shape)
        self._over = self._over or ""
        self._meter.end()

    def jump(self, position: Position) -> None:
        """Go on from another position; one in another epoch ends this iterator quietly."""
        if not self._owner.is_current:
            return
        self._close_items()
        if position.epoch == self.epoch and self._over is None:
            self._items = self._runtime.run(position)
            self._position = position
            self._interrupted_at = None
        else:
            self._over = self._over or ""
            self._meter.end()

    def end(self, reason: str) -> None:
        """Make every further `next` a ClosedError that gives the reason; nothing if the epoch was over."""
        if not self._owner.is_current:
            return
        if self._over is None:
            self._over = reason
            self._meter.end()
        if self._interrupted_at is not None:
            self._runtime.note_interrupt()
        self._close_items()

    def _close_items(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
