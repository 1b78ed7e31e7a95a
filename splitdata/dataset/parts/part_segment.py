"""A part that is about to be listed: proven to be what its descriptor and its own file say, then as any new segment.

Nothing is held open between the steps: there may be thousands of parts.

    descriptor == file "part" == header of the index == lengths of tables, bins, keys ──> listed
"""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from splitdata._shown import shown
from splitdata.dataset.parts.descriptor import PartDescriptor
from splitdata.dataset.parts.part_file import read_part_file
from splitdata.errors import FormatError, ManifestError, MissingBinError, TruncatedFileError
from splitdata.format import spec
from splitdata.format.index import IndexHeader, IndexTables, entry_offset
from splitdata.format.version import check_written_here
from splitdata.storage import files
from splitdata.storage.locked_file import LockedFile
from splitdata.storage.paths import SegmentPaths
from splitdata.storage.replace import make_sole

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.folder import Folder

__all__ = ["PartSegment"]

_LOCK_TRIES: Final = 100
_LOCK_SECONDS: Final = 0.02


class PartSegment:
    """The sealed segment of one part.

    Attributes:
        id: 32 hex digits.
        num_records: Records in it.
        stated: The manifest that the part has of itself: its metadata, its schema, and this segment.
    """

    def __init__(self, directory: DatasetDirectory, descriptor: PartDescriptor) -> None:
        """Read what the part says of itself, and prove that all of it is there.

        Raises:
            ManifestError: If there is no such part, or it is another one than was described.
            FormatError: If a file of it is missing, damaged or too short.
            UnsupportedVersionError: If a newer splitdata wrote it.
            BlockingIOError: If its lock is not to be had.
        """
        self.id = descriptor.segment
        self.num_records = descriptor.num_records
        self._directory = directory
        try:
            self.stated = read_part_file(directory, self.id)
        except (FileNotFoundError, NotADirectoryError):
            raise ManifestError(
                f"{directory.folder}: there is no part {shown(descriptor.part)} in segment {self.id}: it was never "
                "sealed, or has waited for too long, or the dataset was replaced since; nothing was changed: write it "
                "again",
                path=directory.folder,
            ) from None
        (self._info,) = self.stated.segments
        if (found := PartDescriptor.of(self._info)) != descriptor:
            raise ManifestError(
                f"segment {self.id} of {directory.folder} is part {shown(found.part)} with {found.num_records} "
                f"records, and the descriptor says {shown(descriptor.part)} with {descriptor.num_records} (digests "
                f"{found.digest:016x} and {descriptor.digest:016x}); nothing was changed",
                path=directory.folder,
            )
        check_written_here(self.stated.version, directory.folder)
        self._info.check_features()
        with self._locked() as lock:
            self._header = self._proven_header(lock.descriptor)

    def info(self) -> SegmentInfo:
        """Return the entry that lists it."""
        return self._info

    def sync(self, *, first_position: int, durable: bool, is_first_commit: bool) -> None:
        """Say in the index where the segment begins; the rest is on the medium. It counts as waiting still.

        Whoever clears away finds that it was written just now.
        """
        with self._locked(to_write=True) as lock:
            self._header = self._proven_header(lock.descriptor)
            self._write_header(lock.descriptor, replace(self._header, first_position=first_position), durable=durable)

    def check_in_place(self, directory: DatasetDirectory) -> None:
        """Raise ManifestError if it does not lie where a manifest in this directory would list it."""
        if directory.index_header(self.id) != self._header:
            path = directory.paths.segment(self.id).folder
            raise ManifestError(f"{path} was removed or replaced while it was committed; write it again", path=path)

    def mark_committed(self) -> None:
        """Say in the index that it waits no longer."""
        # The manifest says it already.
        with suppress(OSError, FormatError), self._locked(to_write=True) as lock:
            self._write_header(lock.descriptor, replace(self._header, awaits_first_commit=False), durable=False)

    # -- parts -------------------------------------------------------------------------------

    def _locked(self, *, to_write: bool = False) -> LockedFile:
        """Take the lock of the index, which others who commit or clear away have for a moment only.

        To be written it has no other name then: a copy by `cp -al` keeps a part that waits.
        """
        lock: LockedFile | None = None
        with suppress(FileNotFoundError, NotADirectoryError), self._directory.open_segment(self.id) as folder:
            for _ in range(_LOCK_TRIES):
                lock = folder.open_locked(spec.INDEX_NAME)
                if lock is not None:
                    if to_write:
                        lock = _sole(folder, lock)
                    break
                time.sleep(_LOCK_SECONDS)
            else:
                raise BlockingIOError(
                    errno.EAGAIN,
                    f"another program holds the lock of {folder.path_of(spec.INDEX_NAME)} (`lsof` names it)",
                    self._directory.folder,
                )
        if lock is None:
            path = self._directory.paths.segment(self.id).index
            raise TruncatedFileError(f"{path} is missing; write the part again", path=path)
        return lock

    def _write_header(self, descriptor: int, header: IndexHeader, *, durable: bool) -> None:
        self._header = header
        files.write_at(descriptor, header.pack(), 0)
        if durable:
            files.sync_data(descriptor)

    def _proven_header(self, index: int) -> IndexHeader:
        """Return the header of the index, once all lengths are what it, the tables and the part's file imply."""
        info, path = self._info, self._directory.paths.segment(self.id).index
        try:
            header = IndexHeader.unpack(files.read_at(index, spec.INDEX_HEADER_BYTES, 0))
            if _described(header) != _described_by(info):
                raise FormatError("its header is that of other records")
            start = entry_offset(info.num_frames, info.group)
            tables = IndexTables.unpack(
                files.read_at(index, max(0, files.size_of(index) - start), start),
                num_frames=info.num_frames,
                num_bins=info.num_bins,
                dictionary_bytes=header.dictionary_bytes,
                group=info.group,
            )
        except FormatError as error:
            raise type(error)(f"{path}: {error}; nothing was changed, write the part again", path=path) from None
        with self._directory.open_segment(self.id) as folder:
            self._check_lengths(folder, tables.bin_lengths)
        return header

    def _check_lengths(self, folder: Folder, bin_lengths: tuple[int, ...]) -> None:
        info = self._info
        wanted = {SegmentPaths.bin_name(number): length for number, length in enumerate(bin_lengths) if length}
        if info.num_keys:
            wanted[spec.KEYS_NAME] = info.keys_bytes
        for name, length in wanted.items():
            path = folder.path_of(name)
            try:
                size = folder.size_of(name)
            except FileNotFoundError:
                kind = FormatError if name == spec.KEYS_NAME else MissingBinError
                raise kind(f"{path} is missing; nothing was changed, write the part again", path=path) from None
            if size != length or folder.has_odd(name):
                raise TruncatedFileError(
                    f"{path} has {size} bytes, and {length} were written; nothing was changed, write the part again",
                    path=path,
                )


def _sole(folder: Folder, lock: LockedFile) -> LockedFile:
    """Return an index that is locked, or if it has another name a copy in its place."""
    sole = make_sole(folder, spec.INDEX_NAME, lock.descriptor, spec.INDEX_SCRATCH_NAME)
    if sole == lock.descriptor:
        return lock
    lock.close()
    return LockedFile(sole)


def _described(header: IndexHeader) -> tuple[object, ...]:
    """Return what a header says that the entry of the segment says, too."""
    is_waiting = header.is_sealed and header.awaits_first_commit
    counts = header.num_records, header.num_bins, header.digest, header.raw_bytes, header.stored_bytes
    return header.segment_id, is_waiting, counts, header.group, header.features


def _described_by(info: SegmentInfo) -> tuple[object, ...]:
    counts = info.num_records, info.num_bins, info.digest, info.raw_bytes, info.stored_bytes
    return info.id, True, counts, info.group, info.features
