"""Drops a file from the page cache, so that the next read comes from the medium.

The system takes it for advice, so the result is looked at.

    path ──> fsync                only clean pages can be dropped
             fadvise DONTNEED     a request: what another process has mapped stays
             look at some places  is it gone?
             fadvise DONTNEED     a look may have made the kernel read what it found missing
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from splitdata.storage import files
from splitdata.storage.file_source import PreadSource

__all__ = ["drop_file"]

_MOST_LOOKS: Final = 16
# Farther apart than the kernel reads ahead of a look, so that no look finds what another one has caused.
_LEAST_STEP: Final = 8 << 20


def drop_file(path: str) -> tuple[int, int]:
    """Drop a file from the page cache; return how many places of it were looked at, and how many were still there.

    Where the system has no such request nothing is dropped, and all places count as still there.

    Raises:
        FormatError, OSError: It cannot be opened, as `files.open_existing` says.
    """
    descriptor = files.open_existing(path)
    try:
        # A file system that is read-only has nothing to write either.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        _drop(descriptor)
        source = PreadSource(path)
        places = range(0, source.size, max(_LEAST_STEP, -(-source.size // _MOST_LOOKS)))
        num_left = sum(map(source.is_resident, places))
        _drop(descriptor)
    finally:
        files.close(descriptor)
    return len(places), num_left


def _drop(descriptor: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
