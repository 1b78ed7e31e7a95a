"""A finding: one difference from what was written; and a list of findings that stays short."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["MOST_FINDINGS", "Finding", "FindingList"]

MOST_FINDINGS: Final = 10_000
"""So many are told in full: a forged dataset of a megabyte has a hundred thousand, each of several hundred bytes."""


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


class FindingList:
    """The first findings, and how many more there were.

    Attributes:
        num_more: Findings that are counted only.
        num_more_records: Records that cannot be read because of those.
    """

    def __init__(self) -> None:
        self.num_more = 0
        self.num_more_records = 0
        self._findings: list[Finding] = []

    def __iter__(self) -> Iterator[Finding]:
        """Walk those that are held."""
        return iter(self._findings)

    def __len__(self) -> int:
        """Return how many there were."""
        return len(self._findings) + self.num_more

    @property
    def num_records(self) -> int:
        """Records that cannot be read because of any of them."""
        return sum(finding.num_records for finding in self._findings) + self.num_more_records

    def add(self, finding: Finding) -> None:
        """Take one more."""
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(finding)
        else:
            self.num_more += 1
            self.num_more_records += finding.num_records

    def extend(self, findings: Iterable[Finding] | FindingList) -> None:
        """Take several more, those too that another list has only counted."""
        for finding in findings:
            self.add(finding)
        if isinstance(findings, FindingList):
            self.num_more += findings.num_more
            self.num_more_records += findings.num_more_records
