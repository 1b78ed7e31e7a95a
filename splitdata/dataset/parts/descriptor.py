"""What one process tells another of a part: four JSON values, all of them checked before they are used.

They name a segment, and say what it must be; how it is stored is in its own files, which part_segment.py proves.

    PartWriter ──{"part": "shard 3", "segment": "<32 hex>", "records": 1000, "digest": "<16 hex>"}──> commit_parts
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from splitdata._shown import shown
from splitdata.format import spec
from splitdata.format.digest import is_digest
from splitdata.format.manifest import is_part_id

if TYPE_CHECKING:
    from splitdata.format.manifest import SegmentInfo

__all__ = ["PartDescriptor", "check_part_id"]

_ID: Final = re.compile(r"[0-9a-f]{32}")
_DIGEST: Final = re.compile(r"[0-9a-f]{16}")
_NAMES: Final = frozenset({"part", "segment", "records", "digest"})


def check_part_id(part_id: object) -> str:
    """Return the name of a part.

    Raises:
        TypeError, ValueError: If none can be called so.
    """
    if not isinstance(part_id, str):
        raise TypeError(f"part_id must be text, got {part_id!r}")
    if not is_part_id(part_id):
        raise ValueError(f"part_id must be 1 to 200 characters, none of them a control character, got {part_id!r}")
    return part_id


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDescriptor:
    """One part.

    Attributes:
        part: Its name, which all attempts to write it share.
        segment: Id of the segment that this attempt has made.
        num_records: Records in it.
        digest: Of them.
    """

    part: str
    segment: str
    num_records: int
    digest: int

    @classmethod
    def of(cls, info: SegmentInfo) -> PartDescriptor:
        """Return that of a segment which is a part."""
        return cls(part=check_part_id(info.part), segment=info.id, num_records=info.num_records, digest=info.digest)

    def to_json(self) -> dict[str, Any]:
        """Return it as values of JSON."""
        return {
            "part": self.part,
            "segment": self.segment,
            "records": self.num_records,
            "digest": f"{self.digest:016x}",
        }

    @classmethod
    def from_json(cls, value: object) -> PartDescriptor:
        """Take one from wherever it comes.

        Raises:
            ValueError, TypeError: If it is none.
        """
        if not isinstance(value, dict) or value.keys() != _NAMES:
            raise ValueError(f"a descriptor of a part is a dict of {', '.join(sorted(_NAMES))}, got {shown(value)}")
        segment, count, digest = value["segment"], value["records"], value["digest"]
        if not isinstance(segment, str) or not _ID.fullmatch(segment):
            raise ValueError(f"the segment of a part is 32 hexadecimal digits, got {shown(segment)}")
        if type(count) is not int or not 0 <= count <= spec.MAX_SEGMENT_RECORDS:
            raise ValueError(f"the records of a part are 0 to {spec.MAX_SEGMENT_RECORDS}, got {shown(count)}")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest) or not is_digest(int(digest, 16)):
            raise ValueError(f"the digest of a part is 16 hexadecimal digits below 2^61 - 1, got {shown(digest)}")
        return cls(part=check_part_id(value["part"]), segment=segment, num_records=count, digest=int(digest, 16))
