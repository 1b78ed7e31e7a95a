"""Bytes by number, in memory that a consumer and its workers share, and that no kill leaves behind.

    consumer    RecordMemory ──pickled as its process and descriptors──> workers: attach(writer) ──> desk

    table       generation | bytes used by each writer | record 0 | record 1 | ...      8 bytes each
                                                             `- writer, offset
    data        [header payload] [header payload] ...        each writer appends to a stretch of its own
                 `- generation, record, length, hash: what does not agree with them is not there

Both are memory files without a name, which a worker opens through /proc: they need not be inherited, and go
with the last process that has them open. They have holes, and take the memory of what was written. Entries are
seen by all at once; no lock is taken but to begin another generation, which makes holes of both. They never
shrink, so a worker that lags behind reads zeros, and nobody meets the end of a file.

Where there are no such files, each process has a dict of its own, shared by its threads: then processes do not
find what others have made.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RecordDesk", "RecordMemory"]

_HEADER: Final = struct.Struct("<QQQQ")
_UNIT: Final = 8
_WORD: Final = 8
# A place: number of the writer, offset in its stretch in units of 8 bytes, plus one; 0 is none.
_WRITER_SHIFT: Final = 48
_OFFSET_MASK: Final = (1 << _WRITER_SHIFT) - 1
# Of addresses, for the entries of all writers: a quarter of what a process has.
_MOST_ADDRESSES: Final = 1 << 45

_attaching = threading.Lock()


class RecordDesk(Protocol):
    """One writer's access to the entries. Belongs to one thread.

    Attributes:
        num_damaged: Entries that did not agree with their headers.
    """

    num_damaged: int

    def begin(self, generation: int) -> None:
        """Go to a generation; the entries of every other one are gone."""

    def read(self, records: NDArray[np.int64]) -> Sequence[bytes | memoryview | None]:
        """Return the entry of each record, None where there is none; valid until another generation is begun."""

    def add(self, record: int, data: bytes) -> bool:
        """Keep the entry of a record; False if there is no room."""

    def discard(self, record: int) -> None:
        """Forget the entry of a record, which turned out to be damaged."""

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some records that have no entry."""

    def close(self) -> None:
        """Let go of the memory."""


