"""Verifying the list of deleted records of a segment: both halves of it, against the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splitdata.dataset.segments.deleted_records import DeletedRecords
from splitdata.dataset.segments.finding import Finding
from splitdata.errors import FormatError

if TYPE_CHECKING:
    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["check_deleted"]


def check_deleted(files: SegmentFiles) -> tuple[DeletedRecords, list[Finding]]:
    """Return the deleted records of a segment, and what is wrong with their list.

    Without it no record of the segment may be read.
    """
    info = files.info
    path = files.paths.deleted(info.deleted_hash)
    try:
        deleted = files.deleted()
    except (FormatError, OSError) as error:
        finding = Finding(path=path, problem=str(error), position=files.first_position, num_records=info.num_records)
        return DeletedRecords(np.empty(0, np.uint32)), [finding]
    if len(deleted) < info.num_deleted:
        problem = f"it lists {info.num_deleted - len(deleted)} records that the segment does not have"
        return deleted, [Finding(path=path, problem=problem, position=None, num_records=0)]
    if deleted.is_whole:
        return deleted, []
    problem = "one of the two lists of deleted records is damaged; `splitdata repair` makes it again from the other"
    return deleted, [Finding(path=path, problem=problem, position=None, num_records=0)]
