"""Records sorted by random keys in bounded memory: in buckets, on disk as far as they do not fit.

Every byte is written once and read once, front to back by blocks; a record costs no seek. Keys are
random, so buckets fill evenly. Source: C. R. Rao, 1961, and M. Sandelius, 1962: what is dealt out at
random and then shuffled in each bucket is shuffled as a whole.

    key 0x3fa0...  ──upper 8 bits──> bucket 0x3f ──full──> block, appended to a file without a name
                                          `─ all buckets in turn, each sorted in memory ──> records
    a bucket too large for that           is dealt out once more, by the next 8 bits
    a record of 1 MiB or more             waits in a file of its own kind; its bucket holds its place

    block | keys u64[n] | lengths u32[n] | payloads |          top bit of a length: a place, u64 | u64 | key
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from splitdata.conversion.parallel.unnamed_file import UnnamedFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["FilePlace", "RandomBuckets", "shuffle_file"]

_BITS: Final = 8
_NUM_BUCKETS: Final = 1 << _BITS
# Of the memory that is granted a quarter collects blocks. Another quarter, twice for a moment, holds the
# bucket that is sorted.
_BLOCK_SHARE: Final = 4 * _NUM_BUCKETS
_SORT_SHARE: Final = 4
# What a record costs beside its bytes: an object and its list entry while it waits, arrays while it is sorted.
_RECORD_OVERHEAD: Final = 64
_YIELDED_RECORDS: Final = 1 << 12
_PLACE_FLAG: Final = 1 << 31
_WHY: Final = "to shuffle, all records need room here once more, until the end"


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a record lies that is too large to be moved around, and its key."""

    offset: int
    length: int
    key: bytes = b""

    def pack(self) -> bytes:
        """Return 16 bytes and the key."""
        return self.offset.to_bytes(8, "little") + self.length.to_bytes(8, "little") + self.key

    @classmethod
    def unpack(cls, data: bytes) -> FilePlace:
        """Return what was packed."""
        return cls(int.from_bytes(data[:8], "little"), int.from_bytes(data[8:16], "little"), data[16:])


def shuffle_file(folder: str) -> UnnamedFile:
    """Return the file in which a shuffle puts what does not fit into memory."""
    return UnnamedFile(folder, _WHY)


@dataclass(slots=True)
class _Block:
    """One block of a bucket in the file."""

    offset: int
    num_records: int
    num_bytes: int


@dataclass(slots=True)
class _Bucket:
    """One bucket: blocks in the file, and what waits for the next one.

    Attributes:
        num_records: In blocks and waiting.
        num_bytes: Of all of them.
        waiting_bytes: Of the memory that waiting records take.
    """

    blocks: list[_Block] = field(default_factory=list)
    keys: list[NDArray[np.uint64]] = field(default_factory=list)
    records: list[bytes | FilePlace] = field(default_factory=list)
    num_records: int = 0
    num_bytes: int = 0
    waiting_bytes: int = 0


