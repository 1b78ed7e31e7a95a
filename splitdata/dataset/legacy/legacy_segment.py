"""Records of a directory of splitdataloader 0.0.1.

There is no checksum: what is proven is that a record of this length begins at this place.

    entry: bin, position, length ─> within the bin? ─> the length there is the same? ─> payload
"""

from __future__ import annotations

import struct
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import CorruptRecordError, FormatError
from splitdata.format import legacy
from splitdata.format.checksum import hash64
from splitdata.order.bin_layout import BinTable
from splitdata.storage.file_source import MappedSource

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.legacy.legacy_files import LegacyFiles

__all__ = ["LegacySegment"]

_ENTRY: Final = struct.Struct("<III")
# So many entries, spread over the index, tell about how large records are.
_MEAN_SAMPLES: Final = 1024
# Fewer records of one bin are read faster one by one; and so are those between which lies more than they have.
_FEW_RECORDS: Final = 8
_SPARSE: Final = 2
_PREFIX_PLACES: Final = np.arange(legacy.PREFIX_BYTES)


class LegacySegment:
    """Reads such records by their place in the index; safe to share between threads.

    Attributes:
        files: Index and bins.
    """

    # A range is read in the order of the disk anyway.
    stretch = 1
    # The layout has none.
    num_keys = 0

    def __init__(self, files: LegacyFiles) -> None:
        self.files = files

    @property
    def num_records(self) -> int:
        """Entries of the index."""
        return self.files.num_records

    @cached_property
    def mean_bytes(self) -> int:
        """About how many bytes a record takes, from some of the entries."""
        step = max(1, self.num_records // _MEAN_SAMPLES)
        sequences = np.arange(0, self.num_records, step, dtype=np.int64)
        return int(self.files.entries_of(sequences)["length"].mean(dtype=np.float64)) if len(sequences) else 0

    # -- records -----------------------------------------------------------------------------

    def get(self, sequence: int) -> bytes:
        """Return one record.

        Raises:
            CorruptRecordError: If there is no record of this length at this place.
            MissingBinError: If its bin is missing.
        """
        return self._payload(sequence, *_ENTRY.unpack(self.files.entry(sequence)), as_view=False)  # type: ignore[return-value]  # bytes then

    def quick(self) -> None:
        """Return None: each read takes a look first."""

    def get_quickly(self, sequences: NDArray[np.int64] | list[int]) -> None:
        """Return None, as `quick` does."""

    def getter(self) -> Callable[[int], bytes]:
        """Return `get`."""
        return self.get

    def view(self, sequence: int) -> memoryview:
        """Return one record as a read-only view, of the map itself where there is one."""
        return self._payload(sequence, *_ENTRY.unpack(self.files.entry(sequence)), as_view=True)  # type: ignore[return-value]  # a view then

    def get_many(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return records in the order of `sequences`, read in the order of the disk."""
        return self._many(sequences, as_views=False)  # type: ignore[return-value]  # bytes then

    def get_views(self, sequences: NDArray[np.int64]) -> list[memoryview]:
        """Return records in the order of `sequences`, as read-only views."""
        return [memoryview(record) for record in self._many(sequences, as_views=True)]

    def get_rows(self, sequences: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return None: records are put together by the caller."""
        del sequences
        return None

    def get_range(self, first: int, stop: int, *, as_views: bool) -> Sequence[bytes | memoryview]:
        """Return the records of a range in write order."""
        return self._many(np.arange(first, stop, dtype=np.int64), as_views=as_views)

    def get_of_bin(
        self, bin_index: int, first: int, stop: int, *, as_views: bool = False
    ) -> Sequence[bytes | memoryview]:
        """Return the records with ordinals `first` to `stop` of one bin."""
        return self._many(self.sequences_of_bin(bin_index, first, stop), as_views=as_views)

    def read_range(self, sequence: int, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` of one record, cut at its end."""
        bin_number, position, length = _ENTRY.unpack(self.files.entry(sequence))
        self._check(sequence, bin_number, position, length)
        begin = min(start, length)
        end = min(stop, length)
        return self.files.bin(bin_number).read(position + legacy.PREFIX_BYTES + begin, end - begin)

    def _many(self, sequences: NDArray[np.int64], *, as_views: bool) -> list[bytes | memoryview]:
        """Return records in the order of `sequences`; read bin by bin, neighbours at once."""
        entries = self.files.entries_of(sequences)
        order = np.lexsort((entries["position"], entries["bin"]))
        entries = entries[order]
        records: list[bytes | memoryview] = [b""] * len(sequences)
        borders = np.flatnonzero(np.diff(entries["bin"].astype(np.int64))) + 1
        starts = [0, *borders.tolist()]
        for start, stop in zip(starts, [*borders.tolist(), len(order)], strict=True):
            found = self._neighbours(entries[start:stop], as_views=as_views) if stop - start >= _FEW_RECORDS else None
            if found is None:
                found = [
                    self._payload(sequence, *entry, as_view=as_views)
                    for sequence, entry in zip(
                        sequences[order[start:stop]].tolist(), entries[start:stop].tolist(), strict=True
                    )
                ]
            for place, record in zip(order[start:stop].tolist(), found, strict=True):
                records[place] = record
        return records

    def _neighbours(self, entries: NDArray[np.void], *, as_views: bool) -> Sequence[bytes | memoryview] | None:
        """Return records of one bin, ascending, from one stretch of it; None if they lie apart or one is damaged."""
        source = self.files.bin(int(entries["bin"][0]))
        begins = entries["position"].astype(np.int64) + legacy.PREFIX_BYTES
        ends = begins + entries["length"]
        first, last = int(begins[0]) - legacy.PREFIX_BYTES, int(ends[-1])
        in_use = int(entries["length"].sum(dtype=np.int64)) + legacy.PREFIX_BYTES * len(entries)
        if last > source.size or last - first > _SPARSE * in_use or int(ends.max()) > last:
            return None
        is_mapped = isinstance(source, MappedSource)
        # From a map only the records are copied; else the stretch is read by one call.
        data = source.map if isinstance(source, MappedSource) else source.read(first, last - first)
        base = 0 if is_mapped else first
        if len(data) < last - base:
            return None
        prefixes = np.frombuffer(data, np.uint8)[(begins - base - legacy.PREFIX_BYTES)[:, None] + _PREFIX_PLACES]
        if (np.ascontiguousarray(prefixes).view("<u4")[:, 0] != entries["length"]).any():
            return None
        whole = memoryview(data) if as_views else data
        return [whole[begin:end] for begin, end in zip((begins - base).tolist(), (ends - base).tolist(), strict=True)]

    def _payload(
        self, sequence: int, bin_number: int, position: int, length: int, *, as_view: bool
    ) -> bytes | memoryview:
        source = self.files.bin(bin_number)
        # Before it is read: a length that cannot be must not ask for gigabytes.
        if position + legacy.PREFIX_BYTES + length > source.size:
            self._check(sequence, bin_number, position, length)
        data = source.view(position, legacy.PREFIX_BYTES + length)
        if int.from_bytes(data[: legacy.PREFIX_BYTES], "little") != length or len(data) != legacy.PREFIX_BYTES + length:
            self._check(sequence, bin_number, position, length)
        payload = data[legacy.PREFIX_BYTES :]
        return payload if as_view else payload.tobytes()

    def _check(self, sequence: int, bin_number: int, position: int, length: int) -> None:
        """Raise if there is no record of this length at this place of its bin."""
        source = self.files.bin(bin_number)
        end = position + legacy.PREFIX_BYTES + length
        found = int.from_bytes(source.read(position, legacy.PREFIX_BYTES), "little")
        if end > source.size:
            what = f"it needs bytes up to {end}, the file ends at {source.size}"
        elif found != length:
            what = f"the index says that it has {length} bytes, its bin says {found}"
        else:
            return
        path = self.files.bin_path(bin_number)
        raise CorruptRecordError(
            f"record {sequence} of {self.files.folder} (bin {bin_number}, byte {position} of {path}) cannot be "
            f"read: {what}; the other records stay readable, `splitdata verify {self.files.folder}` lists the damage",
            path=path,
            offset=position,
            position=sequence,
            bin_index=bin_number,
        )

    def key(self, sequence: int) -> bytes:
        """Return the empty key of a record that has none; raises as reading the record does."""
        self.view(sequence)
        return b""

    def get_keys(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return the empty keys of records, which have none; raises as `key` does."""
        return [self.key(sequence) for sequence in sequences.tolist()]

    def raw_hashes(self, sequences: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return xxh3-64 of the records."""
        return np.fromiter(map(hash64, self.get_views(sequences)), np.uint64, len(sequences))

    def find_key(self, key: bytes) -> int | None:
        """Return None: no record has a key."""
        del key
        return None

    # -- lengths and bins --------------------------------------------------------------------

    def length(self, sequence: int) -> int:
        """Return the length of one record by the index."""
        length: int = _ENTRY.unpack(self.files.entry(sequence))[2]
        return length

    def raw_lengths(self, start: int, stop: int, stride: int = 1) -> NDArray[np.int64]:
        """Return the lengths of every `stride`-th record of a range, int64."""
        return self.files.entries(start, stop)["length"][::stride].astype(np.int64)

    def lengths_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of the records with ordinals `first` to `stop` of one bin, int64."""
        return self.files.entries_of(self.sequences_of_bin(bin_index, first, stop))["length"].astype(np.int64)

    def lengths_of(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of any records, int64."""
        return self.files.entries_of(sequences)["length"].astype(np.int64)

    @property
    def num_bins(self) -> int:
        """Bins that the index names."""
        return len(self._bin_table.counts)

    def bin_count(self, bin_index: int) -> int:
        """Return how many records a bin holds."""
        return int(self._bin_table.counts[bin_index])

    def sequences_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the sequence numbers of the records with ordinals `first` to `stop` of one bin, int64."""
        start = int(self._bin_table.firsts[bin_index])
        return self._bin_table.sequence_at(np.arange(start + first, start + stop, dtype=np.int64))

    def bin_table(self) -> BinTable:
        """Return which records lie in which bin; made once from the whole index, 4 bytes a record."""
        return self._bin_table

    @cached_property
    def _bin_table(self) -> BinTable:
        numbers = self.files.entries(0, self.num_records)["bin"]
        order = np.argsort(numbers, kind="stable")
        if len(order) <= 1 << 32:
            order = order.astype(np.uint32)
        _, counts = np.unique(numbers, return_counts=True)
        firsts = np.cumsum(counts) - counts
        return BinTable(firsts.astype(np.int64), np.ones(len(counts), np.int64), counts.astype(np.int64), order)

    def any_is_cold(self, sequences: NDArray[np.int64]) -> bool:
        """Say whether the first bytes of any of these are not in memory; False where the system cannot tell."""
        with suppress(FormatError, OSError):
            for bin_number, position, _ in self.files.entries_of(sequences).tolist():
                if not self.files.bin(bin_number).is_resident(position):
                    return True
        return False

    def prefetch(self, sequences: NDArray[np.int64]) -> None:
        """Ask the kernel for records; returns without waiting for them."""
        with suppress(FormatError):
            for bin_number, position, length in self.files.entries_of(sequences).tolist():
                # The damage will be found, and named, when the record is read.
                with suppress(FormatError, OSError, ValueError):
                    self.files.bin(bin_number).prefetch(position, legacy.PREFIX_BYTES + length)
