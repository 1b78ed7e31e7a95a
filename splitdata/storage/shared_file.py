"""Sharing: a file gets a second name in another folder, or is copied there where no link is to be had.

    folder A / 000000.bin ──┬── link ────────> folder B / 000000.bin      one file, two names: no byte is read
                            └── copy, sync ──> folder B / 000000.bin      another file system, or one without links

Who writes in its place to a file with two names copies it first (replace.py), so each folder keeps what it has.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from splitdata.storage import files
from splitdata.storage.replace import content

if TYPE_CHECKING:
    from splitdata.storage.folder import Folder

__all__ = ["share_file"]

# Of these a link is refused where a copy can be made. EPERM: the file is another user's, or the system has no links.
_NO_LINK: Final = (
    *(errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK),
    *(errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL),
)


def share_file(source: Folder, name: str, target: Folder) -> int:
    """Give a file of one folder the same name in another, on the medium, and return how many bytes were copied.

    Args:
        source: That has the file.
        name: Of the file.
        target: Where nothing has that name; its own names are for the caller to sync.

    Raises:
        FileNotFoundError: If there is no such file.
        FileExistsError: If the name is taken.
        FormatError: If it is no regular file.
    """
    try:
        source.link_into(name, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return _copy(source, name, target)
    descriptor = target.open_file(name)
    try:
        # What was written without waiting for the medium is to be there now.
        files.sync_data(descriptor)
    finally:
        files.close(descriptor)
    return 0


def _copy(source: Folder, name: str, target: Folder) -> int:
    original = source.open_file(name)
    try:
        size = files.size_of(original)
        copy = target.create(name)
        try:
            for offset, piece in content(original, size):
                files.write_at(copy, piece, offset)
            if files.size_of(copy) < size:
                files.truncate(copy, size)
            files.sync_data(copy)
        finally:
            files.close(copy)
    finally:
        files.close(original)
    return size
