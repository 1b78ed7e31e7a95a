"""Replacing: a file takes the place of another whole and on the medium, or the old one stays.

    scratch, a new file ── lock, write, sync ── rename over the target ── sync the folder
    unnamed, a new file ── write, sync ── link to the name, or to scratch and rename ── sync the folder

Readers that have the old file open keep it. A scratch file that a killed process left is removed, never written to:
it may have a second name, and belong to somebody else under that. So it is with any file that is to be written in its
place: `open_sole` copies one that has more names than its own first, as `cp -al` gives them.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from splitdata.storage import files

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator

    from splitdata.storage.folder import Folder

__all__ = ["content", "cut_sole", "make_sole", "open_sole", "place_file", "remove_scratch", "replace_file"]

_COPIED_BYTES: Final = 1 << 20
_HOLE_BYTES: Final = 64 << 10
_MAX_TRIES: Final = 100


def replace_file(folder: Folder, scratch: str, target: str, pieces: Iterable[bytes]) -> None:
    """Write a file beside another one and put it in its place.

    Args:
        folder: That both are in.
        scratch: Name to write under.
        target: The file to replace; need not exist.
        pieces: The new content, in order.

    Raises:
        BlockingIOError: If another process is writing the same scratch file.
        OSError: If the disk fails; the target is as it was.
    """
    files.close(_replaced(folder, scratch, target, _placed(pieces)))


def place_file(
    folder: Folder, target: str, pieces: Iterable[bytes], *, scratch: str, scratch_is_free: threading.Lock
) -> None:
    """Write a file, and put it in the place of what has its name; several threads may do so in one folder.

    It has no name while it is written, so that a kill leaves nothing, where the system has unnamed files.

    Args:
        folder: That it is to be in.
        target: Its name.
        pieces: Its content, in order.
        scratch: Name that it needs on its way where another file has its name.
        scratch_is_free: Taken while that name is in use.

    Raises:
        As `replace_file`; what had the name is as it was.
    """
    try:
        descriptor = folder.create_unnamed()
    except OSError as error:
        if error.errno in files.NO_FILE_AT_ALL:
            raise
        with scratch_is_free:
            replace_file(folder, scratch, target, pieces)
        return
    try:
        for offset, piece in _placed(pieces):
            files.write_at(descriptor, piece, offset)
        files.sync_data(descriptor)
        with scratch_is_free:
            _give_name(folder, descriptor, scratch, target)
    finally:
        files.close(descriptor)
    folder.sync()


def _give_name(folder: Folder, descriptor: int, scratch: str, target: str) -> None:
    """Give an unnamed file a name, in the place of what may have it."""
    try:
        try:
            folder.link_unnamed(descriptor, target)
        except FileExistsError:
            if not _clear(folder, scratch):
                raise _busy(folder, scratch) from None
            folder.link_unnamed(descriptor, scratch)
            folder.rename_over(scratch, target)
    except OSError as error:
        if error.errno not in files.NO_NAMING:
            raise
        size = files.size_of(descriptor)
        files.close(_replaced(folder, scratch, target, content(descriptor, size), size))


def open_sole(folder: Folder, name: str, scratch: str) -> int:
    """Open a file to write in its place, and return its descriptor; it has no other name then.

    Args:
        folder: That it is in.
        name: Of the file.
        scratch: Name under which it is copied if it has others. Those keep what they have.

    Raises:
        As `files.open_existing` and `replace_file` do.
    """
    descriptor = folder.open_file(name, writable=True)
    sole = -1
    try:
        sole = make_sole(folder, name, descriptor, scratch)
    finally:
        if sole != descriptor:
            files.close(descriptor)
    return sole


def make_sole(folder: Folder, name: str, descriptor: int, scratch: str) -> int:
    """Return the descriptor of an open file if it has no other name, else that of a copy in its place, locked."""
    if files.num_links(descriptor) < 2:
        return descriptor
    size = files.size_of(descriptor)
    return _replaced(folder, scratch, name, content(descriptor, size), size)


def cut_sole(descriptor: int, length: int, *, padded_to: int = 0) -> None:
    """Cut an open file, and make it longer again with zeros if asked for, if it has no other name.

    One that has keeps its bytes, which a copy may have committed.
    """
    if files.num_links(descriptor) < 2:
        files.truncate(descriptor, length)
        if padded_to > length:
            files.truncate(descriptor, padded_to)


def content(descriptor: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Yield all data outside of holes, with its places: the length of a file does not tell how much data it has."""
    stop = 0
    while stop < size:
        start, stop = files.data_from(descriptor, stop, size)
        for offset in range(start, stop, _COPIED_BYTES):
            yield offset, files.read_at(descriptor, min(_COPIED_BYTES, stop - offset), offset)


def _placed(pieces: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield pieces that follow each other, and their places; but for the last, long ones of zeros become holes."""
    offset = skipped = 0
    for piece in pieces:
        if skipped := len(piece) if len(piece) >= _HOLE_BYTES and piece == bytes(len(piece)) else 0:
            offset += skipped
            continue
        yield offset, piece
        offset += len(piece)
    if skipped:
        yield offset - 1, b"\0"


def remove_scratch(folder: Folder, scratch: str) -> None:
    """Remove what a killed process left; a file that another process is writing stays."""
    _clear(folder, scratch)


def _replaced(
    folder: Folder, scratch: str, target: str, pieces: Iterable[tuple[int, bytes]], size: int | None = None
) -> int:
    """Replace a file by pieces at their places, and return the descriptor of the new one, with its lock."""
    descriptor = _new_scratch(folder, scratch)
    try:
        for offset, piece in pieces:
            files.write_at(descriptor, piece, offset)
        if size is not None and files.size_of(descriptor) < size:
            files.truncate(descriptor, size)
        files.sync_data(descriptor)
        if os.name == "nt":
            # Windows renames no file that is open. Elsewhere the lock is held until the name is the target's.
            files.close(descriptor)
            descriptor = -1
        elif not folder.is_named(descriptor, scratch):
            raise _busy(folder, scratch)
        folder.rename_over(scratch, target)
        if descriptor < 0:
            descriptor = folder.open_file(target, writable=True)
        folder.sync()
    except BaseException:
        if descriptor >= 0:
            files.close(descriptor)
        raise
    return descriptor


def _new_scratch(folder: Folder, scratch: str) -> int:
    """Return a descriptor of a new scratch file, with its lock."""
    for _ in range(_MAX_TRIES):
        if not _clear(folder, scratch):
            break
        try:
            descriptor = folder.create(scratch)
        except FileExistsError:
            continue
        # Another process may have opened it meanwhile, taken it for a leftover, locked and removed it.
        if files.lock(descriptor) and folder.is_named(descriptor, scratch):
            return descriptor
        files.close(descriptor)
    raise _busy(folder, scratch)


def _clear(folder: Folder, scratch: str) -> bool:
    """Remove a leftover; False if another process is writing it."""
    try:
        descriptor = folder.open_file(scratch)
    except FileNotFoundError:
        return True
    try:
        # Ours has one name. One with more names belongs to somebody else, or to a copy too: its lock says nothing.
        is_free = files.num_links(descriptor) > 1 or files.lock(descriptor)
        if is_free and os.name != "nt":
            # Under the lock, and looked at once more: it may have its last name by now.
            if folder.is_named(descriptor, scratch):
                folder.remove(scratch)
            return True
    finally:
        files.close(descriptor)
    if is_free:
        folder.remove(scratch)
    return is_free


def _busy(folder: Folder, scratch: str) -> BlockingIOError:
    return BlockingIOError(errno.EAGAIN, "another program is writing this file", folder.path_of(scratch))
