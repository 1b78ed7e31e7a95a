"""A sealed segment of one dataset that enters another: its files get second names there, its index is copied.

    A/segments/ID/  000000.bin keys deleted.HASH schemas   ── links, else copies ──>  DEST/segments/ID/
                    index  [header | entries | tables]     ── copied ──────────────>  index [own header | ...]

The index is a file of its own, since it says at which position the segment begins, and its lock says who is at work.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from splitdata.dataset.segments.deleted_records import write_list
from splitdata.dataset.segments.index_writer import IndexWriter
from splitdata.dataset.segments.new_folder import check_in_place, made_folder, sync_names
from splitdata.errors import FormatError, MissingBinError
from splitdata.format import spec
from splitdata.storage import files
from splitdata.storage.paths import SegmentPaths
from splitdata.storage.shared_file import share_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.index import IndexHeader
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.folder import Folder

__all__ = ["LinkedSegment"]


class LinkedSegment:
    """A segment with the files of another dataset's, locked until it is closed; no manifest lists it yet.

    Attributes:
        id: Its id, in both datasets.
        num_copied_bytes: Bytes that were copied, those of the index among them.
    """

    def __init__(self, directory: DatasetDirectory, source: DatasetDirectory, info: SegmentInfo) -> None:
        """Make the folder and fill it; all but the index is on the medium when this comes back.

        Args:
            directory: The dataset that it enters, which must have no folder of this segment.
            source: The dataset that has it.
            info: Its entry there.

        Raises:
            FormatError: If the header of its index is damaged, or a file is missing.
            BlockingIOError: If another program has taken this for what a dead writer has left.
        """
        self.id = info.id
        self.num_copied_bytes = 0
        # The names of parts are those of one dataset.
        self._info = replace(info, part=None)
        self._directory = directory
        self._header = _header_of(source, info)
        self._folder = made_folder(directory, info.id)
        self._index = IndexWriter(self._folder, info.group)
        try:
            self._index.create()
            self._index.lock()
            # Counts nothing: what a kill leaves of it is no segment that ever was committed.
            self._index.write_header(replace(self._header, num_records=0))
            with source.open_segment(info.id) as original:
                self._fill(original)
        except BaseException:
            self.close()
            raise

    def _fill(self, original: Folder) -> None:
        descriptor = original.open_file(spec.INDEX_NAME)
        try:
            self.num_copied_bytes += self._index.copy_rest(descriptor)
        finally:
            files.close(descriptor)
        for name in self._names(original):
            try:
                self.num_copied_bytes += share_file(original, name, self._folder)
            except FileNotFoundError:
                path = original.path_of(name)
                kind = FormatError if SegmentPaths.bin_of_name(name) is None else MissingBinError
                raise kind(f"{path} is missing; nothing was merged: repair that dataset first", path=path) from None

    def _names(self, original: Folder) -> list[str]:
        """Return the files that the segment must have beside its index, and those that it may have."""
        info = self._info
        names = [SegmentPaths.bin_name(number) for number in range(info.num_bin_files)]
        if info.num_keys:
            names.append(spec.KEYS_NAME)
        if info.num_deleted:
            names.append(SegmentPaths.deleted_name(info.deleted_hash))
        if original.has(spec.SCHEMAS_NAME):
            names.append(spec.SCHEMAS_NAME)
        return names

    @property
    def num_records(self) -> int:
        """Records of the segment."""
        return self._info.num_records

    def info(self) -> SegmentInfo:
        """Return the entry that lists it."""
        return self._info

    def list_deleted(self, sequences: NDArray[np.uint32]) -> None:
        """Say which of the records are deleted in the dataset that it enters; the list is on the medium then."""
        list_hash = write_list(self._folder, self.id, sequences)
        self._info = replace(self._info, num_deleted=len(sequences), deleted_hash=list_hash)

    def sync(self, *, first_position: int, durable: bool, is_first_commit: bool) -> None:
        """Bring all of it to the files, and to the medium if `durable`; as `SegmentWriter.sync` does."""
        self._header = replace(
            self._header,
            first_position=first_position,
            num_records=self._info.num_records,
            awaits_first_commit=is_first_commit,
        )
        self._index.write_header(self._header)
        if durable:
            self._index.sync()
            sync_names(self._directory, self._folder)

    def check_in_place(self, directory: DatasetDirectory) -> None:
        """Raise if another segment, or none, lies where a manifest in this directory would list this one."""
        check_in_place(directory, self.id, self._index)

    def mark_committed(self) -> None:
        """Say in the index that there is a manifest, which helps where that is deleted some day."""
        if self._header.awaits_first_commit:
            with suppress(OSError):
                self._index.write_header(replace(self._header, awaits_first_commit=False))

    def close(self) -> None:
        """Close all files, which gives the lock back; safe to call again."""
        self._index.close()
        self._folder.close()


def _header_of(source: DatasetDirectory, info: SegmentInfo) -> IndexHeader:
    header = source.index_header(info.id)
    if header is None or header.num_records != info.num_records or not header.is_sealed:
        path = source.paths.segment(info.id).index
        raise FormatError(
            f"{path}: the header of the index is damaged, or missing; nothing was merged: "
            f"`splitdata repair {source.folder}` makes it again",
            path=path,
        )
    return header
