"""Cached samples in memory, for as long as the loader lives: seen by all its workers at once, gone with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata._ownership import OwnerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from splitdata.loader.cache.cache_options import Cache
    from splitdata.process.shared.record_memory import RecordMemory

__all__ = ["MemoryEntryStore"]


class MemoryEntryStore:
    """Entries in a RecordMemory. Belongs to one thread.

    Args:
        options: What the user chose.
        memory: Of the loader.
        writer: Number of this worker.
    """

    def __init__(self, options: Cache, memory: RecordMemory, writer: int) -> None:
        self._options = options
        self._max_bytes = memory.max_bytes
        self._desk = memory.attach(writer)
        self._epoch = -1
        self.problem: str | None = None
        self.num_bytes_kept = 0
        self._owner = OwnerProcess()

    @property
    def num_damaged(self) -> int:
        """Entries that could not be read."""
        return self._desk.num_damaged

    def begin(self, epoch: int) -> None:
        """Go to the generation of an epoch.

        Raises:
            ClosedError: If this process was forked from the one that has this store.
        """
        self._owner.check("a cache in memory")
        if epoch != self._epoch:
            self._epoch = epoch
            self.problem = None
            self._desk.begin(self._options.first_epoch(epoch))

    def read(self, records: NDArray[np.int64]) -> Sequence[bytes | memoryview | None]:
        """Return the entry of each record."""
        return self._desk.read(records)

    def discard(self, record: int) -> None:
        """Forget the entry of a record."""
        self._desk.discard(record)

    def add(self, record: int, data: bytes) -> None:
        """Take the entry of a record."""
        if self._desk.add(record, data):
            self.num_bytes_kept += len(data)
        else:
            self.problem = (
                f"the cache in memory takes no more samples: the {self._max_bytes} bytes that it may take are taken. "
                "What it has is read, all else is computed each time"
            )

    def commit(self) -> None:
        """Do nothing: what was added is seen at once."""

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some records that have no entry."""
        return self._desk.unknown(records)

    def prefetch(self, records: NDArray[np.int64]) -> None:
        """Do nothing: entries are in memory."""

    def is_warm(self, records: NDArray[np.int64]) -> bool:
        """Say yes."""
        return True

    def close(self) -> None:
        """Let go of the memory; nothing in a forked child, whose copy of the desk is not its own."""
        if self._owner.is_current:
            self._desk.close()
