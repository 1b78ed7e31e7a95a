"""Which schemas the samples of a snapshot name by their numbers: one list for all, as a rule.

A session begins with the schemas of the segment before, so lists are equal or go on.

    segment 0   [image 32x32, label]                     segment 0   [image]
    segment 1   [image 32x32, label | image 64x64, ...]  segment 1   [text]
                `- the longest serves for both           of writers at the same time: each record has its segment's
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

from splitdata.format.schemas import fit_together, longest

__all__ = ["SegmentSchemas"]


@dataclass(frozen=True)
class SegmentSchemas:
    """The schemas of each segment that holds records.

    Attributes:
        starts: Position of the first record of each segment.
        lists: Its schemas.
    """

    starts: list[int]
    lists: list[tuple[bytes, ...]]

    @cached_property
    def for_all(self) -> tuple[bytes, ...] | None:
        """The one list with which all records are read, None if there is none."""
        found = longest(self.lists)
        return found if all(fit_together(one, found) for one in self.lists) else None

    def of(self, position: int) -> tuple[bytes, ...]:
        """Return the schemas of the record at a position, which must be in range."""
        return self.lists[bisect_right(self.starts, position) - 1]
