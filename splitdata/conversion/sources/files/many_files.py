"""Sources of which each file is a record, and its path the key: what they have in common.

One look at all files, without opening any, finds how many they are, how large, and hashes that tell of changes.

    path, stat ──add──> number, bytes, hash of paths | of paths and sizes | of paths, sizes and times
"""

from __future__ import annotations

import os
import stat
from abc import ABC, abstractmethod
from collections import Counter
from copy import copy
from typing import TYPE_CHECKING, Any, Final, cast

import xxhash

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from splitdata.conversion.sources.files.sized_file import SizedFile
    from splitdata.conversion.sources.source import RecordSource, SourcePosition

__all__ = ["ManyFilesSource"]

# What opening one costs beside its bytes, as if it were bytes.
_FILE_BYTES: Final = 16 << 10


class _FileStats:
    """Sums over files in their order: number, bytes, and three hashes."""

    def __init__(self) -> None:
        self.num_files = 0
        self.num_bytes = 0
        self._names = xxhash.xxh3_128()
        self._sizes = xxhash.xxh3_128()
        self._times = xxhash.xxh3_128()

    def add(self, name: str, status: os.stat_result) -> None:
        """Count one file; what is no regular file has no size."""
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.num_files += 1
        self.num_bytes += size
        # No name holds a zero byte, so no two lists of names give the same bytes.
        encoded = os.fsencode(name) + b"\0"
        self._names.update(encoded)
        self._sizes.update(encoded + b"%d\0" % size)
        self._times.update(encoded + b"%d %d\0" % (size, status.st_mtime_ns))

    def names_hash(self) -> str:
        """Return 32 hex digits that depend on the names alone."""
        return self._names.hexdigest()

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return number, size, and a hash of names and sizes, with times of these too; as a source gives it."""
        kind, digest = ("paths, sizes and times", self._times) if with_times else ("paths and sizes", self._sizes)
        return {"files": self.num_files, "bytes": self.num_bytes, f"hash of {kind}": digest.hexdigest()}


class ManyFilesSource(ABC):
    """Files as records; those before a position are not opened. Memory holds no list of their names."""

    kind: str

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self.bytes_read = 0
        self._stats: _FileStats | None = None
        self._num_given = 0

    def __getstate__(self) -> dict[str, Any]:
        # Sums are made again where it arrives, if they are asked for there.
        return self.__dict__ | {"_stats": None}

    @abstractmethod
    def keyed_records(
        self, position: SourcePosition | None = None
    ) -> Generator[tuple[str, bytes | SizedFile], None, None]:
        """Yield the key of each file behind a position, and its content; of 1 MiB and more as an open file.

        Raises:
            SourceError: If there is no file at all, or one shrinks while it is read.
            OSError: If a folder or a file cannot be read: nothing is left out silently.
        """

    @abstractmethod
    def _statuses(self) -> Iterator[tuple[str, os.stat_result]]:
        """Yield key and status of each file, in order; opens none."""

    @property
    def num_bytes(self) -> int:
        """Size of all files together; the first time this looks at each of them."""
        return self._file_stats().num_bytes

    def identity(self) -> str:
        """Return kind and a hash of all keys, for which it looks at the files."""
        return f"{self.kind} {self._file_stats().names_hash()}"

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return number, size, and a hash of the keys and sizes of all files; with times of these too."""
        return self._file_stats().state(with_times=with_times)

    def __iter__(self) -> Generator[bytes | SizedFile, None, None]:
        """Yield the content of each file; as `keyed_records`, without the keys."""
        return self.records_from({})

    def records_from(self, position: SourcePosition) -> Generator[bytes | SizedFile, None, None]:
        """Yield the content of the files behind a position."""
        for _, record in self.keyed_records(position):
            yield record

    @property
    def has_parts(self) -> bool:
        """Other processes can read the files, too."""
        return True

    def parts(self, max_bytes: int) -> Generator[RecordSource, None, None]:
        """Yield the files by the dozen, as they are found."""
        found: list[Any] = []
        num_bytes = 0
        for one, status in self._found():
            found.append(one)
            num_bytes += status.st_size + _FILE_BYTES
            if num_bytes >= max_bytes:
                yield self._part(found)
                found, num_bytes = [], 0
        if found:
            yield self._part(found)

    def _part(self, found: list[Any]) -> RecordSource:
        """Return the source of some of the files."""
        part = copy(self)
        part.skipped, part.bytes_read, part._stats, part._num_given = Counter(), 0, None, 0
        part._take(found)
        return cast("RecordSource", part)

    @abstractmethod
    def _found(self) -> Iterator[tuple[Any, os.stat_result]]:
        """Yield what `_take` is told of each file, and its status; raises if there is none."""

    @abstractmethod
    def _take(self, found: list[Any]) -> None:
        """Read these files alone."""

    def _count(self, num_bytes: int) -> None:
        self.bytes_read += num_bytes

    def _file_stats(self) -> _FileStats:
        if self._stats is None:
            stats = _FileStats()
            for key, status in self._statuses():
                stats.add(key, status)
            self._stats = stats
        return self._stats
