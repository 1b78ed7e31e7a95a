"""Blocks in a folder: many processes put and find them there without talking to each other, within a limit of bytes.

A block has one place, the set that its name leads to; each set has its share of the limit, and gives up its oldest
blocks for a new one. So nothing is counted across processes, and nothing is scanned but the one set.

    DIR/blocks.<sets>/<3 hex>/<32 hex>     xxh3-64 of the rest | bytes of the block

A block appears whole, by a rename. One that is damaged is no block. Only files by such names are ever removed.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from typing import Final

from splitdata.format.checksum import hash64

__all__ = ["FolderBlocks"]

_NAME: Final = re.compile(r"[0-9a-f]{32}")
_SCRATCH: Final = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{16}")
_SETS: Final = re.compile(r"blocks\.([0-9a-f]{4})")
_SET: Final = re.compile(r"[0-9a-f]{3}")
_MOST_SETS: Final = 4096
_BLOCKS_OF_A_SET: Final = 64
_HASH_BYTES: Final = 8


class FolderBlocks:
    """The blocks in one folder; safe to share between threads and processes.

    Where the folder cannot be written the blocks are simply not kept: a cache is no reason to fail.
    """

    def __init__(self, folder: str, max_bytes: int, block_bytes: int) -> None:
        """Make the folder, and remove what was kept there under another limit.

        Raises:
            OSError: If the folder cannot be made.
        """
        most = max_bytes // (_BLOCKS_OF_A_SET * (block_bytes + _HASH_BYTES))
        self.num_sets = min(_MOST_SETS, 1 << max(0, most.bit_length() - 1))
        self._share = max_bytes // self.num_sets
        own = f"blocks.{self.num_sets:04x}"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for name in os.listdir(folder):
            if _SETS.fullmatch(name) and name != own:
                _remove_sets(os.path.join(folder, name))
        self._folder = os.path.join(folder, own)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)

    def get(self, name: str, length: int) -> bytes | None:
        """Return a block of a known length, proven; None if it is not there."""
        try:
            with open(self._path(name), "rb") as file:
                data = file.read(_HASH_BYTES + length + 1)
        except OSError:
            return None
        block = data[_HASH_BYTES:]
        is_whole = len(block) == length and hash64(block) == int.from_bytes(data[:_HASH_BYTES], "little")
        return block if is_whole else None

    def put(self, name: str, block: bytes) -> None:
        """Keep a block; older ones of its set go, as far as they must."""
        if len(block) + _HASH_BYTES > self._share:
            return
        folder = os.path.dirname(self._path(name))
        with suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._make_room(folder, self._share - len(block) - _HASH_BYTES)
            scratch = os.path.join(folder, f".{name}.{secrets.token_hex(8)}")
            try:
                with open(scratch, "xb") as file:
                    file.write(hash64(block).to_bytes(_HASH_BYTES, "little"))
                    file.write(block)
                os.replace(scratch, self._path(name))
            except OSError:
                with suppress(OSError):
                    os.unlink(scratch)

    def remove(self, name: str) -> None:
        """Forget a block."""
        with suppress(OSError):
            os.unlink(self._path(name))

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, f"{int(name[:8], 16) % self.num_sets:03x}", name)

    def _make_room(self, folder: str, most: int) -> None:
        """Remove the oldest blocks of a set until it has no more than so many bytes."""
        found = []
        with os.scandir(folder) as entries:
            for entry in entries:
                # What a killed process was writing counts, and goes, as a block does.
                if _NAME.fullmatch(entry.name) or _SCRATCH.fullmatch(entry.name):
                    with suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime_ns, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= most:
                return
            with suppress(OSError):
                os.unlink(path)
            total -= size


def _remove_sets(folder: str) -> None:
    """Remove the blocks of another limit, and the folders that are empty then."""
    with suppress(OSError):
        for name in filter(_SET.fullmatch, os.listdir(folder)):
            inner = os.path.join(folder, name)
            for block in os.listdir(inner):
                if _NAME.fullmatch(block) or _SCRATCH.fullmatch(block):
                    with suppress(OSError):
                        os.unlink(os.path.join(inner, block))
            with suppress(OSError):
                os.rmdir(inner)
        os.rmdir(folder)
