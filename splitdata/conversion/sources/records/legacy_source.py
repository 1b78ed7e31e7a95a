"""A directory of splitdataloader 0.0.1 as a source: its records in the order of its index.

The directory stays as it is; its records move into a dataset that has checksums.

    index in order ──> records                       what only the bins know is counted as left out
    from_bins: the same, without what is damaged ──> then the records that the index does not list
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata._local_path import local_path
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.dataset.legacy.legacy_directory import LegacyDirectory
from splitdata.dataset.legacy.legacy_files import bins_in
from splitdata.dataset.legacy.legacy_scan import scan
from splitdata.dataset.legacy.legacy_segment import LegacySegment
from splitdata.errors import FormatError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.legacy.legacy_scan import LegacyScan

__all__ = ["LegacySource"]

_CHUNK_RECORDS: Final = 1 << 12
_CHUNK_BYTES: Final = 4 << 20


class LegacySource:
    """The records of such a directory; of 1 MiB and more as files."""

    kind = "splitdataloader"

    def __init__(self, path: str, *, from_bins: bool = False) -> None:
        """Take the directory.

        Args:
            path: Of the directory.
            from_bins: Leave out records that are damaged instead of raising, and put those behind the others
                that are in the bins, but not in the index. There need not be an index at all.

        Raises:
            FileNotFoundError: If the index is missing and needed.
            SourceError: If there are no bins either.
        """
        self.path = local_path(path, "the source")
        self.skipped: Counter[str] = Counter()
        self.bytes_read = 0
        self._from_bins = from_bins
        self._open()
        if from_bins and not bins_in(self.path):
            raise SourceError(f"{path} holds no bin of splitdataloader (bin00000000.dat and so on)", path=path)

    @property
    def name(self) -> str:
        """The name of the directory."""
        return Path(self.path).resolve().name

    @property
    def inputs(self) -> list[str]:
        """The path of the directory."""
        return [self.path]

    @property
    def num_bytes(self) -> int:
        """Size of all bins."""
        return sum(bins_in(self.path).values())

    def identity(self) -> str:
        """Return kind and name: the records themselves are in the dataset."""
        return f"{self.kind} {self.name}{' from bins' if self._from_bins else ''}"

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return what tells this directory from a changed one: its index and the sizes of its bins."""
        directory = self._open()
        state: dict[str, Any] = {
            "from_bins": self._from_bins,
            "records": directory.num_records,
            "index": f"{directory.mark():x}",
            "bins": [[number, size] for number, size in bins_in(self.path).items()],
        }
        if with_times and (path := Path(directory.files().index_path)).exists():
            state["time"] = path.stat().st_mtime_ns
        return state

    def _open(self) -> LegacyDirectory:
        return LegacyDirectory(self.path, may_lack_index=self._from_bins)

    def __iter__(self) -> Generator[bytes | SizedFile, None, None]:
        """Yield the records.

        Raises:
            SourceError: If one is damaged, unless damaged records are left out on request.
        """
        self.skipped.clear()
        self.bytes_read = 0
        directory = self._open()
        segment = LegacySegment(directory.files())
        found = scan(directory) if self._from_bins or not directory.seems_whole() else None
        sequences = np.arange(directory.num_records, dtype=np.int64)
        if found and self._from_bins:
            sequences = np.delete(sequences, found.damaged)
            self._skip("damaged record", len(found.damaged))
        elif found:
            self._skip("unlisted record", len(found.orphans))
        yield from self._listed(segment, sequences)
        if self._from_bins and found:
            yield from self._orphaned(segment, found, first=len(sequences))

    def _skip(self, what: str, number: int) -> None:
        if number:
            self.skipped[what] = number

    def _listed(self, segment: LegacySegment, sequences: NDArray[np.int64]) -> Iterator[bytes | SizedFile]:
        for start in range(0, len(sequences), _CHUNK_RECORDS):
            chunk = sequences[start : start + _CHUNK_RECORDS]
            lengths = segment.files.entries_of(chunk)["length"].astype(np.int64)
            for part in _bounded(lengths):
                try:
                    if lengths[part.start] < READ_WHOLE_BYTES:
                        records = segment.get_many(chunk[part])
                        self.bytes_read += sum(map(len, records))
                        yield from records
                        continue
                    sequence, length = int(chunk[part.start]), int(lengths[part.start])
                    # Its place is proven before anything of it is taken.
                    segment.read_range(sequence, 0, 0)
                except FormatError as error:
                    advice = "to leave damaged records out, take them from the bins with from_bins=True"
                    raise SourceError(f"{error}; {advice}", path=self.path) from None
                yield self._file(partial(segment.read_range, sequence), length, sequence)

    def _orphaned(self, segment: LegacySegment, found: LegacyScan, *, first: int) -> Iterator[bytes | SizedFile]:
        orphans = found.orphans
        rows = zip(orphans.bins.tolist(), orphans.offsets.tolist(), orphans.lengths.tolist(), strict=True)
        for position, (number, offset, length) in enumerate(rows, first):
            read = partial(_read_between, segment, number, offset)
            if length < READ_WHOLE_BYTES:
                self.bytes_read += length
                yield read(0, length)
            else:
                yield self._file(read, length, position)

    def _file(self, read_between: Callable[[int, int], bytes], length: int, position: int) -> SizedFile:
        place = 0

        def read(size: int) -> bytes:
            nonlocal place
            data = read_between(place, min(place + size, length))
            place += len(data)
            self.bytes_read += len(data)
            return data

        return SizedFile(read, length, path=self.path, position=position)


def _read_between(segment: LegacySegment, number: int, offset: int, start: int, stop: int) -> bytes:
    return segment.files.bin(number).read(offset + start, stop - start)


def _bounded(lengths: NDArray[np.int64]) -> Iterator[slice]:
    """Cut a chunk into parts of a few MiB; a record that is large is a part by itself."""
    start = total = 0
    for place, length in enumerate(lengths.tolist()):
        if place > start and (length >= READ_WHOLE_BYTES or total + length > _CHUNK_BYTES):
            yield slice(start, place)
            start, total = place, 0
        total += length
        if length >= READ_WHOLE_BYTES:
            yield slice(start, place + 1)
            start, total = place + 1, 0
    if start < len(lengths):
        yield slice(start, len(lengths))
