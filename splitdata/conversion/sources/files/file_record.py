"""One whole file as a record: its bytes, or, where it is large, an open file. It must not end early.

It counts as it was when it was opened: what is added meanwhile is left out.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FileRecord"]

_PIECE_BYTES: Final = 1 << 20
# A pipe cannot make the open wait.
_OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
)

# Refuses a symbolic link, which may have been put in place of a file meanwhile; 0 where the system has no such flag.
_NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)


class FileRecord:
    """Gives the content of a file while a block runs, None if it is not a regular file.

    Of many small files this is most of what is done for each, so no layer is more than one call.
    """

    __slots__ = ("_count", "_descriptor", "_folder", "_follows", "_name", "_path", "_position")

    def __init__(
        self,
        path: str,
        *,
        position: int,
        count: Callable[[int], None],
        follow_links: bool = True,
        folder: int | None = None,
        name: str | None = None,
    ) -> None:
        """Name a file, without opening it.

        Args:
            path: Of the file.
            position: Number of the record in its source, shown in errors.
            count: Called with the number of bytes of each read.
            follow_links: Whether a link is what it leads to; else it is an OSError.
            folder: Descriptor of the open folder that it is in, None to open it by its path.
            name: Of the file in that folder.
        """
        self._path = path
        self._position = position
        self._count = count
        self._follows = follow_links
        self._folder = folder
        self._name = path if folder is None or name is None else name
        self._descriptor = -1

    def __enter__(self) -> bytes | SizedFile | None:
        """Open the file; of 1 MiB and more it is read as it is asked for, of less at once."""
        try:
            descriptor = os.open(
                self._name, _OPEN_FLAGS if self._follows else _OPEN_FLAGS | _NO_LINKS, dir_fd=self._folder
            )
        except OSError as error:
            error.filename = self._path
            raise
        self._descriptor = descriptor
        try:
            return self._content(descriptor)
        except BaseException:
            self._close()
            raise

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _content(self, descriptor: int) -> bytes | SizedFile | None:
        status = os.fstat(descriptor)
        if not self._follows and not _NO_LINKS and not os.path.samestat(status, Path(self._path).lstat()):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)
        if not stat.S_ISREG(status.st_mode):
            return None
        size = status.st_size
        if not size:
            # A file that the system makes up when it is read has length 0 too.
            return b"".join(iter(lambda: self._read(_PIECE_BYTES), b""))
        if size >= READ_WHOLE_BYTES:
            return SizedFile(self._read, size, path=self._path, position=self._position)
        data = self._read(size)
        if len(data) == size:
            return data
        begun = iter((data,))
        return SizedFile(
            lambda size: next(begun, b"") or self._read(size), size, path=self._path, position=self._position
        ).read_whole()

    def _read(self, size: int) -> bytes:
        try:
            data = os.read(self._descriptor, size)
        except BlockingIOError:
            raise SourceError(
                f"{self._path} has nothing to read at this moment, as no file has; leave it out",
                path=self._path,
                position=self._position,
            ) from None
        except OSError as error:
            error.filename = self._path
            raise
        self._count(len(data))
        return data
