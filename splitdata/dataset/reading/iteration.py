"""Walks over a snapshot: in write order, bin by bin, or bins in random order; always a chunk at a time.

A chunk holds a few MiB, so memory stays bounded whatever the size of a bin. One in which a record cannot be read is
walked record by record: the good ones come before the error, and a caller that goes on gets those behind it.

    write order    chunk of sequences ─> a part of each bin ─> woven together
    bin by bin     parts of one bin, then the next
    shuffled       group of bins, all their records mixed (bin_shuffle.py)

Of a dataset in a store the next chunks are asked for while one is handed out.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import SplitDataError
from splitdata.order.bin_layout import BinLayout
from splitdata.order.bin_shuffle import BinShuffle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.reading.snapshot import Snapshot
    from splitdata.dataset.segments.segment import Segment

__all__ = ["Chunk", "OneByOne", "bin_layout", "walk_bins", "walk_bins_shuffled", "walk_in_order"]

# Large enough that what numpy costs per call is spread thin, small enough to stay in a processor's cache.
_CHUNK_BYTES: Final = 4 << 20
_CHUNK_RECORDS: Final = 1 << 12
# A memoryview is an object of 200 bytes that the garbage collector visits: many at once cost twice the time.
_CHUNK_VIEWS: Final = 1 << 9
# In a random order records are looked up one by one; more at once would only use more memory.
_SHUFFLED_RECORDS: Final = 1 << 12

# What a record takes beside its bytes, about.
_RECORD_OVERHEAD: Final = 32

# Positions and records, of equal length.
Chunk = tuple["NDArray[np.int64]", "Sequence[bytes | memoryview] | OneByOne"]
# Positions, and what reads their records.
_Chunk = tuple["NDArray[np.int64]", "Callable[[], Sequence[bytes | memoryview]]"]
# So many chunks are asked for ahead, of the two chunks' worth of bytes that one has at most: a store answers meanwhile.
_CHUNKS_AHEAD: Final = 3


def _chunk_records(segment: Segment, most: int) -> int:
    """Return how many records of a segment make a chunk."""
    return max(1, min(most, _CHUNK_BYTES // (segment.mean_bytes + _RECORD_OVERHEAD)))


def _bounded(lengths: NDArray[np.int64]) -> Iterator[slice]:
    """Cut a chunk where its records are much larger than the segment's mean."""
    totals = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = int(totals[start - 1]) if start else 0
        stop = int(np.searchsorted(totals, before + 2 * _CHUNK_BYTES, "right"))
        stop = max(start + 1, stop)
        yield slice(start, stop)
        start = stop


class OneByOne:
    """Records that are read when asked for: one that cannot be read raises there, and the next call goes on."""

    def __init__(self, positions: NDArray[np.int64], read: Callable[[int], bytes | memoryview]) -> None:
        """Take positions, and what reads the record of one."""
        self._positions: list[int] = positions.tolist()
        self._read = read
        self._next = 0

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """Return itself."""
        return self

    def __next__(self) -> bytes | memoryview:
        """Read the next record."""
        if self._next == len(self._positions):
            raise StopIteration
        self._next += 1
        return self._read(self._positions[self._next - 1])

    def with_positions(self) -> Iterator[tuple[int, bytes | memoryview]]:
        """Return the same with the position of each."""
        return _Pairs(self._positions, self)


class _Pairs:
    """Positions with records; where one cannot be read its position goes with it."""

    def __init__(self, positions: list[int], records: OneByOne) -> None:
        self._positions = iter(positions)
        self._records = records

    def __iter__(self) -> Iterator[tuple[int, bytes | memoryview]]:
        return self

    def __next__(self) -> tuple[int, bytes | memoryview]:
        return next(self._positions), next(self._records)


def walk_in_order(snapshot: Snapshot, *, as_views: bool, skip_deleted: bool = False) -> Iterator[Chunk]:
    """Yield all records by position, in chunks; or all but those that were deleted."""
    chunks = _chunks_in_order(snapshot, as_views=as_views)
    return _handed_out(snapshot, chunks, as_views=as_views, skip_deleted=skip_deleted)


def _chunks_in_order(snapshot: Snapshot, *, as_views: bool) -> Iterator[_Chunk]:
    for number in range(snapshot.num_segments):
        segment = snapshot.segment(number)
        begin = snapshot.starts[number]
        step = _chunk_records(segment, max(_CHUNK_RECORDS, segment.stretch))
        for start in range(0, segment.num_records, step):
            stop = min(start + step, segment.num_records)
            for part in _parts(partial(segment.raw_lengths, start, stop), stop - start):
                first, last = start + part.start, start + part.stop
                positions = begin + np.arange(first, last, dtype=np.int64)
                read = partial(segment.get_range, first, last, as_views=as_views)
                yield positions, read


def walk_bins(snapshot: Snapshot, *, as_views: bool, skip_deleted: bool = False) -> Iterator[Chunk]:
    """Yield all records bin by bin, in each by position, in chunks; or all but those that were deleted."""
    chunks = _chunks_of_bins(snapshot, as_views=as_views)
    return _handed_out(snapshot, chunks, as_views=as_views, skip_deleted=skip_deleted)


