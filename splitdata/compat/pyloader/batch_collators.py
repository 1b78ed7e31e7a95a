"""DataCollator: makes the tensors of a batch, of any framework.

The last step of a batch, and the only one that knows of devices.

    {"input_ids": [[1, 2], [3, 0]], "label": [0, 1]} ─collate_batch─> {"input_ids": array, "label": array}
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["DataCollator", "NumpyDataCollator", "collate_function", "is_for_workers"]


class DataCollator(ABC):
    """Collates batches; `collate_batch` is for a subclass to define.

    It runs in the process of the training loop, where its tensors may live on any device. One that makes arrays or
    tensors of the CPU can say ``collate_in_worker = True``: then it runs where the files are read.

    Attributes:
        collate_in_worker: Stands in the class that defines `collate_batch`, and holds for that method alone.
        batch: For a `collate_batch` that takes no argument: what it is to collate.
    """

    collate_in_worker: bool = False
    batch: Any = None

    @abstractmethod
    def collate_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Return a batch of tensors for what `batch_encode` has returned.

        A subclass defines it as ``collate_batch(self, batch)``, or as ``collate_batch(self)`` which finds it in
        ``self.batch``.
        """


class NumpyDataCollator(DataCollator):
    """Makes numpy arrays: "label" int64 where the first label is an int, everything else float64; None is left out."""

    collate_in_worker = True

    def collate_batch(self, features: Mapping[str, Sequence[Any]]) -> dict[str, NDArray[Any]]:
        """Return an array for each name.

        Raises:
            ValueError: If lists within one name differ in length.
        """
        batch = {}
        for name, values in features.items():
            if values is not None:
                is_whole = name == "label" and type(values[0]) is int
                batch[name] = _array(values, np.int64 if is_whole else np.float64)
        return batch


def _array(values: Sequence[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """Return `np.array(values, dtype)`; rows of numbers, the usual case, in half the time."""
    if all(type(row) is list for row in values):
        lengths = set(map(len, values))
        if len(lengths) == 1:
            num_columns = lengths.pop()
            try:
                numbers = np.fromiter(chain.from_iterable(values), dtype, len(values) * num_columns)
            except (TypeError, ValueError):
                # Deeper lists, None and the like: as numpy does it, or says.
                return np.array(values, dtype)
            return numbers.reshape(len(values), num_columns)
    return np.array(values, dtype)


def collate_function(collator: DataCollator) -> Callable[[Any], Any]:
    """Return the `collate_batch` of a collator as a function of the batch, whichever of the two forms it has."""
    if inspect.signature(collator.collate_batch).parameters:
        return collator.collate_batch

    def collate(batch: Any) -> Any:
        collator.batch = batch
        return collator.collate_batch()

    return collate


def is_for_workers(collator: DataCollator) -> bool:
    """Say whether a collator may run in a worker; what a base class says holds for the method of that class alone."""
    for cls in type(collator).__mro__:
        if "collate_in_worker" in vars(cls):
            return bool(cls.__dict__["collate_in_worker"])
        if "collate_batch" in vars(cls):
            break
    return False
