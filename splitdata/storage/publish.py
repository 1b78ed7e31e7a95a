"""Publishing: a file appears under its name whole and on the medium, or not at all.

The name must not exist: of two writers that publish the same name exactly one succeeds.

    unnamed file ── write, sync ── link to the name ── sync the folder
       |  where there is none: a scratch name, removed afterwards
       `  where there are no links: lock, rename, one writer at a time
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from typing import TYPE_CHECKING

from splitdata._shown import one_line
from splitdata.storage import files
from splitdata.storage.paths import DatasetPaths

if TYPE_CHECKING:
    from splitdata.storage.folder import Folder

__all__ = ["publish", "publish_file", "publish_unnamed"]

_logger = logging.getLogger(__name__)
_warned_of_links: set[str] = set()


def publish(folder: Folder, generation: int, data: bytes, *, durable: bool) -> bool:
    """Make the manifest with this number; False if that number is taken.

    Args:
        folder: Of the dataset.
        generation: Number of the new manifest.
        data: Its bytes.
        durable: Whether to wait for the medium before and after the name appears.
    """
    return publish_file(folder, DatasetPaths.manifest_name(generation), data, durable=durable)


def publish_file(folder: Folder, name: str, data: bytes, *, durable: bool) -> bool:
    """Make a file with this name at the top of a dataset; takes and returns what `publish` does."""
    published = publish_unnamed(folder, name, data, durable=durable)
    if published is None:
        published = _publish_scratch(folder, name, data, durable=durable)
    if published and durable:
        folder.sync()
    return published


def publish_unnamed(folder: Folder, name: str, data: bytes, *, durable: bool) -> bool | None:
    """Make a file that appears whole, first without a name; False if the name is taken, None if it cannot be done."""
    try:
        descriptor = folder.create_unnamed()
    except OSError as error:
        if error.errno in files.NO_FILE_AT_ALL:
            raise
        return None
    try:
        files.write_at(descriptor, data, 0)
        if durable:
            files.sync_data(descriptor)
        folder.link_unnamed(descriptor, name)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno in files.NO_NAMING:
            return None
        raise
    finally:
        files.close(descriptor)
    return True


def _publish_scratch(folder: Folder, name: str, data: bytes, *, durable: bool) -> bool:
    scratch = DatasetPaths.scratch_name(os.urandom(16).hex())
    descriptor = folder.create(scratch)
    try:
        try:
            files.write_at(descriptor, data, 0)
            if durable:
                files.sync_data(descriptor)
        finally:
            files.close(descriptor)
        return _name(folder, scratch, name)
    finally:
        with contextlib.suppress(OSError):
            folder.remove(scratch)


def _name(folder: Folder, scratch: str, name: str) -> bool:
    """Give the scratch file its name, by link or else by rename."""
    try:
        folder.link(scratch, name)
    except FileExistsError:
        # An NFS server may have made the link and lost the answer; then both names are those of one file.
        return folder.is_one_file(scratch, name)
    except OSError as error:
        if error.errno not in files.NO_SECOND_NAME:
            raise
    else:
        return True
    return _rename(folder, scratch, name)


def _rename(folder: Folder, scratch: str, name: str) -> bool:
    if folder.path not in _warned_of_links:
        _warned_of_links.add(folder.path)
        _logger.warning("%s: no hard links here, so only one program may write at a time", one_line(folder.path))
    with folder.again() as again:
        if not again.lock():
            raise BlockingIOError(errno.EAGAIN, "another program is committing to this dataset", folder.path)
        try:
            folder.rename_exclusive(scratch, name)
        except FileExistsError:
            return False
    return True
