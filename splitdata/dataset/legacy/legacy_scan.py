"""Compares the bins of a directory of splitdataloader with its index.

    bin    | len | record 0 | len | record 5 | len | record | len | rec
                 ^ listed         ^ listed         ^ orphan: there, but not in the index
                                                                 ^ cut off
    index  entries of records whose length is not found at their place, or is beyond the end: damaged

Orphans are found by going from length to length through what no entry accounts for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.legacy.legacy_files import bins_in
from splitdata.dataset.segments.finding import Finding
from splitdata.errors import FormatError
from splitdata.format import legacy

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata.dataset.legacy.legacy_directory import LegacyDirectory
    from splitdata.dataset.legacy.legacy_files import LegacyFiles
    from splitdata.storage.file_source import Source

__all__ = ["LegacyScan", "Orphans", "scan"]

_WINDOW_BYTES: Final = 4 << 20
# With fewer lengths to look at in a window it is not read as a whole.
_FEW_LENGTHS: Final = 64
# So many empty records end to end are rather what a file system leaves of an append: zero bytes.
_ZERO_FILL_RECORDS: Final = 16


@dataclass(frozen=True, slots=True)
class Orphans:
    """Whole records in the bins that the index does not list, in the order in which they were likely written.

    Attributes:
        bins: Number of the bin of each.
        offsets: Where its payload begins.
        lengths: Of the payload.
    """

    bins: NDArray[np.int64]
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.bins)


@dataclass(frozen=True, slots=True)
class LegacyScan:
    """What was found.

    Attributes:
        findings: What is wrong, by file.
        damaged: Sequence numbers of the records that cannot be read, ascending.
        orphans: Records that nobody can find by the index.
        num_bytes: Bytes of bins looked through.
    """

    findings: tuple[Finding, ...]
    damaged: NDArray[np.int64]
    orphans: Orphans
    num_bytes: int


def scan(directory: LegacyDirectory, *, progress: Callable[[int, int], None] | None = None) -> LegacyScan:
    """Look at every length in index and bins; takes some 50 bytes of memory a record.

    Args:
        directory: What to look at. Nothing in it is changed.
        progress: Called with bytes of bins done and in all, after each bin.
    """
    files = directory.files()
    sizes = bins_in(directory.path)
    work = _Scan(files)
    if directory.tail_bytes:
        work.find(
            files.index_path,
            f"its last {directory.tail_bytes} bytes are no entry of {legacy.ENTRY_BYTES}: a writer was cut off; what "
            "was appended after that is out of step, and cannot be found by this index",
        )
    entries = files.entries(0, directory.num_records)
    order = np.argsort(entries["bin"], kind="stable")
    numbers, counts = np.unique(entries["bin"], return_counts=True)
    stops = np.cumsum(counts)
    listed = {
        number: order[stop - count : stop]
        for number, count, stop in zip(numbers.tolist(), counts.tolist(), stops.tolist(), strict=True)
    }
    total, done = sum(sizes.values()), 0
    for number in sorted(listed.keys() | sizes.keys()):
        work.look_at(number, listed.get(number, order[:0]), entries)
        done += sizes.get(number, 0)
        if progress is not None:
            progress(done, total)
    return work.result(done)


class _Scan:
    """What one scan has come to know."""

    def __init__(self, files: LegacyFiles) -> None:
        self._files = files
        self._findings: list[Finding] = []
        self._damaged: list[NDArray[np.int64]] = []
        # For each orphan: ordinal in its bin, number of the bin, offset of the payload, length.
        self._orphans: list[NDArray[np.int64]] = []

    def find(self, path: str, problem: str, sequences: NDArray[np.int64] | None = None) -> None:
        """Note one thing that is wrong, and the records that it costs."""
        position = int(sequences.min()) if sequences is not None and len(sequences) else None
        count = 0 if sequences is None else len(sequences)
        self._findings.append(Finding(path=path, problem=problem, position=position, num_records=count))
        if sequences is not None:
            self._damaged.append(sequences)

    def result(self, num_bytes: int) -> LegacyScan:
        """Return all of it; orphans in turn from each bin, as records are dealt out when they are written."""
        table = np.concatenate([np.empty((0, 4), np.int64), *self._orphans])
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        damaged = np.sort(np.concatenate([np.empty(0, np.int64), *self._damaged]))
        orphans = Orphans(table[:, 1], table[:, 2], table[:, 3])
        return LegacyScan(tuple(self._findings), damaged, orphans, num_bytes)

    def look_at(self, number: int, sequences: NDArray[np.int64], all_entries: NDArray[np.void]) -> None:
        """Hold one bin against the entries of its records, whose sequence numbers these are."""
        path = self._files.bin_path(number)
        try:
            source = self._files.bin(number)
        except (FormatError, OSError) as error:
            reason = "does not exist" if isinstance(error, FormatError) else f"cannot be read: {error}"
            self.find(path, f"{reason}; the index lists {len(sequences)} records in it", sequences)
            return
        positions = all_entries["position"][sequences].astype(np.int64)
        ends = positions + legacy.PREFIX_BYTES + all_entries["length"][sequences]
        by_place = np.argsort(positions, kind="stable")
        sequences, positions, ends = sequences[by_place], positions[by_place], ends[by_place]
        within = ends <= source.size
        if not within.all():
            self.find(path, f"ends at {source.size}, before these records do: it was truncated", sequences[~within])
        sequences, positions, ends = sequences[within], positions[within], ends[within]
        agrees = _prefixes(source, positions) == ends - positions - legacy.PREFIX_BYTES
        if not agrees.all():
            self.find(path, self._disagreement(source.size), sequences[~agrees])
        sequences, positions, ends = sequences[agrees], positions[agrees], ends[agrees]
        shared = np.flatnonzero(positions[1:] < ends[:-1])
        if len(shared):
            self.find(
                path, f"{len(shared)} entries lead into records of others; the first is of {sequences[shared[0] + 1]}"
            )
        self._look_between(number, source, positions, ends)

    @staticmethod
    def _disagreement(size: int) -> str:
        wrapped = ""
        if size > 1 << 32:
            wrapped = f"; it has {size} bytes, and positions beyond 4 GiB do not fit into the index: they have wrapped"
        return f"the lengths in it are not those of the index for these records{wrapped}"

    def _look_between(self, number: int, source: Source, positions: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        """Go through what no entry accounts for."""
        path = self._files.bin_path(number)
        starts = np.concatenate([[0], np.maximum.accumulate(ends)]) if len(ends) else np.zeros(1, np.int64)
        stops = np.append(positions, source.size)
        num_orphans = 0
        for gap in np.flatnonzero(starts < stops).tolist():
            start, stop = int(starts[gap]), int(stops[gap])
            offsets, lengths, reached = _chain(source, start, stop)
            if len(offsets):
                ordinals = gap + num_orphans + np.arange(len(offsets))
                rows = (ordinals, np.full(len(offsets), number), offsets + legacy.PREFIX_BYTES, lengths)
                self._orphans.append(np.stack(rows, axis=1).astype(np.int64))
                num_orphans += len(offsets)
            if reached < stop:
                what = "a record that is cut off" if stop == source.size else "no records"
                self.find(path, f"bytes {reached} to {stop} are {what}, and not in the index")
        if num_orphans:
            self.find(
                path,
                f"holds {num_orphans} records that the index does not list: its writer was cut off; "
                "`splitdata write --from-bins` converts them too",
            )


def _prefixes(source: Source, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lengths that stand at ascending positions of a bin, all of them within it."""
    found = np.empty(len(positions), np.int64)
    start = 0
    while start < len(positions):
        first = int(positions[start])
        stop = int(np.searchsorted(positions, first + _WINDOW_BYTES))
        if stop - start < _FEW_LENGTHS:
            for place in range(start, stop):
                prefix = source.read(int(positions[place]), legacy.PREFIX_BYTES)
                found[place] = int.from_bytes(prefix, "little") if len(prefix) == legacy.PREFIX_BYTES else -1
        else:
            window = np.frombuffer(source.view(first, _WINDOW_BYTES + legacy.PREFIX_BYTES), np.uint8)
            at = np.minimum(positions[start:stop] - first, len(window) - legacy.PREFIX_BYTES)
            four = window[at[:, None] + np.arange(legacy.PREFIX_BYTES)]
            found[start:stop] = np.ascontiguousarray(four).view("<u4")[:, 0]
        start = stop
    return found


def _chain(source: Source, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Go from length to length; returns where each whole record begins, its length, and where that ends."""
    offsets: list[int] = []
    lengths: list[int] = []
    place = window_start = start
    window = b""
    while place + legacy.PREFIX_BYTES <= stop:
        at = place - window_start
        if at + legacy.PREFIX_BYTES > len(window):
            window, window_start, at = source.read(place, min(_WINDOW_BYTES, stop - place)), place, 0
        length = int.from_bytes(window[at : at + legacy.PREFIX_BYTES], "little")
        if place + legacy.PREFIX_BYTES + length > stop:
            break
        offsets.append(place)
        lengths.append(length)
        place += legacy.PREFIX_BYTES + length
    num_empty = 0
    while num_empty < len(lengths) and not lengths[-1 - num_empty]:
        num_empty += 1
    if num_empty >= _ZERO_FILL_RECORDS:
        place = offsets[-num_empty]
        del offsets[-num_empty:], lengths[-num_empty:]
    return np.array(offsets, np.int64), np.array(lengths, np.int64), place
