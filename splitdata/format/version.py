"""The versions and features of the format that are known here: one rule for manifest, index, bins and keys.

    header     version, bits of must_understand ──┐
    manifest   version, names of must_understand ─┴─ all known? ── no ──> UnsupportedVersionError, never damage

FORMAT.md section 15.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Final

from splitdata.errors import UnsupportedVersionError
from splitdata.format import spec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "FEATURES",
    "GROUPS",
    "OLD_VERSION",
    "are_known",
    "check_features",
    "check_flags",
    "check_no_features",
    "check_same_major",
    "check_version",
    "check_written_here",
    "features_of",
    "features_with",
    "flags_of",
]

# Each minor of major 0 was a format of its own. This one is still read, and not written.
OLD_VERSION: Final = (0, 1)
# What a reader of a segment may have to understand, by name, with its bit in the headers of the segment's files.
GROUPS: Final = "groups"
FEATURES: Final = {GROUPS: 1 << 0, "hash": 1 << 1, "encryption": 1 << 2}
# Those that are understood here.
_KNOWN: Final = frozenset({GROUPS})
_NEXT_STEP: Final = "install the splitdata that wrote it, or a newer one"


def check_version(major: int, minor: int) -> None:
    """Raise unless a file of this version can be read here.

    Version 0 was not frozen: each minor of it is a format of its own. From version 1 on a greater
    minor adds only what may be ignored, or is announced by a feature.
    """
    if not (major == spec.MAJOR > 0 or (major, minor) == OLD_VERSION):
        raise UnsupportedVersionError(
            f"format {major}.{minor}; this splitdata reads {spec.MAJOR}.{spec.MINOR}: {_NEXT_STEP}"
        )


def check_same_major(head: bytes | memoryview, of_dataset: tuple[int, int]) -> None:
    """Raise if a file, of which the first bytes are given, is of another major version than its dataset.

    No writer mixes them, and the bytes of its frames would be taken for those of the other.
    """
    major, minor = (int.from_bytes(head[place : place + 2], "little") for place in (8, 10))
    if major != of_dataset[0]:
        raise UnsupportedVersionError(
            f"format {major}.{minor} in a dataset of format {of_dataset[0]}.{of_dataset[1]}: put the right file there"
        )


def check_written_here(version: tuple[int, int], what: str) -> None:
    """Raise if a dataset of this version is read here and not written; `what` is its name, for the message."""
    if version == OLD_VERSION:
        raise UnsupportedVersionError(
            f"{what} has format {version[0]}.{version[1]}, which is read and not written any more: "
            "`splitdata write OLD NEW` copies its records into a new dataset"
        )


def are_known(names: Iterable[str]) -> bool:
    """Say whether all features of these names are known here."""
    return _KNOWN.issuperset(names)


def check_features(names: Iterable[str], what: str) -> None:
    """Raise unless all features that a manifest names are known; `what` says of what they are."""
    check_no_features((name for name in names if name not in _KNOWN), what)


def check_no_features(names: Iterable[str], what: str) -> None:
    """Raise if there is a feature at all: of a dataset as a whole none is known here."""
    unknown = list(names)
    if unknown:
        raise UnsupportedVersionError(
            f"{what} has the feature {reprlib.repr(unknown[0])}, which this splitdata does not know: {_NEXT_STEP}"
        )


def features_with(group: int) -> tuple[str, ...]:
    """Return the features of a segment with so many records in a frame."""
    return (GROUPS,) if group > 1 else ()


def flags_of(names: Iterable[str]) -> int:
    """Return the bits by which a header names features."""
    return sum(FEATURES[name] for name in names)


def features_of(bits: int) -> tuple[str, ...]:
    """Return the features that the bits of a header name; bits that have no name here are one more, shown as bits."""
    rest = bits & ~sum(FEATURES.values())
    return (*(name for name, bit in FEATURES.items() if bits & bit), *([f"bits {rest:#x}"] if rest else []))


def check_flags(bits: int) -> None:
    """Raise unless all features that the bits of a header name are known."""
    check_features(features_of(bits), "the file")
