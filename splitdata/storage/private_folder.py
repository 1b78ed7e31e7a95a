"""Folders of this user alone: made so, and looked at through a descriptor before anything in them is believed.

A group that an access list grants the right to write shows in the mode as well.

    made      mode 700
    found     a folder, not a link to one; of this user; not to be written to by its group or by others
    Windows   has no such owners and modes: a folder is what its parents allow
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from splitdata.storage import files

if TYPE_CHECKING:
    from splitdata.storage.folder import Folder

__all__ = ["PRIVATE_MODE", "make_private", "why_shared"]

PRIVATE_MODE: Final = 0o700
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_ENTERED_BY_OTHERS: Final = stat.S_IXGRP | stat.S_IXOTH


def make_private(path: str) -> None:
    """Make a folder that is this user's alone; nothing if one of that name is there, whose ever it is."""
    with contextlib.suppress(FileExistsError):
        files.make_directory(path, PRIVATE_MODE)


def why_shared(folder: Folder, *, with_inner: bool = False) -> str:
    """Return why others could have put things into an open folder, or could still; empty if they could not.

    Args:
        folder: What was opened, not what has its path by now.
        with_inner: Or into any folder below it, whatever its mode: others must not be able to enter this one.
    """
    descriptor = folder.anchor()
    if descriptor is None or not hasattr(os, "geteuid"):
        return ""
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        return f"belongs to the user {status.st_uid}, and this is the user {os.geteuid()}"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"has the mode {stat.S_IMODE(status.st_mode):o}, so that other users may write to it"
    if with_inner and status.st_mode & _ENTERED_BY_OTHERS:
        return (
            f"has the mode {stat.S_IMODE(status.st_mode):o}, so that other users may enter it, and write where they may"
        )
    return ""
