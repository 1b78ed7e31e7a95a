"""The protocol of a segment: what a snapshot asks of each, whatever its layout.

Sequence numbers count the records of one segment from 0 in write order. Bins are numbered from 0 too;
their records have ordinals, in the order of the file.

    SegmentReader     a frame for each record          bins by arithmetic: sequence % num_bins
    GroupReader       a frame for a group of records   bins by arithmetic: sequence // group % num_bins
    SegmentWithDeletions      one of these, of which records were deleted: deletions.py
    LegacySegment     splitdataloader 0.0.1            bins by a table, made from its index
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from splitdata.order.bin_layout import BinTable

__all__ = ["Segment"]


class Segment(Protocol):
    """Records of one segment by sequence number, which the caller keeps in range; safe to share between threads.

    Every read raises FormatError for a record that cannot be proven to be what was written.
    """

    @property
    def num_records(self) -> int:
        """How many records there are."""

    @property
    def num_keys(self) -> int:
        """How many of them have a key."""

    @property
    def num_bins(self) -> int:
        """How many bins hold them."""

    @property
    def mean_bytes(self) -> int:
        """About how many bytes a record takes."""

    @property
    def stretch(self) -> int:
        """From how many records in write order on a range is read well."""

    def get(self, sequence: int) -> bytes:
        """Return one record."""

    def quick(self) -> Callable[[Any], bytes | None] | None:
        """Return what returns one record at once, if it can: None where it cannot. None if there is no such thing."""

    def get_quickly(self, sequences: NDArray[np.int64] | list[int]) -> list[bytes] | None:
        """Return records at once, None where that cannot be: then they are not checked at all."""

    def getter(self) -> Callable[[int], bytes]:
        """Return what does as `get` does, in the least time."""

    def get_many(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return records in the order of `sequences`."""

    def get_views(self, sequences: NDArray[np.int64]) -> list[memoryview]:
        """Return records in the order of `sequences`, as read-only views."""

    def get_rows(self, sequences: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return records of one size as rows, None where that is not quickly done."""

    def get_range(self, first: int, stop: int, *, as_views: bool) -> Sequence[bytes | memoryview]:
        """Return the records of a range in write order."""

    def get_of_bin(
        self, bin_index: int, first: int, stop: int, *, as_views: bool = False
    ) -> Sequence[bytes | memoryview]:
        """Return the records with ordinals `first` to `stop` of one bin."""

    def view(self, sequence: int) -> memoryview:
        """Return one record as a read-only view."""

    def read_range(self, sequence: int, start: int, stop: int) -> bytes:
        """Return bytes `start` to `stop` of one record, cut at its end."""

    def key(self, sequence: int) -> bytes:
        """Return the key of one record, empty if it has none."""

    def get_keys(self, sequences: NDArray[np.int64]) -> list[bytes]:
        """Return the keys of records in the order of `sequences`, empty where one has none."""

    def raw_hashes(self, sequences: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return xxh3-64 of the raw records, as it is stored where it is: then it is not proven."""

    def find_key(self, key: bytes) -> int | None:
        """Return the sequence number of the record with a key, None if none has it."""

    def length(self, sequence: int) -> int:
        """Return the length of one record."""

    def raw_lengths(self, start: int, stop: int, stride: int = 1) -> NDArray[np.int64]:
        """Return the lengths of every `stride`-th record of a range, int64."""

    def lengths_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of the records with ordinals `first` to `stop` of one bin, int64."""

    def lengths_of(self, sequences: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the lengths of any records, int64; of one of 4 GiB and more that it has at least as much."""

    def bin_count(self, bin_index: int) -> int:
        """Return how many records a bin holds."""

    def sequences_of_bin(self, bin_index: int, first: int, stop: int) -> NDArray[np.int64]:
        """Return the sequence numbers of the records with ordinals `first` to `stop` of one bin, int64."""

    def bin_table(self) -> BinTable:
        """Return which records lie in which bin, of all bins at once: 24 bytes a bin and more."""

    def any_is_cold(self, sequences: NDArray[np.int64]) -> bool:
        """Say whether the first bytes of any of these are not in memory; False where the system cannot tell."""

    def prefetch(self, sequences: NDArray[np.int64]) -> None:
        """Ask the kernel for records; returns without waiting for them."""
