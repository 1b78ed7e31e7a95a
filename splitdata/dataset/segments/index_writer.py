"""The index of a segment under construction: header, entries behind the last one, tables at its end.

    [header | entry 0 | entry 1 | ...  ]  ──seal──>  [header | entries | block sums, bin table, dictionary]

Its lock says that a writer is at work in the segment, for as long as the file is open.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.index import IndexHeader, entries_per_sum, entry_bytes, entry_offset
from splitdata.storage import files
from splitdata.storage.replace import cut_sole, make_sole

if TYPE_CHECKING:
    from splitdata.format.index import IndexTables
    from splitdata.storage.folder import Folder
    from splitdata.storage.locked_file import LockedFile

__all__ = ["IndexWriter"]

_COPIED_BYTES: Final = 4 << 20


class IndexWriter:
    """The open index, with its lock once `create` or `take_over` has come back; for one thread at a time.

    Attributes:
        descriptor: Of the file, -1 while it is not open.
    """

    def __init__(self, folder: Folder, group: int) -> None:
        """Take the open folder of the segment, and how many records a frame has; opens nothing."""
        self.descriptor = -1
        self._folder = folder
        self._group = group

    def create(self) -> None:
        """Make the file; its lock is taken by itself, as what was made must be removed if that fails."""
        self.descriptor = self._folder.create(spec.INDEX_NAME)

    def lock(self) -> None:
        """Take the lock of the file that was just made.

        Raises:
            BlockingIOError: If one who clears away what dead writers have left has taken this for such.
        """
        if not files.lock(self.descriptor) or not self.is_in(self._folder):
            raise BlockingIOError(
                errno.EAGAIN, "another program has removed this new segment; try again", self._folder.path
            )

    def take_over(self, index: LockedFile) -> None:
        """Go on with an open index, and close it some day."""
        self.descriptor = index.detach()

    def make_sole(self) -> None:
        """Go on with a copy of the file if it has other names, which keep what they have; locked as it was."""
        descriptor = make_sole(self._folder, spec.INDEX_NAME, self.descriptor, spec.INDEX_SCRATCH_NAME)
        if descriptor != self.descriptor:
            files.close(self.descriptor)
            self.descriptor = descriptor

    def is_in(self, folder: Folder) -> bool:
        """Say whether this file is the index in a folder."""
        return folder.is_named(self.descriptor, spec.INDEX_NAME)

    def write_header(self, header: IndexHeader) -> None:
        """Write the header, over the old one."""
        files.write_at(self.descriptor, header.pack(), 0)

    def read_header(self) -> IndexHeader:
        """Read the header; raises `FormatError` if it is damaged."""
        return IndexHeader.unpack(files.read_at(self.descriptor, spec.INDEX_HEADER_BYTES, 0))

    def copy_rest(self, other: int) -> int:
        """Take all behind the header of another index, given its descriptor; returns how many bytes that is."""
        stop = files.size_of(other)
        for start in range(spec.INDEX_HEADER_BYTES, stop, _COPIED_BYTES):
            piece = files.read_at(other, min(_COPIED_BYTES, stop - start), start)
            files.write_at(self.descriptor, piece, start)
        return stop - spec.INDEX_HEADER_BYTES

    def append(self, entries: bytes, frame: int) -> None:
        """Write entries as they stand in the file, from that of a frame on."""
        files.write_at(self.descriptor, entries, self._offset_of(frame))

    def loc(self, frame: int) -> int:
        """Return the `loc` of a frame."""
        return int.from_bytes(files.read_at(self.descriptor, 8, self._offset_of(frame)), "little")

    def block_sums(self, num_frames: int) -> tuple[int, ...]:
        """Return the hash of each block of so many entries."""
        block, end = entries_per_sum(self._group) * entry_bytes(self._group), self._offset_of(num_frames)
        return tuple(
            hash64(files.read_at(self.descriptor, min(block, end - start), start))
            for start in range(spec.INDEX_HEADER_BYTES, end, block)
        )

    def write_tables(self, tables: IndexTables, num_frames: int) -> None:
        """Write the tables behind so many entries."""
        files.write_at(self.descriptor, tables.pack(), self._offset_of(num_frames))

    def cut(self, num_frames: int) -> None:
        """Cut off what lies behind so many entries, unless the file has a second name."""
        cut_sole(self.descriptor, self._offset_of(num_frames))

    def _offset_of(self, frame: int) -> int:
        return entry_offset(frame, self._group)

    def sync(self) -> None:
        """Wait until all of it has reached the medium."""
        files.sync_data(self.descriptor)

    def close(self) -> None:
        """Close the file, which gives the lock back; safe to call again."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            files.close(descriptor)
