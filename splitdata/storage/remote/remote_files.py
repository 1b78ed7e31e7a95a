"""The files of one dataset in a store: found by their paths, listed once for each segment, opened without a request.

    "s3://bucket/data/train/segments/<32 hex>/000000.bin"  ──>  key "data/train/segments/<32 hex>/000000.bin"

What a list does not have may still be there: a list may be older than an object.
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from splitdata.errors import StoreError
from splitdata.format import spec
from splitdata.storage.paths import DatasetPaths, SegmentPaths
from splitdata.storage.remote.range_source import RangeSource
from splitdata.storage.remote.remote_blocks import BlockFetcher, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from splitdata.storage.remote.block_cache import BlockCache
    from splitdata.storage.remote.patience import Patience
    from splitdata.storage.remote.store import Store

__all__ = ["RemoteDatasetPaths", "RemoteFiles", "RemoteSegmentPaths"]


class RemoteFiles:
    """The files below one URL; safe to share between threads, refused in a forked child.

    Attributes:
        url: Of the dataset.
        store: That it lies in.
        reader: Of blocks.
    """

    def __init__(self, url: str, prefix: str, store: Store, cache: BlockCache, patience: Patience) -> None:
        """Take the store; nothing is asked yet.

        Args:
            url: Of the dataset, for messages.
            prefix: The key of the dataset in the store.
            store: The store.
            cache: What is kept of it.
            patience: The limits of each call.
        """
        self.url = url
        self.store = store
        self.reader = BlockFetcher(store, cache, patience)
        self.patience = patience
        self._prefix = f"{prefix}/" if prefix else ""
        self._identities: dict[str, str] = {}
        self._sizes: dict[str, dict[str, int]] = {}
        self._files: dict[str, RemoteFile] = {}
        self._lock = threading.Lock()

    @property
    def paths(self) -> RemoteDatasetPaths:
        """Where its files are."""
        return RemoteDatasetPaths(self.url, self.sizes_in)

    def identify(self, segment_id: str, identity: str) -> None:
        """Say what tells the content of a segment from that of every other: by this its blocks are kept."""
        if self._identities.get(segment_id) != identity:
            self._identities[segment_id] = identity
            with self._lock:
                self._sizes.pop(segment_id, None)
                for path in [path for path in self._files if os.path.basename(os.path.dirname(path)) == segment_id]:
                    del self._files[path]

    def key_of(self, path: str) -> str:
        """Return the key of a file or folder by its path."""
        return self._prefix + path[len(self.url) + 1 :].replace(os.sep, "/")

    def names(self, folder: str = "") -> dict[str, int]:
        """Return the names of the objects directly in a folder of the dataset, with their sizes; not what is deeper.

        Raises:
            StoreError: If the store fails.
            NotImplementedError: If it cannot list.
        """
        self.reader.check(self.url)
        prefix = f"{self._prefix}{folder}/" if folder else self._prefix
        found = self.patience.call(f"listing {self.url}", lambda: list(self.store.list(prefix)))
        names = {key[len(prefix) :]: size for key, size in found if key.startswith(prefix)}
        return {name: size for name, size in names.items() if name and "/" not in name}

    def keys(self) -> dict[str, int]:
        """Return all objects of the dataset, by their paths in it, with their sizes; raises as `names` does."""
        self.reader.check(self.url)
        found = self.patience.call(f"listing {self.url}", lambda: list(self.store.list(self._prefix)))
        return {key[len(self._prefix) :]: size for key, size in found if key.startswith(self._prefix)}

    def read_small(self, name: str, most: int) -> bytes:
        """Return a small object of the dataset whole, and past the cache: one that changes, or is read once.

        Raises:
            FileNotFoundError: If there is none.
            StoreError: If the store fails.
        """
        self.reader.check(self.url)
        key = self._prefix + name

        def read() -> bytes:
            length = min(self.store.size(key), most)
            data = bytes(self.store.get_ranges(key, [(0, length)])[0]) if length else b""
            if len(data) != length:
                raise ConnectionError(f"{len(data)} bytes came where {length} were asked for")
            return data

        return self.patience.call(f"reading {self.url}/{name}", read)

    def send(self, name: str, size: int, pieces: Callable[[], Iterable[bytes]]) -> None:
        """Make an object of the dataset under a name that nobody else uses, or make it again.

        Args:
            name: Its path in the dataset.
            size: Of all pieces together.
            pieces: Gives them, from the first on each time that it is called.

        Raises:
            StoreError: If the store fails, or has another length afterwards.
        """
        self.reader.check(self.url)
        key, what = self._prefix + name, f"writing {self.url}/{name}"
        self.patience.call(what, lambda: self.store.put_new(key, pieces()))
        there = self.patience.call(what, lambda: self.store.size(key))
        if there != size:
            raise StoreError(f"{what}: the store has {there} of {size} bytes; try again")

    def create(self, name: str, data: bytes, *, alone: bool = False) -> bool:
        """Make a small object of the dataset if nothing has its name; False if anything else has.

        An answer that got lost is no failure: what is there by now is looked at.

        Args:
            name: Its path in the dataset.
            data: All of it.
            alone: Nobody else writes: the store is not asked to see to it.

        Raises:
            StoreError: If the store fails.
            NotImplementedError: If it cannot make an object only if there is none.
        """
        self.reader.check(self.url)
        key, what = self._prefix + name, f"writing {self.url}/{name}"
        if alone and name in self.names():
            return self.read_small(name, len(data) + 1) == data
        try:
            self.patience.call(what, lambda: self.store.put_new(key, [data] if alone else data))
        except FileExistsError:
            return self.read_small(name, len(data) + 1) == data
        return True

    def check_conditions(self) -> None:
        """Find out whether the store keeps its promise to make an object only if there is none.

        Raises:
            StoreError: If it does not: two writers would overwrite each other's commits.
        """
        key = self._prefix + DatasetPaths.scratch_name(secrets.token_hex(16))
        what = f"asking {self.url} for an object that is made once"
        problem = "makes an object although there is one of its name"
        try:
            # The first may say that it is there: its own answer got lost. Then the second is refused all the same.
            for data in (b"1", b"2"):
                with suppress(FileExistsError):
                    self.patience.call(what, partial(self.store.put_new, key, data))
                    continue
                if data == b"2":
                    return
        except NotImplementedError:
            problem = "does not know how to make an object only if there is none"
        finally:
            # Some stores do not delete, or not for this writer: one byte stays, under a name that nobody reads.
            with suppress(Exception):
                self.store.delete(key)
        raise StoreError(
            f"{self.url}: the store {problem}, so two writers would lose each other's commits; use another store, or "
            "single_writer=True where nobody else writes"
        )

    def open(self, path: str) -> RangeSource:
        """Open a file of a segment.

        Raises:
            FileNotFoundError: If there is none.
            StoreError: If the store fails.
        """
        self.reader.check(self.url)
        file = self._files.get(path)
        if file is None:
            folder, name = os.path.split(path)
            segment_id = os.path.basename(folder)
            size = self._size_of(path, segment_id, name)
            identity = f"{self._identities.get(segment_id, self.url)}\0{segment_id}\0{name}"
            file = self._files.setdefault(path, RemoteFile(self.key_of(path), path, size, identity))
        return RangeSource(self.reader, file)

    def _size_of(self, path: str, segment_id: str, name: str) -> int:
        try:
            size = self.sizes_in(segment_id).get(name)
        except NotImplementedError:
            size = None
        if size is None:
            # A list may be older than the object.
            key = self.key_of(path)
            size = self.patience.call(f"looking for {path}", lambda: self.store.size(key))
        return size

    def sizes_in(self, segment_id: str) -> dict[str, int]:
        """Return the sizes of the files of a segment, by their names; asked once. Raises as `names` does."""
        with self._lock:
            sizes = self._sizes.get(segment_id)
            if sizes is None:
                sizes = self._sizes[segment_id] = self.names(f"{spec.SEGMENTS_FOLDER}/{segment_id}")
        return sizes


@dataclass(frozen=True, slots=True)
class RemoteSegmentPaths(SegmentPaths):
    """The files of one segment in a store, where nothing is a link."""

    sizes_in: Callable[[str], dict[str, int]]

    def refuse_links(self) -> None:
        """Do nothing: a store has none."""

    def sizes_of_bins(self) -> dict[int, int]:
        """Return the sizes of the bins that exist, by number; StoreError if the store cannot list."""
        try:
            sizes = self.sizes_in(os.path.basename(self.folder))
        except NotImplementedError as error:
            raise StoreError(str(error)) from None
        numbers = ((self.bin_of_name(name), size) for name, size in sizes.items())
        return {number: size for number, size in numbers if number is not None}


@dataclass(frozen=True, slots=True)
class RemoteDatasetPaths(DatasetPaths):
    """The files of one dataset in a store."""

    sizes_in: Callable[[str], dict[str, int]]

    def segment(self, segment_id: str) -> SegmentPaths:
        """The files of one segment."""
        return RemoteSegmentPaths(os.path.join(self.segments, segment_id), self.sizes_in)
