"""The operations on files: the one module through which the library changes or reads a disk.

Callers name them through the module (``files.sync_data(descriptor)``), so a test replaces any of
them to fail, to tear a write or to kill the process at an exact byte. Interrupted and short
operations are finished here; nothing is retried after an error, least of all fsync: a kernel
may have forgotten the page that it could not write.

`at` is the descriptor of an open folder: the one that holds the file, or the one that is meant. Then only the last
part of a path counts, the rest is for messages: see folder.py, through which all that is changed is reached.

    dataset ──> files.write_at(...) ──> pwrite
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from splitdata._shown import one_line
from splitdata.errors import FormatError
from splitdata.storage.failure import explains, raise_explained

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "check_writable",
    "close",
    "create",
    "data_from",
    "exists",
    "free_bytes",
    "identity_of",
    "is_folder_at",
    "is_link",
    "is_named",
    "is_real_directory",
    "is_regular",
    "link",
    "list_entries",
    "list_names",
    "lock",
    "make_directory",
    "num_links",
    "open_directory",
    "open_existing",
    "read_at",
    "remove",
    "remove_directory",
    "rename_exclusive",
    "rename_over",
    "size_of",
    "size_of_name",
    "sync_data",
    "sync_directory",
    "truncate",
    "write_at",
    "write_gathered",
]

_BINARY: Final = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
# A symlink in place of a file is refused; 0 where the system has no flag for that, and it is looked at behind.
_NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)
# A FIFO or device cannot make the open wait.
_CAUTIOUS: Final = getattr(os, "O_NONBLOCK", 0)
# What Linux takes in one gathered write.
_MAX_PIECES: Final = 1024
# So much is asked for at once without a look at the length of the file. No less: that a manifest is read with room for
# 16 MiB, which is given back, has the C library keep what later batches give back, and halves the time of those.
_ASKED_BLINDLY: Final = 1 << 25
# Without pread and pwrite (Windows) a position is shared by all threads that use the descriptor.
_seek_lock = threading.Lock()
_logger = logging.getLogger(__name__)
# Some network file systems sync files, and say this of folders.
_NO_SYNC: Final = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
_warned_of_sync: set[int] = set()
# What `create_unnamed` raises where a file with a name could not be made either.
NO_FILE_AT_ALL: Final = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT, errno.EMFILE, errno.ENFILE),
)
# What `link` raises where a file can have one name alone.
NO_SECOND_NAME: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)
# What `link_unnamed` raises where it cannot be done, without /proc too.
NO_NAMING: Final = (*NO_SECOND_NAME, errno.ENOENT, errno.EINVAL)
_has_positional = hasattr(os, "pread") and hasattr(os, "pwrite")
# Elsewhere what a symbolic link leads to may get the name, which is looked at behind.
_links_links = os.link in os.supports_follow_symlinks
# Not on Windows: there a folder is reached by its path each time.
_has_folder_descriptors = hasattr(os, "O_DIRECTORY") and (
    {os.open, os.mkdir, os.unlink, os.rmdir, os.rename, os.link, os.stat} <= os.supports_dir_fd
    and os.listdir in os.supports_fd
)


def _name(path: str, at: int | None) -> str:
    """Return what names a file to the system."""
    return path if at is None else os.path.basename(path)


@explains("make the file")
def create(path: str, *, at: int | None = None) -> int:
    """Make a new file and return its descriptor; FileExistsError if anything has that name."""
    return os.open(_name(path, at), os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o666, dir_fd=at)


@explains("open")
def open_existing(path: str, *, writable: bool = False, at: int | None = None) -> int:
    """Open a regular file and return its descriptor.

    Raises:
        FormatError: If it is a symbolic link, a FIFO, a device, a socket or a directory.
        OSError: As the system says, FileNotFoundError above all.
    """
    try:
        flags = (os.O_RDWR if writable else os.O_RDONLY) | _BINARY | _CAUTIOUS | _NO_LINKS
        descriptor = os.open(_name(path, at), flags, dir_fd=at)
    except OSError as error:
        # ELOOP: a symlink. ENXIO: a socket, or a FIFO without a reader. EISDIR: asked to write a directory.
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise FormatError(f"{path} is no regular file; splitdata opens nothing else", path=path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not (_NO_LINKS or is_named(descriptor, path, at=at)):
        os.close(descriptor)
        raise FormatError(f"{path} is no regular file; splitdata opens nothing else", path=path)
    return descriptor


@explains("open the folder")
def open_directory(path: str, *, follows_link: bool = False, at: int | None = None) -> int | None:
    """Open a folder and return its descriptor, None on systems that open no folders.

    Raises:
        FormatError: If it is a link, unless links are followed.
        OSError: As the system says, NotADirectoryError for a file.
    """
    try:
        if _has_folder_descriptors:
            flags = os.O_RDONLY | os.O_DIRECTORY | _BINARY | (0 if follows_link else os.O_NOFOLLOW)
            return os.open(_name(path, at), flags, dir_fd=at)
        is_found = stat.S_ISDIR(os.stat(path).st_mode) if follows_link else is_real_directory(path)
        if not is_found:
            os.lstat(path)
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and not follows_link and is_link(path, at=at):
            raise FormatError(
                f"{path} is a symbolic link, and none is followed here: put the folder that it leads to in its place",
                path=path,
            ) from None
        raise
    return None


def close(descriptor: int, *, _close: Callable[[int], None] = os.close) -> None:
    """Close a descriptor. For finalizers too, which run at exit when the names of a module may be gone already."""
    _close(descriptor)


@explains("look at")
def size_of(descriptor: int) -> int:
    """Return the length of an open file in bytes."""
    return os.fstat(descriptor).st_size


def num_links(descriptor: int) -> int:
    """Return how many names an open file has."""
    return os.fstat(descriptor).st_nlink


def size_of_name(path: str, *, at: int | None = None) -> int:
    """Return the length of what has this name, in bytes."""
    return _status(path, at).st_size


def written_at(path: str, *, at: int | None = None) -> float:
    """Return when what has this name was written last, in seconds since 1970."""
    return _status(path, at).st_mtime


def is_regular(path: str, *, at: int | None = None) -> bool:
    """Say whether a regular file, not a link to one, has this name."""
    try:
        return stat.S_ISREG(_status(path, at).st_mode)
    except FileNotFoundError:
        return False


def is_real_directory(path: str, *, at: int | None = None) -> bool:
    """Say whether a directory, not a link to one, has this name."""
    try:
        status = _status(path, at)
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(status.st_mode) and not _is_junction(status)


def is_link(path: str, *, at: int | None = None) -> bool:
    """Say whether a symbolic link, or a junction of Windows, has this name."""
    try:
        status = _status(path, at)
    except FileNotFoundError:
        return False
    return stat.S_ISLNK(status.st_mode) or _is_junction(status)


@explains("look at")
def _status(path: str, at: int | None) -> os.stat_result:
    """Look at what has a name, not at what a link leads to."""
    return os.stat(_name(path, at), dir_fd=at, follow_symlinks=False)


def _is_junction(status: os.stat_result) -> bool:
    return getattr(status, "st_reparse_tag", 0) == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)


def identity_of(path: str, *, at: int | None = None) -> tuple[int, int]:
    """Return what tells a file or folder from every other, whatever names they have."""
    status = _status(path, at)
    return status.st_dev, status.st_ino


def read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Return `length` bytes from `offset` on, fewer only where the file ends."""
    if length > _ASKED_BLINDLY:
        # Memory for all that is asked for is taken before the system looks how much there is.
        length = max(0, min(length, size_of(descriptor) - offset))
    try:
        data = _read_some(descriptor, length, offset)
    except OSError as error:
        raise_explained(error, "read", descriptor)
    return data if len(data) == length or not data else _read_rest(descriptor, length, offset, data)


