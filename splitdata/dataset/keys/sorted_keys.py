"""Sorted runs of keys: read in proven parts, merged in bounded memory, written block by block.

A merge meets equal keys side by side, so it is also where a key that comes twice is found.

    run  ─ batches ─┐
    run  ─ batches ─┼─> merge: all up to the least last hash of any batch ─> SortedKeysWriter ─> run
    arrays ─────────┘                              `─> equal neighbours: is it one key? (Uniqueness)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from splitdata._shown import shown
from splitdata.errors import DuplicateKeyError, FormatError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.keys import KeyRun, block_bytes, pack_blocks, unpack_blocks
from splitdata.storage import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Pairs = tuple[NDArray[np.uint64], NDArray[np.unsignedinteger[Any]]]
    """Hashes of keys, ascending, and the sequence numbers of their records, uint32; or other numbers of these."""

__all__ = ["Batches", "SortedKeysReader", "SortedKeysWriter", "Uniqueness", "cut", "merge"]

# What all batches of one merge hold together: 3 MiB of keys.
_BATCH_BLOCKS: Final = 256
_EMPTY: Final = np.empty(0, np.uint64), np.empty(0, np.uint32)


class SortedKeysReader:
    """Reads one run; every part is proven before it is used."""

    def __init__(self, read: Callable[[int, int], bytes | memoryview], run: KeyRun) -> None:
        """Take what reads the file, by offset and length, and prove the fences.

        Raises:
            FormatError: If they are damaged.
        """
        self._read = read
        self.run = run
        data = read(run.fences_offset, run.fences_bytes)
        if hash64(data) != run.fences_hash:
            raise FormatError("the fences of the keys are damaged")
        fences = np.frombuffer(data, "<u8").reshape(-1, 2)
        self._sums = fences[:, 1]
        # In an array of their own, side by side: a search jumps through them.
        self._firsts = np.ascontiguousarray(fences[:, 0])

    @property
    def first_hashes(self) -> NDArray[np.uint64]:
        """What the fences say of the first hash of each block."""
        return self._firsts

    def find(self, key_hash: np.uint64) -> list[int]:
        """Return the sequence numbers under one hash: usually one or none."""
        found: list[int] = []
        block = int(self._firsts.searchsorted(key_hash, "right")) - 1
        while block >= 0:
            hashes, sequences = self.blocks(block, block + 1)
            start, stop = hashes.searchsorted(key_hash, "left"), hashes.searchsorted(key_hash, "right")
            found += sequences[start:stop].tolist()
            # Equal hashes may begin in the block before.
            if start or self._firsts[block] != key_hash:
                break
            block -= 1
        return found

    def blocks(self, first: int, stop: int) -> Pairs:
        """Return the keys of some blocks that lie end to end.

        Raises:
            FormatError: If one is damaged.
        """
        offset = self.run.block(first)[0]
        num_keys = min(stop * spec.KEYS_PER_BLOCK, self.run.num_keys) - first * spec.KEYS_PER_BLOCK
        step = block_bytes(spec.KEYS_PER_BLOCK)
        last = self.run.block(stop - 1)
        data = memoryview(self._read(offset, last[0] + block_bytes(last[1]) - offset))
        for number in range(first, stop):
            start = (number - first) * step
            if hash64(data[start : start + step]) != int(self._sums[number]):
                raise FormatError(f"block {number} of the keys is damaged")
        return unpack_blocks(data, num_keys)

    def batches(self, num_blocks: int) -> Iterator[Pairs]:
        """Yield all keys in order, so many blocks at a time."""
        for first in range(0, self.run.num_blocks, num_blocks):
            yield self.blocks(first, min(first + num_blocks, self.run.num_blocks))

    def matches(self, hashes: NDArray[np.uint64]) -> Iterator[Pairs]:
        """Yield those keys of the run whose hashes are among sorted ones; only their blocks are read."""
        stops = self._firsts.searchsorted(hashes, "right")
        starts = np.maximum(self._firsts.searchsorted(hashes, "left"), 1)
        # A hash may lie in blocks start-1 to stop-1; nearly always that is one block.
        wanted = np.zeros(self.run.num_blocks + 1, np.int64)
        inside = stops > 0
        np.add.at(wanted, starts[inside] - 1, 1)
        np.add.at(wanted, stops[inside], -1)
        numbers = np.flatnonzero(np.cumsum(wanted[:-1]))
        for group in np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1):
            for start in range(0, len(group), _BATCH_BLOCKS):
                part = group[start : start + _BATCH_BLOCKS]
                found, sequences = self.blocks(int(part[0]), int(part[-1]) + 1)
                places = np.minimum(hashes.searchsorted(found), len(hashes) - 1)
                is_match = hashes[places] == found
                if is_match.any():
                    yield found[is_match], sequences[is_match]


def cut(pairs: Pairs, num_keys: int) -> Iterator[Pairs]:
    """Yield sorted keys that are in memory in parts."""
    hashes, sequences = pairs
    for start in range(0, len(hashes), num_keys):
        yield hashes[start : start + num_keys], sequences[start : start + num_keys]


class Batches(Protocol):
    """Keys in order of their hashes, with what tells whose they are, so many blocks at a time."""

    def batches(self, num_blocks: int) -> Iterator[Pairs]:
        """Yield all of them."""


def merge(runs: Sequence[Batches], pairs: Pairs = _EMPTY) -> Iterator[Pairs]:
    """Yield the keys of several runs, and of sorted ones in memory, in one order.

    No batch ends within keys of one hash, unless a run has more than a batch of them.
    """
    blocks = max(1, _BATCH_BLOCKS // (len(runs) + 1))
    sources = [run.batches(blocks) for run in runs] + [cut(pairs, blocks * spec.KEYS_PER_BLOCK)]
    heads = [(head, source) for source in sources if (head := next(source, None)) is not None]
    while heads:
        # Whatever comes after these batches is not below the least of their ends.
        limit = min(head[0][-1] for head, _ in heads)
        taken, left = [], []
        for (hashes, sequences), source in heads:
            stop = int(hashes.searchsorted(limit, "right"))
            taken.append((hashes[:stop], sequences[:stop]))
            rest = (hashes[stop:], sequences[stop:]) if stop < len(hashes) else next(source, None)
            if rest is not None:
                left.append((rest, source))
        heads = left
        if len(taken) == 1:
            yield taken[0]
            continue
        hashes = np.concatenate([part[0] for part in taken])
        order = np.argsort(hashes, kind="stable")
        yield hashes[order], np.concatenate([part[1] for part in taken])[order]


class SortedKeysWriter:
    """Writes one run into a file."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self._descriptor = descriptor
        self._begin = self._end = offset
        self._num_keys = 0
        self._fences: list[bytes] = []
        self._rest: Pairs = _EMPTY

    def add(self, pairs: Pairs) -> None:
        """Take keys that are not below those before."""
        hashes = np.concatenate([self._rest[0], pairs[0]])
        sequences = np.concatenate([self._rest[1], pairs[1]])
        full = len(hashes) - len(hashes) % spec.KEYS_PER_BLOCK
        self._rest = hashes[full:], sequences[full:]
        if full:
            self._write((hashes[:full], sequences[:full]))

    def finish(self) -> KeyRun:
        """Write what is left, and the fences."""
        if len(self._rest[0]):
            self._write(self._rest)
        fences = b"".join(self._fences)
        files.write_at(self._descriptor, fences, self._end)
        return KeyRun(self._begin, self._num_keys, hash64(fences))

    def _write(self, pairs: Pairs) -> None:
        data, fences = pack_blocks(*pairs)
        files.write_at(self._descriptor, data, self._end)
        self._end += len(data)
        self._num_keys += len(pairs[0])
        self._fences.append(fences)