class RandomBuckets:
    """Takes records with random keys and gives them back in the order of their keys; for one thread."""

    def __init__(self, folder: str, *, memory_bytes: int, depth: int = 0) -> None:
        """Take the folder for temporary files and how much memory may be used.

        Args:
            folder: For files.
            memory_bytes: About what is used at most.
            depth: How many times the records were dealt out before.
        """
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._depth = depth
        self._shift = np.uint64(64 - _BITS * (depth + 1))
        self._file = shuffle_file(folder)
        self._buckets = [_Bucket() for _ in range(_NUM_BUCKETS)]

    def add(self, keys: NDArray[np.uint64], records: Sequence[bytes | FilePlace]) -> None:
        """Take records with their keys, any number of them."""
        numbers = (keys >> self._shift).astype(np.intp) % _NUM_BUCKETS
        order = np.argsort(numbers, kind="stable")
        borders = np.flatnonzero(np.diff(numbers[order])) + 1
        for share in np.split(order, borders):
            if len(share):
                self._add_to(self._buckets[numbers[share[0]]], keys[share], [records[place] for place in share])

    def _add_to(self, bucket: _Bucket, keys: NDArray[np.uint64], records: list[bytes | FilePlace]) -> None:
        num_bytes = sum(16 + len(one.key) if isinstance(one, FilePlace) else len(one) for one in records)
        bucket.keys.append(keys)
        bucket.records += records
        bucket.num_records += len(records)
        bucket.num_bytes += num_bytes
        bucket.waiting_bytes += num_bytes + _RECORD_OVERHEAD * len(records)
        if bucket.waiting_bytes > self._memory_bytes // _BLOCK_SHARE:
            self._flush(bucket)

    def _flush(self, bucket: _Bucket) -> None:
        keys, lengths, payloads = _columns(bucket)
        data = b"".join([keys.astype("<u8").tobytes(), lengths.astype("<u4").tobytes(), *payloads])
        bucket.blocks.append(_Block(self._file.append(data), len(payloads), len(data)))
        bucket.keys, bucket.records, bucket.waiting_bytes = [], [], 0

    def drain(self) -> Iterator[list[bytes | FilePlace]]:
        """Yield all records in the order of their keys, some at a time; what was yielded is forgotten."""
        for number, bucket in enumerate(self._buckets):
            self._buckets[number] = _Bucket()
            size = bucket.num_bytes + _RECORD_OVERHEAD * bucket.num_records
            if bucket.num_records > 1 and size > self._memory_bytes // _SORT_SHARE:
                yield from self._dealt_out_again(bucket)
            elif bucket.num_records:
                yield from self._sorted(bucket)

    def _dealt_out_again(self, bucket: _Bucket) -> Iterator[list[bytes | FilePlace]]:
        finer = RandomBuckets(self._folder, memory_bytes=self._memory_bytes, depth=self._depth + 1)
        try:
            for keys, lengths, data in self._parts(bucket):
                finer.add(keys, _records(data, lengths, np.arange(len(keys))))
            yield from finer.drain()
        finally:
            finer.close()

    def _sorted(self, bucket: _Bucket) -> Iterator[list[bytes | FilePlace]]:
        parts = list(self._parts(bucket))
        keys = np.concatenate([part[0] for part in parts])
        lengths = np.concatenate([part[1] for part in parts])
        data = b"".join([part[2] for part in parts])
        del parts
        order = np.argsort(keys)
        for start in range(0, len(order), _YIELDED_RECORDS):
            yield _records(data, lengths, order[start : start + _YIELDED_RECORDS])

    def _parts(self, bucket: _Bucket) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.uint32], bytes]]:
        """Yield keys, lengths and payloads of each block, last of what waits."""
        for block in bucket.blocks:
            data = self._file.read(block.offset, block.num_bytes)
            count = block.num_records
            yield (
                np.frombuffer(data, "<u8", count).astype(np.uint64),
                np.frombuffer(data, "<u4", count, 8 * count).astype(np.uint32),
                data[12 * count :],
            )
        if bucket.records:
            keys, lengths, payloads = _columns(bucket)
            yield keys, lengths, b"".join(payloads)

    def close(self) -> None:
        """Remove what is on disk; safe to call again."""
        self._file.close()


def _columns(bucket: _Bucket) -> tuple[NDArray[np.uint64], NDArray[np.uint32], list[bytes]]:
    """Return what waits in a bucket as keys, lengths with flags, and payloads."""
    payloads = [record.pack() if isinstance(record, FilePlace) else record for record in bucket.records]
    lengths = np.fromiter(map(len, payloads), np.uint32, len(payloads))
    flags = np.fromiter((isinstance(record, FilePlace) for record in bucket.records), np.uint32, len(payloads))
    return np.concatenate(bucket.keys), lengths | flags * np.uint32(_PLACE_FLAG), payloads


def _records(data: bytes, lengths: NDArray[np.uint32], order: NDArray[np.intp]) -> list[bytes | FilePlace]:
    """Return some of the records whose payloads lie end to end, in an order."""
    sizes = (lengths & np.uint32(_PLACE_FLAG - 1)).astype(np.int64)
    stops = np.cumsum(sizes)
    starts = stops - sizes
    pieces: list[bytes | FilePlace] = [
        data[start:stop] for start, stop in zip(starts[order].tolist(), stops[order].tolist(), strict=True)
    ]
    for number in np.flatnonzero(lengths[order] & np.uint32(_PLACE_FLAG)).tolist():
        pieces[number] = FilePlace.unpack(cast("bytes", pieces[number]))
    return pieces
