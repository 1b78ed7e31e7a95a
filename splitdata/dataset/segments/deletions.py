"""A segment of which records were deleted: asks its list before each read, and hands on what is not in it.

    SegmentReader, GroupReader        no record of it was deleted: nothing is asked
    SegmentWithDeletions              in the list? ── yes ──> RecordDeletedError
      └─ one of these                        `─ no ──> read as always

So the reads of segments without deletions are what they were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import numpy as np

from splitdata.errors import RecordDeletedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from splitdata.dataset.segments.deleted_records import DeletedRecords
    from splitdata.dataset.segments.group_reader import GroupReader
    from splitdata.dataset.segments.segment_reader import SegmentReader
    from splitdata.order.bin_layout import BinTable

__all__ = ["SegmentWithDeletions"]


class SegmentWithDeletions:
    """Reads records of one segment, and refuses those that were deleted; safe to share between threads.

    The length of a deleted record is 0. A FormatError of any read may also say that the list cannot be read.
    """

    def __init__(self, reader: SegmentReader | GroupReader) -> None:
        """Take what reads the segment; the list is read when it is first needed."""
        self._reader = reader
        self._get = reader.getter()
        self._first_position = reader.files.first_position

    @property
    def deleted(self) -> DeletedRecords:
        """The list."""
        return self._reader.files.deleted()

    @property
    def num_records(self) -> int:
        """How many records there are, deleted ones too: they keep their positions."""
        return self._reader.num_records

    @property
    def num_keys(self) -> int:
        """How many of them have a key, or had one."""
        return self._reader.num_keys

    @property
    def num_bins(self) -> int:
        """How many bins hold them."""
        return self._reader.num_bins

    @property
    def mean_bytes(self) -> int:
        """About how many bytes a record takes."""
        return self._reader.mean_bytes

    @property
    def stretch(self) -> int:
        """From how many records in write order on a range is read well."""
        return self._reader.stretch

    def get(self, sequence: int) -> bytes:
        """Return one record."""
        self._refuse_one(sequence)
        return self._get(sequence)

    def quick(self) -> None:
        """Return None: each read takes a look first."""

    def get_quickly(self, sequences: NDArray[np.int64] | list[int]) -> None:
        """Return None, as `quick` does."""

    def getter(self) -> Callable[[int], bytes]:
        """Return `get`."""
        return self.get

    def get_many(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return records in the order of `sequences`."""
        self._refuse(sequences)
        return self._reader.get_many(sequences)

    def get_views(self, sequences: NDArray[np.int64]) -> list[memoryview]:
        """Return records in the order of `sequences`, as read-only views."""
        self._refuse(sequences)
        return self._reader.get_views(sequences)

    def get_rows(self, sequences: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return records of one size as rows, None where that is not quickly done."""
        self._refuse(sequences)
        return self._reader.get_rows(sequences)

    def get_range(self, first: int, stop: int, *, as_views: bool) -> Sequence[bytes | memoryview]:
        """Return the records of a range in write order."""
        for sequence in self.deleted.between(first, stop).tolist():
            self._raise_deleted(sequence)
        return self._reader.get_range(first, stop, as_views=as_views)

    def get_of_bin(
        self, bin_index: int, first: int, stop: int, *, as_views: bool = False
    ) -> Sequence[bytes | memoryview]:
        """Return the records with ordinals `first` to `stop` of one bin."""
        self._refuse(self._reader.sequences_of_bin(bin_index, first, stop))
        return self._reader.get_of_bin(bin_index, first, stop, as_views=as_views)

    def view(self, sequence: int) -> memoryview:
        """Return one record as a read-only view."""
        self._refuse_one(sequence)
        return self._reader.view(sequence)

    def read_range(self, sequence: int, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` of one record, cut at its end."""
        self._refuse_one(sequence)
        return self._reader.read_range(sequence, start, stop)

    def key(self, sequence: int) -> bytes:
        """Return the key of one record, empty if it has none."""
        self._refuse_one(sequence)
        return self._reader.key(sequence)

    def raw_hashes(self, sequences: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return xxh3-64 of the raw records."""
        self._refuse(sequences)
        return self._reader.raw_hashes(sequences)

    def find_key(self, key: bytes) -> int | None:
        """Return the sequence number of the newest record with a key that was not deleted, None if none has it."""
        return self._reader.find_key(key, self.deleted if self.num_keys else ())

    def length(self, sequence: int) -> int:
        """Return the length of one record."""
        return 0 if sequence in self.deleted else self._reader.length(sequence)

    def raw_lengths(self, start: int, stop: int, stride: int = 1) -> NDArray[np.int64]:
        """Return the lengths of every `stride`-th record of a range, int64."""
        deleted = self.deleted.between(start, stop).astype(np.int64) - start
        lengths = self._reader.raw_lengths(start, stop, stride)
        lengths[deleted[deleted % stride == 0] // stride] = 0
        return lengths

    def lengths_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of the records with ordinals `first` to `stop` of one bin, int64."""
        deleted = self.deleted.among(self._reader.sequences_of_bin(bin_index, first, stop))
        return np.where(deleted, 0, self._reader.lengths_of_bin(bin_index, first, stop))

    def lengths_of(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of any records, int64; of one of 4 GiB and more that it has at least as much."""
        return np.where(self.deleted.among(sequences), 0, self._reader.lengths_of(sequences))

    def bin_count(self, bin_index: int) -> int:
        """Return how many records a bin holds."""
        return self._reader.bin_count(bin_index)

    def sequences_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the sequence numbers of the records with ordinals `first` to `stop` of one bin, int64."""
        return self._reader.sequences_of_bin(bin_index, first, stop)

    def bin_table(self) -> BinTable:
        """Return which records lie in which bin; opens no file."""
        return self._reader.bin_table()

    def get_keys(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return the keys of records in the order of `sequences`, empty where one has none."""
        self._refuse(sequences)
        return self._reader.get_keys(sequences)

    def any_is_cold(self, sequences: NDArray[np.int64]) -> bool:
        """Say whether the first bytes of any record are not in memory; False where the system cannot tell."""
        live = sequences[~self.deleted.among(sequences)]
        return len(live) > 0 and self._reader.any_is_cold(live)

    def prefetch(self, sequences: NDArray[np.int64]) -> None:
        """Ask the kernel for records; returns without waiting for them."""
        live = sequences[~self.deleted.among(sequences)]
        if len(live):
            self._reader.prefetch(live)

    def _refuse_one(self, sequence: int) -> None:
        if sequence in self.deleted:
            self._raise_deleted(sequence)

    def _refuse(self, sequences: NDArray[np.int64]) -> None:
        deleted = self.deleted.among(sequences)
        if deleted.any():
            self._raise_deleted(int(sequences[deleted.argmax()]))

    def _raise_deleted(self, sequence: int) -> NoReturn:
        files = self._reader.files
        position = self._first_position + sequence
        raise RecordDeletedError(
            f"record {position} of {files.dataset_folder} was deleted; walks and loaders leave deleted records out "
            "with skip_deleted=True, and `deleted` of the reader lists them",
            path=files.paths.deleted(files.info.deleted_hash),
            position=position,
        )
