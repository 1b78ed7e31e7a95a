"""Replacing: a file takes the place of another whole and on the medium, or the old one stays.

    scratch ── lock, cut to nothing, write, sync ── rename over the target ── sync the folder

Readers that have the old file open keep it. A scratch file that a killed process left is written anew.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from splitdata.storage import files

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["remove_scratch", "replace_file"]


def replace_file(scratch: str, target: str, pieces: Iterable[bytes]) -> None:
    """Write a file beside another one and put it in its place.

    Args:
        scratch: Name to write under, in the folder of the target.
        target: The file to replace; need not exist.
        pieces: The new content, in order.

    Raises:
        BlockingIOError: If another process is writing the same scratch file.
        OSError: If the disk fails; the target is as it was.
    """
    descriptor = _open_scratch(scratch)
    try:
        files.truncate(descriptor, 0)
        offset = 0
        for piece in pieces:
            files.write_at(descriptor, piece, offset)
            offset += len(piece)
        files.sync_data(descriptor)
        if os.name == "nt":
            # Windows renames no file that is open. Elsewhere the lock is held until the name is the target's.
            files.close(descriptor)
            descriptor = -1
        files.rename_over(scratch, target)
    finally:
        if descriptor >= 0:
            files.close(descriptor)
    files.sync_directory(os.path.dirname(target))


def remove_scratch(scratch: str) -> None:
    """Remove what a killed process left; a file that another process is writing stays."""
    try:
        descriptor = files.open_existing(scratch, writable=True)
    except FileNotFoundError:
        return
    try:
        is_free = files.lock(descriptor) and files.is_named(descriptor, scratch)
        if is_free and os.name != "nt":
            files.remove(scratch)
    finally:
        files.close(descriptor)
    if is_free and os.name == "nt":
        files.remove(scratch)


def _open_scratch(scratch: str) -> int:
    """Return a descriptor of the scratch file, made or found, with its lock."""
    while True:
        try:
            descriptor = files.create(scratch)
        except FileExistsError:
            try:
                descriptor = files.open_existing(scratch, writable=True)
            except FileNotFoundError:
                continue
        if not files.lock(descriptor):
            files.close(descriptor)
            raise BlockingIOError(errno.EAGAIN, "another program is repairing this segment", scratch)
        # Between opening and locking, another one may have finished: then the file has its last name by now.
        if files.is_named(descriptor, scratch):
            return descriptor
        files.close(descriptor)
