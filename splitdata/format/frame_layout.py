"""The layout of a frame, by version of the format: the one place that knows what version 0.1 did otherwise.

              payload hash covers    behind a key       header of a large record    where that begins
    1.0       payload (large: table)  u64 hash of it    64 bytes                    where its payload is aligned
    0.1       payload (table) and key  nothing          48 bytes                    so, behind where a small one would

Segments of 0.1 are read; nothing is written to them. FORMAT.md section 8, docs/format/older.md section 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.format import spec
from splitdata.format.version import OLD_VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LAYOUT", "FrameLayout", "aligned_start", "aligned_starts", "layout_of", "next_start"]


def aligned_start(end: int, header_bytes: int, alignment: int) -> int:
    """Return where the next frame begins behind byte `end`, so that its payload is aligned."""
    return end + -(end + header_bytes) % alignment


def aligned_starts(ends: NDArray[np.int64], header_bytes: int, alignment: int) -> NDArray[np.int64]:
    """Return `aligned_start` of many ends."""
    starts: NDArray[np.int64] = ends + -(ends + header_bytes) % alignment
    return starts


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """What frames of a version have beside payload and key, and what their hashes cover.

    Attributes:
        large_header_bytes: Of the header of a large record.
        has_key_hash: Whether a key has a hash of its own behind it; otherwise the payload hash covers it too.
    """

    large_header_bytes: int
    has_key_hash: bool

    def key_extent(self, key_length: int) -> int:
        """Return how many bytes a key of this length takes, 0 if there is none."""
        return key_length + spec.KEY_HASH_BYTES if key_length and self.has_key_hash else key_length

    def next_start(self, end: int, alignment: int, *, is_large: bool) -> int:
        """Return where the frame begins that stands behind byte `end`."""
        if not is_large:
            return aligned_start(end, spec.FRAME_HEADER_BYTES, alignment)
        behind = end if self.has_key_hash else aligned_start(end, spec.FRAME_HEADER_BYTES, alignment)
        return aligned_start(behind, self.large_header_bytes, alignment)


LAYOUT: Final = FrameLayout(spec.LARGE_FRAME_HEADER_BYTES, has_key_hash=True)
"""What is written."""

_LAYOUT_0_1: Final = FrameLayout(48, has_key_hash=False)


def layout_of(version: tuple[int, int]) -> FrameLayout:
    """Return the layout of the frames of a segment, by the version in its manifest."""
    return _LAYOUT_0_1 if version == OLD_VERSION else LAYOUT


def next_start(end: int, alignment: int, *, is_large: bool = False) -> int:
    """Return where the next frame is written behind byte `end`."""
    return LAYOUT.next_start(end, alignment, is_large=is_large)