class Uniqueness:
    """Finds keys that are there twice; sees hashes in ascending order and looks at keys where two are equal."""

    def __init__(self, read_key: Callable[[int], bytes] | None, first_number: int) -> None:
        """Take what reads the key of a record, None not to look; and the number in the session of sequence 0."""
        self._read_key = read_key
        self._first_number = first_number
        self._last: tuple[int, int] | None = None
        # Keys of one hash: two keys that differ can have the same.
        self._hash = -1
        self._keys: dict[bytes, int] = {}

    def check(self, pairs: Pairs) -> None:
        """Look at the next keys.

        Raises:
            DuplicateKeyError: If two records have one key, or very many one hash.
        """
        hashes, sequences = pairs
        if not len(hashes) or self._read_key is None:
            return
        if self._last is not None and self._last[0] == hashes[0]:
            self._compare(*self._last, int(sequences[0]))
        for place in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
            self._compare(int(hashes[place]), int(sequences[place]), int(sequences[place + 1]))
        self._last = int(hashes[-1]), int(sequences[-1])

    def _compare(self, key_hash: int, one: int, other: int) -> None:
        if self._read_key is None:
            return
        if self._hash != key_hash:
            self._hash, self._keys = key_hash, {self._read_key(one): one}
        key = self._read_key(other)
        first = self._keys.setdefault(key, other)
        text = key.decode("utf-8", "backslashreplace")
        if len(self._keys) > spec.MAX_EQUAL_HASHES:
            numbers = sorted((one + self._first_number, other + self._first_number))
            raise DuplicateKeyError(
                f"record {numbers[1]} of this session has the key {shown(text)}, and {spec.MAX_EQUAL_HASHES} others "
                "have keys with the same hash: such are made on purpose, to make every look-up slow; nothing since the "
                "last commit was added, and what was committed is safe: write it without this key, or change it",
                key=text,
                numbers=(numbers[0], numbers[1]),
            )
        if first != other:
            numbers = sorted((first + self._first_number, other + self._first_number))
            raise DuplicateKeyError(
                f"records {numbers[0]} and {numbers[1]} of this session have the same key {shown(text)}; nothing since "
                "the last commit was added, and what was committed is safe: give every record of a session its own key",
                key=text,
                numbers=(numbers[0], numbers[1]),
            )
