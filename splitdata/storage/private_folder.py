"""Folders of this user alone: made so, and looked at through a descriptor before anything in them is believed.

A group that an access list grants the right to write shows in the mode as well.

    made      mode 700
    found     a folder, not a link to one; of this user; not to be written to by its group or by others
    Windows   has no such owners and modes: a folder is what its parents allow
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final

from splitdata.storage import files
from splitdata.storage.failure import explains

__all__ = ["PRIVATE_MODE", "make_private", "why_shared"]

PRIVATE_MODE: Final = 0o700
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_ENTERED_BY_OTHERS: Final = stat.S_IXGRP | stat.S_IXOTH
_FOLDER: Final = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)


def make_private(path: str) -> None:
    """Make a folder that is this user's alone; nothing if one of that name is there, whose ever it is."""
    with contextlib.suppress(FileExistsError):
        files.make_directory(path, PRIVATE_MODE)


@explains("look at the folder")
def why_shared(path: str, *, with_inner: bool = False) -> str:
    """Return why others could have put things into a folder, or could still; empty if they could not.

    Args:
        path: Of the folder.
        with_inner: Or into any folder below it, whatever its mode: others must not be able to enter this one.

    Raises:
        FileNotFoundError, NotADirectoryError: If there is none.
    """
    if not hasattr(os, "geteuid"):
        return ""
    try:
        descriptor = os.open(path, _FOLDER)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR) and os.path.islink(path):
            return "is a link, behind which may be another folder at any time"
        raise
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if status.st_uid != os.geteuid():
        return f"belongs to the user {status.st_uid}, and this is the user {os.geteuid()}"
    if status.st_mode & _WRITABLE_BY_OTHERS:
        return f"has the mode {stat.S_IMODE(status.st_mode):o}, so that other users may write to it"
    if with_inner and status.st_mode & _ENTERED_BY_OTHERS:
        return (
            f"has the mode {stat.S_IMODE(status.st_mode):o}, so that other users may enter it, and write where they may"
        )
    return ""
