"""Which requests bring some blocks of a file: neighbours together, as far as that pays.

A request takes its latency whatever it brings: bytes between two blocks cost less than a second request would, up to
latency times bandwidth, 30 ms x 50 MB/s = 1.5 MB.

    blocks     3 4 5 . . 8 . . . . . . . 20        gap <= 1 MiB: one request;  request <= 16 MiB
    requests  [3         9)              [20 21)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["GAP_BYTES", "REQUEST_BYTES", "blocks_of", "plan_requests", "plan_windows"]

GAP_BYTES: Final = 1 << 20
REQUEST_BYTES: Final = 16 << 20
# A file has fewer blocks: its places have 48 bits, of 8 bytes, and a block 4 KiB or more.
_FILE_SHIFT: Final = 40
_BLOCK_MASK: Final = (1 << _FILE_SHIFT) - 1


def plan_requests(
    blocks: Iterable[int], block_bytes: int, *, gap_bytes: int = GAP_BYTES, request_bytes: int = REQUEST_BYTES
) -> list[range]:
    """Return the requests for some blocks, as ranges of blocks, ascending and apart from each other.

    Args:
        blocks: Their numbers, in any order, each any number of times.
        block_bytes: Of each.
        gap_bytes: So much that nobody wants may lie between two that are asked for together.
        request_bytes: The most of one request, but for a single block.
    """
    most_blocks = max(1, request_bytes // block_bytes)
    most_gap = gap_bytes // block_bytes
    requests: list[range] = []
    for block in sorted(set(blocks)):
        last = requests[-1] if requests else None
        if last is not None and block - last.stop <= most_gap and block + 1 - last.start <= most_blocks:
            requests[-1] = range(last.start, block + 1)
        else:
            requests.append(range(block, block + 1))
    return requests


def blocks_of(
    files: NDArray[np.int64], offsets: NDArray[np.int64], lengths: NDArray[np.int64], block_bytes: int
) -> dict[int, list[int]]:
    """Return the blocks that some extents lie in, for each file ascending.

    Args:
        files, offsets, lengths: Of each extent, in any order; files are numbers below 2**16.
        block_bytes: Of a block.
    """
    firsts, lasts = offsets // block_bytes, (offsets + np.maximum(lengths, 1) - 1) // block_bytes
    of_files = files << _FILE_SHIFT
    # One number for each: a batch at a time, tuples would take longer than all the rest.
    wanted = set((of_files | firsts).tolist())
    wanted.update((of_files | lasts).tolist())
    for place in np.flatnonzero(lasts - firsts > 1).tolist():
        wanted.update((of_files[place] | np.arange(firsts[place], lasts[place])).tolist())
    found: dict[int, list[int]] = {}
    for one in sorted(wanted):
        found.setdefault(one >> _FILE_SHIFT, []).append(one & _BLOCK_MASK)
    return found


def plan_windows(
    files: NDArray[np.int64], offsets: NDArray[np.int64], lengths: NDArray[np.int64], block_bytes: int, most: int
) -> NDArray[np.int64]:
    """Return where to cut a batch, so that the blocks of each part take no more than `most` bytes; ascending.

    A part that one record fills alone may have more. The first part begins at 0, which is not among the cuts.

    Args:
        files, offsets, lengths: Of each record, in the order of files and of places in them.
        block_bytes: Of a block.
        most: Bytes of a part.
    """
    firsts, lasts = offsets // block_bytes, (offsets + np.maximum(lengths, 1) - 1) // block_bytes
    counts = lasts - firsts + 1
    # The first block of a record is often the last one of the record before.
    counts[1:] -= (files[1:] == files[:-1]) & (firsts[1:] == lasts[:-1])
    part = np.cumsum(counts) // max(1, most // block_bytes)
    return np.flatnonzero(part[1:] != part[:-1]) + 1
