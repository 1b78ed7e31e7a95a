"""The index that is there, perhaps damaged: which parts of it are proven by its own checksums.

Nothing here raises for damage; what is not proven is left to the bins to say.

    header        its hash               block sums ── hash in the footer ── hash of 64 KiB of entries
    bin table     hash in the footer
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from splitdata.dataset.segments.dictionary import read_from_index
from splitdata.errors import FormatError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.index import ENTRY_DTYPE, IndexHeader, entries_per_sum, entry_offset, num_lengths_of, tables_size
from splitdata.format.manifest import SegmentInfo
from splitdata.format.version import check_same_major
from splitdata.storage import files

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.storage.folder import Folder

__all__ = ["EntryBlock", "OldIndex"]


@dataclass(frozen=True, slots=True)
class EntryBlock:
    """Some entries as they stand in the old index, and whether their sum proves them."""

    data: bytes
    is_proven: bool
    entry_bytes: int

    def entry(self, number: int) -> tuple[int, int, int] | None:
        """Return place, stored and raw length; None where the index has ended."""
        data = self.data[number * self.entry_bytes : (number + 1) * self.entry_bytes]
        if len(data) < self.entry_bytes:
            return None
        loc, stored, raw = np.frombuffer(data, ENTRY_DTYPE, 1)[0].tolist()
        return loc, stored, raw


class OldIndex:
    """Reads one index file, by position.

    Attributes:
        header: Its header, None if that is damaged or another segment's.
        problem: Why the file as a whole is of no use; None if it is.
    """

    def __init__(self, folder: Folder, info: SegmentInfo) -> None:
        """Open it, if there is one in the folder of the segment.

        Raises:
            UnsupportedVersionError: If the header is intact and of another version.
            FormatError: If something else than a file has its name.
        """
        self.header: IndexHeader | None = None
        self.problem: str | None = None
        self._descriptor = -1
        self._info = info
        self._num_together = entries_per_sum(info.group)
        self._tables: dict[int, bytes | None] = {}
        try:
            self._descriptor = folder.open_file(spec.INDEX_NAME)
        except FileNotFoundError:
            self.problem = "it was missing"
            return
        try:
            head = files.read_at(self._descriptor, spec.INDEX_HEADER_BYTES, 0)
            header = IndexHeader.unpack(head)
            check_same_major(head, info.version)
        except UnsupportedVersionError as error:
            self.close()
            path = folder.path_of(spec.INDEX_NAME)
            raise UnsupportedVersionError(f"{path}: {error}", path=path) from None
        except FormatError:
            return
        if other := header.other_owner(info.id):
            self.problem = f"it was that of {other}"
            self.close()
            return
        self.header = header

    def close(self) -> None:
        """Close the file; safe to call again."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            files.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Return some bytes, fewer where the file ends, none where there is no file."""
        return files.read_at(self._descriptor, length, offset) if self._descriptor >= 0 else b""

    def block(self, start: int) -> EntryBlock:
        """Return the entries under one block sum, from a multiple of that number on."""
        block_bytes = self._num_together * self._info.entry_bytes
        length = min(block_bytes, self._tables_start() - self._entry_offset(start))
        data = self.read(self._entry_offset(start), length)
        sums = self._table(0)
        number = start // self._num_together
        is_proven = sums is not None and hash64(data) == int.from_bytes(sums[8 * number : 8 * number + 8], "little")
        return EntryBlock(data, is_proven, self._info.entry_bytes)

    def entries(self) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """Return the entries that are there, and of each block of them whether its sum proves them."""
        count, step = self._num_there(), self._num_together
        entries = np.empty(count, ENTRY_DTYPE)
        is_proven = np.zeros(-(-count // step), np.bool_)
        for number in range(len(is_proven)):
            block = self.block(number * step)
            mine = slice(number * step, min((number + 1) * step, count))
            shape = (mine.stop - mine.start,)
            entries[mine] = np.ndarray(shape, ENTRY_DTYPE, block.data, strides=(self._info.entry_bytes,))
            is_proven[number] = block.is_proven
        return entries, is_proven

    def record_lengths(self, frame: int) -> NDArray[np.uint32]:
        """Return the lengths of the records of a group, none where the index has ended before."""
        start = self._entry_offset(frame) + spec.INDEX_ENTRY_BYTES
        data = self.read(start, self._entry_offset(frame + 1) - start)
        return np.frombuffer(data[: len(data) // 4 * 4], "<u4")

    def _num_there(self) -> int:
        """Return how many of the segment's entries the file has."""
        size = files.size_of(self._descriptor) if self._descriptor >= 0 else 0
        return max(0, min(self._info.num_frames, (size - spec.INDEX_HEADER_BYTES) // self._info.entry_bytes))

    def dictionary(self) -> bytes | None:
        """Return the zstd dictionary, empty if the segment has none, None if this index cannot say."""
        if self.header is None or not self.header.dictionary_bytes:
            return None if self.header is None else b""
        with suppress(FormatError):
            return read_from_index(self.read, self._info)
        return None

    def bin_lengths(self) -> tuple[int, ...] | None:
        """Return the lengths of the bins that may hold a frame, None if the table of all is not intact."""
        table = self._table(1)
        return None if table is None else tuple(np.frombuffer(table, "<u8").tolist())

    def _table(self, number: int) -> bytes | None:
        """Return the block sums (0) or the bin table (1) of a sealed index, None if not proven."""
        if number not in self._tables:
            self._tables[number] = self._proven_table(number) if self._info.is_sealed else None
        return self._tables[number]

    def _proven_table(self, number: int) -> bytes | None:
        info = self._info
        sums = 8 * -(-info.num_frames // self._num_together)
        start = self._tables_start()
        # Where the header is damaged, the length of the dictionary is not known.
        end = files.size_of(self._descriptor) if self._descriptor >= 0 else 0
        if self.header is not None:
            end = start + tables_size(info.num_frames, info.num_bins, self.header.dictionary_bytes, info.group)
        footer = end - 24
        if footer < start:
            return None
        place, length = ((start, sums), (start + sums, 8 * info.num_bins))[number]
        data = self.read(place, length)
        expected = self.read(footer + 8 * number, 8)
        is_intact = len(data) == length and len(expected) == 8 and hash64(data) == int.from_bytes(expected, "little")
        if not is_intact:
            return None
        # Of bins without a record there may be millions.
        return data[: 8 * num_lengths_of(info.num_frames, info.num_bins)] if number else data

    def _tables_start(self) -> int:
        return self._entry_offset(self._info.num_frames)

    def _entry_offset(self, frame: int) -> int:
        return entry_offset(frame, self._info.group)
