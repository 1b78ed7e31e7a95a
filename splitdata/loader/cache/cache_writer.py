"""Entries on their way to the disk: collected, and committed at the latest a second after they were made.

A thread does that, while the worker goes on, is busy with one sample, or has nothing to do. In a forked child there is
no such thread, and the files are its parent's: nothing is taken there.

    add ──> pending ──half a second old, or 8 MiB──> [entries, index] ──commit──> dataset of this writer alone
                                                          |
                       no room? older generations go; then what fits is kept, the rest is not, and training goes on
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from splitdata._ownership import OwnerProcess
from splitdata.dataset.writer import SplitWriter
from splitdata.errors import FormatError, SplitDataError
from splitdata.loader.cache.cache_entry import EntryIndex, encode_index

if TYPE_CHECKING:
    from splitdata.dataset.cache.cache_folder import CacheFolder
    from splitdata.dataset.cache.cache_generation import CacheGeneration, Claim
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.loader.cache.cache_options import Cache

__all__ = ["CacheWriter"]

_COMMIT_SECONDS: Final = 0.5
_LATE_SECONDS: Final = 0.8
_COMMIT_BYTES: Final = 8 << 20
_MOST_PENDING_BYTES: Final = 32 << 20
# Arrays of samples begin at multiples of this, so that they are read without a copy.
_ALIGNMENT: Final = 64
# What an entry takes beside its bytes, and a commit.
_ENTRY_OVERHEAD: Final = 32 + 16 + 8 + _ALIGNMENT
_COMMIT_OVERHEAD: Final = 16 << 10
# Others, a trainer's checkpoints above all, need the disk as well.
_SPARED_SHARE: Final = 100
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class _EntryWriter(SplitWriter):
    """Writes in the folder that was claimed, whatever takes its path meanwhile."""

    def __init__(self, directory: DatasetDirectory, compression: Literal["zstd"] | None) -> None:
        self._claimed = directory
        super().__init__(
            directory.folder,
            bins=1,
            mode="resume",
            compression=compression,
            durability="none",
            alignment=_ALIGNMENT,
        )

    def _directory(self) -> DatasetDirectory:
        return self._claimed


class _Pending:
    """Entries that wait.

    Attributes:
        entries: By record.
        replaced: Addresses of damaged ones that they replace.
        num_bytes: What they take on disk, at most.
        begun: When the first came, in monotonic seconds.
    """

    def __init__(self) -> None:
        self.entries: dict[int, bytes] = {}
        self.replaced: list[int] = []
        self.num_bytes = 0
        self.begun = 0.0

    def add(self, record: int, data: bytes, replaced: list[int]) -> None:
        if not self.entries:
            self.begun = time.monotonic()
        self.entries[record] = data
        self.replaced += replaced
        self.num_bytes += len(data) + _ENTRY_OVERHEAD

    def join(self, later: _Pending) -> None:
        self.entries |= later.entries
        self.replaced += later.replaced
        self.num_bytes += later.num_bytes

    def cut(self, num_bytes: int) -> tuple[_Pending, _Pending]:
        """Return those entries that so many bytes have room for, and the others."""
        fitting, rest = _Pending(), _Pending()
        fitting.replaced = self.replaced
        for record, data in self.entries.items():
            fits = fitting.num_bytes + len(data) + _ENTRY_OVERHEAD <= num_bytes
            (fitting if fits else rest).add(record, data, [])
        return fitting, rest


class CacheWriter:
    """Writes the entries of one worker. Safe to share between threads.

    Attributes:
        number: Of the dataset that is written, None before the first commit.
        num_commits: So far.
        num_bytes_kept: Of the entries that were committed.
        problem: Why nothing is written any more, None while all is well.
    """

    def __init__(self, folder: CacheFolder, generation: CacheGeneration, options: Cache) -> None:
        self.number: int | None = None
        self.num_commits = 0
        self.num_bytes_kept = 0
        self.problem: str | None = None
        self._folder = folder
        self._generation = generation
        self._options = options
        self._owner = OwnerProcess()
        # Held for a moment; the other one while something is written, and taken before it.
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._pending = _Pending()
        # The entries that are being written.
        self._taken = _Pending()
        self._claim: Claim | None = None
        self._writer: SplitWriter | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def add(self, record: int, data: bytes, replaced: list[int]) -> None:
        """Take the entry of a record; nothing where there is a problem.

        Args:
            record: Of the dataset.
            data: The entry.
            replaced: Addresses of damaged entries that are not to be read again.

        Raises:
            ClosedError: If this process was forked from the one that writes.
        """
        self.check_owner()
        with self._changed:
            pending = self._pending
            if self.problem is not None or self._is_closed:
                return
            pending.add(record, data, replaced)
            if len(pending.entries) == 1 or pending.num_bytes >= _COMMIT_BYTES:
                self._wake()
            # The disk is slower than the transform, or the thread waits for one that lets no other run.
            is_late = pending.num_bytes >= _MOST_PENDING_BYTES or time.monotonic() > pending.begun + _LATE_SECONDS
        if is_late:
            self.commit()

    def pending(self, record: int) -> bytes | None:
        """Return the entry of a record that is not committed yet; later than this, `num_commits` has changed."""
        return self._pending.entries.get(record) or self._taken.entries.get(record)

    def commit(self) -> None:
        """Commit all that waits.

        Raises:
            ClosedError: If this process was forked from the one that writes.
        """
        self.check_owner()
        with self._writing:
            with self._changed:
                # In this order, for `pending`.
                self._taken = self._pending
                self._pending = _Pending()
            taken = self._taken
            try:
                if taken.entries and self.problem is None:
                    self._write_or_stop(taken)
            except BaseException:
                # Ctrl-C in the midst of it: what waits stays, for another writer.
                self._abort()
                with self._changed:
                    taken.join(self._pending)
                    self._pending = taken
                raise
            finally:
                self._taken = _Pending()

    def check_owner(self) -> None:
        """Raise ClosedError in a forked child: its parent writes, and a lock may be held there for ever."""
        self._owner.check("the writer of the cache in %s", self._folder.paths.folder)

    def retry(self) -> None:
        """Write again where there was a problem: others may have made room."""
        self.problem = None

    def close(self) -> None:
        """Commit what waits, and release all files; may be called more than once.

        In a process that was forked from this one it does nothing: all of it is the parent's.
        """
        if not self._owner.is_current or self._is_closed:
            return
        try:
            self.commit()
        finally:
            with self._changed:
                self._is_closed = True
                self._changed.notify()
            with self._writing:
                writer, self._writer = self._writer, None
                try:
                    if writer is not None:
                        with contextlib.suppress(OSError, SplitDataError):
                            writer.close()
                finally:
                    self._release()

    # -- parts -------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="splitdata-cache", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._is_closed:
                    return
                pending = self._pending
                is_full = pending.num_bytes >= _COMMIT_BYTES
                left = pending.begun + _COMMIT_SECONDS - time.monotonic() if pending.entries else None
                if not is_full and (left is None or left > 0):
                    self._changed.wait(left)
                    continue
            self.commit()

    def _write_or_stop(self, taken: _Pending) -> None:
        """Write entries; without room for all, older generations go, and of the rest what fits is the last."""
        try:
            try:
                self._write(taken)
            except OSError as error:
                self._abort()
                if error.errno not in _NO_ROOM:
                    raise
                self._folder.make_room(self._generation.key)
                self._write_what_fits(taken)
        except (OSError, SplitDataError) as error:
            self._abort()
            reason = error.strerror if isinstance(error, OSError) and error.filename is None else str(error)
            self.problem = (
                f"the cache in {self._folder.paths.folder} takes no more samples: {reason}. What it has is read, all "
                "else is computed each time"
            )

    def _write(self, taken: _Pending) -> None:
        """Write all of some entries; where there is no room for all of them, none."""
        with self._locked():
            room, reason = self._room()
            if taken.num_bytes > room:
                raise OSError(*reason)
            self._write_and_commit(taken)

    def _write_what_fits(self, taken: _Pending) -> None:
        """Write as many of some entries as there is room for; raises where some are left."""
        with self._locked():
            while taken.entries:
                # More than once: they may have taken less than was expected, as compression makes them small.
                room, reason = self._room()
                fitting, taken = taken.cut(room)
                if not fitting.entries:
                    raise OSError(*reason)
                self._write_and_commit(fitting)

    def _write_and_commit(self, taken: _Pending) -> None:
        writer = self._writer or self._open()
        writer.write_many(list(taken.entries.values()))
        records = np.fromiter(taken.entries, np.int64, len(taken.entries))
        writer.write(encode_index(EntryIndex(records, np.array(taken.replaced, np.int64))))
        writer.commit()
        self.num_commits += 1
        self.num_bytes_kept += sum(map(len, taken.entries.values()))

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._options.max_bytes is None else self._folder.locked()

    def _room(self) -> tuple[int, tuple[int, str]]:
        """Return how many bytes of entries one more commit may have, and why it may not have more: errno, and text."""
        free, total = self._folder.free_bytes()
        room = free - total // _SPARED_SHARE
        reason = errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {free} bytes are free"
        limit = self._options.max_bytes
        if limit is not None and (left := limit - (taken := self._folder.num_bytes())) < room:
            room, reason = (
                left,
                (errno.EDQUOT, f"{taken} of max_bytes={limit} bytes are taken, and what is left holds no more"),
            )
        return room - _COMMIT_OVERHEAD, reason

    def _open(self) -> SplitWriter:
        """Return a writer of the first dataset in which nobody else writes, and which is not damaged."""
        first = 0
        while True:
            claim = self._generation.claim(first)
            try:
                writer = _EntryWriter(claim.directory(), self._options.compression)
            except (FormatError, BlockingIOError):
                # Its entries are lost to us, or a child of a dead writer holds the lock of its segment.
                claim.release()
                first = claim.number + 1
            except BaseException:
                claim.release()
                raise
            else:
                self._writer, self._claim, self.number = writer, claim, claim.number
                return writer

    def _abort(self) -> None:
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                with contextlib.suppress(OSError, SplitDataError):
                    writer.abort()
        finally:
            self._release()

    def _release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.release()
