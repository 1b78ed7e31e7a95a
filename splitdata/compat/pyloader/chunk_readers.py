"""DataReader: the samples of one file at a time, cut into batches.

A file is held whole while its batches are given, and no longer.

    load(path) ─> read_file ─> {"text": [...], "label": [...]}, n ─shuffle?─> columns ─> get_batch(i)
"""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any, Final

from splitdata.order.counts import checked_count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Columns = Mapping[str, Sequence[Any]]

__all__ = ["DataReader", "JsonLineDataReader"]

_decoder: Final = json.JSONDecoder()


class DataReader:
    """Reads a file into memory and gives its samples in batches; `read_file` is for a subclass to define.

    Attributes:
        batch_size: Samples in each batch; the last one of a file may have fewer.
        epoch: Goes into the shuffled order; a DataLoader sets it, from 1. 0 for a reader that is used by itself.
        n_sample: Samples of the file that was loaded last, 0 before.
        n_batch: Its batches.
    """

    def __init__(self, batch_size: int = 16, shuffle: bool = False, random_seed: int = 42) -> None:
        """Choose how to read.

        Args:
            batch_size: 1 or more.
            shuffle: Mix the samples of each file. The order depends on the seed, the epoch and the file's name alone.
            random_seed: For that; the global generators are not touched.
        """
        self.batch_size = checked_count("batch_size", batch_size, 1)
        self.shuffle = shuffle
        self.random_seed = random_seed
        self.epoch = 0
        self.n_sample = 0
        self.n_batch = 0
        self._starts = range(0)
        self._columns: dict[str, Sequence[Any]] = {}

    def __len__(self) -> int:
        return self.n_sample

    def read_file(self, path: str) -> tuple[Columns, int]:
        """Return the samples of a file, as a dict of lists of one length, and that length."""
        raise NotImplementedError(f"{type(self).__name__} must define read_file(path)")

    def load(self, path: str, read_fn: Callable[[str], tuple[Columns, int]] | None = None) -> None:
        """Read a file and put its samples in the place of those before.

        Args:
            path: Of the file.
            read_fn: Takes the place of `read_file`.

        Raises:
            ValueError: If a list does not have as many values as there are samples.
            Exception: What `read_file` raises.
        """
        columns, n_sample = (read_fn or self.read_file)(path)
        n_sample = checked_count(f"the number of samples of {path}", n_sample, 0)
        for name, values in columns.items():
            if len(values) != n_sample:
                raise ValueError(f"{path}: {name!r} has {len(values)} values for {n_sample} samples")
        if self.shuffle:
            order = list(range(n_sample))
            random.Random(f"{self.random_seed} {self.epoch} {os.path.basename(path)}").shuffle(order)  # noqa: PTH119  # text
            columns = {name: [values[place] for place in order] for name, values in columns.items()}
        self._columns = dict(columns)
        self._starts = range(0, n_sample, self.batch_size)
        self.n_sample, self.n_batch = n_sample, len(self._starts)

    def get_batch(self, batch_idx: int) -> tuple[dict[str, list[Any]], int]:
        """Return a batch of the loaded file as a dict of lists, and its number of samples.

        Raises:
            IndexError: If there is no such batch.
        """
        start = self._starts[batch_idx]
        stop = min(start + self._starts.step, self.n_sample)
        return {name: list(values[start:stop]) for name, values in self._columns.items()}, stop - start


class JsonLineDataReader(DataReader):
    """Reads files of one JSON object a line, all with the same names; blank lines count for nothing."""

    def __init__(self, batch_size: int = 4, shuffle: bool = False, random_seed: int = 42) -> None:
        """Choose how to read, as DataReader."""
        super().__init__(batch_size, shuffle, random_seed)

    def read_file(self, path: str) -> tuple[Columns, int]:
        """Return the values of each name in the order of the lines, and the number of objects.

        Raises:
            ValueError: If a line is no JSON object, or has other names than the first one.
        """
        columns: dict[str, list[Any]] = {}
        n_sample = 0
        with open(path, encoding="utf-8") as lines:  # noqa: PTH123  # paths are text here
            for number, line in enumerate(lines, 1):
                text = line.strip()
                if not text:
                    continue
                sample = _json_object(text, f"line {number} of {path}")
                if not n_sample:
                    columns = {name: [] for name in sample}
                elif sample.keys() != columns.keys():
                    raise ValueError(f"line {number} of {path} has the names {[*sample]}, those before {[*columns]}")
                for name, value in sample.items():
                    columns[name].append(value)
                n_sample += 1
        return columns, n_sample


def _json_object(text: str, where: str) -> dict[str, Any]:
    try:
        # A third faster than `loads`, which looks for blanks on both sides first.
        sample, end = _decoder.raw_decode(text)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    if end < len(text):
        raise ValueError(f"{where} is not JSON: more follows behind its value")
    if not isinstance(sample, dict):
        raise ValueError(f"{where} is no JSON object but {type(sample).__name__}")
    return sample
