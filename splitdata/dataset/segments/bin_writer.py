"""The bins that a writer has open: any number of bins over a bounded number of descriptors.

A dataset may have more bins than a process may have files open.

    write(bin, pieces, offset) ──> descriptor of the bin, opened again if it was closed
                                   `─ made with its header where the bin is new
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.version import features_with
from splitdata.storage import files
from splitdata.storage.file_source import descriptor_limit
from splitdata.storage.paths import SegmentPaths
from splitdata.storage.replace import cut_sole, open_sole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from splitdata.storage.folder import Folder

__all__ = ["BinWriter"]

# Waiting for the medium is what syncing does; a few bins wait at the same time.
_SYNC_THREADS: Final = 8


class BinWriter:
    """Bins of one segment under construction; for one thread at a time."""

    def __init__(self, folder: Folder, *, segment_id: str, num_bins: int, alignment: int, group: int) -> None:
        """Take the open folder of the segment, whose lock is held; the caller closes it."""
        self._folder = folder
        self._segment_id = segment_id
        self._num_bins = num_bins
        self._alignment = alignment
        self._group = group
        self._open: OrderedDict[int, int] = OrderedDict()
        self._limit = descriptor_limit()
        self._exists = bytearray(num_bins)
        self._dirty: set[int] = set()

    @property
    def unsynced(self) -> set[int]:
        """The bins that were written since the last sync."""
        return set(self._dirty)

    def take_over(self, num_existing: int, *, changed: Iterable[int]) -> None:
        """Count the first so many bins as there already; those that were `changed` wait for the next sync."""
        self._exists[:num_existing] = b"\1" * num_existing
        self._dirty.update(changed)

    def write(self, bin_index: int, pieces: Sequence[bytes | memoryview], offset: int) -> None:
        """Write pieces one behind the other at a byte of a bin."""
        descriptor = self._descriptor(bin_index)
        self._dirty.add(bin_index)
        if len(pieces) == 1:
            files.write_at(descriptor, pieces[0], offset)
        else:
            files.write_gathered(descriptor, pieces, offset)

    def read(self, bin_index: int, length: int, offset: int) -> bytes:
        """Read back what was written."""
        return files.read_at(self._descriptor(bin_index), length, offset)

    def cut(self, bin_index: int, end: int, length: int) -> None:
        """Cut a bin behind the end of its last committed frame and pad it to a length again, if it has no other name.

        The frame behind may begin within the padding, if it is a large one.
        """
        if self._exists[bin_index] and files.size_of(descriptor := self._descriptor(bin_index)) > length:
            cut_sole(descriptor, end, padded_to=length)

    def sync(self) -> None:
        """Wait until all that was written to the bins has reached the medium."""
        dirty = sorted(self._dirty)
        for start in range(0, len(dirty), self._limit):
            descriptors = [self._descriptor(bin_index) for bin_index in dirty[start : start + self._limit]]
            if len(descriptors) < 2:
                for descriptor in descriptors:
                    files.sync_data(descriptor)
                continue
            # Imported here, as `import splitdata` is to load no more than it must, and readers never need it.
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(_SYNC_THREADS, len(descriptors))) as pool:
                list(pool.map(files.sync_data, descriptors))
        self._dirty.clear()

    def close(self) -> None:
        """Close all descriptors; safe to call again."""
        while self._open:
            files.close(self._open.popitem()[1])

    def _descriptor(self, bin_index: int) -> int:
        descriptor = self._open.get(bin_index)
        if descriptor is not None:
            self._open.move_to_end(bin_index)
            return descriptor
        while len(self._open) >= self._limit:
            files.close(self._open.popitem(last=False)[1])
        name = SegmentPaths.bin_name(bin_index)
        if self._exists[bin_index]:
            descriptor = open_sole(self._folder, name, spec.INDEX_SCRATCH_NAME)
        else:
            descriptor = self._folder.create(name)
            self._exists[bin_index] = 1
            self._open[bin_index] = descriptor
            header = BinHeader(
                segment_id=self._segment_id,
                bin_index=bin_index,
                num_bins=self._num_bins,
                alignment=self._alignment,
                group=self._group,
                features=features_with(self._group),
            )
            files.write_at(descriptor, header.pack(), 0)
            self._dirty.add(bin_index)
        self._open[bin_index] = descriptor
        return descriptor
