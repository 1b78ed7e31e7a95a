"""Reads a cache: finds the entry of each record in what all writers have committed.

    writer.0000   [entry entry entry index] [entry index] ...
    writer.0001   [entry entry index] ...    `- one commit: read from its end, the index says what the others are
                       |
    table    record ──> writer, position           8 bytes a record, touched where there is an entry

A refresh looks only at what was committed since the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.reader import SplitDataLoader
from splitdata.errors import SplitDataError
from splitdata.loader.cache.cache_entry import EntryIndex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.dataset.cache.cache_generation import CacheGeneration
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.loader.cache.cache_entry import EntryCodec

__all__ = ["CacheReader"]

# An address: number of the writer, position of the entry plus one; 0 means no entry.
_WRITER_SHIFT: Final = 40
_POSITION_MASK: Final = (1 << _WRITER_SHIFT) - 1
_LARGE_BYTES: Final = 32 << 10
# What reading may raise for an entry, or a writer's dataset, that is damaged or gone.
_UNREADABLE: Final = (SplitDataError, OSError)


class _EntryLoader(SplitDataLoader):
    """Reads in the folder that is open, whatever takes its path meanwhile."""

    def __init__(self, directory: DatasetDirectory) -> None:
        self._opened = directory
        super().__init__(directory.folder)

    def _directory(self, path: str) -> DatasetDirectory:
        return self._opened


class _WriterView:
    """The dataset of one writer, as far as it was looked at.

    Attributes:
        loader: None before its first commit was seen.
        num_scanned: Records that the table knows of.
        is_broken: It could not be opened.
    """

    def __init__(self, directory: DatasetDirectory) -> None:
        self._directory = directory
        self.loader: SplitDataLoader | None = None
        self.num_scanned = 0
        self.is_broken = False

    def refresh(self) -> SplitDataLoader | None:
        """Return the loader if there is anything new in it."""
        generations = self._directory.generations()
        if not generations:
            return None
        if self.loader is None:
            self.loader = _EntryLoader(self._directory)
        elif self.loader.generation == generations[-1] or not self.loader.refresh():
            return None
        return self.loader


class CacheReader:
    """Reads entries of one generation by record. Belongs to one thread.

    Attributes:
        num_known: Records that have an entry.
        num_damaged: Entries, indexes and whole datasets that could not be read.
    """

    def __init__(self, generation: CacheGeneration, codec: EntryCodec, num_records: int) -> None:
        self.num_known = 0
        self.num_damaged = 0
        self._generation = generation
        self._codec = codec
        self._table = np.zeros(num_records, np.int64)
        self._writers: dict[int, _WriterView] = {}
        # Addresses of entries that are damaged, by our own reading or by what writers say.
        self._dead: set[int] = set()
        self._unreplaced: list[int] = []
        # The size of the entry that was read last: others are hardly ever of quite another size.
        self._num_bytes = 0

    # -- what there is -----------------------------------------------------------------------

    def refresh(self) -> None:
        """Look at what all writers have committed since the last time."""
        for number in self._generation.writers():
            self.refresh_writer(number)

    def refresh_writer(self, number: int) -> None:
        """Look at what one writer has committed since the last time."""
        view = self._writers.get(number)
        if view is None:
            view = self._writers[number] = _WriterView(self._generation.dataset(number))
        try:
            loader = view.refresh()
        except _UNREADABLE:
            self.num_damaged += not view.is_broken
            view.is_broken = True
            return
        if loader is not None:
            for first, index in reversed(self._scan(loader, view.num_scanned)):
                self._enter(number, first, index)
            view.num_scanned = len(loader)

    def _scan(self, loader: SplitDataLoader, start: int) -> list[tuple[int, EntryIndex]]:
        """Return all entries behind `start`, as the position of a first one and an index; the newest first."""
        found = []
        position = len(loader)
        while position > start:
            position -= 1
            try:
                value = self._codec.scan(loader[position])
            except _UNREADABLE:
                # The entries of a damaged index are found one by one: each says which record it has.
                self.num_damaged += 1
                continue
            if isinstance(value, int):
                value = EntryIndex(np.array([value]), np.empty(0, np.int64))
            elif len(value.records) > position - start:
                continue
            else:
                position -= len(value.records)
            found.append((position, value))
        return found

    def _enter(self, number: int, first: int, index: EntryIndex) -> None:
        records = index.records
        addresses = (number << _WRITER_SHIFT) + first + 1 + np.arange(len(records), dtype=np.int64)
        self._dead.update(index.replaced.tolist())
        usable = (records >= 0) & (records < len(self._table))
        if self._dead:
            # One by one: a search in all that are dead would cost as much for each commit as there are of these.
            usable &= np.fromiter((one not in self._dead for one in addresses.tolist()), np.bool_, len(addresses))
        if not usable.all():
            records, addresses = records[usable], addresses[usable]
        self.num_known += len(np.unique(records[self._table[records] == 0]))
        self._table[records] = addresses

    # -- entries -----------------------------------------------------------------------------

    def read(self, records: NDArray[np.int64]) -> list[bytes | memoryview | None]:
        """Return the entry of each record, None where there is none, or a damaged one; that one is forgotten."""
        found: list[bytes | memoryview | None] = []
        shelves, mask = self._writers, _POSITION_MASK
        # A view saves the copy of a large entry, and takes longer to make.
        read = SplitDataLoader.view if self._num_bytes > _LARGE_BYTES else SplitDataLoader.__getitem__
        for record, address in zip(records.tolist(), self._table[records].tolist(), strict=True):
            loader = shelves[address >> _WRITER_SHIFT].loader if address else None
            if loader is None:
                found.append(None)
                continue
            try:
                data = read(loader, (address & mask) - 1)
                self._num_bytes = len(data)
                found.append(data)
            except _UNREADABLE:
                self.discard(record)
                found.append(None)
        return found

    def discard(self, record: int) -> None:
        """Forget the entry of a record: it is damaged."""
        address = int(self._table[record])
        if address:
            self._table[record] = 0
            self.num_known -= 1
            self.num_damaged += 1
            self._dead.add(address)
            self._unreplaced.append(address)

    def take_replaced(self) -> list[int]:
        """Return the addresses of entries found damaged since the last call: an index is to name them."""
        taken, self._unreplaced = self._unreplaced, []
        return taken

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some records that have no entry."""
        unknown: NDArray[np.int64] = records[self._table[records] == 0]
        return unknown

    def read_ahead(self, records: NDArray[np.int64]) -> None:
        """Ask the kernel for entries that are not in memory; returns without waiting for them."""
        for loader, positions in self._by_writer(records):
            loader.read_ahead(positions)

    def _by_writer(self, records: NDArray[np.int64]) -> list[tuple[SplitDataLoader, NDArray[np.int64]]]:
        addresses = self._table[records]
        addresses = addresses[addresses != 0]
        numbers = addresses >> _WRITER_SHIFT
        found = []
        for number in np.unique(numbers).tolist():
            loader = self._writers[number].loader
            if loader is not None:
                found.append((loader, (addresses[numbers == number] & _POSITION_MASK) - 1))
        return found

    def close(self) -> None:
        """Let go of all files."""
        for view in self._writers.values():
            if view.loader is not None:
                view.loader.close()
        self._writers = {}
        self._table = np.zeros(0, np.int64)
