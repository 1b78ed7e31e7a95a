"""A file for what does not fit into memory, without a name, so that nothing is left of it however the process ends.

It is written at its end and read anywhere.
"""

from __future__ import annotations

import errno
import os
from typing import IO, Final, cast

from splitdata.errors import SourceError

__all__ = ["UnnamedFile"]

# Where it has a name for a moment, this is how it begins.
_PREFIX: Final = ".splitdata-"
_OUT_OF_SPACE: Final = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG)


class UnnamedFile:
    """A temporary file that is gone as soon as the process is, however it ends; made at the first byte.

    On Linux it never has a name, elsewhere on POSIX only until it is open; Windows removes it with its
    last handle. For one thread.
    """

    def __init__(self, folder: str, why: str) -> None:
        """Take the folder in which it will lie, and why room is needed there, for messages."""
        self._folder = folder
        self._why = why
        self._file: IO[bytes] | None = None
        self.end = 0

    def append(self, data: bytes | memoryview) -> int:
        """Write at the end; returns the offset of the first byte.

        Raises:
            OSError: If there is no room for it.
        """
        offset = self.end
        try:
            file = self._opened()
            file.seek(offset)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError as error:
            if error.errno is None or error.errno not in _OUT_OF_SPACE:
                raise
            raise OSError(error.errno, f"{os.strerror(error.errno)}: {self._why}", self._folder) from None
        self.end = offset + len(data)
        return offset

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes that were written.

        Raises:
            SourceError: If the file has lost them.
        """
        file = self._opened()
        file.seek(offset)
        pieces, missing = [], length
        while missing and (piece := file.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        if missing:
            raise SourceError(f"the temporary file in {self._folder} ends too early; try again", path=self._folder)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            # Loads a dozen modules, and only here.
            import tempfile

            # Closed by `close`; unbuffered, as what is written and read is large.
            opened = tempfile.TemporaryFile(dir=self._folder, prefix=_PREFIX, buffering=0)  # noqa: SIM115
            self._file = cast("IO[bytes]", opened)
        return self._file

    def close(self) -> None:
        """Remove it; safe to call again."""
        if self._file is not None:
            self._file.close()
