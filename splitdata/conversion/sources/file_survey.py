"""Describes many files by one look at each, without opening any: how many, how large, and hashes that show changes.

A conversion that is resumed compares it with that of the earlier run.

    path, stat ──add──> number, bytes, hash of paths | of paths and sizes | of paths, sizes and times
"""

from __future__ import annotations

import os
import stat
from typing import Any

import xxhash

__all__ = ["FileSurvey"]


class FileSurvey:
    """Sums over files in their order.

    Attributes:
        num_files: How many they are.
        num_bytes: Their size together.
    """

    def __init__(self) -> None:
        self.num_files = 0
        self.num_bytes = 0
        self._names = xxhash.xxh3_128()
        self._sizes = xxhash.xxh3_128()
        self._times = xxhash.xxh3_128()

    def add(self, name: str, status: os.stat_result) -> None:
        """Count one file; only regular files have a size."""
        size = status.st_size if stat.S_ISREG(status.st_mode) else 0
        self.num_files += 1
        self.num_bytes += size
        # No name holds a zero byte, so no two lists of names give the same bytes.
        encoded = os.fsencode(name) + b"\0"
        self._names.update(encoded)
        self._sizes.update(encoded + b"%d\0" % size)
        self._times.update(encoded + b"%d %d\0" % (size, status.st_mtime_ns))

    def names_hash(self) -> str:
        """Return 32 hex digits that depend on the names alone."""
        return self._names.hexdigest()

    def state(self, *, with_times: bool) -> dict[str, Any]:
        """Return number, size, and a hash of names and sizes, with times of these too; as a source gives it."""
        kind, digest = ("paths, sizes and times", self._times) if with_times else ("paths and sizes", self._sizes)
        return {"files": self.num_files, "bytes": self.num_bytes, f"hash of {kind}": digest.hexdigest()}
