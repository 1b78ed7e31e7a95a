"""Dropping: what is left of a damaged dataset becomes one without damage; records behind a dropped one move forward.

    s0 | s1 [r0 r1 damaged r3] | s2        s0 stays; s1 and s2 are written anew, as they begin elsewhere now
    s0 | n1 [r0 r1 r3]         | n2        one commit, with another dataset id: positions of before mean others now

Only what a repair cannot mend is dropped: one that could comes first. Records that were deleted keep a position.
"""

from __future__ import annotations

import errno
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from splitdata.dataset.repair.repair import repair
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.frame_copy import copy_records
from splitdata.dataset.segments.group_reader import open_reader
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.writing.commit import replace_tail
from splitdata.dataset.writing.join import new_target, take_locks
from splitdata.errors import FormatError, RecordTooLargeError, SplitDataError
from splitdata.format import spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.segments.segment_writer import SegmentWriter
    from splitdata.format.manifest import Manifest
    from splitdata.storage.locked_file import LockedFile

__all__ = ["drop_damaged"]


def drop_damaged(directory: DatasetDirectory, *, dry_run: bool, keep_seconds: float) -> NDArray[np.int64]:
    """Drop the damaged records of a dataset in one commit; returns the positions that they had.

    Args:
        directory: Of the dataset.
        dry_run: Only find them.
        keep_seconds: As `remove_superseded` takes it.

    Raises:
        FormatError: If a repair can mend something, or it is not known which records were deleted.
        BlockingIOError: If a writer is at work.
        ManifestError: If another program has committed meanwhile; nothing was changed.
    """
    manifest = directory.newest()
    damaged = [_damaged_in(files) for files in _files(directory, manifest)]
    first = next((number for number, found in enumerate(damaged) if len(found)), None)
    if first is None:
        return np.empty(0, np.int64)
    folders = tuple(directory.paths.segment(info.id).folder for info in manifest.segments)
    # A repair would also clear away what a killed call has left, which mends nothing.
    mendable = [one for one in repair(directory.folder, dry_run=True).actions if one.startswith(folders)]
    if mendable:
        raise FormatError(
            f"{directory.folder}: a repair can mend some of the damage ({mendable[0]}); nothing was changed: "
            f"`splitdata repair {directory.folder}`, then compact again",
            path=directory.folder,
        )
    starts = np.cumsum([0, *(info.num_records for info in manifest.segments)])
    positions = np.concatenate([start + found for start, found in zip(starts.tolist(), damaged, strict=False)])
    if not dry_run:
        _rewrite(directory, manifest, first, damaged, keep_seconds)
    return positions


def _files(directory: DatasetDirectory, manifest: Manifest) -> list[SegmentFiles]:
    pool = OpenFiles("pread")
    return [SegmentFiles(directory.paths.segment(info.id), info, 0, pool) for info in manifest.segments]


def _damaged_in(files: SegmentFiles) -> NDArray[np.int64]:
    """Return the records of a segment that were not deleted and cannot be read, or whose key cannot."""
    files.info.check_features()
    reader = open_reader(files, ColdReads(), verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
    frames = RecordReader(files, verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
    deleted = files.deleted()
    damaged = []
    for sequence in range(files.info.num_records):
        if sequence in deleted:
            continue
        try:
            if files.info.is_grouped:
                reader.get(sequence)
            else:
                frames.check(sequence)
            reader.key(sequence)
        except (FormatError, RecordTooLargeError):
            damaged.append(sequence)
    return np.array(damaged, np.int64)


def _rewrite(
    directory: DatasetDirectory,
    manifest: Manifest,
    first: int,
    damaged: list[NDArray[np.int64]],
    keep_seconds: float,
) -> None:
    """Write the segments from the first damaged one on anew, and commit them."""
    kept, replaced = manifest.segments[:first], manifest.segments[first:]
    made: list[SegmentWriter] = []
    is_done = False
    with ExitStack() as stack:
        locks: list[LockedFile] = []
        there = tuple(info for info in replaced if directory.has_segment(info.id))
        is_free = take_locks(directory, there, locks)
        for lock in locks:
            stack.callback(lock.close)
        if not is_free:
            raise BlockingIOError(
                errno.EAGAIN, "a writer is at work in the dataset, so nothing was dropped", directory.folder
            )
        try:
            for files, bad in zip(_files(directory, manifest)[first:], damaged[first:], strict=True):
                if len(bad) < files.info.num_records:
                    made.append(_without(directory, manifest, files, bad))
            replace_tail(directory, kept, replaced, made, keep_seconds=keep_seconds)
            is_done = True
        finally:
            for segment in made:
                segment.close()
                if not is_done:
                    # It may be listed all the same, by a step that failed or was interrupted afterwards: then it stays.
                    with suppress(OSError, SplitDataError):
                        directory.remove_segment(segment.id)


def _without(
    directory: DatasetDirectory, manifest: Manifest, files: SegmentFiles, bad: NDArray[np.int64]
) -> SegmentWriter:
    """Write a segment anew without its damaged records; those that were deleted leave tombstones."""
    info, deleted = files.info, files.deleted()
    text = f"{info.id} with {info.num_records} records without {info.deleted_hash:016x}, and damaged {bad.tolist()}"
    segment_id = xxhash.xxh3_128_hexdigest(text.encode())
    if directory.has_segment(segment_id):
        # A call that was killed has left it.
        directory.remove_segment(segment_id)
    target = new_target(directory, directory, manifest, (info,), segment_id, num_bins=info.num_bins)
    erased: list[int] = []
    start = 0
    try:
        for sequence in sorted({*bad.tolist(), *deleted.sequences.tolist()}):
            copy_records(files, range(start, sequence), target)
            if sequence in deleted:
                erased.append(target.num_records)
                target.append_erased()
            start = sequence + 1
        copy_records(files, range(start, info.num_records), target)
        target.finish_groups()
        target.list_deleted(np.array(erased, np.uint32))
        target.seal()
    except BaseException:
        target.close()
        with suppress(OSError, SplitDataError):
            directory.remove_segment(segment_id)
        raise
    return target
