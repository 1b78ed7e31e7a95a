"""Walking a snapshot: in write order, bin by bin, or bins in random order; always a chunk at a time.

    write order    chunk of sequences ─> one run of each bin ─> woven together
    bin by bin     runs of one bin, then the next
    shuffled       group of bins, all their records mixed (order/bins.py), the next group asked for ahead

A chunk holds a few MiB, so memory stays bounded whatever the size of a bin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.bins import BinShuffle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.segment_reader import SegmentReader
    from splitdata.dataset.snapshot import Snapshot

__all__ = ["Chunk", "walk_bins", "walk_bins_shuffled", "walk_in_order"]

# Large enough that what numpy costs per call is spread thin, small enough to stay in a processor's cache.
_CHUNK_BYTES: Final = 4 << 20
_CHUNK_RECORDS: Final = 1 << 12
# A memoryview is an object of 200 bytes that the garbage collector visits: many at once cost twice the time.
_CHUNK_VIEWS: Final = 1 << 9
# In a random order records are looked up one by one; more at once would only use more memory.
_SHUFFLED_RECORDS: Final = 1 << 12

# Positions and records, of equal length.
Chunk = tuple["NDArray[np.int64]", "Sequence[bytes | memoryview]"]


def _chunk_records(segment: SegmentReader, most: int) -> int:
    """Return how many records of a segment make a chunk."""
    info = segment.files.info
    mean = info.raw_bytes // max(1, info.num_records) + 32
    return max(1, min(most, _CHUNK_BYTES // mean))


def _bounded(segment: SegmentReader, sequences: NDArray[np.int64]) -> Iterator[slice]:
    """Cut a chunk where its records are much larger than the segment's mean."""
    first, last = int(sequences[0]), int(sequences[-1]) + 1
    stride = int(sequences[1]) - first if len(sequences) > 1 else 1
    totals = np.cumsum(segment.raw_lengths(first, last, stride))
    start = 0
    while start < len(sequences):
        before = int(totals[start - 1]) if start else 0
        stop = int(np.searchsorted(totals, before + 2 * _CHUNK_BYTES, "right"))
        stop = max(start + 1, stop)
        yield slice(start, stop)
        start = stop


def walk_in_order(snapshot: Snapshot, *, as_views: bool) -> Iterator[Chunk]:
    """Yield all records by position, in chunks."""
    for number in range(snapshot.num_segments):
        segment = snapshot.segment(number)
        num_records, num_bins = segment.files.info.num_records, segment.files.info.num_bins
        # With few records of each bin in a chunk the work per bin would dominate.
        step = _chunk_records(segment, max(_CHUNK_RECORDS, 256 * min(num_bins, 256)))
        for start in range(0, num_records, step):
            sequences = np.arange(start, min(start + step, num_records), dtype=np.int64)
            for part in _bounded(segment, sequences):
                first, stop = int(sequences[part][0]), int(sequences[part][-1]) + 1
                yield sequences[part] + snapshot.starts[number], _woven(segment, first, stop, as_views=as_views)


def _woven(segment: SegmentReader, first: int, stop: int, *, as_views: bool) -> Sequence[bytes | memoryview]:
    """Return records `first` to `stop`, read as a run of each bin."""
    num_bins = segment.files.info.num_bins
    # A run costs some 20 us before its first record.
    if stop - first < 32 * num_bins and not as_views:
        return segment.get_many(np.arange(first, stop, dtype=np.int64))
    records: list[bytes | memoryview] = [b""] * (stop - first)
    for column in range(min(num_bins, stop - first)):
        bin_index = (first + column) % num_bins
        ordinal = (first + column) // num_bins
        count = len(range(column, stop - first, num_bins))
        records[column::num_bins] = segment.get_run(bin_index, ordinal, ordinal + count, as_views=as_views)
    return records


def walk_bins(snapshot: Snapshot, *, as_views: bool) -> Iterator[Chunk]:
    """Yield all records bin by bin, in each by position, in chunks."""
    for number in range(snapshot.num_segments):
        segment = snapshot.segment(number)
        info = segment.files.info
        step = _chunk_records(segment, _CHUNK_VIEWS if as_views else _CHUNK_RECORDS)
        for bin_index in range(info.num_bin_files):
            in_bin = range(bin_index, info.num_records, info.num_bins)
            for start in range(0, len(in_bin), step):
                chunk = in_bin[start : start + step]
                sequences = np.arange(chunk.start, chunk.stop, chunk.step, dtype=np.int64)
                for part in _bounded(segment, sequences):
                    records = segment.get_run(bin_index, start + part.start, start + part.stop, as_views=as_views)
                    yield sequences[part] + snapshot.starts[number], records


def walk_bins_shuffled(snapshot: Snapshot, *, seed: int, epoch: int, interleave: int) -> Iterator[Chunk]:
    """Yield all records in the shuffled order of one epoch, in chunks."""
    bins = _BinTable(snapshot)
    shuffle = BinShuffle(bins.counts, interleave=interleave, seed=seed, epoch=epoch)
    for group in range(len(shuffle.groups)):
        permutation = shuffle.group_permutation(group)
        start, stop = shuffle.group_range(group)
        # By the group, not the dataset: a segment of images may stand beside one of labels.
        mean_bytes = int(bins.mean_bytes[shuffle.groups[group]].max())
        step = max(1, min(_SHUFFLED_RECORDS, _CHUNK_BYTES // mean_bytes))
        for place in range(start, stop, step):
            numbers, ordinals = shuffle.locate(group, permutation, np.arange(place, min(place + step, stop)))
            positions = bins.firsts[numbers] + ordinals * bins.strides[numbers]
            yield positions, snapshot.get_many(positions)


class _BinTable:
    """All bins of a snapshot as arrays: position of the first record, step between records, number, mean size."""

    def __init__(self, snapshot: Snapshot) -> None:
        firsts, strides, counts, means = [], [], [], []
        for number in range(snapshot.num_segments):
            info = snapshot.info(number)
            in_bins = np.arange(info.num_bin_files, dtype=np.int64)
            firsts.append(snapshot.starts[number] + in_bins)
            strides.append(np.full(len(in_bins), info.num_bins, np.int64))
            counts.append((info.num_records - in_bins + info.num_bins - 1) // info.num_bins)
            # The manifest may claim any number, up to what an int64 just holds.
            mean = min(info.raw_bytes // info.num_records, _CHUNK_BYTES) + 32
            means.append(np.full(len(in_bins), mean, np.int64))
        empty = np.empty(0, np.int64)
        self.firsts = np.concatenate([empty, *firsts])
        self.strides = np.concatenate([empty, *strides])
        self.counts = np.concatenate([empty, *counts])
        self.mean_bytes = np.concatenate([empty, *means])
