"""Reads any number of bytes out of blocks of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BlockReader"]


class BlockReader:
    """A place in blocks of bytes that moves on.

    Attributes:
        num_bytes: Bytes before it.
    """

    def __init__(self, blocks: Iterator[bytes], num_bytes: int) -> None:
        """Read blocks, behind so many bytes that were read before."""
        self.num_bytes = num_bytes
        self._blocks = blocks
        self._block = b""
        self._start = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end."""
        if self._start == len(self._block):
            self._block, self._start = next(self._blocks, b""), 0
        piece = self._block[self._start : self._start + size]
        self._start += len(piece)
        self.num_bytes += len(piece)
        return piece

    def read_full(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        piece = self.read(size)
        if len(piece) == size:
            return piece
        pieces, missing = [piece], size - len(piece)
        while missing and (piece := self.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)
