"""The five methods through which splitdata reaches an object store.

Anything that has them is a store: the adapter of obstore, one of fsspec, a dict in a test.

    size(key)                 bytes of an object; FileNotFoundError
    get_ranges(key, ranges)   some of them
    list(prefix)              what lies below a prefix
    put_new(key, data)        makes an object that is not there yet; FileExistsError
    delete(key)               removes one; no error if it is gone

A key is text with slashes: "data/train/manifest.0000000001.json".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeAlias

__all__ = ["Buffer", "Store"]

Buffer: TypeAlias = "bytes | bytearray | memoryview"


class Store(Protocol):
    """An object store. Called by several threads at a time, each call by one; never in a forked child.

    A call may raise whatever it likes where the store fails: it is made again, with pauses, until its time is up.
    `FileNotFoundError`, `FileExistsError`, `PermissionError`, `NotImplementedError`, `TypeError` and `ValueError` are
    final. What a call returns is looked at: an answer of another length than was asked for is a failure.
    """

    def size(self, key: str, /) -> int:
        """Return the bytes of an object; FileNotFoundError if there is none."""

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]], /) -> Sequence[Buffer]:
        """Return ranges of an object, each from a first byte up to a last that is not part of it, in their order."""

    def list(self, prefix: str, /) -> Iterable[tuple[str, int]]:
        """Return key and size of every object whose key begins with `prefix`, a key of folders that ends with a slash.

        NotImplementedError where the store cannot list, as a web server.
        """

    def put_new(self, key: str, data: bytes | Iterable[bytes], /) -> None:
        """Make an object, whole or not at all.

        Args:
            key: Its name.
            data: Bytes: FileExistsError if anything has the name, be it made at the same moment by another program.
                Pieces: an object of any size, sent in parts, by a name that nobody else uses.
        """

    def delete(self, key: str, /) -> None:
        """Remove an object; no error if there is none."""
