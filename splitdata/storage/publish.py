"""Publishing: a file appears under its name whole and on the medium, or not at all.

    unnamed file ── write, sync ── link to the name ── sync the folder
       |  where there is none: a scratch name, removed afterwards
       `  where there are no links: lock, rename, one writer at a time

The name must not exist: of two writers that publish the same name exactly one succeeds.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from typing import Final

from splitdata.storage import files
from splitdata.storage.paths import DatasetPaths

__all__ = ["publish"]

_logger = logging.getLogger(__name__)
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
_warned_of_links: set[str] = set()


def publish(paths: DatasetPaths, generation: int, data: bytes, *, durable: bool) -> bool:
    """Make the manifest with this number; False if that number is taken.

    Args:
        paths: Of the dataset.
        generation: Number of the new manifest.
        data: Its bytes.
        durable: Whether to wait for the medium before and after the name appears.
    """
    target = paths.manifest(generation)
    published = _publish_unnamed(paths.folder, target, data, durable=durable)
    if published is None:
        published = _publish_scratch(paths, target, data, durable=durable)
    if published and durable:
        files.sync_directory(paths.folder)
    return published


def _publish_unnamed(folder: str, target: str, data: bytes, *, durable: bool) -> bool | None:
    """Publish through a file without a name; None where that cannot be done."""
    try:
        descriptor = files.create_unnamed(folder)
    except OSError as error:
        if error.errno in files.NO_FILE_AT_ALL:
            raise
        return None
    try:
        files.write_at(descriptor, data, 0)
        if durable:
            files.sync_data(descriptor)
        files.link_unnamed(descriptor, target)
    except FileExistsError:
        return False
    except OSError as error:
        # Without /proc the file cannot be named; without links there is nothing to name it by.
        if error.errno in (*_NO_LINKS, errno.ENOENT, errno.EINVAL):
            return None
        raise
    finally:
        files.close(descriptor)
    return True


def _publish_scratch(paths: DatasetPaths, target: str, data: bytes, *, durable: bool) -> bool:
    scratch = paths.scratch(os.urandom(16).hex())
    descriptor = files.create(scratch)
    try:
        try:
            files.write_at(descriptor, data, 0)
            if durable:
                files.sync_data(descriptor)
        finally:
            files.close(descriptor)
        return _name(paths, scratch, target)
    finally:
        with contextlib.suppress(OSError):
            files.remove(scratch)


def _name(paths: DatasetPaths, scratch: str, target: str) -> bool:
    """Give the scratch file its name, by link or else by rename."""
    try:
        files.link(scratch, target)
    except FileExistsError:
        # An NFS server may have made the link and lost the answer; then the file has two names.
        return os.lstat(scratch).st_nlink == 2
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        return True
    return _rename(paths, scratch, target)


def _rename(paths: DatasetPaths, scratch: str, target: str) -> bool:
    if paths.folder not in _warned_of_links:
        _warned_of_links.add(paths.folder)
        _logger.warning("%s: no hard links here, so only one program may write at a time", paths.folder)
    descriptor = -1 if os.name == "nt" else os.open(paths.folder, os.O_RDONLY)
    try:
        if descriptor >= 0 and not files.lock(descriptor):
            raise BlockingIOError(errno.EAGAIN, "another program is committing to this dataset", paths.folder)
        files.rename_exclusive(scratch, target)
    except FileExistsError:
        return False
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return True
