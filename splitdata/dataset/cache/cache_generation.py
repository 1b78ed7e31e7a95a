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
from collections.abc import Callable
from typing import Final, Self

from splitdata._ownership import renew_after_fork
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.removal import remove_dataset
from splitdata.errors import CacheError, FormatError
from splitdata.storage import files
from splitdata.storage.cache_paths import KEY_NAME, CachePaths, GenerationPaths
from splitdata.storage.folder import Folder
from splitdata.storage.locked_file import LockedFile
from splitdata.storage.private_folder import PRIVATE_MODE, why_shared

__all__ = [
    "Claim",
    "Generation",
    "check_private",
    "clear_generation",
    "read_key",
    "remove_generation",
    "writers_in",
]

_logger = logging.getLogger("splitdata")

# Of a key, which has a few hundred.
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


class Generation:
    """A generation in use. Safe to share between threads but for `close`.

    Attributes:
        key: What its samples depend on.
        paths: Where it is.
    """

    # For an object whose construction has failed.
    _descriptor = -1

    def __init__(self, paths: GenerationPaths, key: CacheKey, descriptor: int) -> None:
        """Take the descriptor of its key, on which the shared lock is held."""
        self.paths = paths
        self.key = key
        self._descriptor = descriptor
        renew_after_fork(self)

    def _after_fork_in_child(self) -> None:
        # The user is the parent, for as long as any copy of its descriptor is open.
        self.close()

    @classmethod
    def open(cls, cache: CachePaths, key: CacheKey) -> Self:
        """Open a generation, made where there is none; what has its name and another key is removed.

        Raises:
            CacheError: Other users could have written to it.
            OSError: The disk is full or read-only, or another program does not let go of the generation.
        """
        paths = cache.generation(key.epoch, key.lineage)
        for _ in range(_MAX_TRIES):
            try:
                with Folder.open(cache.folder) as root, contextlib.suppress(FileExistsError):
                    # A link, or a file, is told of by what looks whose it is.
                    root.make(os.path.basename(paths.folder), PRIVATE_MODE)
                check_private(paths.folder, with_inner=True)
                with _opened(paths) as folder:
                    descriptor = _open_key(folder, key)
                    is_ours = files.lock(descriptor, shared=True) and folder.is_named(descriptor, KEY_NAME)
            except FileNotFoundError:
                # Renamed, on its way out, just now.
                continue
            if is_ours:
                if _key_in(descriptor) == key:
                    return cls(paths, key, descriptor)
                files.close(descriptor)
                _logger.info("%s: its key is damaged or another one; what it holds is discarded", paths.folder)
                remove_generation(cache, os.path.basename(paths.folder))
            else:
                files.close(descriptor)
            time.sleep(_PAUSE)
        raise BlockingIOError(
            errno.EAGAIN, "other programs hold this generation of the cache, or remove it", paths.folder
        )

    def writers(self) -> list[int]:
        """Return the numbers of all writers that have begun a dataset, ascending."""
        return writers_in(self.paths)

    def claim(self, first: int = 0) -> Claim:
        """Return the right to write in the first dataset, counted from `first`, in which nobody else writes.

        Raises:
            FormatError: A link has taken the place of the generation, or of the dataset.
            OSError: The disk is full, or read-only.
        """
        with _opened(self.paths) as folder:
            for number in range(first, _MAX_WRITERS):
                name = self.paths.writer_name(number)
                if folder.has(name) and not folder.has_folder(name):
                    # A link, or a file: not this cache's.
                    continue
                lock = LockedFile(folder.open_or_create(self.paths.writer_lock_name(number)))
                with lock:
                    if files.lock(lock.descriptor):
                        folder.make(name)
                        return Claim(number, folder.sub(name), lock.detach())
        raise OSError(errno.EMFILE, f"more than {_MAX_WRITERS} writers", self.paths.folder)

    def close(self) -> None:
        """Let the generation be removed; may be called more than once."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            files.close(descriptor)

    def __del__(self, close: Callable[[int], None] = files.close) -> None:
        if self._descriptor >= 0:
            close(self._descriptor)


def check_private(folder: str, *, with_inner: bool = False) -> None:
    """Refuse the folder of a cache, or that of a generation with all in it, if others could have put samples there.

    Raises:
        CacheError: Says whose it is, or what its mode is, and what to do.
        FileNotFoundError: There is none.
    """
    reason = why_shared(folder, with_inner=with_inner)
    if reason:
        raise CacheError(
            f"{folder} {reason}: samples that others may have put there are not read. Give the cache a folder that "
            "does not exist yet, which it makes for this user alone; or, if this one is yours and so is all in it, "
            f"make it so: chmod -R go-wx {shlex.quote(folder)}"
        )


def writers_in(paths: GenerationPaths) -> list[int]:
    """Return the numbers of all writers whose datasets are in the folder of a generation, ascending."""
    with _opened(paths) as folder:
        found = [(paths.writer_of_name(name), name) for name in folder.names()]
        # The target of a link does not belong to this cache.
        return sorted(number for number, name in found if number is not None and folder.has_folder(name))


def read_key(paths: GenerationPaths) -> CacheKey:
    """Return the key of a generation.

    Raises:
        FileNotFoundError: It has none.
        FormatError: It is damaged.
    """
    with _opened(paths) as folder:
        descriptor = folder.open_file(KEY_NAME)
    try:
        return CacheKey.decode(files.read_at(descriptor, _MAX_KEY_BYTES, 0))
    except FormatError as error:
        raise FormatError(f"{paths.key}: {error}", path=paths.key) from None
    finally:
        files.close(descriptor)


def remove_generation(cache: CachePaths, name: str) -> bool:
    """Remove the generation that has a name in the cache's folder, unless someone uses it; True if it is gone."""
    try:
        root = Folder.open(cache.folder)
    except OSError:
        return False
    with root:
        try:
            with root.sub(name) as folder:
                lock = folder.open_locked(KEY_NAME)
        except FileNotFoundError:
            # Someone was killed while making it, or is making it now and tries again.
            return clear_generation(root, name, has_key=False)
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
                root.rename_over(name, removed)
            except OSError:
                return False
            clear_generation(root, removed)
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
                if GenerationPaths.writer_of_name(entry) is not None:
                    remove_dataset(folder, entry)
                elif GenerationPaths.is_own_file(entry):
                    folder.remove(entry)
        cache.remove_directory(name)
    except (OSError, FormatError):
        return False
    return True


def _opened(paths: GenerationPaths) -> Folder:
    """Open the folder of a generation; FormatError if it is a link."""
    with Folder.open(os.path.dirname(paths.folder)) as cache:
        return cache.sub(os.path.basename(paths.folder))


def _open_key(folder: Folder, key: CacheKey) -> int:
    """Return a descriptor of the key, made if there is none: whole from the first moment."""
    with contextlib.suppress(FileNotFoundError):
        return folder.open_file(KEY_NAME)
    scratch = GenerationPaths.key_scratch_name(os.urandom(16).hex())
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
