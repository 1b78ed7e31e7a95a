"""FolderStore: a folder of this machine by the five methods of a store, as the place that a dataset is copied to.

    bytes   ── made whole, by a link ──────────────> their name, if nothing has it
    pieces  ── written without a name, synced ─────> their name, in the place of what has it

Reached through folders that are open, and through no link below the one that was named. Bytes and pieces are on the
medium when the call returns; the names of the folders that lead to them are for the caller to sync.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from splitdata.format import spec
from splitdata.storage import files
from splitdata.storage.folder import Folder
from splitdata.storage.made_folder import make_folder
from splitdata.storage.publish import publish_file
from splitdata.storage.replace import place_file

__all__ = ["FolderStore"]


class FolderStore:
    """The files below a folder; keys are their paths in it. Several threads may write other files."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._scratch_is_free = threading.Lock()

    def size(self, key: str, /) -> int:
        """Return the bytes of a file."""
        return files.size_of_name(self._path(key))

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], /) -> list[bytes]:
        """Return ranges of a file."""
        descriptor = files.open_existing(self._path(key))
        try:
            return [files.read_at(descriptor, stop - start, start) for start, stop in ranges]
        finally:
            files.close(descriptor)

    def list(self, prefix: str, /) -> Iterator[tuple[str, int]]:
        """Yield path and size of all files below a folder of this one; links are left out."""
        place = prefix.rstrip("/")
        with suppress(FileNotFoundError, NotADirectoryError):
            for name, size in files.list_entries(self._path(place)):
                key = f"{place}/{name}" if place else name
                if size is None:
                    yield from self.list(f"{key}/")
                elif files.is_regular(self._path(key)):
                    yield key, size

    def put_new(self, key: str, data: bytes | Iterable[bytes], /) -> None:
        """Make a file, with the folders that it takes.

        Raises:
            FileExistsError: If there are bytes, and anything has their name.
            FormatError: If a folder on the way is a link.
            OSError: If the disk fails; what had the name is as it was.
        """
        *folders, name = key.split("/")
        with self._opened(folders) as folder:
            if not isinstance(data, bytes):
                place_file(folder, name, data, scratch=spec.INDEX_SCRATCH_NAME, scratch_is_free=self._scratch_is_free)
            elif not publish_file(folder, name, data, durable=True):
                raise FileExistsError(folder.path_of(name))

    def delete(self, key: str, /) -> None:
        """Remove a file."""
        files.remove(self._path(key))

    @contextmanager
    def _opened(self, names: Sequence[str]) -> Iterator[Folder]:
        """Open a folder by the names that lead to it, made where there is none."""
        make_folder(self._folder, durable=True)
        with ExitStack() as stack:
            folder = stack.enter_context(Folder.open(self._folder))
            for name in names:
                try:
                    inner = folder.sub(name)
                except FileNotFoundError:
                    folder.make(name)
                    inner = folder.sub(name)
                folder = stack.enter_context(inner)
            yield folder

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, *key.split("/")) if key else self._folder
