"""The options of the cache through which a remote dataset is read: where, how much, in which pieces."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from splitdata._local_path import local_path

__all__ = ["BlockCache"]

_LEAST_BLOCK: Final = 4 << 10
_MOST_BLOCK: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class BlockCache:
    """Where blocks of remote files are kept when they were read once.

    Attributes:
        path: A folder, shared by all processes that name it with the same numbers, on a local disk or in /dev/shm; it
            outlives them. None keeps blocks in the memory of each process alone.
        max_bytes: The most that the folder holds; without a folder, that the memory of each process does. A process may
            be about to add one block more.
        block_bytes: Of each: a power of two from 4 KiB to 16 MiB. A record that is read at random costs one or two.
        memory_bytes: Beside a folder, the most that each process holds of it in memory.
    """

    path: str | os.PathLike[str] | None = None
    max_bytes: int = 256 << 20
    block_bytes: int = 256 << 10
    memory_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        """Check the numbers, and make the path absolute."""
        if self.path is not None:
            object.__setattr__(self, "path", local_path(self.path, "the path of the block cache"))
        size = self.block_bytes
        if size & (size - 1) or not _LEAST_BLOCK <= size <= _MOST_BLOCK:
            raise ValueError(f"block_bytes must be a power of two from 4 KiB to 16 MiB, got {size}")
        if min(self.max_bytes, self.memory_bytes) < 16 * size:
            raise ValueError(
                f"max_bytes and memory_bytes must be 16 blocks or more, {16 * size}; got {self.max_bytes} and "
                f"{self.memory_bytes}"
            )

    @property
    def bytes_in_memory(self) -> int:
        """What a process may hold in memory."""
        return self.max_bytes if self.path is None else min(self.memory_bytes, self.max_bytes)
