"""Blocks that have come before their turn: they wait in memory, and beyond a limit in a file without a name.

Blocks come and go in the same order, so what is in the file has come behind what is in memory.

    put ──> memory, up to its share ─────────────> take
         `─ what comes then: file ──> in its turn ──^
"""

from __future__ import annotations

import pickle
from collections import deque
from typing import TYPE_CHECKING

from splitdata.conversion.parallel.unnamed_file import UnnamedFile

if TYPE_CHECKING:
    from splitdata.conversion.parallel.block import Block

__all__ = ["WaitingBlocks"]

_WHY = "what workers have made ahead of its turn waits there; fewer workers need less room"


class WaitingBlocks:
    """The blocks of one part that wait; `close` removes the file.

    Attributes:
        num_bytes: Of those in memory.
        num_stored_bytes: Of those in the file.
        is_complete: The last block of the part has come.
    """

    def __init__(self, folder: str) -> None:
        """Take the folder for the file."""
        self.num_bytes = 0
        self.num_stored_bytes = 0
        self.is_complete = False
        self._in_memory: deque[Block] = deque()
        self._stored: deque[tuple[int, int]] = deque()
        self._file = UnnamedFile(folder, _WHY)

    def __len__(self) -> int:
        return len(self._in_memory) + len(self._stored)

    def put(self, block: Block, *, has_room: bool) -> None:
        """Take a block; `has_room` says whether it may stay in memory."""
        self.is_complete = block.is_last
        if has_room and not self._stored:
            self._in_memory.append(block)
            self.num_bytes += block.num_bytes
            return
        # It is read by this process alone, from a file that nobody else can open.
        packed = pickle.dumps(block, 5)
        self._stored.append((self._file.append(packed), len(packed)))
        self.num_stored_bytes += len(packed)

    def take(self) -> Block:
        """Return the block that came first."""
        if self._in_memory:
            block = self._in_memory.popleft()
            self.num_bytes -= block.num_bytes
            return block
        offset, size = self._stored.popleft()
        self.num_stored_bytes -= size
        found: Block = pickle.loads(self._file.read(offset, size))
        return found

    def close(self) -> None:
        """Remove the file; safe to call again."""
        self._file.close()
