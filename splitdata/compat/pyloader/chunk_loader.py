"""DataLoader: the batches of all files of a folder, over all epochs, in one iterator.

It holds what the user gave, asks the stream for encoded batches, and makes tensors of them.

    for inputs in DataLoader(reader, dataset, collator, "data", num_epoch=5): ...
        ChunkStream.first ─> collate_batch, if it belongs here ─> inputs
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from splitdata._local_path import local_path
from splitdata._ownership import Closeable
from splitdata.compat.pyloader.batch_collators import DataCollator, collate_function, is_for_workers
from splitdata.compat.pyloader.batch_encoders import Dataset
from splitdata.compat.pyloader.chunk_readers import DataReader
from splitdata.compat.pyloader.chunk_stream import ChunkPlan, ChunkStream
from splitdata.errors import ClosedError
from splitdata.loader.stats.meter import num_cores
from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DataLoader"]

_MOST_WORKERS: Final = 4


class DataLoader(Closeable):
    """Gives the batches of all epochs, one after the other; reading starts with the first `next`.

    The order depends on the seeds, the names of the files and the epochs alone. What a reader, dataset or collator
    raises is raised here, with its traceback. Belongs to one thread. After a break `iter` goes on where it was; after
    the end it begins again with epoch 1.
    """

    def __init__(
        self,
        datareader: DataReader,
        dataset: Dataset,
        datacollator: DataCollator,
        root_dir: str | os.PathLike[str],
        num_epoch: int = 1,
        max_queue_size: int = 10,
        shuffle: bool = False,
        random_seed: int = 42,
        *,
        num_workers: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        """Look at the files; starts nothing.

        Args:
            datareader: Reads each file.
            dataset: Encodes each batch.
            datacollator: Makes its tensors.
            root_dir: Every file in it is read, also those of its folders, by name; hidden ones are left out.
            num_epoch: How often.
            max_queue_size: Files that may be read ahead.
            shuffle: Another order of the files in each epoch; the reader's own `shuffle` is for the samples of a file.
            random_seed: Of that order.
            num_workers: Processes that read and encode; 0 for a thread of this one. None: up to four, one a core. What
                cannot be sent to a process is used by a thread, with a warning.
            max_bytes: Bytes of finished batches that may wait; None for a tenth of the memory that is free, 1 GiB at
                most.

        Raises:
            TypeError: If one of the three is not of its class.
            FileNotFoundError: If there is no such folder, or no file in it.
            ValueError: If a number is out of range.
        """
        for name, value, kind in (
            ("datareader", datareader, DataReader),
            ("dataset", dataset, Dataset),
            ("datacollator", datacollator, DataCollator),
        ):
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be a {kind.__name__} of this package, got {type(value).__name__}")
        num_epoch = checked_count("num_epoch", num_epoch, 0)
        self._max_files = checked_count("max_queue_size", max_queue_size, 1)
        self._max_bytes = None if max_bytes is None else checked_count("max_bytes", max_bytes, 1)
        files = _files_below(local_path(root_dir, "root_dir"))
        most = min(_MOST_WORKERS, num_cores()) if num_workers is None else checked_count("num_workers", num_workers, 0)
        self._num_workers = min(most, self._max_files, len(files))
        is_collated = is_for_workers(datacollator)
        self._collate = None if is_collated else collate_function(datacollator)
        self._plan = ChunkPlan(
            files, num_epoch, shuffle, random_seed, datareader, dataset, datacollator if is_collated else None
        )
        self._stream: ChunkStream | None = None
        self._epoch = 0
        self._has_ended = self._is_closed = False

    def __iter__(self) -> Iterator[Any]:
        if self._has_ended:
            self._has_ended, self._epoch = False, 0
        return self

    def __next__(self) -> Any:
        if self._is_closed:
            raise ClosedError("this DataLoader was closed: make another one")
        if self._has_ended:
            raise StopIteration
        if self._stream is None:
            self._stream = ChunkStream(self._plan, self._num_workers, self._max_files, self._max_bytes)
        stream = self._stream
        try:
            batch = stream.first()
        except StopIteration:
            self._has_ended, self._stream = True, None
            stream.close()
            raise
        inputs = batch if self._collate is None else self._collate(batch)
        # Only now: after an error of the collator, or Ctrl-C, the batch is still there.
        stream.drop_first()
        self._epoch = stream.epoch
        return inputs

    def get_batch(self) -> Any:
        """Return the next batch; StopIteration at the end of the last epoch."""
        return next(self)

    def get_epoch(self) -> int:
        """Return the epoch of the batch that was given last, from 1; 0 before the first."""
        return self._epoch

    def close(self) -> None:
        """End the workers; safe to call again."""
        self._is_closed = True
        if self._stream is not None:
            self._stream.close()


def _files_below(root: str) -> list[str]:
    """Return the paths of all files, by folder and name; raise for what cannot be read as one."""
    files: list[str] = []
    for folder, folders, names in os.walk(root, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        if unreadable := [path for path in paths if not path.is_file()]:
            raise FileNotFoundError(f"{unreadable[0]} is no file, or a link to nothing: remove it from {root}")
        files += map(str, paths)
    if not files:
        raise FileNotFoundError(f"{root} holds no file to read")
    return files


def _refuse(error: OSError) -> None:
    try:
        raise error
    finally:
        # Else the error would lead back to this call, and keep all that its callers hold.
        del error
