"""The SHA-256 digest of all records: for who must know that nobody has exchanged one; the fingerprint cannot tell.

    record            length u64, little-endian | bytes           deleted: 2**64 - 1, and no bytes
    1,024 records     SHA-256 of these, one behind the other      in parallel
    schemas           SHA-256 of 2**64 - 2 as u64 and their lists; where there are some
    dataset           SHA-256 of all those, one behind the other

It depends on the records, the schemas of samples, their order, and on which were deleted; it is the same before and
after compacting.
Nothing of it is stored: it is computed where it is asked for, from every byte.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import RecordTooLargeError
from splitdata.format import spec
from splitdata.format.schemas import joined_lists, pack_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.reading.snapshot import Snapshot

__all__ = ["records_digest"]

_MOST_WORKERS: Final = 8
# Records that are read together.
_GROUP_BYTES: Final = 8 << 20
_PIECE_BYTES: Final = 64 << 20


def records_digest(
    snapshot: Snapshot, *, num_workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> str:
    """Return the digest as 64 hexadecimal digits.

    Args:
        snapshot: Whose records are read.
        num_workers: Threads; None for as many as there are cores, up to 8.
        progress: Called with records done and in all.

    Raises:
        FormatError: If a record is damaged, or lost.
    """
    # Imported here, as `import splitdata` is to load no more than it must.
    from concurrent.futures import ThreadPoolExecutor

    root = hashlib.sha256()
    workers = num_workers or min(_MOST_WORKERS, os.cpu_count() or 1)
    leaf, total = spec.DIGEST_LEAF_RECORDS, snapshot.num_records
    with ThreadPoolExecutor(workers) as pool:
        # A window at a time: a billion records are a million tasks.
        for start in range(0, total, 4 * workers * leaf):
            stop = min(start + 4 * workers * leaf, total)
            for one in pool.map(lambda first: _of_leaf(snapshot, first), range(start, stop, leaf)):
                root.update(one)
            if progress is not None:
                progress(stop, total)
    if schemas := pack_lists(joined_lists(snapshot.schemas)):
        root.update(hashlib.sha256(spec.DIGEST_SCHEMAS.to_bytes(8, "little") + schemas).digest())
    return root.hexdigest()


def _of_leaf(snapshot: Snapshot, first: int) -> bytes:
    """Return the hash of 1,024 records, or what remains."""
    positions = np.arange(first, min(first + spec.DIGEST_LEAF_RECORDS, snapshot.num_records), dtype=np.int64)
    live = snapshot.live(positions)
    is_deleted = np.ones(len(positions), np.bool_)
    is_deleted[live - first] = False
    state = hashlib.sha256()
    for group in _groups(positions, snapshot.lengths_of(positions)):
        for piece in _pieces(snapshot, group, is_deleted[group - first]):
            state.update(piece)
    return state.digest()


def _groups(positions: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Cut the records of a leaf into groups that may be in memory together."""
    parts = np.flatnonzero(np.diff(np.cumsum(lengths) // _GROUP_BYTES)) + 1
    yield from np.split(positions, parts)


def _pieces(
    snapshot: Snapshot, positions: NDArray[np.int64], is_deleted: NDArray[np.bool_]
) -> Iterator[bytes | memoryview]:
    if len(positions) > 1 and not is_deleted.any():
        for record in snapshot.get_views(positions):
            yield len(record).to_bytes(8, "little")
            yield record
        return
    for position, deleted in zip(positions.tolist(), is_deleted.tolist(), strict=True):
        if deleted:
            yield spec.DIGEST_DELETED.to_bytes(8, "little")
            continue
        segment, sequence = snapshot.find(position)
        length = segment.length(sequence)
        yield length.to_bytes(8, "little")
        try:
            yield segment.view(sequence)
        except RecordTooLargeError:
            # Not mapped, and larger than what may be copied at once.
            for start in range(0, length, _PIECE_BYTES):
                yield segment.read_range(sequence, start, start + _PIECE_BYTES)
