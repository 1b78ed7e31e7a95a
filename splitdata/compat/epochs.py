"""Epoch after epoch of a loader from one object that is its own iterator, as the older loaders were.

Scripts of theirs call `iter` and `next` on it, in any mixture.

    for batch in epochs     begins the next epoch, also after a break
    next(epochs)            goes on; behind the StopIteration of an epoch it begins the next
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from splitdata.loader.distributed_loader import DistributedLoader
    from splitdata.loader.epoch_iterator import EpochIterator

__all__ = ["Epochs"]


class Epochs(Iterator[Any]):
    """Iterates over a DistributedLoader. Not thread-safe.

    Args:
        loader: From now on this object's, to close too.
        finish: What each batch becomes when it is handed out.
        at_end: Called with the number of each epoch that was gone through, behind its last batch.
    """

    def __init__(
        self,
        loader: DistributedLoader,
        finish: Callable[[Any], Any] | None = None,
        at_end: Callable[[int], None] | None = None,
    ) -> None:
        self._loader = loader
        self._finish = finish
        self._at_end = at_end
        self._running: EpochIterator | None = None
        self._is_fresh = False

    def begin(self) -> EpochIterator:
        """Let workers begin with the next epoch, and return it; the same as before if none of its batches came yet."""
        if self._running is None or not self._is_fresh:
            self._running = iter(self._loader)
            self._is_fresh = True
        return self._running

    def __iter__(self) -> Self:
        self.begin()
        return self

    def __next__(self) -> Any:
        running = self.begin() if self._running is None else self._running
        self._is_fresh = False
        try:
            batch = next(running)
        except StopIteration:
            self._running = None
            if self._at_end is not None:
                self._at_end(running.epoch)
            raise
        return batch if self._finish is None else self._finish(batch)

    def close(self) -> None:
        """End the workers; every further epoch is refused. May be called more than once."""
        self._running, self._is_fresh = None, False
        self._loader.close()
