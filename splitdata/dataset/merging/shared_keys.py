"""Finds the keys that records of several datasets have, from their sorted tables: in bounded memory, no record is read.

    keys of A ─┐
    keys of B ─┼─ merge by hash ──> equal hashes, of two datasets? ──> the keys themselves ──> equal, not deleted?
    keys of C ─┘

Within one dataset a key may be there twice: who looks for it finds the newest record. That stays so.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from splitdata.dataset.keys.sorted_keys import Batches, merge
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.group_reader import open_reader
from splitdata.format import spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.keys.sorted_keys import Pairs, SortedKeysReader
    from splitdata.dataset.segments.group_reader import GroupReader
    from splitdata.dataset.segments.segment_files import SegmentFiles
    from splitdata.dataset.segments.segment_reader import SegmentReader

__all__ = ["SharedKey", "shared_keys"]


@dataclass(frozen=True, slots=True)
class SharedKey:
    """A key that two datasets have.

    Attributes:
        key: The key.
        positions: Of both records, in all datasets end to end.
    """

    key: str
    positions: tuple[int, int]


def shared_keys(datasets: list[list[SegmentFiles]]) -> Iterator[SharedKey]:
    """Yield each key that live records of two datasets have, once for each pair of datasets that follow each other.

    Args:
        datasets: The segments of each, in order.

    Raises:
        FormatError: If keys of a segment cannot be looked up.
    """
    records = _KeyedRecords(datasets)
    runs: list[Batches] = [
        _PositionedRun(run, start)
        for files, start in zip(records.segments, records.starts, strict=True)
        if files.info.num_keys
        for run in files.keys().readers()
    ]
    for positions in _of_equal_hashes(merge(runs)):
        if records.dataset_of(min(positions)) != records.dataset_of(max(positions)):
            yield from records.shared(positions)


@dataclass(frozen=True, slots=True)
class _PositionedRun:
    """A sorted run of keys with positions in the place of sequence numbers."""

    run: SortedKeysReader
    first_position: int

    def batches(self, num_blocks: int) -> Iterator[Pairs]:
        """Yield hashes and positions."""
        for hashes, sequences in self.run.batches(num_blocks):
            yield hashes, sequences.astype(np.uint64) + np.uint64(self.first_position)


def _of_equal_hashes(batches: Iterator[Pairs]) -> Iterator[list[int]]:
    """Yield the positions of all keys that have one hash, where these are two or more."""
    # Of the last hash of the batch before: it may go on in this one.
    last: list[int] = []
    last_hash = 0
    for hashes, positions in batches:
        is_equal = hashes[1:] == hashes[:-1]
        first = int(np.count_nonzero(hashes == hashes[0]))
        if last and last_hash == hashes[0]:
            last += positions[:first].tolist()
        else:
            if len(last) > 1:
                yield last
            last = positions[:first].tolist()
        last_hash = int(hashes[-1])
        if first == len(hashes):
            continue
        if len(last) > 1:
            yield last
        end = len(hashes) - int(np.count_nonzero(hashes == hashes[-1]))
        for start, stop in _stretches(is_equal[first : end - 1]):
            yield positions[first + start : first + stop + 1].tolist()
        last = positions[end:].tolist()
    if len(last) > 1:
        yield last


def _stretches(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield where flags begin and end to be set."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True)


class _KeyedRecords:
    """All records of several datasets, end to end."""

    def __init__(self, datasets: list[list[SegmentFiles]]) -> None:
        self.segments = [files for one in datasets for files in one]
        counts = [files.info.num_records for files in self.segments]
        self.starts: list[int] = np.cumsum([0, *counts]).tolist()[:-1]
        sizes = [sum(files.info.num_records for files in one) for one in datasets]
        self._bounds: list[int] = np.cumsum(sizes).tolist()
        self._readers: dict[int, SegmentReader | GroupReader] = {}

    def dataset_of(self, position: int) -> int:
        return bisect_right(self._bounds, position)

    def shared(self, positions: list[int]) -> Iterator[SharedKey]:
        """Yield those of some keys that are one key, in two datasets."""
        seen: dict[bytes, int] = {}
        for position in sorted(positions):
            key = self._live_key(position)
            if key is None:
                continue
            if key in seen and self.dataset_of(seen[key]) != self.dataset_of(position):
                yield SharedKey(key.decode("utf-8", "backslashreplace"), (seen[key], position))
            seen[key] = position

    def _live_key(self, position: int) -> bytes | None:
        number = bisect_right(self.starts, position) - 1
        files, sequence = self.segments[number], position - self.starts[number]
        if sequence in files.deleted():
            return None
        if number not in self._readers:
            self._readers[number] = open_reader(
                files, ColdReads(), verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES
            )
        return self._readers[number].key(sequence)
