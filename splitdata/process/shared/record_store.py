"""Access of one writer to the shared record store: entries in memory files, or in a dict of its process.

    table file    generation | bytes used by each writer | gap to a page | a place for each record     8 bytes each
    data file     stretch of writer 0 | stretch of writer 1 | ...
                  `- [header payload] [header payload] ...        header: generation, record, length, hash

A place is written behind the entry that it leads to, in one store. What does not agree with its header is not there.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import xxhash

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Layout", "OwnDesk", "OwnEntries", "RecordDesk", "SharedDesk"]

_HEADER: Final = struct.Struct("<QQQQ")
_UNIT: Final = 8
_WORD: Final = 8
# A place: number of the writer, offset in its stretch in units of 8 bytes, plus one; 0 means no place.
_WRITER_SHIFT: Final = 48
_OFFSET_MASK: Final = (1 << _WRITER_SHIFT) - 1
# Of addresses, for the entries of all writers: a quarter of what a process has.
_MOST_ADDRESSES: Final = 1 << 45


@dataclass(frozen=True, slots=True)
class Layout:
    """How large the files are, and what lies where.

    Attributes:
        num_records: Entries are for records below this.
        num_writers: Of desks.
        max_bytes: Of entries and their headers together.
    """

    num_records: int
    num_writers: int
    max_bytes: int

    @property
    def table_start(self) -> int:
        """Where the places of records begin."""
        return _whole_pages((1 + self.num_writers) * _WORD)

    @property
    def table_bytes(self) -> int:
        """Of the table file."""
        return self.table_start + self.num_records * _WORD

    @property
    def stretch(self) -> int:
        """Bytes of the data in which one writer writes: it may have all there is."""
        return _whole_pages(min(self.max_bytes, _MOST_ADDRESSES // self.num_writers))

    @property
    def data_bytes(self) -> int:
        """Of the data file, nearly all of it holes."""
        return self.num_writers * self.stretch


def _whole_pages(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE


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


class SharedDesk:
    """Entries in memory files, of which it takes descriptors of its own."""

    def __init__(self, layout: Layout, writer: int, files: tuple[int, int]) -> None:
        self.num_damaged = 0
        self._table_file, self._data_file = files
        self._writer = writer
        self._max_bytes = layout.max_bytes
        self._stretch = layout.stretch
        self._table_start = layout.table_start
        self._table_map = mmap.mmap(self._table_file, layout.table_bytes)
        self._data_map = mmap.mmap(self._data_file, layout.data_bytes)
        self._data = memoryview(self._data_map).toreadonly()
        words = np.frombuffer(self._table_map, np.uint64)
        # One more than the generation; 0 before the first.
        self._begun = words[:1]
        self._used = words[1 : 1 + layout.num_writers]
        self._table = words[layout.table_start // _WORD :]
        self._generation = -1
        self._end = 0

    def begin(self, generation: int) -> None:
        """Go to a generation."""
        if generation == self._generation:
            return
        self._generation = generation
        with self._locked():
            if int(self._begun[0]) != generation + 1:
                # A worker that is still in the generation before finds nothing any more, and what it adds is not found.
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
        """Return views of the entries."""
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
        """Keep an entry, behind those of this writer."""
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
        """Forget an entry."""
        self.num_damaged += 1
        self._table[record] = 0

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some records that have no entry."""
        unknown: NDArray[np.int64] = records[self._table[records] == 0]
        return unknown

    def close(self) -> None:
        """Let go of the memory; views that are held stay valid."""
        # The maps are dropped, not closed: views look into them.
        self._begun = self._used = self._table = np.zeros(0, np.uint64)
        self._data = memoryview(b"")
        self.__dict__.pop("_table_map", None)
        self.__dict__.pop("_data_map", None)
        files, self._table_file, self._data_file = (self._table_file, self._data_file), -1, -1
        for descriptor in files:
            if descriptor >= 0:
                os.close(descriptor)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Bound here: at exit the names of this module may be gone already.
        for name in ("_table_file", "_data_file"):
            if self.__dict__.get(name, -1) >= 0:
                close(self.__dict__[name])


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        offset += written
        rest = rest[written:]


class OwnEntries:
    """Entries in a dict, for the threads of one process."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.lock = threading.Lock()
        self.generation = -1
        self.data: dict[int, bytes] = {}
        self.num_bytes = 0


class OwnDesk:
    """Entries of this process."""

    num_damaged = 0

    def __init__(self, entries: OwnEntries) -> None:
        self._entries = entries
        self._generation = -1

    def begin(self, generation: int) -> None:
        """Go to a generation."""
        self._generation = generation
        entries = self._entries
        with entries.lock:
            if entries.generation != generation:
                entries.generation, entries.data, entries.num_bytes = generation, {}, 0

    def read(self, records: NDArray[np.int64]) -> list[bytes | None]:
        """Return entries."""
        entries = self._entries
        data = entries.data if entries.generation == self._generation else {}
        return [data.get(record) for record in records.tolist()]

    def add(self, record: int, data: bytes) -> bool:
        """Keep an entry."""
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
        """Forget an entry."""
        self.num_damaged += 1
        self._entries.data.pop(record, None)

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some records that have no entry."""
        known = self._entries.data
        return np.array([record for record in records.tolist() if record not in known], np.int64)

    def close(self) -> None:
        """Do nothing: the entries go with the memory."""
