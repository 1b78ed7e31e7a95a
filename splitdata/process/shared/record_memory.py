"""Bytes by number, in memory that a consumer and its workers share, and that no kill leaves behind.

    consumer    RecordMemory ──pickled as its process and descriptors──> workers: attach(writer) ──> desk

The entries lie in two memory files without a name, which a worker opens through /proc: they need not be inherited,
and go with the last process that has them open. They have holes, and take the memory of what was written. Entries
are seen by all at once; no lock is taken but to begin another generation, which makes holes of both. They never
shrink, so a worker that lags behind reads zeros, and nobody meets the end of a file.

Where there are no such files, each process has a dict of its own, shared by its threads: then processes do not
find what others have made.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from splitdata._ownership import renew_after_fork
from splitdata.process.shared.record_store import Layout, OwnDesk, OwnEntries, RecordDesk, SharedDesk

__all__ = ["RecordMemory", "has_memory_files"]


class RecordMemory:
    """What all desks of one consumer share. May be pickled, to processes that this one outlives.

    Attributes:
        owner: The process that made it.
        max_bytes: Of entries and their headers together.
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
        self.max_bytes = max_bytes
        self.owner = os.getpid()
        self.is_shared = has_memory_files() if is_shared is None else is_shared
        self._layout = Layout(num_records, num_writers, max_bytes)
        self._is_original = True
        self._files: tuple[int, int] | None = None
        self._ids: tuple[tuple[int, int], ...] = ()
        self._entries = OwnEntries(max_bytes)
        if self.is_shared:
            self._files = _make_files(self._layout.table_bytes, self._layout.data_bytes)
            self._ids = tuple(map(_identity, self._files))
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        # A child that outlives the owner must not keep the memory.
        self._close_files()
        self._is_original = False
        self._entries.lock = threading.Lock()

    def attach(self, writer: int) -> RecordDesk:
        """Return the desk of one writer, which no other thread or process may have at the same time."""
        files = self._open_files() if self.is_shared else None
        if files is not None:
            try:
                return SharedDesk(self._layout, writer, files)
            except OSError:
                # No room for so many addresses; the desk has closed the files.
                pass
        return OwnDesk(self._entries)

    def _open_files(self) -> tuple[int, int] | None:
        """Return descriptors of our own, None where the owner's cannot be reached."""
        opened: list[int] = []
        try:
            for number, identity in zip(self._files or (), self._ids, strict=False):
                opened.append(os.open(f"/proc/{self.owner}/fd/{number}", os.O_RDWR | os.O_CLOEXEC))
                # Another process may have come to the owner's number.
                if _identity(opened[-1]) != identity:
                    raise OSError("another file")
        except OSError:
            for descriptor in opened:
                os.close(descriptor)
            return None
        return (opened[0], opened[1]) if opened else None

    def close(self) -> None:
        """Let go of the memory; desks keep it while they are open. May be called more than once."""
        self._close_files()
        self._files = None

    def _close_files(self) -> None:
        if self._is_original:
            self._is_original = False
            for descriptor in self._files or ():
                os.close(descriptor)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Bound here: at exit the names of this module may be gone already.
        if self.__dict__.get("_is_original"):
            for descriptor in self.__dict__.get("_files") or ():
                close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_entries"} | {"_is_original": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._entries = OwnEntries(self.max_bytes)


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
