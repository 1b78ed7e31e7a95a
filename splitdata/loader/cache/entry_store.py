"""The protocol of a place for cached samples, whatever it is made of.

    DiskStore      datasets in a folder, shared by all that use it      disk_store.py
    MemoryStore    memory shared by the workers of one loader           memory_store.py

    NoStore        none of both: for one look, which keeps nothing

Both hold bytes; what is in them is the business of cache_entry.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EntryStore", "NoStore"]


class EntryStore(Protocol):
    """Entries of one generation at a time. Belongs to one thread.

    Nothing here raises because of a disk: what cannot be read is not there, what cannot be written is
    not kept, and `problem` says why.
    """

    @property
    def problem(self) -> str | None:
        """Why entries are not kept any more, in words; None while all is well."""

    @property
    def num_damaged(self) -> int:
        """Entries that could not be read, since the beginning."""

    @property
    def num_bytes_kept(self) -> int:
        """Bytes of entries that others can read now, since the beginning; what is not committed does not count."""

    def begin(self, epoch: int) -> None:
        """Go to the generation of an epoch, and look at what others have added; cheap if nothing has changed."""

    def read(self, records: NDArray[np.int64]) -> Sequence[bytes | memoryview | None]:
        """Return the entry of each record, None where there is none."""

    def discard(self, record: int) -> None:
        """Forget the entry of a record, which turned out to be damaged."""

    def add(self, record: int, data: bytes) -> None:
        """Take the entry of a record; a damaged one is replaced by it."""

    def commit(self) -> None:
        """Let others see what was added."""

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some records that have no entry, as far as is known without looking anew."""

    def prefetch(self, records: NDArray[np.int64]) -> None:
        """Ask for entries to be brought into memory; returns at once."""

    def is_warm(self, records: NDArray[np.int64]) -> bool:
        """Tell whether entries seem to be in memory."""

    def close(self) -> None:
        """Commit, and release everything."""


class NoStore:
    """Holds no entries and takes none."""

    num_damaged = 0
    num_bytes_kept = 0

    @property
    def problem(self) -> str | None:
        """Never one: nothing is kept."""
        return None

    def begin(self, epoch: int) -> None:
        """Nothing to go to."""

    def read(self, records: NDArray[np.int64]) -> Sequence[bytes | memoryview | None]:
        """Return None for each record."""
        return [None] * len(records)

    def discard(self, record: int) -> None:
        """Nothing is there."""

    def add(self, record: int, data: bytes) -> None:
        """Drop it."""

    def commit(self) -> None:
        """Nothing was added."""

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return all of them."""
        return records

    def prefetch(self, records: NDArray[np.int64]) -> None:
        """Nothing is there."""

    def is_warm(self, records: NDArray[np.int64]) -> bool:
        """None is there that could be cold."""
        return True

    def close(self) -> None:
        """Nothing is held."""
