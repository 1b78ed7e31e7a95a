"""A directory that the package splitdataloader 0.0.1 wrote, as a dataset: its files as they are, read-only.

It has no generations. Its package may go on appending: a reader shows the records that were there at opening.

    index.dat                    how many records: its size / 12; fewer than 12 bytes at its end are ignored
    bin00000000.dat ...          anything else, sub-directories too, is ignored
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from splitdata.dataset.legacy.legacy_files import LegacyFiles, bins_in
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.errors import FormatError, ManifestError
from splitdata.format import legacy
from splitdata.format.digest import add_digests, fingerprint
from splitdata.storage import files

if TYPE_CHECKING:
    from splitdata.storage.file_source import IoMode

__all__ = ["LEGACY_DATASET_ID", "LegacyDirectory", "is_legacy_directory"]

LEGACY_DATASET_ID: Final = "splitdataloader 0.0.1"
"""In place of an id, which such directories do not have."""

_CHUNK_ENTRIES: Final = 1 << 18
_MARK_ENTRIES: Final = 1 << 12


def is_legacy_directory(folder: str) -> bool:
    """Say whether a directory looks like one of splitdataloader: an index beside bins, or empty.

    Raises:
        FormatError: If there are index and bins by name, and the index, or every bin, is not a regular file.
    """
    index = os.path.join(folder, legacy.INDEX_NAME)
    try:
        is_regular = files.is_regular(index)
        if is_regular and (not files.size_of_name(index) or bins_in(folder)):
            return True
        names = [name for name in os.listdir(folder) if legacy.bin_number(name) is not None and files.exists(index)]
    except (OSError, ValueError):
        return False
    if names:
        raise _irregular(os.path.join(folder, min(names)) if is_regular else index)
    return False


class LegacyDirectory:
    """The records of such a directory at one moment; stands where a manifest stands for a dataset.

    Attributes:
        path: The directory.
        num_records: Whole entries of the index.
        tail_bytes: What was behind them.
        generation: 0.
        dataset_id: The same for all of them.
        metadata: Empty.
    """

    generation = 0
    dataset_id = LEGACY_DATASET_ID

    def __init__(self, path: str, num_records: int | None = None, *, may_lack_index: bool = False) -> None:
        """Look at the size of the index.

        Args:
            path: Of the directory.
            num_records: Those behind are not shown.
            may_lack_index: Take a directory without index for one that lists no records.

        Raises:
            ManifestError: If there are not so many records.
            FormatError: If the index is not a regular file.
            OSError: If it cannot be looked at.
        """
        self.path = path
        index = os.path.join(path, legacy.INDEX_NAME)
        try:
            size = files.size_of_name(index)
            if not files.is_regular(index):
                raise _irregular(index)
        except FileNotFoundError:
            if not may_lack_index:
                raise
            size = 0
        found, self.tail_bytes = divmod(size, legacy.ENTRY_BYTES)
        self.num_records = found if num_records is None else num_records
        self.metadata: dict[str, Any] = {}
        if found < self.num_records:
            missing = self.num_records - found
            raise ManifestError(f"{path} has {missing} records less than when this reader was opened", path=path)

    def files(self, io: IoMode = "pread", pool: OpenFiles | None = None) -> LegacyFiles:
        """Return its files, none of them open yet."""
        return LegacyFiles(self.path, self.num_records, pool or OpenFiles(io))

    def seems_whole(self) -> bool:
        """Say whether the bins are as large as the index says; reads the index, and the sizes of the bins."""
        files = self.files()
        listed = self.num_records * legacy.PREFIX_BYTES
        for start in range(0, self.num_records, _CHUNK_ENTRIES):
            entries = files.entries(start, min(start + _CHUNK_ENTRIES, self.num_records))
            listed += int(entries["length"].sum(dtype=np.int64))
        return not self.tail_bytes and listed == sum(bins_in(self.path).values())

    @cached_property
    def digest(self) -> int:
        """A number that depends on the lengths of all records in their order; reads the index once, and no record.

        Reading all records, as a digest of this package's own would, may take hours.
        """
        hasher = xxhash.xxh3_64(LEGACY_DATASET_ID.encode())
        files = self.files()
        for start in range(0, self.num_records, _CHUNK_ENTRIES):
            entries = files.entries(start, min(start + _CHUNK_ENTRIES, self.num_records))
            hasher.update(entries["length"].tobytes())
        return add_digests((hasher.intdigest(),))

    @property
    def fingerprint(self) -> str:
        """Digest and number of records, as text."""
        return fingerprint(self.digest, self.num_records)

    def mark(self) -> int:
        """Return a number by which a worker that opens the directory again finds out that it was replaced."""
        files, count = self.files(), self.num_records
        try:
            head = files.entries(0, min(count, _MARK_ENTRIES))
            tail = files.entries(max(0, count - _MARK_ENTRIES), count)
        except FormatError:
            return -1
        return xxhash.xxh3_64_intdigest(head.tobytes() + tail.tobytes())


def _irregular(path: str) -> FormatError:
    return FormatError(f"{path} is no regular file; splitdata opens nothing else", path=path)
