"""FolderStore: a folder of this machine by the five methods of a store, as the place that a dataset is copied to.

Bytes appear under their name at once, by a link; pieces are written where they belong, and count when a manifest says
so. Both are on the medium when the call returns.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from splitdata.storage import files

__all__ = ["FolderStore"]


class FolderStore:
    """The files below a folder; keys are their paths in it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

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
        """Make a file, with the folders that it takes."""
        path = self._path(key)
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        if isinstance(data, bytes):
            # The name that a manifest has while it is written, known to all who clear up.
            scratch = os.path.join(folder, f"manifest.{secrets.token_hex(16)}.tmp")
            try:
                _write(scratch, (data,))
                os.link(scratch, path)
            finally:
                files.remove(scratch)
        else:
            _write(path, data)
        files.sync_directory(folder)

    def delete(self, key: str, /) -> None:
        """Remove a file."""
        files.remove(self._path(key))

    def _path(self, key: str) -> str:
        return os.path.join(self._folder, *key.split("/")) if key else self._folder


def _write(path: str, pieces: Iterable[bytes]) -> None:
    with open(path, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        files.sync_data(file.fileno())
