"""Reading ahead: the order is known, so the disk can be asked for records before they are needed.

    steps to come ──> in memory already? ── no ──> prefetch, for every step from now on
                          └─ yes: ask less and less often, down to one step in sixteen

Warm data cost next to nothing this way, and data that turn cold are noticed within sixteen steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from splitdata.loader.plan.steps import StepRequest

__all__ = ["ReadAhead"]

_RAREST: Final = 16


class Prefetching(Protocol):
    """Something that can be asked for records ahead of time: a RecordSource, or a cache before one."""

    def prefetch(self, records: NDArray[np.int64]) -> None:
        """Ask for records to be brought into memory; returns at once."""

    def is_warm(self, records: NDArray[np.int64]) -> bool:
        """Tell whether records seem to be in memory."""


class ReadAhead:
    """Asks for the records of steps to come, for each step at most once. Belongs to one thread."""

    def __init__(self, source: Prefetching) -> None:
        self._source = source
        self._seen = -1
        self._stride = 1
        self._unasked = 0

    def look(self, upcoming: list[StepRequest]) -> None:
        """Look at the steps that are known by now, in order; returns without waiting for the disk."""
        for request in upcoming:
            if request.ticket <= self._seen:
                continue
            self._seen = request.ticket
            self._unasked += 1
            if self._unasked >= self._stride:
                self._unasked = 0
                self._ask(request)

    def _ask(self, request: StepRequest) -> None:
        for part in request.parts:
            if self._source.is_warm(part.records):
                self._stride = min(2 * self._stride, _RAREST)
            else:
                self._stride = 1
                self._source.prefetch(part.records)
