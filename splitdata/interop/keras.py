"""A loader for `fit` of Keras 3, with any of its backends.

    model.fit(KerasLoader(loader), epochs=3)      batches are (inputs, targets), or (inputs, targets, weights)

Keras asks for batches by numbers, in an order that it shuffles itself, for some before it begins, and for some ahead.
Here the order is the loader's: whatever number is asked for, the next batch comes; each epoch begins where it should.

    epochs of Keras   |----- len(loader) -----|----- len(loader) -----|     from where the loader stands
    epochs of the data      rest of one |        the next         |
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from splitdata.loader.distributed_loader import DistributedLoader

__all__ = ["KerasLoader"]


class KerasLoader(keras.utils.PyDataset):
    """Gives the batches of a loader to `fit`, from where the loader stands; not for `steps_per_epoch`.

    An epoch of Keras has as many batches as one of the loader. Behind `load_state_dict` it begins inside of one of the
    loader's, and ends inside of the next.

    Attributes:
        loader: Whose batches these are. Its own state runs ahead of training: ask `state_dict` here.
    """

    def __init__(self, loader: DistributedLoader) -> None:
        super().__init__()
        self.loader = loader
        self._batches: Iterator[Any] = iter(())
        # Of the present epoch of Keras: the loader's state at its begin, how many batches were handed out, and whether
        # it has begun to train. What works ahead for it may do so in a thread.
        self._start = loader.state_dict()
        self._num_taken = 0
        self._has_begun = False
        self._lock = threading.Lock()

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return len(self.loader)

    def __getitem__(self, index: int) -> Any:
        """Return the next batch of the present epoch, whatever its number."""
        with self._lock:
            self._num_taken += 1
            try:
                return next(self._batches)
            except StopIteration:
                self._batches = iter(self.loader)
                return next(self._batches)

    def on_epoch_begin(self) -> None:
        """Go back behind what was only looked at; Keras calls it."""
        with self._lock:
            self.loader.load_state_dict(self._start)
            self._batches = iter(self.loader)
            self._num_taken = 0
            self._has_begun = True

    def on_epoch_end(self) -> None:
        """Go to the next epoch, if this one was trained to its end; Keras calls it, also behind a first look."""
        with self._lock:
            if self._has_begun and self._num_taken >= self.num_batches:
                self._start = self.state_dict(self.num_batches)
            self._has_begun = False

    def state_dict(self, num_batches: int = 0) -> dict[str, Any]:
        """Return the loader's state behind so many batches of the present epoch, as callbacks of Keras count them.

        In `on_train_batch_end(batch)` that is `batch + 1`, in `on_epoch_end` 0.
        """
        there = copy.copy(self.loader)
        there.load_state_dict(self._start)
        there.skip(num_batches)
        return there.state_dict()