class RecordMemory:
    """What all desks of one consumer share. May be pickled, to processes that this one outlives.

    Attributes:
        owner: The process that made it.
        is_shared: Whether processes find each other's entries; False: only threads do.
    """

    def __init__(self, *, num_records: int, num_writers: int, max_bytes: int, is_shared: bool | None = None) -> None:
        """Make the memory; it is taken as it is used.

        Args:
            num_records: Entries are for records below this.
            num_writers: Desks are for writers below this.
            max_bytes: Of entries and their headers together.
            is_shared: None: where the system has what it takes.

        Raises:
            OSError: No more descriptors.
        """
        self.num_records = num_records
        self.num_writers = num_writers
        self.max_bytes = max_bytes
        self.owner = os.getpid()
        self.is_shared = has_memory_files() if is_shared is None else is_shared
        self._files: tuple[int, int] | None = None
        self._entries: _Entries | None = None
        self._is_original = True
        if self.is_shared:
            self._files = _make_files(self.table_start + num_records * _WORD, num_writers * self.stretch)
            self._ids = tuple(map(_identity, self._files))

    @property
    def table_start(self) -> int:
        """Where the table begins in its file, in bytes."""
        return -(-(1 + self.num_writers) * _WORD // mmap.PAGESIZE) * mmap.PAGESIZE

    @property
    def stretch(self) -> int:
        """Bytes of the data in which one writer writes: it may have all there is."""
        most = min(self.max_bytes, _MOST_ADDRESSES // self.num_writers)
        return -(-most // mmap.PAGESIZE) * mmap.PAGESIZE

    def attach(self, writer: int) -> RecordDesk:
        """Return the desk of one writer, which no other thread or process may have at the same time."""
        if self.is_shared:
            files = self._open_files()
            if files is not None:
                return _SharedDesk(self, writer, files)
        with _attaching:
            if self._entries is None:
                self._entries = _Entries(self.max_bytes)
        return _OwnDesk(self._entries)

    def _open_files(self) -> tuple[int, int] | None:
        """Return descriptors of our own, None where the owner's cannot be reached."""
        opened: list[int] = []
        try:
            for number, identity in zip(self._files or (), self._ids, strict=True):
                opened.append(os.open(f"/proc/{self.owner}/fd/{number}", os.O_RDWR | os.O_CLOEXEC))
                # Another process may have come to the owner's number.
                if _identity(opened[-1]) != identity:
                    raise OSError("another file")
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            return None
        return opened[0], opened[1]

    def close(self) -> None:
        """Let go of the memory; desks keep it while they are open. May be called more than once."""
        files, self._files = self._files, None
        if files is not None and self._is_original and os.getpid() == self.owner:
            for descriptor in files:
                os.close(descriptor)

    def __del__(self) -> None:
        # One that could not be made has no descriptors.
        if "_files" in self.__dict__:
            self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_entries": None, "_is_original": False}


def has_memory_files() -> bool:
    """Say whether this system has memory files that other processes can open."""
    return sys.platform == "linux" and hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir()


def _make_files(*sizes: int) -> tuple[int, int]:
    made: list[int] = []
    try:
        for name, size in zip(("splitdata-table", "splitdata-entries"), sizes, strict=True):
            made.append(os.memfd_create(name, os.MFD_CLOEXEC))
            os.ftruncate(made[-1], size)
    except BaseException:
        for descriptor in made:
            os.close(descriptor)
        raise
    return made[0], made[1]


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


class _SharedDesk:
    """Entries in memory files."""

    def __init__(self, memory: RecordMemory, writer: int, files: tuple[int, int]) -> None:
        self.num_damaged = 0
        self._table_file, self._data_file = files
        self._writer = writer
        self._max_bytes = memory.max_bytes
        self._stretch = memory.stretch
        self._table_start = memory.table_start
        self._table_map = mmap.mmap(self._table_file, memory.table_start + memory.num_records * _WORD)
        self._data_map = mmap.mmap(self._data_file, memory.num_writers * memory.stretch)
        self._data = memoryview(self._data_map).toreadonly()
        words = np.frombuffer(self._table_map, np.uint64)
        # One more than the generation; 0 before the first.
        self._begun = words[:1]
        self._used = words[1 : 1 + memory.num_writers]
        self._table = words[memory.table_start // _WORD :]
        self._generation = -1
        self._end = 0

    def begin(self, generation: int) -> None:
        if generation == self._generation:
            return
        self._generation = generation
        with self._locked():
            if int(self._begun[0]) != generation + 1:
                # Who is still at work in the generation before finds nothing any more, and what he adds is not found.
                self._clear()
                self._begun[0] = generation + 1
            self._end = int(self._used[self._writer])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl

        # The descriptor was opened by this desk, so the lock keeps threads apart as well as processes.
        fcntl.flock(self._table_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._table_file, fcntl.LOCK_UN)

    def _clear(self) -> None:
        if len(self._table):
            self._table_map.madvise(mmap.MADV_REMOVE, self._table_start)
        for writer, used in enumerate(self._used.tolist()):
            if used:
                self._data_map.madvise(mmap.MADV_REMOVE, writer * self._stretch, used)
        self._used[:] = 0

    def read(self, records: NDArray[np.int64]) -> list[memoryview | None]:
        places = self._table[records].tolist()
        return [
            self._read_one(record, place) if place else None
            for record, place in zip(records.tolist(), places, strict=True)
        ]

    def _read_one(self, record: int, place: int) -> memoryview | None:
        offset = (place >> _WRITER_SHIFT) * self._stretch + ((place & _OFFSET_MASK) - 1) * _UNIT
        if offset + _HEADER.size <= len(self._data):
            generation, number, length, digest = _HEADER.unpack_from(self._data, offset)
            if generation == self._generation and number == record:
                data = self._data[offset + _HEADER.size : offset + _HEADER.size + length]
                if len(data) == length and xxhash.xxh3_64_intdigest(data) == digest:
                    return data
        if int(self._begun[0]) == self._generation + 1:
            self.discard(record)
        return None

    def add(self, record: int, data: bytes) -> bool:
        size = -(-(_HEADER.size + len(data)) // _UNIT) * _UNIT
        if int(self._used.sum()) + size > self._max_bytes or self._end + size > self._stretch:
            return False
        if int(self._begun[0]) != self._generation + 1:
            # The others have gone on to another generation; this worker finishes what nobody waits for.
            return True
        header = _HEADER.pack(self._generation, record, len(data), xxhash.xxh3_64_intdigest(data))
        offset = self._writer * self._stretch + self._end
        try:
            _write_all(self._data_file, header, offset)
            _write_all(self._data_file, data, offset + len(header))
        except OSError:
            return False
        self._table[record] = self._writer << _WRITER_SHIFT | self._end // _UNIT + 1
        self._end += size
        self._used[self._writer] = self._end
        return True

    def discard(self, record: int) -> None:
        self.num_damaged += 1
        self._table[record] = 0

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        unknown: NDArray[np.int64] = records[self._table[records] == 0]
        return unknown

    def close(self) -> None:
        # The maps are dropped, not closed: views look into them.
        self._begun = self._used = self._table = np.zeros(0, np.uint64)
        self._data = memoryview(b"")
        self.__dict__.pop("_table_map", None)
        self.__dict__.pop("_data_map", None)
        files, self._table_file, self._data_file = (self._table_file, self._data_file), -1, -1
        for descriptor in files:
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self) -> None:
        if "_table_file" in self.__dict__:
            self.close()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset += written
        rest = rest[written:]


class _Entries:
    """Entries in a dict, for the threads of one process."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.lock = threading.Lock()
        self.generation = -1
        self.data: dict[int, bytes] = {}
        self.num_bytes = 0


class _OwnDesk:
    """Entries of this process."""

    num_damaged = 0

    def __init__(self, entries: _Entries) -> None:
        self._entries = entries
        self._generation = -1

    def begin(self, generation: int) -> None:
        self._generation = generation
        entries = self._entries
        with entries.lock:
            if entries.generation != generation:
                entries.generation, entries.data, entries.num_bytes = generation, {}, 0

    def read(self, records: NDArray[np.int64]) -> list[bytes | None]:
        entries = self._entries
        data = entries.data if entries.generation == self._generation else {}
        return [data.get(record) for record in records.tolist()]

    def add(self, record: int, data: bytes) -> bool:
        entries = self._entries
        with entries.lock:
            if entries.generation != self._generation:
                return True
            if entries.num_bytes + len(data) > entries.max_bytes:
                return False
            entries.data[record] = data
            entries.num_bytes += len(data)
        return True

    def discard(self, record: int) -> None:
        self.num_damaged += 1
        self._entries.data.pop(record, None)

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        known = self._entries.data
        return np.array([record for record in records.tolist() if record not in known], np.int64)

    def close(self) -> None:
        """Do nothing: the entries go with the memory."""
