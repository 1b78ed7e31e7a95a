"""Divides the arena: the worker's list of free ranges, and the slots that the consumer has on loan.

    worker                                        consumer
    FreeRanges.take(size) -> offset               Loans.lend(offset, size) -> array over the slot
       |   writes the message                        |   arrays and tensors of the batch look into it
       `------- SLOT offset, size ------------->     |
                                                  the last one is collected: the weak reference
    FreeRanges.give_back(offset)                  appends itself to a deque, nothing more
       ^                                             |
       `------- note: slots returned <---------   Loans.collect() -> offsets to return

A finalizer may run at any instruction of any thread, also inside this code, so it does the one thing
that is atomic. Slots that are out when the process forks stay out for ever: the child sees the same
memory and nobody can know for how long it looks.
"""

from __future__ import annotations

import bisect
import mmap
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from splitdata.process.wire.messages import ALIGNMENT

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["FreeRanges", "Loans"]


class FreeRanges:
    """First fit over one block: the lowest free place that is large enough, neighbours joined again."""

    def __init__(self, size: int) -> None:
        self._begins = [0]
        self._ends = [size]
        self._taken: dict[int, int] = {}

    def take(self, size: int) -> int | None:
        """Return the offset of `size` free bytes, a multiple of 64, or None where there is no such place."""
        size = (size + ALIGNMENT - 1) & -ALIGNMENT
        for place, begin in enumerate(self._begins):
            if self._ends[place] - begin >= size:
                self._taken[begin] = begin + size
                if self._ends[place] - begin == size:
                    del self._begins[place], self._ends[place]
                else:
                    self._begins[place] = begin + size
                return begin
        return None

    def give_back(self, offset: int) -> None:
        """Free what `take` gave at this offset.

        Raises:
            KeyError: Nothing is taken there.
        """
        end = self._taken.pop(offset)
        place = bisect.bisect(self._begins, offset)
        joins_left = place > 0 and self._ends[place - 1] == offset
        joins_right = place < len(self._begins) and self._begins[place] == end
        if joins_left and joins_right:
            self._ends[place - 1] = self._ends[place]
            del self._begins[place], self._ends[place]
        elif joins_left:
            self._ends[place - 1] = end
        elif joins_right:
            self._begins[place] = offset
        else:
            self._begins.insert(place, offset)
            self._ends.insert(place, end)


class _Loan(weakref.ref[Any]):
    """A weak reference to the array over a slot that knows which slot it was."""

    __slots__ = ("offset", "size")
    offset: int
    size: int


class Loans:
    """The slots that the consumer has handed out, and those that came back.

    `lend`, `collect` and `pin` belong to one thread at a time; the return of a slot may happen in any.

    Attributes:
        bytes_out: Of the slots that are out.
        returned: What `collect` will find.
    """

    def __init__(self, mapping: mmap.mmap) -> None:
        self._map = mapping
        self._out: dict[int, _Loan] = {}
        self._pinned: list[_Loan] = []
        self.returned: deque[_Loan] = deque()
        self.bytes_out = 0

    def lend(self, offset: int, size: int) -> npt.NDArray[np.uint8]:
        """Return a writable array over a slot; when nothing looks into it any more, the slot returns.

        Views of the result keep it alive, also through memoryview, numpy and torch: its base is a
        foreign object, so numpy does not collapse the chain of views past it.
        """
        import numpy

        slot: npt.NDArray[np.uint8] = numpy.frombuffer(self._map, numpy.uint8, size, offset)
        loan = _Loan(slot, self.returned.append)
        loan.offset, loan.size = offset, size
        self._out[offset] = loan
        self.bytes_out += size
        return slot

    def collect(self) -> list[int]:
        """Return the offsets of the slots that came back since the last call."""
        offsets: list[int] = []
        while self.returned:
            loan = self.returned.popleft()
            if self._out.get(loan.offset) is loan:
                del self._out[loan.offset]
                self.bytes_out -= loan.size
                offsets.append(loan.offset)
        return offsets

    def pin(self) -> None:
        """Never return the slots that are out now: a forked child looks into them too."""
        for offset in list(self._out):
            loan = self._out.pop(offset, None)
            if loan is not None:
                self._pinned.append(loan)
