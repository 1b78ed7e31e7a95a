"""One whole file as a record: its bytes, or, where it is large, an open file. It must not end early.

It counts as it was when it was opened: what is added meanwhile is left out.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from splitdata.conversion.sources.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["open_file_record"]

# A pipe cannot make the open wait.
_OPEN_FLAGS: Final = (
    os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
)

# Refuses a symbolic link, which may have been put in place of a file meanwhile; 0 where the system has no such flag.
_NO_LINKS: int = getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def open_file_record(
    path: str,
    *,
    position: int,
    count: Callable[[int], None],
    follow_links: bool = True,
    folder: int | None = None,
) -> Iterator[bytes | SizedFile | None]:
    """Give the content of a file while the block runs, None if it is not a regular file.

    Args:
        path: Of the file.
        position: Number of the record in its source, shown in errors.
        count: Called with the number of bytes of each read.
        follow_links: Whether a link is what it leads to; else it is an OSError.
        folder: Descriptor of the open folder that it is in: then only the last part of the path is used.
    """
    name = path if folder is None else os.path.basename(path)  # noqa: PTH119  # paths are text here
    try:
        descriptor = os.open(name, _OPEN_FLAGS | (0 if follow_links else _NO_LINKS), dir_fd=folder)
    except OSError as error:
        error.filename = path
        raise
    try:
        status = os.fstat(descriptor)
        if not follow_links and not _NO_LINKS and not os.path.samestat(status, Path(path).lstat()):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if not stat.S_ISREG(status.st_mode):
            yield None
            return
        # Unbuffered: it is read in large pieces. The descriptor is closed here, whatever happens.
        file = io.FileIO(descriptor, closefd=False)

        def read_and_count(size: int) -> bytes:
            data: bytes | None
            try:
                data = file.read(size)
            except OSError as error:
                error.filename = path
                raise
            if data is None:
                raise SourceError(
                    f"{path} has nothing to read at this moment, as no file has; leave it out",
                    path=path,
                    position=position,
                )
            count(len(data))
            return data

        if not status.st_size:
            # A file that the system makes up when it is read has length 0 too.
            yield read_and_count(-1)
            return
        sized = SizedFile(read_and_count, status.st_size, path=path, position=position)
        yield sized if status.st_size >= READ_WHOLE_BYTES else sized.read_whole()
    finally:
        os.close(descriptor)
