"""Mending the list of deleted records of a segment: nothing may come back that was deleted.

What is known of it depends on what is left:

    either half of the file is whole            the other is made again
    neither                                     tombstones: if they are the list, by its hash, it is made again
    no manifest says what was deleted           the longest whole list in the folder
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from splitdata.dataset.segments.deleted_records import DeletedRecords, latest_list, read_list_in, write_list
from splitdata.format import spec
from splitdata.format.deleted import pack_deleted

if TYPE_CHECKING:
    from splitdata.dataset.repair.frame_search import FrameSearch
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.folder import Folder

__all__ = ["DeletedOnDisk", "with_latest_list"]


def with_latest_list(info: SegmentInfo, folder: Folder) -> SegmentInfo:
    """Return a segment with all that was ever deleted of it, where the manifest that said so is lost."""
    found = latest_list(folder, info.id)
    if found is None or len(found[0]) <= info.num_deleted or found[0].sequences[-1] >= info.num_records:
        return info
    return replace(info, num_deleted=len(found[0]), deleted_hash=found[1])


class DeletedOnDisk:
    """The list of one segment as it lies there.

    Attributes:
        records: The deleted records; none where that is not known.
        is_known: Whether it is known.
        is_whole: Whether nothing has to be done.
    """

    def __init__(self, info: SegmentInfo, search: FrameSearch) -> None:
        """Read the list, or know it by the tombstones of a search whose entries are decided."""
        self._info = info
        self._folder = search.folder
        self.records = DeletedRecords(np.empty(0, np.uint32))
        self.is_known = self.is_whole = not info.num_deleted
        if self.is_known:
            return
        found = read_list_in(search.folder, info.id, info.deleted_hash)
        if found is None and not info.is_grouped:
            entries = search.entries[: info.num_records]
            lost = np.flatnonzero(entries["loc"] == np.uint64(spec.TOMBSTONE)).astype(np.uint32)
            is_list = pack_deleted(info.id, lost)[1] == info.deleted_hash
            found = DeletedRecords(lost, is_whole=False) if is_list else None
        if found is not None:
            self.records, self.is_known, self.is_whole = found, True, found.is_whole

    def rebuild(self) -> None:
        """Write the list again."""
        write_list(self._folder, self._info.id, self.records.sequences)