@explains("read")
def _read_rest(descriptor: int, length: int, offset: int, data: bytes) -> bytes:
    """Return `length` bytes of which the first are there."""
    pieces = [data]
    missing = length - len(data)
    while missing and (data := _read_some(descriptor, missing, offset + length - missing)):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)


def data_from(descriptor: int, offset: int, size: int) -> tuple[int, int]:
    """Return where the next bytes outside of holes begin and end, behind `offset`; both are `size` if there are none.

    Where the system does not know of holes all is taken for data.
    """
    if not hasattr(os, "SEEK_DATA"):
        return offset, size
    try:
        start = os.lseek(descriptor, offset, os.SEEK_DATA)
        return min(start, size), min(os.lseek(descriptor, start, os.SEEK_HOLE), size)
    except OSError as error:
        # Nothing but a hole, up to the end; or the file system does not know.
        return (size, size) if error.errno == errno.ENXIO else (offset, size)


def _read_some(descriptor: int, length: int, offset: int) -> bytes:
    if _has_positional:
        return os.pread(descriptor, length, offset)
    with _seek_lock:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, length)


@explains("write")
def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`; the file grows as needed."""
    rest = memoryview(data).cast("B")
    while rest:
        written = _write_some(descriptor, rest, offset)
        if not written:
            raise OSError(
                errno.EIO, f"the system writes none of {len(rest)} bytes at byte {offset}, and gives no error"
            )
        offset += written
        rest = rest[written:]


def _write_some(descriptor: int, data: memoryview, offset: int) -> int:
    if _has_positional:
        return os.pwrite(descriptor, data, offset)
    with _seek_lock:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)


@explains("write")
def write_gathered(descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> None:
    """Write pieces one behind the other at `offset`, without joining them in memory where possible."""
    if not hasattr(os, "pwritev"):
        write_at(descriptor, b"".join(pieces), offset)
        return
    for start in range(0, len(pieces), _MAX_PIECES):
        group = pieces[start : start + _MAX_PIECES]
        total = sum(map(len, group))
        written = os.pwritev(descriptor, group, offset)
        if written != total:
            write_at(descriptor, memoryview(b"".join(group))[written:], offset + written)
        offset += total


@explains("cut")
def truncate(descriptor: int, length: int) -> None:
    """Cut a file, or extend it with zeros."""
    os.ftruncate(descriptor, length)


@explains("sync")
def sync_data(descriptor: int) -> None:
    """Wait until the bytes of a file, and its length, would survive a loss of power."""
    if sys.platform == "darwin":
        import fcntl

        # On macOS fsync does not reach the medium.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    getattr(os, "fdatasync", os.fsync)(descriptor)


@explains("sync the folder")
def sync_directory(path: str, *, at: int | None = None) -> None:
    """Wait until the names in a directory would survive a loss of power."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | _BINARY) if at is None else at
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        device = os.fstat(descriptor).st_dev
        if device not in _warned_of_sync:
            _warned_of_sync.add(device)
            _logger.warning(
                "%s: this file system cannot sync a folder (%s), so a loss of power may cost what was committed last",
                one_line(path),
                error.strerror,
            )
    finally:
        if at is None:
            os.close(descriptor)


@explains("make the folder")
def make_directory(path: str, mode: int = 0o777, *, at: int | None = None) -> bool:
    """Make one directory with a mode, less what the umask takes away; False if it was there."""
    try:
        os.mkdir(_name(path, at), mode, dir_fd=at)
    except FileExistsError:
        if not stat.S_ISDIR(_status(path, at).st_mode):
            raise
        return False
    return True


@explains("list the folder")
def list_names(path: str, *, at: int | None = None) -> list[str]:
    """Return the names in a directory, in no order."""
    return os.listdir(path if at is None else at)


@explains("list the folder")
def list_entries(path: str, *, at: int | None = None) -> list[tuple[str, int | None]]:
    """Return the names in a directory with their lengths, None for a directory; what goes meanwhile is left out."""
    found: list[tuple[str, int | None]] = []
    with os.scandir(path if at is None else at) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                is_folder = entry.is_dir(follow_symlinks=False)
                found.append((entry.name, None if is_folder else entry.stat(follow_symlinks=False).st_size))
    return found


@explains("give a second name")
def link(source: str, target: str, *, at: int | None = None, source_at: int | None = None) -> None:
    """Give a file a second name, in the folder `at`; FileExistsError if it is taken.

    Args:
        source: The file.
        target: Its second name.
        at: The folder of the second name.
        source_at: The folder of the file, where that is another one; `at` otherwise.

    Raises:
        FormatError: If it is not a regular file. What a link leads to gets no name.
    """
    source_at = at if source_at is None else source_at
    meant = _status(source, source_at)
    if not stat.S_ISREG(meant.st_mode):
        raise FormatError(f"{source} is no regular file; nothing was linked", path=source)
    names = _name(source, source_at), _name(target, at)
    if _links_links:
        os.link(*names, src_dir_fd=source_at, dst_dir_fd=at, follow_symlinks=False)
        return
    os.link(*names, src_dir_fd=source_at, dst_dir_fd=at)
    with contextlib.suppress(FileNotFoundError):
        if not os.path.samestat(meant, _status(target, at)):
            os.unlink(_name(target, at), dir_fd=at)
            raise FormatError(f"{source} was replaced while it was linked; nothing was changed", path=source)


@explains("give its name")
def link_unnamed(descriptor: int, target: str, *, at: int | None = None) -> None:
    """Give an unnamed file (`create_unnamed`) its name; FileExistsError if it is taken."""
    # With a directory descriptor given, Python uses linkat with AT_SYMLINK_FOLLOW, as proc(5) asks.
    os.link(f"/proc/self/fd/{descriptor}", _name(target, at), dst_dir_fd=at, follow_symlinks=True)


@explains("make a file in the folder")
def create_unnamed(folder: str, *, at: int | None = None) -> int:
    """Open a file without a name on the file system of `folder`: nothing is left if the process dies.

    Raises:
        OSError: Where the system or the file system has no such thing.
    """
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or at is None:
        raise OSError(errno.EOPNOTSUPP, "no unnamed files on this system", folder)
    # O_EXCL has another meaning here: with it the file could not be linked later.
    return os.open(".", os.O_RDWR | flag | _BINARY, 0o666, dir_fd=at)


@explains("make a file in the folder")
def check_writable(folder: str, *, at: int | None = None) -> None:
    """Raise OSError if no file can be made in a folder, as far as that can be told without leaving one there."""
    try:
        close(create_unnamed(folder, at=at))
    except OSError as error:
        # Others mean that there are no unnamed files here.
        if error.errno in NO_FILE_AT_ALL:
            raise
        place = folder if at is None else "."
        may = os.access(place, os.W_OK | os.X_OK, dir_fd=at, effective_ids=os.access in os.supports_effective_ids)
        if not may:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder) from None


@explains("rename")
def rename_exclusive(source: str, target: str, *, at: int | None = None) -> None:
    """Rename a file where links are not to be had; FileExistsError if the name is taken.

    Only Windows makes this one step. Elsewhere the caller holds a lock.
    """
    if os.name != "nt" and exists(target, at=at):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
    os.rename(_name(source, at), _name(target, at), src_dir_fd=at, dst_dir_fd=at)


@explains("rename")
def rename_over(source: str, target: str, *, at: int | None = None) -> None:
    """Rename a file in one step, over another that may have the name; processes that have that one open keep it."""
    os.replace(_name(source, at), _name(target, at), src_dir_fd=at, dst_dir_fd=at)


@explains("remove")
def remove(path: str, *, at: int | None = None) -> None:
    """Remove one name of a file; no error if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_name(path, at), dir_fd=at)


@explains("remove the folder")
def remove_directory(path: str, *, at: int | None = None) -> None:
    """Remove an empty directory; no error if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(_name(path, at), dir_fd=at)


def is_named(descriptor: int, path: str, *, at: int | None = None) -> bool:
    """Say whether an open file is the one that has this name, and no other has taken its place."""
    try:
        named = _status(path, at)
    except FileNotFoundError:
        return False
    return os.path.samestat(named, os.fstat(descriptor))


def is_folder_at(descriptor: int, path: str) -> bool:
    """Say whether a path leads to an open folder, be it through links."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def exists(path: str, *, at: int | None = None) -> bool:
    """Say whether anything has this name, be it a link that leads nowhere."""
    try:
        _status(path, at)
    except FileNotFoundError:
        return False
    return True


def free_bytes(folder: str, *, at: int | None = None) -> tuple[int, int]:
    """Return what the file system of a folder has left for us, and its size; in bytes."""
    if hasattr(os, "statvfs"):
        found = os.statvfs(folder if at is None else at)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    # Loads three compressors.
    import shutil  # pragma: no cover - not on the systems that run the tests

    usage = shutil.disk_usage(folder)  # pragma: no cover
    return usage.free, usage.total  # pragma: no cover


def lock(descriptor: int, *, shared: bool = False) -> bool:
    """Try to take the lock of an open file for as long as it stays open; True if it is ours.

    A shared lock goes together with other shared ones, and with no exclusive one. Also True where
    the system or the file system knows no locks: then one writer at a time is the user's to see to.
    """
    try:
        if os.name == "nt":  # pragma: no cover - not on the systems that run the tests
            import msvcrt

            if shared:
                # A file that is open cannot be removed there, which is what shared locks are for here.
                return True
            # One byte far behind any data: Windows locks are mandatory for the bytes they cover.
            os.lseek(descriptor, 1 << 62, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True
