"""Cold reads: when to ask whether records are in memory, so that those that are not can be asked for together.

A question costs some microseconds for each record asked about, which is as much as reading ten warm ones.

    batch        was the last one of its segment slow? ── yes: look at 4 of its records
    read ahead   as long as data are cold, each         ── look at 8 of its records
                 warm: less and less often, down to one in sixteen
                     a record is not in memory ──> ask the kernel for all of them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

__all__ = ["ColdReads", "slow_seconds"]

_BATCH_SAMPLES: Final = 4
# More of them: behind a wrong "warm" the next look is farther away, and behind a slow batch it is not.
_AHEAD_SAMPLES: Final = 8
_RAREST: Final = 16
# A record that takes longer than this, in seconds, and for each byte of it, was perhaps not in memory.
_SLOW_SECONDS: Final = 4e-6
_SLOW_SECONDS_PER_BYTE: Final = 1e-9


def slow_seconds(mean_bytes: float) -> float:
    """Return from how many seconds a record on a batch of such records is slow."""
    return _SLOW_SECONDS + _SLOW_SECONDS_PER_BYTE * mean_bytes


class ColdReads:
    """Decides when records of a snapshot are asked about; all of its segments share one.

    Threads may share it: at worst a look is made once more, or a step later.
    """

    def __init__(self) -> None:
        self._fast_segments: set[str] = set()
        self._stride = 1
        self._unasked = 0

    def expects_warm(self, segment: str) -> bool:
        """Say whether the last batch of a segment was fast, so that the next one is not looked at."""
        return segment in self._fast_segments

    def is_cold_batch(self, segment: str, rows: NDArray[Any], any_is_cold: Callable[[NDArray[Any]], bool]) -> bool:
        """Say whether a batch should be asked for before it is read.

        The first batch of a segment is looked at, and one behind a cold or slow one. The usual batch is not, nor is a
        single record: to read it is to ask for it.

        Args:
            segment: The folder of the segment.
            rows: What stands for each record of the batch.
            any_is_cold: Looks at some of the rows.
        """
        if self.expects_warm(segment) or len(rows) < 2:
            return False
        is_cold = any_is_cold(rows[:: max(1, len(rows) // _BATCH_SAMPLES)])
        if is_cold:
            # What comes next is probably no warmer.
            self._stride = 1
        return is_cold

    def note_batch(self, segment: str, *, was_slow: bool) -> None:
        """Take note of how long a batch took, held against `slow_seconds`, that was read without being asked for."""
        if was_slow:
            self._fast_segments.discard(segment)
        else:
            self._fast_segments.add(segment)

    def looks_ahead(self) -> bool:
        """Count a step that will be needed; say whether to look at it."""
        self._unasked += 1
        if self._unasked < self._stride:
            return False
        self._unasked = 0
        return True

    def is_cold_ahead(self, rows: NDArray[Any], any_is_cold: Callable[[NDArray[Any]], bool]) -> bool:
        """Look at a step; say whether it should be asked for. Takes what `is_cold_batch` does."""
        is_cold = any_is_cold(rows[:: max(1, -(-len(rows) // _AHEAD_SAMPLES))])
        self._stride = 1 if is_cold else min(2 * self._stride, _RAREST)
        return is_cold
