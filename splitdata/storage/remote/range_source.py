"""RangeSource: a file in a store, read at random as an open file is; what `file_source.py` has for stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.storage.remote.remote_blocks import BlockFetcher, RemoteFile

__all__ = ["RangeSource"]


class RangeSource:
    """The interface of `PreadSource` on blocks of a remote file; safe to share between threads.

    Attributes:
        size: Bytes of the file.
    """

    __slots__ = ("__weakref__", "_block_bytes", "_blocks", "_file", "_reader", "size")

    def __init__(self, reader: BlockFetcher, file: RemoteFile) -> None:
        self.size = file.size
        self._reader = reader
        self._file = file
        self._blocks = file.blocks
        self._block_bytes = reader.block_bytes

    @property
    def block_bytes(self) -> int:
        """Bytes of a block, in which all is fetched."""
        return self._block_bytes

    @property
    def bytes_in_memory(self) -> int:
        """The most that is kept in memory, of all files."""
        return self._reader.most_in_memory

    def read(self, offset: int, length: int) -> bytes:
        """Return some bytes, fewer where the file ends; waits for the store where they are not there.

        Raises:
            StoreError: If the store fails.
        """
        number, start = divmod(offset, self._block_bytes)
        block = self._blocks.get(number)
        if block is not None and start + length <= len(block):
            return block[start : start + length]
        return self._assembled(offset, length)

    def _assembled(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size)
        if offset >= stop:
            return b""
        numbers = self._numbers(offset, stop - offset)
        if len(numbers) > 1:
            self._reader.ahead(self._file, numbers)
        first = numbers.start * self._block_bytes
        pieces = [self._reader.block(self._file, number) for number in numbers]
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return data[offset - first : stop - first]

    def words(self, offsets: NDArray[np.int64], count: int) -> NDArray[np.uint64] | None:
        """Return so many words of 8 bytes from each of many places on, uint64[places, count]; waits for the store.

        None where one lies outside of the file, or across two blocks: to be read one by one.

        Args:
            offsets: Multiples of 8, at least one.
            count: Of each place.

        Raises:
            StoreError: If the store fails.
        """
        numbers, places = np.divmod(offsets, self._block_bytes)
        if places.max() + 8 * count > self._block_bytes or offsets.min() < 0 or offsets.max() + 8 * count > self.size:
            return None
        found = np.empty((len(offsets), count), np.uint64)
        columns = np.arange(count)
        for number in sorted(set(numbers.tolist())):
            block = self._reader.block(self._file, number)
            here = np.flatnonzero(numbers == number)
            words = np.frombuffer(block, "<u8", len(block) // 8)
            found[here] = words[(places[here] >> 3)[:, None] + columns]
        return found

    def view(self, offset: int, length: int) -> memoryview:
        """Return some bytes as a view of a copy."""
        return memoryview(self.read(offset, length))

    def data_from(self, offset: int) -> tuple[int, int]:
        """Return from where to where there may be bytes: a store knows of no holes."""
        return offset, self.size

    def is_resident(self, offset: int) -> bool:
        """Say whether the byte at `offset` is in memory."""
        return offset // self._block_bytes in self._blocks

    def prefetch(self, offset: int, length: int) -> None:
        """Ask the store for some bytes, and return without waiting."""
        stop = min(offset + length, self.size)
        if offset < stop:
            self._reader.ahead(self._file, self._numbers(offset, stop - offset))

    def ask_for(self, numbers: list[int]) -> None:
        """Ask the store for some blocks, and return without waiting; those behind the file are left out."""
        num_blocks = self._reader.num_blocks(self._file)
        inside = [number for number in numbers if 0 <= number < num_blocks]
        if inside:
            self._reader.ahead(self._file, inside)

    def prefetch_many(self, offsets: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """Ask the store for many places together, and return without waiting; what lies outside is left out."""
        is_inside = (offsets >= 0) & (offsets < self.size) & (lengths > 0)
        offsets, lengths = offsets[is_inside], lengths[is_inside]
        stops = np.minimum(offsets + lengths, self.size)
        firsts, lasts = offsets // self._block_bytes, (stops - 1) // self._block_bytes
        numbers = set(firsts.tolist())
        for first, last in zip(firsts[lasts > firsts].tolist(), lasts[lasts > firsts].tolist(), strict=True):
            numbers.update(range(first + 1, last + 1))
        if numbers:
            self._reader.ahead(self._file, sorted(numbers))

    def forget(self, offset: int, length: int) -> None:
        """Have some bytes, which were found wrong, fetched again when they are needed next."""
        stop = min(offset + length, self.size)
        if offset < stop:
            self._reader.forget(self._file, self._numbers(offset, stop - offset))

    def close(self) -> None:
        """Nothing is open."""

    def _numbers(self, offset: int, length: int) -> range:
        return range(offset // self._block_bytes, (offset + length - 1) // self._block_bytes + 1)
