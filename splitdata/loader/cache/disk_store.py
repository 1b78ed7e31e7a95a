"""Cached samples on disk: the generation of the present epoch, its reader and its writer.

A disk that fails costs time, never a sample.

    begin(epoch) ──> generation opened, the one before closed ──> others looked at ──> complete? older ones go
    read         ──> table ── not there ──> pending ──> what this worker, and then others, have committed meanwhile
    add          ──> writer
"""

from __future__ import annotations

import contextlib
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from splitdata._ownership import OwnerProcess
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.errors import SplitDataError
from splitdata.loader.cache.cache_reader import CacheReader
from splitdata.loader.cache.cache_writer import CacheWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from splitdata.dataset.cache.cache_generation import CacheGeneration
    from splitdata.dataset.cache.cache_key import CacheKey
    from splitdata.loader.cache.cache_entry import EntryCodec
    from splitdata.loader.cache.cache_options import Cache

__all__ = ["DiskStore"]

# After a miss others are looked at again this late, in seconds, and in multiples of what that took.
_REFRESH_SECONDS: Final = 1.0
_REFRESH_SHARE: Final = 50.0


class _Opened:
    """A generation that is in use."""

    def __init__(self, folder: CacheFolder, generation: CacheGeneration, options: Cache, codec: EntryCodec) -> None:
        self.folder = folder
        self.generation = generation
        self.reader = CacheReader(generation, codec, generation.key.num_records)
        self.writer = CacheWriter(folder, generation, options)
        self.num_commits = 0

    def close(self) -> None:
        self.writer.close()
        self.reader.close()
        self.generation.close()
        self.folder.close()


class DiskStore:
    """Entries in a folder. Belongs to one thread; several in one process or many share a folder.

    Nothing here raises because of a disk: what cannot be read is not there, what cannot be written is not kept, and
    `problem` says why. It holds bytes; what is in them is the business of cache_entry.py.

    Args:
        options: What the user chose.
        key: Of the first generation.
        num_needed: So many records make a generation complete.
        codec: Reads the indexes of entries.
        keeps: False: it holds no entries and takes none, and leaves the folder alone.
    """

    def __init__(self, options: Cache, key: CacheKey, num_needed: int, codec: EntryCodec, *, keeps: bool) -> None:
        self._options = options
        self._key = key
        self._num_needed = num_needed
        self._codec = codec
        self._keeps = keeps
        self._folder = CacheFolder(options.path)
        self._epoch = -1
        self._opened: _Opened | None = None
        self._problem: str | None = None
        self._num_damaged = 0
        self._num_bytes_kept = 0
        self._owner = OwnerProcess()
        self._next_refresh = 0.0
        self._finalizer: weakref.finalize[..., Any] | None = None

    @property
    def problem(self) -> str | None:
        """Why entries are not kept any more, in words; None while all is well."""
        return self._problem if self._opened is None else self._opened.writer.problem

    @property
    def num_damaged(self) -> int:
        """Entries that could not be read, since the beginning."""
        return self._num_damaged + (0 if self._opened is None else self._opened.reader.num_damaged)

    @property
    def num_bytes_kept(self) -> int:
        """Bytes of entries that others can read now, since the beginning."""
        return self._num_bytes_kept + (0 if self._opened is None else self._opened.writer.num_bytes_kept)

    def begin(self, epoch: int) -> None:
        """Go to the generation of an epoch.

        Raises:
            ClosedError: If this process was forked from the one that uses the cache here.
        """
        self._owner.check("the cache in %s", self._folder.paths.folder)
        if epoch == self._epoch or not self._keeps:
            return
        self._epoch = epoch
        key = self._key.at(self._options.first_epoch(epoch))
        if self._opened is None or self._opened.generation.key != key:
            self._open(key)
        opened = self._opened
        if opened is None:
            return
        opened.writer.retry()
        if opened.reader.num_known < self._num_needed:
            self._refresh(opened)
        with contextlib.suppress(OSError, SplitDataError):
            opened.folder.tidy(key, is_complete=opened.reader.num_known >= self._num_needed)

    def _open(self, key: CacheKey) -> None:
        self._close()
        try:
            with contextlib.ExitStack() as stack:
                folder = stack.enter_context(contextlib.closing(self._folder.hold()))
                generation = folder.open(key)
                stack.pop_all()
        except (OSError, SplitDataError) as error:
            self._problem = f"the cache in {self._folder.paths.folder} cannot be used: {error}"
            return
        self._opened = opened = _Opened(folder, generation, self._options, self._codec)
        # At exit, or if all this is dropped without `close`.
        self._finalizer = weakref.finalize(self, opened.writer.close)

    def _refresh(self, opened: _Opened) -> None:
        begin = time.monotonic()
        with contextlib.suppress(OSError, SplitDataError):
            opened.reader.refresh()
        end = time.monotonic()
        self._next_refresh = end + max(_REFRESH_SECONDS, _REFRESH_SHARE * (end - begin))

    def read(self, records: NDArray[np.int64]) -> list[bytes | memoryview | None]:
        """Return the entry of each record, None where there is none."""
        opened = self._opened
        if opened is None:
            return [None] * len(records)
        found = opened.reader.read(records)
        if None in found:
            self._read_again(opened, records, found)
        return found

    def _read_again(self, opened: _Opened, records: NDArray[np.int64], found: list[bytes | memoryview | None]) -> None:
        """Look for what was not found in what is not committed yet, and in what was since."""
        missing = [place for place, data in enumerate(found) if data is None]
        for place in missing:
            found[place] = opened.writer.pending(int(records[place]))
        # In this order: what was pending a moment ago may have been committed since.
        own = opened.writer
        if time.monotonic() > self._next_refresh:
            self._refresh(opened)
        elif own.num_commits != opened.num_commits and own.number is not None:
            opened.reader.refresh_writer(own.number)
        else:
            return
        opened.num_commits = own.num_commits
        missing = [place for place in missing if found[place] is None]
        for place, data in zip(missing, opened.reader.read(records[missing]), strict=True):
            found[place] = data

    def discard(self, record: int) -> None:
        """Forget the entry of a record, which turned out to be damaged."""
        if self._opened is not None:
            self._opened.reader.discard(record)

    def add(self, record: int, data: bytes) -> None:
        """Take the entry of a record; a damaged one is replaced by it."""
        if self._opened is not None:
            self._opened.writer.add(record, data, self._opened.reader.take_replaced())

    def commit(self) -> None:
        """Let others see what was added."""
        if self._opened is not None:
            self._opened.writer.commit()

    def unknown(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some records that have no entry, as far as is known without looking anew."""
        return records if self._opened is None else self._opened.reader.unknown(records)

    def read_ahead(self, records: NDArray[np.int64]) -> None:
        """Ask the kernel for entries that are not in memory; returns at once."""
        if self._opened is not None:
            self._opened.reader.read_ahead(records)

    def close(self) -> None:
        """Commit, and release everything."""
        self._close()
        self._epoch = -1

    def _close(self) -> None:
        if self._finalizer is not None:
            self._finalizer.detach()
        if self._opened is not None:
            opened, self._opened = self._opened, None
            self._num_damaged += opened.reader.num_damaged
            opened.close()
            self._num_bytes_kept += opened.writer.num_bytes_kept
