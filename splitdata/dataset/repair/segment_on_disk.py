"""One segment as it is found on disk; nothing is taken from a manifest.

Repair needs it where manifests are lost: only the headers say then which files belong together.

    segments/<32 hex>/  index ── its header, if that is intact; its lock: is a writer at work?
                        000000.bin ... ── which are there, how long; what their headers say
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from splitdata.dataset.repair.frame_search import FrameSearch
from splitdata.dataset.repair.old_index import OldIndex
from splitdata.dataset.segments.deleted_records import latest_list
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.manifest import SegmentInfo
from splitdata.format.version import check_written_here, features_with
from splitdata.storage import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.storage.folder import Folder
    from splitdata.storage.locked_file import LockedFile

__all__ = ["SegmentOnDisk"]

_MOST_HEADERS: Final = 64
# So many records are always possible, and so many stretches of a file with holes are counted.
_FEW_FRAMES: Final = 1 << 16
_MOST_STRETCHES: Final = 1 << 12


class SegmentOnDisk:
    """Index header, lock and bins of one segment.

    Attributes:
        id: 32 hex digits.
        header: Of the index, None where it is damaged, missing or another segment's.
        bins: Numbers of the bin files, ascending.
        num_bytes: Of the bin files together.
    """

    def __init__(self, directory: DatasetDirectory, segment_id: str) -> None:
        """Look at the folder; opens only the index, for its header.

        Raises:
            FormatError: If the folder, or that of all segments, is a link.
            UnsupportedVersionError: If it is of a version that is only read.
        """
        self.id = segment_id
        self._directory = directory
        self.paths = directory.paths.segment(segment_id)
        header = directory.index_header(segment_id)
        if header is not None:
            check_written_here(header.version, self.paths.folder)
        self.header = header if header is not None and header.segment_id == segment_id else None
        self._lock: LockedFile | None = None
        sizes: dict[int, int] = {}
        with suppress(FileNotFoundError, NotADirectoryError), directory.open_segment(segment_id) as folder:
            for name in folder.names():
                number = self.paths.bin_of_name(name)
                if number is not None:
                    sizes[number] = folder.size_of(name)
        self.bins = sorted(sizes)
        self.num_bytes = sum(sizes.values())

    def take_lock(self) -> bool:
        """Take the lock that a writer holds while it works, until `release`; True if there is no index to lock."""
        if self._lock is not None:
            return True
        try:
            with self._directory.open_segment(self.id) as folder:
                self._lock = folder.open_locked(spec.INDEX_NAME, is_read_only_enough=True)
        except FileNotFoundError:
            return True
        return self._lock is not None

    def release(self) -> None:
        """Give the lock back; safe to call again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def may_be_removed(self) -> bool:
        """Say whether the folder can only be what a killed writer has left: needs the lock, and an intact header.

        A writer that is about to begin has made the folder, and perhaps an index without a header yet.
        """
        return self._lock is not None and self.header is not None

    def num_bins(self) -> int:
        """Return the number of bins as index or bins say it, as a guess from their names where none does."""
        if self.header is not None:
            return self.header.num_bins
        header = self._bin_header()
        return header.num_bins if header else (self.bins[-1] + 1 if self.bins else 1)

    def alignments(self) -> tuple[int, ...]:
        """Return the alignment of payloads, all that there are where neither index nor bins say it."""
        header = self.header or self._bin_header()
        return (header.alignment,) if header else spec.ALIGNMENTS

    def _group(self) -> int:
        """Return the records of a frame as index or bins say it, 1 where neither does."""
        header = self.header or self._bin_header()
        return header.group if header else 1

    def unlisted_info(self) -> SegmentInfo:
        """Return what the index header counts, as an unsealed segment; no records where there is no header."""
        count = self.header.num_records if self.header else 0
        return SegmentInfo(
            id=self.id,
            num_records=count if self._is_possible(-(-count // self._group())) else 0,
            num_bins=self.num_bins(),
            is_sealed=False,
            digest=self.header.digest if self.header else 0,
            raw_bytes=0,
            stored_bytes=0,
            group=self._group(),
            features=features_with(self._group()),
        )

    def search(self, info: SegmentInfo, first_position: int, advance: Callable[[int], None]) -> FrameSearch:
        """Search all bins.

        Raises:
            FormatError: If so many records are claimed that nothing on disk can be of them.
        """
        if not self._is_possible(info.num_frames):
            raise FormatError(
                f"{self.paths.folder} is to hold {info.num_records} records, and its files have {self.num_bytes} "
                "bytes: nothing was changed; restore the files first",
                path=self.paths.folder,
            )
        folder = self._directory.open_segment(self.id)
        try:
            if self._lock is not None and not folder.is_named(self._lock.descriptor, spec.INDEX_NAME):
                raise FormatError(f"{folder.path} was replaced while it was repaired; nothing was changed in it")
            search = FrameSearch(folder, self.paths, info, first_position, alignments=self.alignments())
        except BaseException:
            folder.close()
            raise
        last = info.num_bin_files if info.is_sealed else info.num_bins
        old: OldIndex | None = None
        # The mending of the index reports what is wrong with it.
        with suppress(FormatError):
            old = OldIndex(folder, info)
        try:
            search.run([number for number in self.bins if number < last], old, advance)
        finally:
            if old is not None:
                old.close()
        found = latest_list(folder, self.id)
        if found is not None and len(found[0]) and self._is_possible(int(found[0].sequences[-1]) + 1):
            search.take_erased(found[0])
        return search

    def _is_possible(self, num_frames: int) -> bool:
        # Room for these is taken at once: a forged header must not cost more than a small multiple of what the files
        # hold. Their lengths say little, as they may be holes.
        if num_frames <= _FEW_FRAMES:
            return True
        try:
            with self._directory.open_segment(self.id) as folder:
                entries = self._bytes_in(folder, spec.INDEX_NAME) // spec.INDEX_ENTRY_BYTES
                if num_frames <= entries:
                    return True
                names = map(self.paths.bin_name, self.bins)
                return num_frames <= sum(self._bytes_in(folder, name) for name in names) // 8
        except FileNotFoundError:
            return False

    @staticmethod
    def _bytes_in(folder: Folder, name: str) -> int:
        """Return about how many bytes of a file lie outside of holes, 0 if it cannot be opened."""
        try:
            descriptor = folder.open_file(name)
        except (FormatError, OSError):
            return 0
        try:
            size, found, stop = files.size_of(descriptor), 0, 0
            for _ in range(_MOST_STRETCHES):
                start, stop = files.data_from(descriptor, stop, size)
                found += stop - start
                if stop >= size:
                    break
            return found
        finally:
            files.close(descriptor)

    def _bin_header(self) -> BinHeader | None:
        """Return the first intact header of this segment's bins."""
        for number in self.bins[:_MOST_HEADERS]:
            with suppress(FormatError, OSError):
                with self._directory.open_segment(self.id) as folder:
                    descriptor = folder.open_file(self.paths.bin_name(number))
                try:
                    header = BinHeader.unpack(files.read_at(descriptor, spec.BIN_HEADER_BYTES, 0))
                finally:
                    files.close(descriptor)
                if not header.other_owner(self.id, number):
                    return header
        return None
