"""Walking a snapshot: in write order, bin by bin, or bins in random order; always a chunk at a time.

    write order    chunk of sequences ─> one run of each bin ─> woven together
    bin by bin     runs of one bin, then the next
    shuffled       group of bins, all their records mixed (order/bins.py), the next group asked for ahead

A chunk holds a few MiB, so memory stays bounded whatever the size of a bin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.order.bin_layout import BinLayout
from splitdata.order.bins import BinShuffle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.segment import Segment
    from splitdata.dataset.snapshot import Snapshot

__all__ = ["Chunk", "bin_layout", "walk_bins", "walk_bins_shuffled", "walk_in_order"]

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
Chunk = tuple["NDArray[np.int64]", "Sequence[bytes | memoryview]"]


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


def walk_in_order(snapshot: Snapshot, *, as_views: bool) -> Iterator[Chunk]:
    """Yield all records by position, in chunks."""
    for number in range(snapshot.num_segments):
        segment = snapshot.segment(number)
        step = _chunk_records(segment, max(_CHUNK_RECORDS, segment.stretch))
        for start in range(0, segment.num_records, step):
            for part in _bounded(segment.raw_lengths(start, min(start + step, segment.num_records))):
                first, stop = start + part.start, start + part.stop
                positions = snapshot.starts[number] + np.arange(first, stop, dtype=np.int64)
                yield positions, segment.get_range(first, stop, as_views=as_views)


def walk_bins(snapshot: Snapshot, *, as_views: bool) -> Iterator[Chunk]:
    """Yield all records bin by bin, in each by position, in chunks."""
    for number in range(snapshot.num_segments):
        segment = snapshot.segment(number)
        step = _chunk_records(segment, _CHUNK_VIEWS if as_views else _CHUNK_RECORDS)
        for bin_index in range(segment.num_bins):
            count = segment.bin_count(bin_index)
            for start in range(0, count, step):
                for part in _bounded(segment.run_lengths(bin_index, start, min(start + step, count))):
                    first, stop = start + part.start, start + part.stop
                    records = segment.get_run(bin_index, first, stop, as_views=as_views)
                    yield segment.run_sequences(bin_index, first, stop) + snapshot.starts[number], records


def walk_bins_shuffled(snapshot: Snapshot, *, seed: int, epoch: int, interleave: int) -> Iterator[Chunk]:
    """Yield all records in the shuffled order of one epoch, in chunks."""
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
            yield positions, snapshot.get_many(positions)


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
