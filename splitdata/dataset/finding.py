"""A finding: one thing that is not as it was written."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that `verify` found.

    Attributes:
        path: The file, or the segment's folder.
        problem: What is wrong, in words.
        position: Of the record that is damaged, or of the first of several; None where no
            particular record is.
        num_records: Records that cannot be read because of it; 0 for damage that costs none.
    """

    path: str
    problem: str
    position: int | None
    num_records: int
