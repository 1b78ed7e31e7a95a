"""The records of one dataset as rows of numbers: what each is known by, the hash of what it holds, where it stands.

    with keys      identity: hash of the key       content: hash of the record
    without        both are the hash of the record

The hash of a record is taken from its frame where that has it: then no payload is read. Samples whose schemas have
other numbers in the other dataset are hashed with their schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.reading.segment_schemas import SegmentSchemas
from splitdata.format.checksum import hash64
from splitdata.format.keys import key_hash
from splitdata.samples.standing_alone import standing_alone

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.reading.snapshot import Snapshot

__all__ = ["identified_rows"]

_CHUNK_RECORDS: Final = 1 << 15
_CHUNK_BYTES: Final = 16 << 20
# Keeps the hash of a record without a key apart from that of a key.
_NO_KEY: Final = np.uint64(0x9E3779B97F4A7C15)


def identified_rows(
    snapshot: Snapshot, positions: range, *, by_key: bool, with_schemas: bool
) -> Iterator[NDArray[np.uint64]]:
    """Yield rows of identity, content and position of the live records of a range, uint64[some, 3], in order.

    Args:
        snapshot: That has the records.
        positions: Of the records.
        by_key: Records are known by their keys.
        with_schemas: They are samples, hashed with their schemas.

    Raises:
        FormatError: If a record cannot be read.
    """
    schemas = SegmentSchemas(snapshot.starts, snapshot.schemas)
    for chunk in _chunks(snapshot, positions):
        live = snapshot.live(chunk)
        if not len(live):
            continue
        rows = np.empty((len(live), 3), np.uint64)
        if with_schemas:
            pairs = zip(live.tolist(), snapshot.get_views(live), strict=True)
            found = (hash64(standing_alone(view, schemas.of(position))) for position, view in pairs)
            rows[:, 1] = np.fromiter(found, np.uint64, len(live))
        else:
            rows[:, 1] = snapshot.raw_hashes(live)
        rows[:, 0] = _key_hashes(snapshot, live, rows[:, 1]) if by_key else rows[:, 1]
        rows[:, 2] = live.astype(np.uint64)
        yield rows


def _key_hashes(snapshot: Snapshot, positions: NDArray[np.int64], contents: NDArray[np.uint64]) -> NDArray[np.uint64]:
    keys = snapshot.get_keys(positions)
    found = contents ^ _NO_KEY
    has_key = np.fromiter(map(bool, keys), np.bool_, len(keys))
    found[has_key] = np.fromiter(map(key_hash, filter(None, keys)), np.uint64)
    return found


def _chunks(snapshot: Snapshot, positions: range) -> Iterator[NDArray[np.int64]]:
    """Cut a range into parts whose records may be in memory together, one of them at least."""
    for start in range(positions.start, positions.stop, _CHUNK_RECORDS):
        chunk = np.arange(start, min(start + _CHUNK_RECORDS, positions.stop), dtype=np.int64)
        lengths = snapshot.lengths_of(chunk)
        yield from np.split(chunk, np.flatnonzero(np.diff(np.cumsum(lengths) // _CHUNK_BYTES)) + 1)
