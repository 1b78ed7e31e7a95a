"""An open folder: what is in it is reached through its descriptor, whatever takes its name meanwhile.

Where the system opens no folders (Windows), each step goes by path, and looks before and behind whether that is
still the same folder.

    Folder.open("/data/d")      the path that a user gave: it may lead through links
      └─ sub("segments")        below it no link is followed
           └─ sub("<32 hex>")
                └─ create, open, remove, rename ...     by a name, never by a path
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Final, Self

from splitdata._ownership import Closeable
from splitdata.errors import FormatError
from splitdata.storage import files
from splitdata.storage.locked_file import LockedFile

__all__ = ["Folder"]

# Never None, by which what is tried would go by path.
_CLOSED: Final = -1
# A file may be replaced each time that its lock is taken.
_MAX_TRIES: Final = 100
_SEPARATORS: Final = tuple(filter(None, (os.sep, os.altsep, "\0")))


class Folder(Closeable):
    """A folder that stays the same one until it is closed; a context manager. For one thread at a time.

    Attributes:
        path: By which it was opened, for messages.
    """

    # For an object whose construction has failed.
    _descriptor: int | None = None

    def __init__(self, path: str, descriptor: int | None) -> None:
        """Take a descriptor of a folder, None where the system has none."""
        self.path = path
        self._descriptor = descriptor
        self._identity = files.identity_of(path) if descriptor is None else None

    @classmethod
    def open(cls, path: str, *, follows_link: bool = True) -> Self:
        """Open a folder by the path that a user gave, which may lead through links.

        Args:
            path: Of the folder.
            follows_link: False: the folder itself must be none.

        Raises:
            FormatError: If it is a link that is not followed.
            FileNotFoundError, NotADirectoryError: If there is none.
        """
        descriptor = files.open_directory(path, follows_link=follows_link)
        # Without a descriptor it is the place that the path leads to now which is looked at again.
        return cls(os.path.realpath(path) if descriptor is None else path, descriptor)

    def again(self) -> Folder:
        """Open this folder once more: for a lock of its own."""
        path = os.path.join(self.path, os.curdir)
        return Folder(self.path, files.open_directory(path, follows_link=True, at=self.anchor()))

    def sub(self, name: str) -> Folder:
        """Open a folder in this one.

        Raises:
            FormatError: If it is a link.
            FileNotFoundError, NotADirectoryError: If there is none.
        """
        path = self.path_of(name)
        opened = Folder(path, files.open_directory(path, at=self.anchor()))
        self._look_again()
        return opened

    def path_of(self, name: str) -> str:
        """Return the path of what has a name in this folder, for messages."""
        if name in ("", ".", "..") or any(separator in name for separator in _SEPARATORS):
            raise ValueError(f"{name!r} is no name of a file in a folder")
        return os.path.join(self.path, name)

    def anchor(self) -> int | None:
        """Return what `files` takes as `at`.

        Raises:
            FormatError: If another folder, or a link, has taken this one's place, and the system has no descriptors.
        """
        if self._descriptor == _CLOSED:
            raise ValueError(f"{self.path}: this folder is closed")
        self._look_again()
        return self._descriptor

    @property
    def is_open(self) -> bool:
        """Whether anything can be done through it."""
        return self._descriptor != _CLOSED

    def is_in_place(self) -> bool:
        """Say whether its path leads to it still, be it through links."""
        anchor = self.anchor()
        return anchor is None or files.is_folder_at(anchor, self.path)

    def _look_again(self) -> None:
        if self._identity is None:
            return
        if files.is_link(self.path) or files.identity_of(self.path) != self._identity:
            raise FormatError(
                f"{self.path} was replaced by another folder while it was in use; nothing is changed there",
                path=self.path,
            )

    # -- files -------------------------------------------------------------------------------

    def create(self, name: str) -> int:
        """Make a new file and return its descriptor; FileExistsError if anything has that name."""
        return self._checked(files.create(self.path_of(name), at=self.anchor()))

    def open_file(self, name: str, *, writable: bool = False) -> int:
        """Open a regular file and return its descriptor; raises as `files.open_existing` does."""
        return self._checked(files.open_existing(self.path_of(name), writable=writable, at=self.anchor()))

    def open_or_create(self, name: str) -> int:
        """Open a regular file, made empty where there is none, to lock it, and return its descriptor."""
        try:
            return self.create(name)
        except FileExistsError:
            return self.open_file(name, writable=True)

    def open_locked(self, name: str, *, is_read_only_enough: bool = False) -> LockedFile | None:
        """Open a file and take its lock without waiting; None where that is not to be had.

        The file is the one that has the name while the lock is held: one that was replaced or removed between the
        two steps is closed again.

        Args:
            name: Of the file.
            is_read_only_enough: Take what may not be written, too: a later attempt to change something fails then.

        Raises:
            FileNotFoundError: If there is none (any more).
        """
        for _ in range(_MAX_TRIES):
            try:
                file = LockedFile(self.open_file(name, writable=True))
            except OSError as error:
                if not is_read_only_enough or error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                    raise
                file = LockedFile(self.open_file(name))
            if not files.lock(file.descriptor):
                file.close()
                return None
            if self.is_named(file.descriptor, name):
                return file
            file.close()
        return None

    def _checked(self, descriptor: int) -> int:
        try:
            self._look_again()
        except BaseException:
            files.close(descriptor)
            raise
        return descriptor

    def create_unnamed(self) -> int:
        """Open a file without a name on the file system of this folder; OSError where that cannot be had."""
        return files.create_unnamed(self.path, at=self.anchor())

    def link_unnamed(self, descriptor: int, name: str) -> None:
        """Give an unnamed file its name in this folder; FileExistsError if it is taken."""
        files.link_unnamed(descriptor, self.path_of(name), at=self.anchor())

    def link(self, name: str, second: str) -> None:
        """Give a file a second name in this folder; FileExistsError if it is taken."""
        files.link(self.path_of(name), self.path_of(second), at=self.anchor())

    def link_into(self, name: str, other: Folder) -> None:
        """Give a file of this folder the same name in another one; FileExistsError if it is taken there."""
        files.link(self.path_of(name), other.path_of(name), at=other.anchor(), source_at=self.anchor())

    def rename_exclusive(self, name: str, new: str) -> None:
        """Rename a file, as `files.rename_exclusive` does."""
        files.rename_exclusive(self.path_of(name), self.path_of(new), at=self.anchor())

    def rename_over(self, name: str, new: str) -> None:
        """Rename a file or folder in one step, in the place of another that may have the name."""
        files.rename_over(self.path_of(name), self.path_of(new), at=self.anchor())

    def remove(self, name: str) -> None:
        """Remove one name of a file; no error if it is gone."""
        files.remove(self.path_of(name), at=self.anchor())

    def is_named(self, descriptor: int, name: str) -> bool:
        """Say whether an open file is the one that has this name here."""
        return files.is_named(descriptor, self.path_of(name), at=self.anchor())

    def is_one_file(self, name: str, other: str) -> bool:
        """Say whether two names here are those of one file."""
        anchor = self.anchor()
        one, two = (files.identity_of(self.path_of(each), at=anchor) for each in (name, other))
        return one == two

    # -- folders -----------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names in it, in no order."""
        return files.list_names(self.path, at=self.anchor())

    def num_bytes(self) -> int:
        """Return the bytes of all files below it; costs a look at each. What goes meanwhile takes no room."""
        total = 0
        for name, size in files.list_entries(self.path, at=self.anchor()):
            if size is not None:
                total += size
                continue
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, FormatError), self.sub(name) as folder:
                total += folder.num_bytes()
        return total

    def free_bytes(self) -> tuple[int, int]:
        """Return what its file system has left for us, and its size."""
        return files.free_bytes(self.path, at=self.anchor())

    def make(self, name: str, mode: int = 0o777) -> bool:
        """Make a folder in this one with a mode, less what the umask takes away; False if it was there."""
        return files.make_directory(self.path_of(name), mode, at=self.anchor())

    def has_folder(self, name: str) -> bool:
        """Say whether a folder, not a link to one, has this name here."""
        return files.is_real_directory(self.path_of(name), at=self.anchor())

    def size_of(self, name: str) -> int:
        """Return the length of what has a name here, in bytes; it is not opened, and not followed if it is a link."""
        return files.size_of_name(self.path_of(name), at=self.anchor())

    def written_at(self, name: str) -> float:
        """Return when a file in it was written last, in seconds since 1970; FileNotFoundError if there is none."""
        return files.written_at(self.path_of(name), at=self.anchor())

    def has(self, name: str) -> bool:
        """Say whether anything has this name here, be it a link that leads nowhere."""
        return files.exists(self.path_of(name), at=self.anchor())

    def has_odd(self, name: str) -> bool:
        """Say whether something that is no regular file has this name here: a folder, a link, a pipe."""
        path, anchor = self.path_of(name), self.anchor()
        return files.exists(path, at=anchor) and not files.is_regular(path, at=anchor)

    def remove_directory(self, name: str) -> None:
        """Remove an empty folder in this one; no error if it is gone."""
        files.remove_directory(self.path_of(name), at=self.anchor())

    def check_writable(self) -> None:
        """Raise OSError if no file can be made in it, as far as that can be told."""
        files.check_writable(self.path, at=self.anchor())

    def sync(self) -> None:
        """Wait until the names in it would survive a loss of power."""
        files.sync_directory(self.path, at=self.anchor())

    def lock(self) -> bool:
        """Try to take the lock of this folder until it is closed; True if it is ours, or no locks exist here."""
        anchor = self.anchor()
        return anchor is None or files.lock(anchor)

    def close(self) -> None:
        """Close it; safe to call again. Nothing can be done through it afterwards."""
        descriptor = self._descriptor
        if descriptor is not None and descriptor >= 0:
            self._descriptor = _CLOSED
            files.close(descriptor)

    def __del__(self, close: Callable[[int], None] = files.close) -> None:
        """Close it; what that takes is bound here, as at exit the names of this module may be gone already."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and descriptor >= 0:
            close(descriptor)
