"""A crafted case: a golden dataset with one oddity, and the verdict that a reader must give of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from xxhash import xxh3_64_intdigest as hash64

from tests.conformance.dataset_editor import DatasetEditor, SegmentEditor

__all__ = [
    "CORRUPT",
    "CUT",
    "FORMAT",
    "MANIFEST",
    "MISSING",
    "NEWER",
    "TOO_LARGE",
    "Case",
    "hash_of",
    "in_segment",
    "instead",
]

CORRUPT: Final = "CorruptRecordError"
CUT: Final = "TruncatedFileError"
FORMAT: Final = "FormatError"
MANIFEST: Final = "ManifestError"
MISSING: Final = "MissingBinError"
NEWER: Final = "UnsupportedVersionError"
TOO_LARGE: Final = "RecordTooLargeError"


@dataclass(frozen=True)
class Case:
    """One oddity.

    Attributes:
        name: Of the case, unique.
        section: Of FORMAT.md, whose rule decides, or "samples" for docs/format/samples.md.
        what: The oddity, in words.
        edit: Makes it.
        base: The golden dataset that it is made in.
        opens: The error that opening raises; True where it opens.
        records, keys: What differs from the base, by position: the name of an error, several where a reader may
            choose, a hash or a key.
        find: The same by key. Positions are what is found.
        metadata: What differs from those of the base, by name; None where they are not told.
        metadata_bytes: In the place of metadata that are too long to be shown.
        fingerprint: Where it differs from the base; None where it is not told.
        samples: Of some positions.
        ranges: Position, start and stop of parts of records, and the hash of the part or the error.
        intact: Whether verifying finds nothing; None where the format leaves that open. Derived: as long as no record,
            key or search differs from the base.
    """

    name: str
    section: int | str
    what: str
    edit: Callable[[DatasetEditor], object]
    base: str = "plain"
    opens: str | bool = True
    records: dict[int, Any] | list[Any] = field(default_factory=dict)
    keys: dict[int, Any] = field(default_factory=dict)
    find: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] | None = field(default_factory=dict)
    metadata_bytes: int = 0
    fingerprint: str | None = ""
    samples: dict[int, Any] = field(default_factory=dict)
    ranges: list[list[Any]] = field(default_factory=list)
    intact: bool | Literal["derived"] | None = "derived"


def hash_of(record: bytes) -> str:
    """Return the hash of a record as verdicts have it."""
    return f"{hash64(record):016x}"


def in_segment(change: Callable[[SegmentEditor], object]) -> Callable[[DatasetEditor], object]:
    """Return an edit that changes the first segment."""

    def edit(dataset: DatasetEditor) -> None:
        change(dataset.segment())

    return edit


def instead(name: str, **edit: Any) -> Callable[[DatasetEditor], object]:
    """Put something else in the place of a file of the segment, or of the folder above it."""

    def change(dataset: DatasetEditor) -> None:
        path = dataset.segment().path(name).rstrip("/")
        dataset.others.append({"file": path, **edit})

    return change
