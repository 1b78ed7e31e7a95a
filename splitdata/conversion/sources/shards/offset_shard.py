"""Items of a shard that begins with a table of where each of them lies, as MosaicML and LitData write it.

The table is held, 4 bytes an item, and one item. Each place is checked before it is used.

    | u32 n | u32 offset [n + 1] | anything | item 0 | item 1 | ...        offsets count from the front of the shard
                     `────────────────────────^
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.conversion.sources.files.block_reader import BlockReader
from splitdata.conversion.sources.numbered import MAX_SAMPLE_BYTES
from splitdata.errors import RecordTooLargeError, SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MAX_ITEMS", "Blocks", "items_between", "shard_items"]

Blocks = Callable[[int], Iterator[bytes]]
"""Gives the content of a shard from a byte on."""

MAX_ITEMS: Final = 1 << 26
_SKIP_BYTES: Final = 1 << 20


def shard_items(blocks: Blocks, *, num_items: int, size: int | None, first: int, can_seek: bool) -> Iterator[bytes]:
    """Yield the items of a shard from one on.

    Args:
        blocks: Of its content.
        num_items: That it has to have.
        size: Bytes that it has to have; None where nothing says it.
        first: The item to begin with.
        can_seek: Whether beginning at a later byte costs nothing.

    Raises:
        SourceError: If the table does not fit to the shard, or the shard ends too early.
        RecordTooLargeError: If an item has more than 1 GiB.
    """
    if num_items > MAX_ITEMS:
        raise SourceError(f"has {num_items} items by its index: {MAX_ITEMS} are the limit for one file")
    reader = BlockReader(blocks(0), 0)
    table = reader.read_full(4 * (num_items + 2))
    if len(table) < 4 * (num_items + 2):
        raise SourceError(f"ends within its table, after {len(table)} bytes: it was truncated")
    found = int.from_bytes(table[:4], "little")
    if found != num_items:
        raise SourceError(f"has {found} items, and its index says {num_items}: one of the two is damaged")
    offsets = np.frombuffer(table, "<u4", offset=4).astype(np.int64)
    _check(offsets, start=len(table), size=size)
    if can_seek and first:
        reader = BlockReader(blocks(int(offsets[min(first, num_items)])), int(offsets[min(first, num_items)]))
    yield from items_between(reader, offsets, first)


def items_between(reader: BlockReader, offsets: NDArray[np.int64], first: int) -> Iterator[bytes]:
    """Yield what lies between each offset and the next, from one on; raises as `shard_items` does."""
    for number in range(first, len(offsets) - 1):
        begin, length = int(offsets[number]), int(offsets[number + 1] - offsets[number])
        if length > MAX_SAMPLE_BYTES:
            raise RecordTooLargeError(f"item {number} has {length} bytes: 1 GiB is the limit")
        while reader.num_bytes < begin and reader.read(min(_SKIP_BYTES, begin - reader.num_bytes)):
            pass
        item = reader.read_full(length)
        if len(item) < length or reader.num_bytes != begin + length:
            raise SourceError(f"ends within item {number}, at byte {reader.num_bytes}: it was truncated")
        yield item


def _check(offsets: NDArray[np.int64], *, start: int, size: int | None) -> None:
    if offsets[0] < start or (np.diff(offsets) < 0).any() or (size is not None and offsets[-1] > size):
        raise SourceError("is damaged: its table names places that it does not have")
