"""Verifying the keys of a segment: every part against its checksum, and all of it against the frames.

    frames ── (hash of the key, sequence) of each ──> count and sum ─┐
    runs   ── the same of each ─────────────────────> count and sum ─┴─ equal?

key_sum.py adds them up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.keys.key_sum import KeySum
from splitdata.dataset.segments.finding import Finding
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.keys import KeysHeader

if TYPE_CHECKING:
    from splitdata.dataset.keys.key_lookup import KeyTable
    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["check_keys"]

_BATCH_BLOCKS: Final = 256
_U64: Final = np.uint64


def check_keys(files: SegmentFiles, of_frames: KeySum | None) -> list[Finding]:
    """Return what is wrong with the keys of a segment; none of it costs a record.

    Args:
        files: Of the segment.
        of_frames: What the frames say, None where some could not be read.
    """
    info = files.info
    if of_frames is not None and of_frames.num_keys != info.num_keys:
        problem = f"{of_frames.num_keys} records have keys, the manifest says {info.num_keys}"
        return [_finding(files.paths.folder, problem)]
    if not info.num_keys:
        return []
    try:
        table = files.keys()
        listed = _sum_of(files, table)
    except (FormatError, OSError) as error:
        text = str(error)
        return [_finding(files.paths.keys, text)]
    if of_frames is not None and listed != (of_frames.num_keys, of_frames.total):
        problem = f"the table lists {listed[0]} keys, other ones than the {info.num_keys} of the records"
        return [_finding(table.path, problem)]
    return []


def _sum_of(files: SegmentFiles, table: KeyTable) -> tuple[int, int]:
    """Read a whole table; raises `FormatError` with what is wrong first."""
    info = files.info
    KeysHeader.unpack(table.source.read(0, 64))
    if info.is_sealed and (len(table.runs) != 1 or table.runs[0].end != table.directory_offset):
        raise FormatError("the keys of a sealed segment are one run, with the directory behind it")
    if info.is_sealed and table.source.size != info.keys_bytes:
        raise FormatError(f"the file has {table.source.size} bytes, the manifest says {info.keys_bytes}")
    found = KeySum()
    for run in table.readers():
        last = _U64(0)
        firsts = []
        for hashes, sequences in run.batches(_BATCH_BLOCKS):
            if (hashes[1:] < hashes[:-1]).any() or hashes[0] < last:
                raise FormatError("the keys are not sorted")
            last = hashes[-1]
            firsts.append(hashes[:: spec.KEYS_PER_BLOCK])
            shown = sequences < info.num_records
            if info.is_sealed and not shown.all():
                raise FormatError(f"it lists record {int(sequences[~shown][0])}, which the segment lacks")
            found.add(hashes[shown], sequences[shown])
        if (np.concatenate(firsts) != run.first_hashes).any():
            raise FormatError("a fence of the keys has another hash than its block begins with")
    return found.num_keys, found.total


def _finding(path: str, problem: str) -> Finding:
    return Finding(path=path, problem=problem, position=None, num_records=0)
