"""The files that all readers of this process hold open, together: bounded by what the process may.

What somebody still holds, a view of a map, stays valid; a file that is used again is opened again.

    pool of reader a   index, bin 0, bin 3 ...      first opened, first dropped
    pool of reader b   index, bin 7 ...             ┐
    ...                                             ┴─ one limit for all: the one with most gives up its oldest
"""

from __future__ import annotations

import errno
import os
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from splitdata.storage.file_source import Source, descriptor_limit, open_files_limit, open_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.storage.file_source import IoMode
    from splitdata.storage.folder import Folder

__all__ = ["FileOwner", "OpenFiles"]

_LEAST: Final = 4


class FileOwner(Protocol):
    """An owner of files that a pool opens."""

    def drop(self, bin_index: int | None, /) -> None:
        """Let go of a bin, of the index (None), or of another file."""


class OpenFiles:
    """Opens the files of one reader, within what all readers of this process may hold.

    Attributes:
        io: How files are read.
    """

    def __init__(
        self,
        io: IoMode,
        folder: Folder | None = None,
        open_folder: Callable[[str], Folder] | None = None,
        open_remote: Callable[[str], Source] | None = None,
    ) -> None:
        """Say how files are read.

        Args:
            io: The way.
            folder: If all of them lie in one that is open: that.
            open_folder: If they lie in segments of a dataset that is open: opens the folder of one, by its id.
            open_remote: If they lie in a store: opens one by its path. Then they have no descriptors.
        """
        self.io = io
        self._open_remote = open_remote
        self._folder = folder
        self._open_folder = open_folder
        # Weak, or reader and pool would hold each other, and a snapshot's files stay open until the
        # next garbage collection: a reader that refreshes often would run out of descriptors.
        self._open: deque[tuple[weakref.ref[FileOwner], int | None]] = deque()
        # The table is an argument: what is global may be gone when the process ends.
        _pools[id(self)] = weakref.ref(self, partial(_forget, _pools, id(self)))

    @property
    def limit(self) -> int:
        """So many files all pools of this process hold open at most, together."""
        return max(_LEAST, descriptor_limit())

    @property
    def is_of_folder(self) -> bool:
        """Whether all files are opened in a folder that is open, or in a store, so that no path is followed."""
        return self._folder is not None or self._open_folder is not None or self.is_remote

    @property
    def is_remote(self) -> bool:
        """Whether all files lie in a store: what is needed is asked for together, and ahead."""
        return self._open_remote is not None

    def __len__(self) -> int:
        """Return how many files this pool holds open."""
        return len(self._open)

    def open(self, path: str) -> Source:
        """Open a bin, the index or the keys; other files are closed where that takes room.

        Who stores it says so with `keep`.

        Raises:
            OSError: If the process has no descriptor left, and pools hold none that would help.
        """
        if self._open_remote is not None:
            return self._open_remote(path)
        _make_room(self.limit - 1)
        try:
            source = self._opened(path)
        except OSError as error:
            # Other parts of the process have used up the descriptors: make do with fewer.
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            _make_room(_num_open() // 2)
            try:
                source = self._opened(path)
            except OSError as second:
                _raise_used_up(second, path)
        return source

    def _opened(self, path: str) -> Source:
        if self._open_folder is not None:
            with self._open_folder(os.path.basename(os.path.dirname(path))) as folder:
                return open_source(path, self.io, at=folder.anchor())
        return open_source(path, self.io, at=None if self._folder is None else self._folder.anchor())

    def keep(self, owner: FileOwner, bin_index: int | None) -> None:
        """Note that `owner` has stored a file that this pool has opened: it is told when it is to let go of it.

        Only now: another thread that takes room meanwhile would have it let go of what it has not got yet, and the
        file would stay open, uncounted.
        """
        if not self.is_remote:
            self._open.append((weakref.ref(owner), bin_index))

    def drop_all(self) -> None:
        """Let go of every file of this pool."""
        while self._open:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        try:
            reference, bin_index = self._open.popleft()
        except IndexError:  # another thread was faster
            return
        owner = reference()
        if owner is not None:
            owner.drop(bin_index)


# By identity. A dict, as its values are taken at once: other threads make and drop pools.
_pools: dict[int, weakref.ref[OpenFiles]] = {}


def _forget(pools: dict[int, weakref.ref[OpenFiles]], key: int, _: weakref.ref[OpenFiles]) -> None:
    pools.pop(key, None)


def _living() -> list[OpenFiles]:
    return [pool for reference in list(_pools.values()) if (pool := reference()) is not None]


def _num_open() -> int:
    return sum(map(len, _living()))


def _make_room(most: int) -> None:
    """Have pools release files until they hold `most` or fewer."""
    while (pools := _living()) and sum(map(len, pools)) > most:
        max(pools, key=len)._drop_oldest()


def _raise_used_up(error: OSError, path: str) -> NoReturn:
    """Say how many descriptors the process has, and which objects hold them."""
    if error.errno not in (errno.EMFILE, errno.ENFILE):
        try:
            raise error
        finally:
            # It knows this frame, and the frame would know it.
            del error
    raise OSError(
        error.errno,
        f"{error.strerror}: this process may have {open_files_limit()} descriptors, and all are in use, {_num_open()} "
        f"of them by open datasets, which need {_LEAST} to be read; close files, or raise the limit (`ulimit -n`)",
        path,
    ) from None
