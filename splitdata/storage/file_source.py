"""Sources: one open file read at random, by mmap where that is safe, by pread elsewhere.

With mmap a medium error or a truncation while mapped ends the process, so it is chosen by
itself only on file systems that are known to be local; files that were cut are closed by those that
ask `has_shrunk` now and then. Maps are dropped, never closed: a view
of one stays valid for as long as somebody holds it.

    open_source(path, "mmap")  ->  MappedSource   slices of the page cache, no copy, words as integers
    open_source(path, "pread") ->  PreadSource    a system call a read; a failing medium is an OSError
    a file in an object store ->  RangeSource    the same interface: storage/remote/range_source.py
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from splitdata.errors import FormatError
from splitdata.storage import files

if TYPE_CHECKING:
    from splitdata.storage.remote.range_source import RangeSource

__all__ = [
    "IoMode",
    "MappedSource",
    "PreadSource",
    "Source",
    "choose_io",
    "descriptor_limit",
    "open_files_limit",
    "open_source",
]

Source: TypeAlias = "MappedSource | PreadSource | RangeSource"
"""An open file of any kind: what readers of a dataset are given."""

IoMode = Literal["mmap", "pread"]

# fmt: off
_LOCAL_FILE_SYSTEMS: Final = frozenset((
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "hfsplus", "iso9660", "jfs", "msdos",
    "ntfs", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "udf", "vfat", "xfs", "zfs",
))
# fmt: on
_WORD_BYTES: Final = 8
_RWF_NOWAIT: Final = getattr(os, "RWF_NOWAIT", None)


class MappedSource:
    """A file mapped into memory, read-only.

    Attributes:
        size: Bytes of the file when it was opened.
        map: The mapping itself: slices of it are `bytes`. Empty bytes for an empty file.
        data: A memoryview of all of it: slices of it are views.
        words: The whole u64 of it as integers in the machine's order, by `offset // 8`.
        address: Where the map begins in memory, 0 where there is none.
    """

    __slots__ = ("__weakref__", "_file", "_path", "address", "data", "map", "size", "words")

    def __init__(self, path: str, *, at: int | None = None) -> None:
        self._path = path
        self.map: mmap.mmap | bytes = b""
        descriptor = files.open_existing(path, at=at)
        try:
            status = os.fstat(descriptor)
            self._file = status.st_dev, status.st_ino
            if status.st_size:
                # The length of now: a writer may have cut it since. ValueError: it was cut to nothing.
                with contextlib.suppress(ValueError):
                    self.map = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
            self.size = len(self.map)
        finally:
            # The map has one of its own, and readers of hundreds of bins need every other.
            files.close(descriptor)
        self.address: int = np.frombuffer(self.map, np.uint8).__array_interface__["data"][0] if self.size else 0
        self.data = memoryview(self.map)
        self.words = self.data[: self.size // _WORD_BYTES * _WORD_BYTES].cast("Q")

    def read(self, offset: int, length: int) -> bytes:
        """Return a copy of some bytes, fewer where the file ends."""
        return self.map[offset : offset + length]

    def view(self, offset: int, length: int) -> memoryview:
        """Return some bytes without a copy, fewer where the file ends; read-only, valid while held."""
        return self.data[offset : offset + length]

    def data_from(self, offset: int) -> tuple[int, int]:
        """Return from where to where there may be bytes: a map does not know of holes."""
        return offset, self.size

    def is_resident(self, offset: int) -> bool:
        """Say whether the byte at `offset` is in memory; True where the system cannot tell."""
        try:
            descriptor = files.open_existing(self._path)
        except (OSError, FormatError):
            # Moved or removed since it was mapped.
            return True
        try:
            return _is_resident(descriptor, offset)
        finally:
            files.close(descriptor)

    def has_shrunk(self) -> bool:
        """Say whether the file was cut since it was mapped: to touch what lay behind its end would end the process.

        A file that was replaced by another one, or removed, is still there for all that have it mapped.
        """
        try:
            status = os.stat(self._path)  # paths are text here
        except OSError:
            return False
        return status.st_size < self.size and (status.st_dev, status.st_ino) == self._file

    def expect_random(self) -> None:
        """Tell the kernel to read only the pages that are touched; `prefetch` asks for more.

        It may read 8 MiB around each page otherwise, which makes random places of a large file
        hundreds of times slower.
        """
        if isinstance(self.map, mmap.mmap) and hasattr(mmap, "MADV_RANDOM"):
            self.map.madvise(mmap.MADV_RANDOM)

    def prefetch(self, offset: int, length: int) -> None:
        """Ask the kernel to read some bytes soon; returns at once."""
        if isinstance(self.map, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED") and offset < self.size:
            start = offset - offset % mmap.PAGESIZE
            self.map.madvise(mmap.MADV_WILLNEED, start, min(offset + length, self.size) - start)


class PreadSource:
    """A file read by positional system calls; the same interface, copies instead of views."""

    __slots__ = ("__weakref__", "_descriptor", "size")

    def __init__(self, path: str, *, at: int | None = None) -> None:
        self._descriptor = files.open_existing(path, at=at)
        try:
            self.size = files.size_of(self._descriptor)
        except BaseException:
            # The error refers to this object for as long as anybody keeps it.
            self.close()
            raise

    def __del__(self, close: Callable[[int], None] = files.close) -> None:
        descriptor = getattr(self, "_descriptor", -1)
        if descriptor >= 0:
            close(descriptor)

    def close(self) -> None:
        """Close the file now, where nobody else reads it: otherwise that is done when nothing refers to this."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            files.close(descriptor)

    def read(self, offset: int, length: int) -> bytes:
        """Return some bytes, fewer where the file ends."""
        return files.read_at(self._descriptor, length, offset)

    def view(self, offset: int, length: int) -> memoryview:
        """Return some bytes as a view of a copy."""
        return memoryview(self.read(offset, length))

    def data_from(self, offset: int) -> tuple[int, int]:
        """Return where the next bytes outside of holes begin and end; both are the size if only a hole follows."""
        return files.data_from(self._descriptor, offset, self.size)

    def is_resident(self, offset: int) -> bool:
        """Say whether the byte at `offset` is in memory; True where the system cannot tell."""
        return _is_resident(self._descriptor, offset)

    def prefetch(self, offset: int, length: int) -> None:
        """Ask the kernel to read some bytes soon; returns at once."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_WILLNEED)


def open_source(path: str, io: IoMode, *, at: int | None = None) -> MappedSource | PreadSource:
    """Open a regular file for random reads, `at` an open folder; takes and raises what `files.open_existing` does."""
    return MappedSource(path, at=at) if io == "mmap" else PreadSource(path, at=at)


def choose_io(folder: str) -> IoMode:
    """Return how files in a folder are best read: mmap if its file system is known to be local."""
    return "mmap" if _file_system_of(os.path.realpath(folder)) in _LOCAL_FILE_SYSTEMS else "pread"


@lru_cache(maxsize=256)
def _file_system_of(folder: str) -> str:
    """Return the type of the file system that holds a folder, empty where that is unknown."""
    best, kind = "", ""
    for mount_point, candidate in _mounts():
        inside = folder == mount_point or folder.startswith(mount_point.rstrip("/") + "/")
        # If two file systems are mounted on one place, the later one is seen.
        if inside and len(mount_point) >= len(best):
            best, kind = mount_point, candidate
    return kind


def _mounts() -> list[tuple[str, str]]:
    """Return place and type of each mount, as proc(5) describes mountinfo."""
    mounts = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
            left, _, right = line.partition(" - ")
            # Blanks and backslashes of the path stand as three octal digits.
            place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), left.split(" ")[4])
            mounts.append((place, right.split(" ")[0]))
    return mounts


def _is_resident(descriptor: int, offset: int) -> bool:
    if _RWF_NOWAIT is None:
        return True
    try:
        os.preadv(descriptor, [bytearray(1)], offset, _RWF_NOWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        # The file system does not support the question: then nobody can tell.
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return True
        raise
    return True


def descriptor_limit() -> int:
    """Return how many files the readers of this process, or one writer, keep open: a part of what it may.

    A third: 256 bins and their index under the usual limit of 1024, for reading and writing, and room for other things.
    """
    return max(4, min(4096, open_files_limit() // 3))


def open_files_limit() -> int:
    """Return how many descriptors this process may have: the soft limit of RLIMIT_NOFILE."""
    if sys.platform == "win32":
        return 512
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 16 if soft == resource.RLIM_INFINITY else soft
