"""One generation of a cache: its users, its writers, and its removal.

Each writer has a dataset of its own because only the last segment of a dataset can grow: with one dataset
for all of them, each commit of each writer would begin a segment.

    user      shared lock on key.json, for as long as it reads or writes here
    writer    lock on writer.0003.lock ──> the dataset writer.0003 is its own
    remover   lock on key.json? ── no ──> in use, stays
                  | yes
              renamed to removed.<32 hex>, then emptied: what a kill leaves half removed is never read
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import time
from collections.abc import Callable, Iterator
from typing import Final, Self

from splitdata._ownership import renew_after_fork
from splitdata._shown import one_line
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import remove_dataset
from splitdata.errors import CacheError, FormatError
from splitdata.storage import files
from splitdata.storage.cache_paths import KEY_NAME, CacheGenerationPaths, CachePaths
from splitdata.storage.folder import Folder
from splitdata.storage.locked_file import LockedFile
from splitdata.storage.private_folder import PRIVATE_MODE, why_shared

__all__ = [
    "CacheGeneration",
    "Claim",
    "WriterDirectory",
    "clear_generation",
    "open_private",
    "read_key",
    "remove_generation",
    "writers_in",
]

_logger = logging.getLogger("splitdata")

# The largest key file that is read; one has a few hundred bytes.
_MAX_KEY_BYTES: Final = 1 << 16
# Others may remove the generation while it is opened; each of them takes milliseconds.
_MAX_TRIES: Final = 200
_PAUSE: Final = 0.005
_MAX_WRITERS: Final = 1_000_000


class Claim:
    """The right to write in one dataset of a generation, until it is released or the process ends.

    Attributes:
        number: Of the writer.
        folder: Of the dataset, open: what has its path later is not asked for. Closed with this.
    """

    # For an object whose construction has failed.
    _descriptor = -1

    def __init__(self, number: int, folder: Folder, descriptor: int) -> None:
        self.number = number
        self.folder = folder
        self._descriptor = descriptor
        renew_after_fork(self)

    def directory(self) -> DatasetDirectory:
        """Return the dataset, to be written through the folder that is open here."""
        return DatasetDirectory(self.folder.path, self.folder)

    def _after_fork_in_child(self) -> None:
        # A lock is held for as long as any copy of its descriptor is open.
        self.release()

    def release(self) -> None:
        """Let another writer have it; may be called more than once."""
        self.folder.close()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            files.close(descriptor)

    def __del__(self, close: Callable[[int], None] = files.close) -> None:
        if self._descriptor >= 0:
            close(self._descriptor)


class WriterDirectory(DatasetDirectory):
    """The dataset of one writer, reached through the folder of its generation, which is open, each time."""

    def __init__(self, generation: Folder, name: str) -> None:
        """Take the open folder, and the name of the dataset in it."""
        super().__init__(generation.path_of(name))
        self._generation = generation
        self._name = name

    @property
    def is_held(self) -> bool:
        """What has its path is not asked for."""
        return True

    @contextlib.contextmanager
    def opened(self) -> Iterator[Folder]:
        """Open the dataset; FormatError if a link has its name."""
        with self._generation.sub(self._name) as root:
            yield root


class CacheGeneration:
    """A generation in use. Safe to share between threads but for `close`.

    Attributes:
        key: What its samples depend on.
        folder: Open: all of it is reached through this, whatever takes its path. Closed with this.
        paths: Where it was when it was opened, for messages.
    """

    # For an object whose construction has failed.
    _descriptor = -1

    def __init__(self, folder: Folder, key: CacheKey, descriptor: int) -> None:
        """Take its folder, and the descriptor of its key, on which the shared lock is held."""
        self.folder = folder
        self.paths = CacheGenerationPaths(folder.path)
        self.key = key
        self._descriptor = descriptor
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        # The user is the parent, for as long as any copy of its descriptor is open.
        self._unlock()

    @classmethod
    def look(cls, cache: Folder, name: str) -> Self:
        """Open a generation to look at it: it may be removed at any time.

        Raises:
            FileNotFoundError: There is none, or it has no key.
            FormatError: A link has its name, or its key is damaged.
        """
        folder = cache.sub(name)
        try:
            return cls(folder, read_key(folder), -1)
        except BaseException:
            folder.close()
            raise

    @classmethod
    def open(cls, cache: Folder, key: CacheKey) -> Self:
        """Open a generation, made where there is none; what has its name and another key is removed.

        Args:
            cache: The folder of the cache.
            key: Of the generation.

        Raises:
            CacheError: Other users could have written to it.
            OSError: The disk is full or read-only, or another program does not let go of the generation.
        """
        name = CachePaths.generation_name(key.epoch, key.lineage)
        for _ in range(_MAX_TRIES):
            try:
                opened = cls._try_open(cache, name, key)
            except FileNotFoundError:
                # Renamed, on its way out, just now.
                continue
            if opened is not None:
                return opened
            time.sleep(_PAUSE)
        raise BlockingIOError(
            errno.EAGAIN, "other programs hold this generation of the cache, or remove it", cache.path_of(name)
        )

    @classmethod
    def _try_open(cls, cache: Folder, name: str, key: CacheKey) -> Self | None:
        """Open a generation; None if it is on its way out."""
        with contextlib.suppress(FileExistsError):
            # A link, or a file, is told of by what opens it.
            cache.make(name, PRIVATE_MODE)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(open_private(cache.path_of(name), lambda: cache.sub(name), with_inner=True))
            lock = stack.enter_context(LockedFile(_open_key(folder, key)))
            is_locked = files.lock(lock.descriptor, shared=True) and folder.is_named(lock.descriptor, KEY_NAME)
            anchor = folder.anchor()
            if not is_locked or not (anchor is None or cache.is_named(anchor, name)):
                return None
            if _key_in(lock.descriptor) == key:
                stack.pop_all()
                return cls(folder, key, lock.detach())
        _logger.info("%s: its key is damaged or another one; what it holds is discarded", one_line(folder.path))
        remove_generation(cache, name)
        return None

    def writers(self) -> list[int]:
        """Return the numbers of all writers that have begun a dataset, ascending."""
        return writers_in(self.folder)

    def dataset(self, number: int) -> DatasetDirectory:
        """Return the dataset of a writer, to be read through the folder that is open here."""
        return WriterDirectory(self.folder, self.paths.writer_name(number))

    def claim(self, first: int = 0) -> Claim:
        """Return the right to write in the first dataset, counted from `first`, in which nobody else writes.

        Raises:
            FormatError: A link has taken the place of the dataset.
            OSError: The disk is full, or read-only.
        """
        folder = self.folder
        for number in range(first, _MAX_WRITERS):
            name = self.paths.writer_name(number)
            if folder.has(name) and not folder.has_folder(name):
                # A link, or a file: not this cache's.
                continue
            with LockedFile(folder.open_or_create(self.paths.writer_lock_name(number))) as lock:
                if files.lock(lock.descriptor):
                    folder.make(name)
                    return Claim(number, folder.sub(name), lock.detach())
        raise OSError(errno.EMFILE, f"more than {_MAX_WRITERS} writers", self.paths.folder)

    def close(self) -> None:
        """Let the generation be removed; may be called more than once."""
        self._unlock()
        self.folder.close()

    def _unlock(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            files.close(descriptor)

    def __del__(self, close: Callable[[int], None] = files.close) -> None:
        if self._descriptor >= 0:
            close(self._descriptor)


def open_private(path: str, open_folder: Callable[[], Folder], *, with_inner: bool = False) -> Folder:
    """Open the folder of a cache, or that of a generation with all in it, if only this user could put samples there.

    Args:
        path: Of the folder, for messages.
        open_folder: Opens it, unless it is a link.
        with_inner: What is in the folders below it counts, too.

    Raises:
        CacheError: Says whose it is, or what its mode is, and what to do.
        FileNotFoundError, NotADirectoryError: There is none.
    """
    try:
        folder = open_folder()
    except FormatError:
        raise _shared(path, "is a link, behind which may be another folder at any time") from None
    try:
        reason = why_shared(folder, with_inner=with_inner)
        if reason:
            raise _shared(path, reason)
    except BaseException:
        folder.close()
        raise
    return folder


def _shared(path: str, reason: str) -> CacheError:
    return CacheError(
        f"{path} {reason}: samples that others may have put there are not read. Give the cache a folder that "
        "does not exist yet, which it makes for this user alone; or, if this one is yours and so is all in it, "
        f"make it so: chmod -R go-wx {shlex.quote(path)}"
    )


def writers_in(generation: Folder) -> list[int]:
    """Return the numbers of all writers whose datasets are in the folder of a generation, ascending."""
    # Opened again, as threads that list one open folder would take names from each other.
    with generation.again() as folder:
        found = [(CacheGenerationPaths.writer_of_name(name), name) for name in folder.names()]
        # The target of a link does not belong to this cache.
        return sorted(number for number, name in found if number is not None and folder.has_folder(name))


def read_key(generation: Folder) -> CacheKey:
    """Return the key of a generation.

    Raises:
        FileNotFoundError: It has none.
        FormatError: It is damaged.
    """
    descriptor = generation.open_file(KEY_NAME)
    try:
        return CacheKey.decode(files.read_at(descriptor, _MAX_KEY_BYTES, 0))
    except FormatError as error:
        path = generation.path_of(KEY_NAME)
        raise FormatError(f"{path}: {error}", path=path) from None
    finally:
        files.close(descriptor)


def remove_generation(cache: Folder, name: str) -> bool:
    """Remove the generation that has a name in the cache's folder, unless someone uses it; True if it is gone."""
    try:
        with cache.sub(name) as folder:
            lock = folder.open_locked(KEY_NAME)
    except FileNotFoundError:
        # Someone was killed while making it, or is making it now and tries again.
        return clear_generation(cache, name, has_key=False)
    except (OSError, FormatError):
        return False
    if lock is None:
        return False
    with lock:
        if os.name == "nt":
            # Windows renames no folder in which a file is open.
            lock.close()
        removed = CachePaths.removed_name(os.urandom(16).hex())
        try:
            cache.rename_over(name, removed)
        except OSError:
            return False
        clear_generation(cache, removed)
        return True


