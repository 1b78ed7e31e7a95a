"""The folder of a cache as a whole: what is in it, what may be removed, and how large it is.

    other lineage           another dataset, transform version or seed: discarded unless in use
    own lineage, other      of the others the newest stays until the present generation is complete,
        generations         for a training that goes back to a checkpoint
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
    CacheGeneration,
    WriterDirectory,
    clear_generation,
    open_private,
    remove_generation,
    writers_in,
)
from splitdata.errors import CacheError, FormatError
from splitdata.storage import files
from splitdata.storage.cache_paths import LOCK_NAME, CacheGenerationPaths, CachePaths
from splitdata.storage.folder import Folder
from splitdata.storage.made_folder import make_folder
from splitdata.storage.paths import is_stray
from splitdata.storage.private_folder import make_private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.cache.cache_key import CacheKey

__all__ = ["CacheFolder"]

_LOCK_SECONDS: Final = 10.0
_LOCK_PAUSE: Final = 0.001


class CacheFolder:
    """Looks at one folder; keeps no state, and holds nothing open but for what `hold` gives."""

    def __init__(self, folder: str | os.PathLike[str], root: Folder | None = None) -> None:
        """Take the path, and the folder itself where that is open already: then it is closed with this."""
        self.paths = CachePaths(local_path(folder))
        self._root = root

    def check(self) -> None:
        """Refuse a folder that is not, and cannot become, that of a cache of this user; changes nothing.

        Raises:
            CacheError: Something else lies there, or other users could have written to it.
        """
        with contextlib.suppress(FileNotFoundError), self._private():
            pass

    def hold(self) -> CacheFolder:
        """Return this cache with its folder open, made where there is none: all steps lead to that one. Close it.

        Raises:
            CacheError: Something else lies there, or other users could have written to it.
            OSError: The disk is full, or read-only.
        """
        folder = self.paths.folder
        make_folder(os.path.dirname(folder), durable=False)
        make_private(folder)
        return CacheFolder(folder, self._open_private())

    def close(self) -> None:
        """Close the folder, if it is open."""
        if self._root is not None:
            self._root.close()

    def _opened(self) -> Folder:
        """Open the folder to look at it, be it another user's, or by a link; closed by whoever asks."""
        # Again, as threads that list one open folder would take names from each other.
        return Folder.open(self.paths.folder) if self._root is None else self._root.again()

    def _private(self) -> Folder:
        """Open the folder to change what is in it; raises as `check` does. Closed by whoever asks."""
        return self._open_private() if self._root is None else self._root.again()

    def _open_private(self) -> Folder:
        folder = self.paths.folder
        try:
            root = open_private(folder, lambda: Folder.open(folder, follows_link=False))
        except NotADirectoryError:
            raise CacheError(f"{folder} is a file; a cache is a folder of its own") from None
        try:
            self._check_names(root)
        except BaseException:
            root.close()
            raise
        return root

    def _check_names(self, root: Folder) -> None:
        folder = self.paths.folder
        foreign = sorted(name for name in root.names() if not self.paths.is_own_name(name) and not is_stray(name))
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
            with self._opened() as root:
                self._check_names(root)
        except (CacheError, FileNotFoundError, NotADirectoryError):
            return False
        return bool(self.generations())

    def datasets(self) -> list[str]:
        """Return the paths of all datasets of all generations, as far as anything was committed to them."""
        found: list[str] = []
        with contextlib.suppress(FileNotFoundError), self._opened() as root:
            for epoch, lineage in self.generations():
                # A generation that is removed meanwhile does not count.
                with (
                    contextlib.suppress(FileNotFoundError),
                    root.sub(self.paths.generation_name(epoch, lineage)) as generation,
                ):
                    names = map(CacheGenerationPaths.writer_name, writers_in(generation))
                    writers = [WriterDirectory(generation, name) for name in names]
                    found += [writer.folder for writer in writers if writer.generations()]
        return found

    def looks(self) -> Iterator[CacheGeneration]:
        """Yield each generation, open, to look at it; it is closed behind that. One that is gone is left out."""
        with contextlib.suppress(FileNotFoundError), self._opened() as root:
            for epoch, lineage in self.generations():
                try:
                    generation = CacheGeneration.look(root, self.paths.generation_name(epoch, lineage))
                except (OSError, FormatError):
                    # Removed meanwhile, or its key is damaged: then it is as good as gone.
                    continue
                try:
                    yield generation
                finally:
                    generation.close()

    def open(self, key: CacheKey) -> CacheGeneration:
        """Open a generation, made where there is none, the folder too.

        Raises:
            CacheError: Something else lies there, or other users could have written to it.
            OSError: The disk is full, or read-only.
        """
        if self._root is None:
            with contextlib.closing(self.hold()) as held:
                return held.open(key)
        return CacheGeneration.open(self._root, key)

    def generations(self) -> list[tuple[int, str]]:
        """Return epoch and lineage of all generations, in the order of epochs."""
        try:
            with self._opened() as root:
                names = root.names()
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = map(self.paths.generation_of_name, names)
        return sorted(one for one in found if one is not None)

    def discard_stale(self, key: CacheKey) -> int:
        """Remove generations of other lineages that nobody uses; return how many are gone."""
        return self._remove([(epoch, lineage) for epoch, lineage in self.generations() if lineage != key.lineage])

    def tidy(self, key: CacheKey, *, is_complete: bool) -> None:
        """Remove older generations of a key's lineage that nobody uses, and what a kill has left half removed.

        Args:
            key: Of the present generation.
            is_complete: All older ones may go. Else the newest of the others stays.
        """
        with self._private() as root:
            for name in filter(self.paths.is_removed, root.names()):
                clear_generation(root, name)
        others = [epoch for epoch, lineage in self.generations() if lineage == key.lineage and epoch != key.epoch]
        goes = [epoch for epoch in others if epoch < key.epoch] if is_complete else others[:-1]
        self._remove([(epoch, key.lineage) for epoch in goes])

    def make_room(self, key: CacheKey) -> bool:
        """Remove all generations but that of a key that nobody uses; True if any is gone."""
        return self._remove([one for one in self.generations() if one != (key.epoch, key.lineage)]) > 0

    def _remove(self, generations: list[tuple[int, str]]) -> int:
        """Remove those generations that nobody uses; return how many are gone."""
        if not generations:
            return 0
        with self._private() as root:
            return sum(remove_generation(root, self.paths.generation_name(*one)) for one in generations)

    def num_bytes(self) -> int:
        """Return the bytes of all files in the folder; costs a look at each."""
        with contextlib.suppress(FileNotFoundError), self._opened() as root:
            return root.num_bytes()
        return 0

    def free_bytes(self) -> tuple[int, int]:
        """Return what the file system has left for us, and its size."""
        with self._opened() as root:
            return root.free_bytes()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock under which one program at a time writes.

        Raises:
            BlockingIOError: If another program does not release it.
        """
        with self._private() as root:
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
