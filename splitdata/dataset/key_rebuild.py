"""Making the keys of a committed segment again from its frames.

    record by record ── key of the frame ──> KeyLedger, in scratch files ──> renamed over `keys`

Also for a segment that is not sealed: a reader that cannot use `keys.open` turns to `keys`.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.key_ledger import KeyLedger
from splitdata.dataset.record_reader import RecordReader
from splitdata.errors import FormatError
from splitdata.format.keys import key_hash
from splitdata.storage import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.key_runs import Pairs
    from splitdata.dataset.segment_files import SegmentFiles
    from splitdata.format.manifest import SegmentInfo

__all__ = ["count_keys", "keys_are_intact", "rebuild_keys"]

_CHUNK_RECORDS: Final = 1 << 14


def keys_are_intact(segment: SegmentFiles) -> bool:
    """Say whether every part of a segment's keys matches its checksum; reads all of the file."""
    if not segment.info.num_keys:
        return True
    try:
        num_keys = 0
        for run in segment.keys().readers():
            for _, sequences in run.batches(256):
                num_keys += int(np.count_nonzero(sequences < segment.info.num_records))
    except FormatError:
        return False
    return num_keys == segment.info.num_keys


def rebuild_keys(segment: SegmentFiles) -> SegmentInfo:
    """Write the file of keys anew from the frames; the index must be right.

    Readers may have the old file open. The key of a record whose payload is damaged is listed as it
    stands, so that a search for it tells of the damage; of a lost record there is no key any more.

    Args:
        segment: Of which nobody else writes anything.

    Returns:
        The manifest's entry with the keys that were found.

    Raises:
        OSError: If the disk fails; the old file is as it was.
    """
    paths = segment.paths
    for path in (paths.keys_scratch, paths.open_keys_scratch):
        files.remove(path)
    ledger = KeyLedger(paths.open_keys_scratch, paths.keys_scratch, segment.info.id, None)
    try:
        for hashes, sequences in _keys_of(segment):
            ledger.add(hashes, sequences)
        ledger.seal()
        ledger.sync(durable=True)
    except BaseException:
        ledger.close()
        files.remove(paths.keys_scratch)
        raise
    finally:
        files.remove(paths.open_keys_scratch)
    ledger.close()
    if ledger.num_keys:
        files.rename_over(paths.keys_scratch, paths.keys)
        files.sync_directory(os.path.dirname(paths.keys))
    return replace(segment.info, num_keys=ledger.num_keys, keys_bytes=ledger.keys_bytes)


def count_keys(segment: SegmentFiles) -> int:
    """Return how many records have a key, as far as their frames can be found."""
    return sum(len(hashes) for hashes, _ in _keys_of(segment))


def _keys_of(segment: SegmentFiles) -> Iterator[Pairs]:
    """Yield hashes and sequence numbers of all keys, some thousand records at a time."""
    records = RecordReader(segment, verify=False, max_record_bytes=0)
    for start in range(0, segment.info.num_records, _CHUNK_RECORDS):
        found = []
        for sequence in range(start, min(start + _CHUNK_RECORDS, segment.info.num_records)):
            try:
                key = records.key(sequence)
            except FormatError:
                continue
            if key:
                found.append((key_hash(key), sequence))
        if found:
            yield np.array([pair[0] for pair in found], np.uint64), np.array([pair[1] for pair in found], np.uint32)
