"""The files of a directory of splitdataloader 0.0.1, opened where they are first used.

They share the limit of open files with all other readers of the process.

    index.dat ──> entries of some sequences, uint32 columns bin, position, length
    bin%08d.dat ──> sources of bytes, bounded over the whole reader by its OpenFiles
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import MissingBinError, TruncatedFileError
from splitdata.format import legacy
from splitdata.storage.file_source import MappedSource, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.dataset.segments.open_files import OpenFiles

__all__ = ["LegacyFiles", "bins_in"]

# Of entries that are looked up: up to so many others between two of them are read along.
_READ_ALONG: Final = 16


def bins_in(folder: str) -> dict[int, int]:
    """Return number and size of each bin file in a directory, by number; of others nothing."""
    sizes = {}
    with suppress(OSError), os.scandir(folder) as names:
        for entry in names:
            number = legacy.bin_number(entry.name)
            if number is not None and entry.is_file():
                sizes[number] = entry.stat().st_size
    return dict(sorted(sizes.items()))


class LegacyFiles:
    """Index and bins of one directory; safe to share between threads.

    Attributes:
        folder: The directory.
        num_records: Entries of the index that count; there may be more by now.
    """

    def __init__(self, folder: str, num_records: int, pool: OpenFiles) -> None:
        self.folder = folder
        self.num_records = num_records
        self._pool = pool
        self._index: Source | None = None
        self._bins: dict[int, Source] = {}

    @property
    def index_path(self) -> str:
        """Path of the index."""
        return os.path.join(self.folder, legacy.INDEX_NAME)

    def bin_path(self, number: int) -> str:
        """Path of a bin."""
        return os.path.join(self.folder, legacy.bin_name(number))

    def index(self) -> Source:
        """Return the open index.

        Raises:
            TruncatedFileError: If it is gone, or shorter than it was.
        """
        source = self._index
        if source is None:
            try:
                source = self._pool.open(self.index_path)
            except (FileNotFoundError, NotADirectoryError):
                raise TruncatedFileError(f"{self.index_path} does not exist any more", path=self.index_path) from None
            if source.size < self.num_records * legacy.ENTRY_BYTES:
                raise TruncatedFileError(
                    f"{self.index_path} has {source.size} bytes, entries of {source.size // legacy.ENTRY_BYTES} of "
                    f"{self.num_records} records: it was truncated since it was opened",
                    path=self.index_path,
                )
            self._index = source
            self._pool.keep(self, None)
        return source

    def bin(self, number: int) -> Source:
        """Return an open bin.

        Raises:
            MissingBinError: If there is none.
        """
        source = self._bins.get(number)
        if source is None:
            path = self.bin_path(number)
            try:
                source = self._pool.open(path)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise MissingBinError(
                    f"{path} does not exist, and with it the records that the index lists in bin {number}; restore "
                    f"the file, the other records stay readable (`splitdata verify {self.folder}` counts them)",
                    path=path,
                ) from None
            self._bins[number] = source
            self._pool.keep(self, number)
        return source

    def drop(self, bin_index: int | None) -> None:
        """Let go of a bin, or of the index; it is opened again when it is used."""
        if bin_index is None:
            self._index = None
        else:
            self._bins.pop(bin_index, None)

    def entry(self, sequence: int) -> bytes:
        """Return the 12 bytes of one entry."""
        return self.index().read(sequence * legacy.ENTRY_BYTES, legacy.ENTRY_BYTES)

    def entries(self, start: int, stop: int) -> NDArray[np.void]:
        """Return the entries of a range; a view of the map where there is one."""
        if start == stop:
            return np.empty(0, legacy.ENTRY_DTYPE)
        data = self.index().view(start * legacy.ENTRY_BYTES, (stop - start) * legacy.ENTRY_BYTES)
        return np.frombuffer(data, legacy.ENTRY_DTYPE)

    def entries_of(self, sequences: NDArray[np.int64]) -> NDArray[np.void]:
        """Return the entries of some sequences, in their order."""
        if not len(sequences):
            return np.empty(0, legacy.ENTRY_DTYPE)
        if isinstance(self.index(), MappedSource):
            return self.entries(0, self.num_records)[sequences]
        first, last = int(sequences.min()), int(sequences.max())
        if last - first < _READ_ALONG * len(sequences):
            return self.entries(first, last + 1)[sequences - first]
        return np.frombuffer(b"".join(map(self.entry, sequences.tolist())), legacy.ENTRY_DTYPE)
