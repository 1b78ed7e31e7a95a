"""A record of known size that is read piece by piece from something larger, or something slow.

A writer takes it like an open file. If its input is shorter than announced, it raises instead of ending early.

    |<----------- size ------------>|
    read  read  read ...            b""
              ^ the input ends here: SourceError, never a shorter record
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["READ_WHOLE_BYTES", "SizedFile"]

# Larger records are handed on as files, so that memory stays bounded whatever their size.
READ_WHOLE_BYTES: Final = 1 << 20

_DRAIN_BYTES: Final = 256 << 10


class SizedFile:
    """A binary file of exactly `size` bytes, read once from front to end.

    `seek` and `tell` serve to ask for the length; reading from any other place is refused.
    """

    def __init__(self, read: Callable[[int], bytes], size: int, *, path: str, position: int) -> None:
        """Read through `read`, which gives up to that many bytes and none at its end.

        Args:
            read: Where the bytes come from.
            size: How many belong to the record.
            path: Shown in errors.
            position: Number of the record in its source, shown in errors.
        """
        self.size = size
        self._read = read
        self._path = path
        self._number = position
        self._consumed = 0
        self._place = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end of the record.

        Raises:
            SourceError: If the input ends before the record does.
        """
        if self._place != self._consumed:
            raise io.UnsupportedOperation("this record can only be read from front to end")
        left = self.size - self._consumed
        wanted = left if size < 0 else min(size, left)
        if not wanted:
            return b""
        data = self._read(wanted)
        if not data:
            raise SourceError(
                f"{self._path} ends after {self._consumed} of the {self.size} bytes of record {self._number}: "
                "it was truncated, or changed while it was read",
                path=self._path,
                position=self._number,
            )
        self._consumed += len(data)
        self._place = self._consumed
        return data

    def read_whole(self) -> bytes:
        """Return all of it; raises as `read` does."""
        data = self.read()
        while len(data) < self.size:
            data += self.read()
        return data

    def tell(self) -> int:
        """Return the place of the next byte to read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move to a place in the record and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        self._place = base + offset
        return self._place

    def drain(self) -> None:
        """Read what is left to its end."""
        self._place = self._consumed
        while self.read(_DRAIN_BYTES):
            pass
