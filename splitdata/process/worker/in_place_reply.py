"""Lets a loader's worker collate a batch directly in shared memory, so that sending it copies nothing.

The arrays of the batch are written before the rest of the message is known: room is left in front of them.

    allocate, allocate       | head: room left free |  array 1  |  array 2  |  to spare  |
    message_offset           |    | table | pickle  |  array 1  |  array 2  |
                                  ^ where the message has to begin for its arrays to be where they are

The message is one like every other (messages.py): its receiver cannot tell.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

__all__ = ["InPlaceReply"]


class InPlaceReply:
    """A slot that was taken from the arena. Belongs to one thread.

    Attributes:
        offset: Where the slot begins.
        num_wanted: Bytes of all arrays that were asked for, those without room included.
    """

    def __init__(self, memory: mmap.mmap, offset: int, size: int, head: int, alignment: int) -> None:
        self.offset = offset
        self.num_wanted = 0
        self._memory = memory
        self._end = offset + size
        self._next = offset + head
        self._alignment = alignment

    def allocate(self, num_bytes: int) -> memoryview | None:
        """Return writable memory for one array; None where the slot has no room for it."""
        size = -(-num_bytes // self._alignment) * self._alignment
        self.num_wanted += size
        begin = self._next
        if begin + size > self._end:
            return None
        self._next = begin + size
        return memoryview(self._memory)[begin : begin + num_bytes]

    def message_offset(self, parts: Sequence[memoryview], places: Sequence[int]) -> int | None:
        """Return where a message must begin for all its parts but the first to be in place already.

        None where they are not, or where that is before the slot.

        Args:
            parts: Of the message; the first is its pickle.
            places: Of each part in the message.
        """
        base = _address(memoryview(self._memory))
        begins = {_address(part) - base - place for part, place in zip(parts[1:], places[1:], strict=True)}
        if len(begins) != 1:
            return None
        offset = begins.pop()
        return offset if self.offset <= offset < self._end else None


def _address(buffer: memoryview) -> int:
    import numpy

    address: int = numpy.frombuffer(buffer, numpy.uint8).__array_interface__["data"][0]
    return address
