"""The page cache of a file: asking the system to drop it, so that the next read comes from the medium.

path ──> fsync                only clean pages can be dropped
         fadvise DONTNEED     a request: what another process has mapped stays
         look at some places  is it gone?
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

from splitdata.storage import files
from splitdata.storage.source import PreadSource

__all__ = ["drop_file"]

_NUM_LOOKS: Final = 16


def drop_file(path: str) -> tuple[int, int]:
    """Drop a file from the page cache; return how many places of it were looked at, and how many were still there.

    Where the system has no such request nothing is dropped, and all places count as still there.

    Raises:
        FormatError, OSError: It cannot be opened, as `files.open_existing` says.
    """
    if hasattr(os, "posix_fadvise"):
        descriptor = files.open_existing(path)
        try:
            # A file system that is read-only has nothing to write either.
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            files.close(descriptor)
    source = PreadSource(path)
    places = {source.size * number // _NUM_LOOKS for number in range(_NUM_LOOKS)} if source.size else set()
    return len(places), sum(map(source.is_resident, places))
