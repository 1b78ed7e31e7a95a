"""The compiled reads of one segment, on the terms of one reader; None from any of them: read by Python.

    sequences ─> Frames, which holds the maps ─> records, views or rows, proven as the reader wants it

Nothing is decided here: what is not as usual goes back to those who ask, see splitdata/_compiled.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from splitdata._compiled import Frames

__all__ = ["CompiledReads"]


class CompiledReads:
    """Reads many records of a segment by sequence number; safe to share between threads."""

    def __init__(self, frames: Frames, *, verify: bool, most_bytes: int, most_bytes_in_all: int) -> None:
        """Take the maps of a segment.

        Args:
            frames: The maps.
            verify: Whether records are held against their hashes.
            most_bytes: A longer record is for Python to read, or to refuse.
            most_bytes_in_all: And so is a batch that has more.
        """
        self._frames = frames
        self._terms = verify, most_bytes, most_bytes_in_all

    def records(self, sequences: NDArray[np.int64] | list[int]) -> list[bytes] | None:
        """Return records in the order of `sequences`; None also if one is no sequence number of the segment."""
        return self._frames.records(sequences, *self._terms)

    def views(self, sequences: NDArray[np.int64]) -> list[memoryview] | None:
        """Return records in the order of `sequences`, as read-only views of the maps."""
        return self._frames.views(sequences, *self._terms)

    def rows(self, sequences: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """Return records of one size as rows, uint8[records, size]; there is at least one."""
        size = self._frames.size(int(sequences[0]))
        # A record that was found lies within its file, and so do as many as are not more than files hold.
        if not size or size * len(sequences) > self._terms[2]:
            return None
        rows = np.empty((len(sequences), size), np.uint8)
        return rows if self._frames.gather(sequences, rows, *self._terms) else None

    def quick(self) -> Callable[[Any], bytes | None]:
        """Return what returns one record; None where it is not usual, or what it is given no sequence number."""
        return self._frames.getter(None, *self._terms[:2])

    def getter(self, otherwise: Callable[[int], bytes]) -> Callable[[int], bytes]:
        """Return what returns one record by its sequence number; by calling `otherwise` where it is not usual."""
        return self._frames.getter(otherwise, *self._terms[:2])
