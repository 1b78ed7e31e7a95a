"""LMDB: one B+ tree in one file; keys are positions as eight big-endian bytes."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import lmdb

from benchmarks.peers.base import Peer, Reader, count_up_to

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Lmdb"]

_key = struct.Struct(">Q").pack


class _Reader(Reader):
    def __init__(self, folder: Path) -> None:
        self._environment: Any = lmdb.open(
            str(folder), map_size=1 << 34, readonly=True, lock=False, readahead=False, meminit=False
        )
        self._transaction: Any = self._environment.begin()

    def get(self, position: int) -> bytes:
        record: bytes = self._transaction.get(_key(position))
        return record

    def read_each(self, positions: Sequence[int]) -> None:
        get, key = self._transaction.get, _key
        for position in positions:
            get(key(position))

    def read_batches(self, batches: Sequence[list[int]]) -> None:
        get, key = self._transaction.get, _key
        for batch in batches:
            # Faster than Cursor.getmulti, which makes a pair of key and record of each.
            [get(key(position)) for position in batch]

    def scan(self, limit: int) -> int:
        return count_up_to(self._transaction.cursor().iternext(keys=False), limit)

    def close(self) -> None:
        self._environment.close()


class Lmdb(Peer):
    """One transaction for all records, appended in the order of their keys."""

    name = "lmdb"
    package = "lmdb"
    note = "sync=False where nothing is to be durable; records as bytes, not as buffers"

    def write(self, folder: Path, records: list[bytes], *, durable: bool) -> None:
        environment = lmdb.open(str(folder), map_size=1 << 34, sync=durable, metasync=durable)
        with environment.begin(write=True) as transaction:
            pairs = ((_key(number), record) for number, record in enumerate(records))
            transaction.cursor().putmulti(pairs, append=True)
        environment.close()

    def open(self, folder: Path) -> Reader:
        return _Reader(folder)
