"""The id of the segment that another becomes when its deleted records are erased: who finds it knows what it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from splitdata.format.manifest import SegmentInfo

__all__ = ["compacted_id"]


def compacted_id(info: SegmentInfo) -> str:
    """Return the id of a segment without the bytes of the records that were deleted from this one."""
    text = f"{info.id} with {info.num_records} records without {info.deleted_hash:016x}"
    return xxhash.xxh3_128_hexdigest(text.encode())
