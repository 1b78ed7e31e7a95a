"""Keys as paths in a folder: never out of it, not through links either, and never onto what is there.

Each folder on the way is opened in the one that it lies in, where the system can do that.

    key a/1.jpg  ──> FOLDER/a/1.jpg        ../x, /x, C:x, a//b, a/, NUL, CON, a<LF> ──> refused
"""

from __future__ import annotations

import errno
import io
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from splitdata._shown import shown
from splitdata.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["NewFiles", "parts_of_key"]

_MAX_NAME_BYTES: Final = 255
# Windows takes these for devices, whatever follows behind a dot, and the other characters for something else.
_DEVICES: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_ODD: Final = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]')
_FOLDER_FLAGS: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_has_folder_descriptors = hasattr(os, "O_DIRECTORY") and {os.open, os.mkdir} <= os.supports_dir_fd


def parts_of_key(key: str) -> list[str]:
    """Return the folders on the way to a file, and its name.

    Raises:
        SchemaError: If the key is no path that stays in a folder on every system.
    """
    parts = key.split("/")
    for part in parts:
        is_odd = part in ("", ".", "..") or _ODD.search(part) or _DEVICES.fullmatch(part) or part[-1] in " ."
        if is_odd or len(os.fsencode(part)) > _MAX_NAME_BYTES:
            raise SchemaError(
                f"the key {shown(key)} is no path below a folder on every system, because of {shown(part)}; nothing "
                "of it was written"
            )
    return parts


class NewFiles:
    """Makes files in one folder, by keys."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made where it does not exist."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def open(self, parts: Sequence[str]) -> io.FileIO:
        """Make a file that does not exist yet, and open it; raises FileExistsError for one that does.

        Raises:
            OSError: If one of the folders on the way is a link, or a file.
        """
        path = self._folder.joinpath(*parts)
        if not _has_folder_descriptors:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.parent.resolve().is_relative_to(self._folder.resolve()):
                raise NotADirectoryError(errno.ENOTDIR, "a link on the way leads out of the folder", str(path))
            return io.FileIO(os.open(path, _FILE_FLAGS, 0o666), "wb")
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=descriptor)
                inner = os.open(part, _FOLDER_FLAGS, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            return io.FileIO(os.open(parts[-1], _FILE_FLAGS, 0o666, dir_fd=descriptor), "wb")
        except OSError as error:
            error.filename = str(path)
            raise
        finally:
            os.close(descriptor)