def clear_generation(cache: Folder, name: str, *, has_key: bool = True) -> bool:
    """Remove what is a cache's in a folder of one, and the folder if nothing else is in it; True if it is gone.

    Args:
        cache: The folder of the cache.
        name: Of the folder in it.
        has_key: False: nothing is removed if it has got a key meanwhile, since the loader that wrote the key uses it.
    """
    # A link, and what it leads to is not ours; or gone.
    if not cache.has_folder(name):
        return False
    try:
        with cache.sub(name) as folder:
            names = folder.names()
            if not has_key and KEY_NAME in names:
                return False
            for entry in names:
                if CacheGenerationPaths.writer_of_name(entry) is not None:
                    remove_dataset(folder, entry)
                elif CacheGenerationPaths.is_own_file(entry):
                    folder.remove(entry)
        cache.remove_directory(name)
    except (OSError, FormatError):
        return False
    return True


def _open_key(folder: Folder, key: CacheKey) -> int:
    """Return a descriptor of the key, made if there is none: whole from the first moment."""
    with contextlib.suppress(FileNotFoundError):
        return folder.open_file(KEY_NAME)
    scratch = CacheGenerationPaths.key_scratch_name(os.urandom(16).hex())
    descriptor = folder.create(scratch)
    try:
        files.write_at(descriptor, key.encode(), 0)
        files.close(descriptor)
        descriptor = -1
        try:
            folder.link(scratch, KEY_NAME)
        except FileExistsError:
            pass
        except FileNotFoundError:
            raise
        except OSError:
            # No links here. Two that come at once write the same, and who loses notices that it is another file.
            folder.rename_over(scratch, KEY_NAME)
    finally:
        if descriptor >= 0:
            files.close(descriptor)
        folder.remove(scratch)
    return folder.open_file(KEY_NAME)


def _key_in(descriptor: int) -> CacheKey | None:
    try:
        return CacheKey.decode(files.read_at(descriptor, _MAX_KEY_BYTES, 0))
    except FormatError:
        return None