def _chunks_of_bins(snapshot: Snapshot, *, as_views: bool) -> Iterator[_Chunk]:
    for number in range(snapshot.num_segments):
        segment = snapshot.segment(number)
        step = _chunk_records(segment, _CHUNK_VIEWS if as_views else _CHUNK_RECORDS)
        for bin_index in range(segment.num_bins):
            count = segment.bin_count(bin_index)
            for start in range(0, count, step):
                stop = min(start + step, count)
                for part in _parts(partial(segment.lengths_of_bin, bin_index, start, stop), stop - start):
                    first, last = start + part.start, start + part.stop
                    positions = segment.sequences_of_bin(bin_index, first, last) + snapshot.starts[number]
                    read = partial(segment.get_of_bin, bin_index, first, last, as_views=as_views)
                    yield positions, read


def _handed_out(snapshot: Snapshot, chunks: Iterator[_Chunk], *, as_views: bool, skip_deleted: bool) -> Iterator[Chunk]:
    """Yield the records of chunks; those of a store are asked for some chunks ahead, as far as memory holds them."""
    most = min(_CHUNKS_AHEAD, snapshot.bytes_kept // (4 * _CHUNK_BYTES)) if snapshot.is_remote else 0
    waiting: deque[_Chunk] = deque()
    for positions, read in chunks:
        # One record alone may be of gigabytes. What cannot be asked for is named where it is read.
        if most and len(positions) > 1:
            with suppress(SplitDataError, OSError):
                snapshot.prefetch(positions)
        waiting.append((positions, read))
        if len(waiting) > most:
            yield from _read(snapshot, *waiting.popleft(), as_views=as_views, skip_deleted=skip_deleted)
    for positions, read in waiting:
        yield from _read(snapshot, positions, read, as_views=as_views, skip_deleted=skip_deleted)


def _parts(lengths: Callable[[], NDArray[np.int64]], count: int) -> Iterator[slice]:
    """Cut a chunk by the lengths of its records; where the index does not tell them it is read one by one anyway."""
    try:
        known = lengths()
    except (SplitDataError, OSError):
        yield slice(0, count)
        return
    yield from _bounded(known)


def _read(
    snapshot: Snapshot,
    positions: NDArray[np.int64],
    read: Callable[[], Sequence[bytes | memoryview]],
    *,
    as_views: bool,
    skip_deleted: bool,
) -> Iterator[Chunk]:
    """Yield the records of a chunk together, one by one where any of them cannot be read; nothing if none is left."""
    if skip_deleted:
        live = snapshot.live(positions)
        if live is not positions:
            read, positions = partial(snapshot.get_views if as_views else snapshot.get_many, live), live
    if len(positions):
        yield positions, _together(snapshot, positions, read, as_views=as_views)


def _together(
    snapshot: Snapshot,
    positions: NDArray[np.int64],
    read: Callable[[], Sequence[bytes | memoryview]],
    *,
    as_views: bool,
) -> Sequence[bytes | memoryview] | OneByOne:
    try:
        return read()
    except (SplitDataError, OSError):

        def read_one(position: int) -> bytes | memoryview:
            if not as_views:
                return snapshot.get(position)
            segment, sequence = snapshot.find(position)
            return segment.view(sequence)

        return OneByOne(positions, read_one)


def walk_bins_shuffled(
    snapshot: Snapshot, *, seed: int, epoch: int, interleave: int, skip_deleted: bool = False
) -> Iterator[Chunk]:
    """Yield all records in the shuffled order of one epoch, in chunks; or all but those that were deleted."""
    chunks = _chunks_shuffled(snapshot, seed=seed, epoch=epoch, interleave=interleave)
    return _handed_out(snapshot, chunks, as_views=False, skip_deleted=skip_deleted)


def _chunks_shuffled(snapshot: Snapshot, *, seed: int, epoch: int, interleave: int) -> Iterator[_Chunk]:
    bins = bin_layout(snapshot)
    means = _mean_bytes(snapshot)
    shuffle = BinShuffle(bins.counts, interleave=interleave, seed=seed, epoch=epoch)
    for group in range(shuffle.num_groups):
        start, stop = shuffle.group_range(group)
        # By the group, not the dataset: a segment of images may stand beside one of labels.
        mean_bytes = int(means[shuffle.group_bins(group)].max())
        step = max(1, min(_SHUFFLED_RECORDS, _CHUNK_BYTES // mean_bytes))
        for place in range(start, stop, step):
            positions = bins.positions(*shuffle.locate(np.arange(place, min(place + step, stop))))
            for part in _parts(partial(snapshot.lengths_of, positions), len(positions)):
                some = positions[part]
                read = partial(snapshot.get_many, some)
                yield some, read


def bin_layout(snapshot: Snapshot) -> BinLayout:
    """Return which records lie in which bin, of all segments."""
    return BinLayout([segment.bin_table() for segment in _segments(snapshot)])


def _mean_bytes(snapshot: Snapshot) -> NDArray[np.int64]:
    """Return for each bin about what a record of it takes."""
    # A manifest may claim any number, up to what an int64 just holds.
    means = [min(segment.mean_bytes, _CHUNK_BYTES) + _RECORD_OVERHEAD for segment in _segments(snapshot)]
    return np.repeat(np.array(means, np.int64), [segment.num_bins for segment in _segments(snapshot)])


def _segments(snapshot: Snapshot) -> list[Segment]:
    return [snapshot.segment(number) for number in range(snapshot.num_segments)]
