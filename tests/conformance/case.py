"""A crafted case: a golden dataset with one oddity, and the verdict that a reader must give of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.dataset_editor import DatasetEditor

__all__ = ["Case"]


@dataclass(frozen=True)
class Case:
    """One oddity.

    Attributes:
        name: Of the case, unique.
        section: Of FORMAT.md, whose rule decides.
        what: The oddity, in words.
        edit: Makes it.
        base: The golden dataset that it is made in.
        opens: The error that opening raises; True where it opens.
        records, keys: What differs from the base, by position: the name of an error, several where a reader may
            choose, a hash or a key.
        find: The same by key. Positions are what is found.
        metadata: What differs from those of the base, by name.
        metadata_bytes: In the place of metadata that are too long to be shown.
    """

    name: str
    section: int
    what: str
    edit: Callable[[DatasetEditor], object]
    base: str = "plain"
    opens: str | bool = True
    records: dict[int, Any] | list[Any] = field(default_factory=dict)
    keys: dict[int, Any] = field(default_factory=dict)
    find: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    metadata_bytes: int = 0
    fingerprint: str = ""
