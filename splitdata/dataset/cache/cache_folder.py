"""The folder of a cache as a whole: what is in it, what may be removed, and how large it is.

    other lineage           another dataset, transform version or seed: discarded unless in use
    own lineage, other      of the others the newest stays until the present generation is complete,
        generations         for a run that goes back to a checkpoint
    anything else           is foreign: then nothing is written or removed here

Each loader that enters a generation tidies up; a generation in use stays. The folder is one user's alone: what
others could have put there is never taken for a sample.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, Final

from splitdata._local_path import local_path
from splitdata.dataset.cache.cache_generation import (
    Generation,
    check_private,
    clear_generation,
    remove_generation,
    writers_in,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.writing.claimed_folder import make_folder
from splitdata.errors import CacheError
from splitdata.storage import files
from splitdata.storage.cache_paths import LOCK_NAME, CachePaths
from splitdata.storage.folder import Folder
from splitdata.storage.paths import is_stray
from splitdata.storage.private_folder import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.cache.cache_key import CacheKey

__all__ = ["CacheFolder"]

_LOCK_SECONDS: Final = 10.0
_LOCK_PAUSE: Final = 0.001


class CacheFolder:
    """Looks at one folder; holds nothing open, keeps no state."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.paths = CachePaths(local_path(folder))

    def check(self) -> None:
        """Refuse a folder that is not, and cannot become, that of a cache of this user; changes nothing.

        Raises:
            CacheError: Something else lies there, or other users could have written to it.
        """
        self._check_names()
        with contextlib.suppress(FileNotFoundError):
            check_private(self.paths.folder)

    def _check_names(self) -> None:
        folder = self.paths.folder
        try:
            with Folder.open(folder) as root:
                names = root.names()
            foreign = sorted(name for name in names if not self.paths.is_own_name(name) and not is_stray(name))
        except FileNotFoundError:
            return
        except NotADirectoryError:
            raise CacheError(f"{folder} is a file; a cache is a folder of its own") from None
        if foreign:
            shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
            raise CacheError(
                f"{folder} holds {'1 thing that is' if len(foreign) == 1 else f'{len(foreign)} things that are'} "
                f"no cache's ({shown}); nothing is written to or "
                "removed from such a folder: give the cache one of its own"
            )

    def is_cache(self) -> bool:
        """Say whether this is the folder of a cache, of whatever user: a generation is in it, and nothing foreign."""
        try:
            self._check_names()
        except CacheError:
            return False
        return bool(self.generations())

    def datasets(self) -> list[str]:
        """Return the paths of all datasets of all generations, as far as anything was committed to them."""
        found = []
        for epoch, lineage in self.generations():
            paths = self.paths.generation(epoch, lineage)
            # A generation that is removed meanwhile does not count.
            with contextlib.suppress(FileNotFoundError):
                folders = map(paths.writer, writers_in(paths))
                found += [folder for folder in folders if DatasetDirectory(folder).generations()]
        return found

    def open(self, key: CacheKey) -> Generation:
        """Open a generation, made where there is none, the folder too.

        Raises:
            CacheError: Something else lies there, or other users could have written to it.
            OSError: The disk is full, or read-only.
        """
        self._check_names()
        make_folder(os.path.dirname(self.paths.folder), durable=False)
        make_private(self.paths.folder)
        check_private(self.paths.folder)
        return Generation.open(self.paths, key)

    def generations(self) -> list[tuple[int, str]]:
        """Return epoch and lineage of all generations, in the order of epochs."""
        try:
            with Folder.open(self.paths.folder) as root:
                names = root.names()
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = map(self.paths.generation_of_name, names)
        return sorted(one for one in found if one is not None)

    def discard_stale(self, key: CacheKey) -> int:
        """Remove generations of other lineages that nobody uses; return how many are gone."""
        stale = [(epoch, lineage) for epoch, lineage in self.generations() if lineage != key.lineage]
        return sum(self._remove(epoch, lineage) for epoch, lineage in stale)

    def tidy(self, key: CacheKey, *, is_complete: bool) -> None:
        """Remove older generations of a key's lineage that nobody uses, and what a kill has left half removed.

        Args:
            key: Of the present generation.
            is_complete: All older ones may go. Else the newest of the others stays.
        """
        with Folder.open(self.paths.folder) as root:
            for name in filter(self.paths.is_removed, root.names()):
                clear_generation(root, name)
        others = [epoch for epoch, lineage in self.generations() if lineage == key.lineage and epoch != key.epoch]
        goes = [epoch for epoch in others if epoch < key.epoch] if is_complete else others[:-1]
        for epoch in goes:
            self._remove(epoch, key.lineage)

    def make_room(self, key: CacheKey) -> bool:
        """Remove all generations but that of a key that nobody uses; True if any is gone."""
        others = [one for one in self.generations() if one != (key.epoch, key.lineage)]
        return any([self._remove(epoch, lineage) for epoch, lineage in others])

    def _remove(self, epoch: int, lineage: str) -> bool:
        return remove_generation(self.paths, self.paths.generation_name(epoch, lineage))

    def num_bytes(self) -> int:
        """Return the bytes of all files in the folder; costs a look at each."""
        return _bytes_below(self.paths.folder)

    def free_bytes(self) -> tuple[int, int]:
        """Return what the file system has left for us, and its size."""
        return files.free_bytes(self.paths.folder)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock under which one program at a time writes.

        Raises:
            BlockingIOError: If another program does not release it.
        """
        with Folder.open(self.paths.folder) as root:
            descriptor = root.open_or_create(LOCK_NAME)
        try:
            deadline = time.monotonic() + _LOCK_SECONDS
            while not files.lock(descriptor):
                if time.monotonic() > deadline:
                    raise BlockingIOError(errno.EAGAIN, "another program holds the lock of the cache", self.paths.lock)
                time.sleep(_LOCK_PAUSE)
            yield
        finally:
            files.close(descriptor)


def _bytes_below(folder: str) -> int:
    total = 0
    # A file that is removed meanwhile takes no room.
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    total += _bytes_below(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    return total
