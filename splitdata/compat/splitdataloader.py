"""The interface of the package splitdataloader 0.0.1: its three names, on the datasets of splitdata.

A script needs another import and nothing else; what it wrote with the old package is read as it is.

    from splitdataloader import write_split_data           ->  from splitdata.compat.splitdataloader import ...
    write_split_data   adds to what is there               ->  SplitWriter(mode="append")
    SplitDataLoader    both layouts                        ->  the same class
    MpQItr             next() goes on with a run of its own
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

from splitdata.dataset import split_data
from splitdata.dataset.reader import SplitDataLoader
from splitdata.process import mpqitr

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from splitdata._types import BytesLike
    from splitdata.process.consumer.channel import Channel

__all__ = ["MpQItr", "SplitDataLoader", "write_split_data"]

BatchType = TypeVar("BatchType")


def write_split_data(
    target_dir: str | os.PathLike[str],
    input_sequence: Iterable[BytesLike],
    splits: int = 256,
    shuffle: bool = False,
    start_clean: bool = False,
) -> None:
    """Add all records of an iterable to a dataset, record k to bin ``k % splits``; all of them or none.

    Called twice, it adds twice, as it always did: `splitdata.write_split_data` refuses that.

    Args:
        target_dir: The dataset; made where it does not exist.
        input_sequence: The records.
        splits: Number of bins. Each call has bins of its own, so that another number than before does no harm.
        shuffle: Accepted. It used to permute the numbers of the bins; no record is read differently for it.
        start_clean: Replace the dataset that is there, once the new one is whole.

    Raises:
        DatasetExistsError: If the directory holds anything but a dataset of splitdata, which may be one that
            splitdataloader wrote: it is read, never written. Nothing was touched.
    """
    split_data.write_split_data(
        target_dir, input_sequence, splits, shuffle, mode="overwrite" if start_clean else "append"
    )


class MpQItr(mpqitr.MpQItr[BatchType]):
    """Runs a generator in another process; every `iter()` is a run of its own.

    `next()` of the object itself goes on with one run, which the first one starts; after its end it is
    StopIteration until `iter()` is called, as `for` does.
    """

    _own_run: Channel[BatchType] | None = None

    def __init__(self, itr_func: Callable[..., Iterable[BatchType]], /, *args: Any, **kwargs: Any) -> None:
        """Take a generator function and its arguments, as `splitdata.MpQItr` does."""
        super().__init__(itr_func, *args, **kwargs)

    def _after_fork_in_child(self) -> None:
        super()._after_fork_in_child()
        self._own_run = None

    def __iter__(self) -> Channel[BatchType]:
        """Start a run; the one of `next()` ends."""
        if self._own_run is not None:
            self._own_run.close()
            self._own_run = None
        return super().__iter__()

    def __next__(self) -> BatchType:
        if self._own_run is None:
            self._own_run = super().__iter__()
        return next(self._own_run)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the runs: the copy starts its own."""
        return functools.partial(MpQItr, self._function, *self._args, **self._kwargs), ()
