"""Joining: one or several adjacent segments are written anew as one; positions stay as they are.

    s0 s1 s2            folding: frames as they are stored
    └─joined┘
    s0 with deletions   compacting: the same of one segment, without the bytes of what was deleted
    └─joined┘

Each record is proven on the way. What was deleted becomes a tombstone, and stays listed as deleted.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.manifests.retention import KEPT_SECONDS
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.dictionary import train
from splitdata.dataset.segments.frame_copy import copy_live
from splitdata.dataset.segments.group_reader import open_reader
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.segments.segment_writer import SegmentWriter
from splitdata.dataset.segments.totals import Totals
from splitdata.dataset.writing.commit import replace_segments
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.compression import DEFAULT_LEVEL
from splitdata.format.manifest import Manifest, encode_metadata
from splitdata.format.record_group import group_room
from splitdata.format.schemas import longest

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.manifest import SegmentInfo
    from splitdata.storage.locked_file import LockedFile

__all__ = ["fill", "join_segments", "new_target", "take_locks"]

# So many times what it had a joined segment may take for the alignment of its payloads.
_MOST_GROWTH: Final = 2
# Of so much a dictionary is trained, as a writer does of its first chunk.
_TRAINED_BYTES: Final = 4 << 20


def join_segments(
    directory: DatasetDirectory,
    manifest: Manifest,
    group: tuple[SegmentInfo, ...],
    segment_id: str,
    *,
    num_bins: int = 1,
    with_dictionary: bool = False,
    durable: bool,
    keep_seconds: float = KEPT_SECONDS,
) -> bool:
    """Put one new segment in the place of a group; False, with nothing changed, where another program is faster.

    Args:
        directory: Of the dataset.
        manifest: Its newest one, which lists the group.
        group: Adjacent segments.
        segment_id: Of the new segment.
        num_bins: Of the new segment.
        with_dictionary: Whether a new dictionary is trained; the old ones hold parts of the records of then.
        durable: Whether to wait for the medium.
        keep_seconds: As `remove_superseded` takes it.

    Raises:
        FormatError: If a record is damaged; nothing was changed.
    """
    locks: list[LockedFile] = []
    try:
        if not take_locks(directory, group, locks):
            return False
        # Another program may have joined them before they were ours: then they are on their way out.
        if not set(group) <= set(directory.newest().segments):
            return False
        sources = [
            SegmentFiles(directory.paths.segment(info.id), info, manifest.position_of(info.id) or 0, OpenFiles("pread"))
            for info in group
        ]
        target = new_target(
            directory,
            directory,
            manifest,
            group,
            segment_id,
            num_bins=num_bins,
            dictionary=_dictionary_for(sources) if with_dictionary else b"",
        )
        return _replace(directory, sources, target, durable=durable, keep_seconds=keep_seconds)
    finally:
        for lock in locks:
            lock.close()


def take_locks(directory: DatasetDirectory, group: tuple[SegmentInfo, ...], locks: list[LockedFile]) -> bool:
    """Add the lock of each segment to `locks`; False if a writer still has one.

    A writer holds its own until it has seen its last commit in the newest manifest: were its
    segment joined before, it would find it nowhere, and commit it again.
    """
    for info in group:
        try:
            with directory.open_segment(info.id) as folder:
                lock = folder.open_locked(spec.INDEX_NAME)
        except FileNotFoundError:
            return False
        if lock is None:
            return False
        locks.append(lock)
    return True


def new_target(
    directory: DatasetDirectory,
    origin: DatasetDirectory,
    manifest: Manifest,
    group: tuple[SegmentInfo, ...],
    segment_id: str,
    *,
    num_bins: int,
    dictionary: bytes = b"",
) -> SegmentWriter:
    """Return a segment that is to hold the records of others, with no record yet; the caller closes it.

    Args:
        directory: Where it is made.
        origin: The dataset of the others.
        manifest: Of that.
        group: The others, as it lists them.
        segment_id: Of the new one.
        num_bins: Of the new one.
        dictionary: Of the new one.
    """
    return SegmentWriter(
        directory,
        segment_id,
        num_bins=num_bins,
        alignment=_alignment_for(origin, group),
        metadata=encode_metadata(manifest.metadata) if manifest.metadata else b"",
        has_unique_keys=False,
        dictionary=dictionary,
        group=_group_for(origin, group),
        # Those of a segment without records would change the fingerprint.
        schemas=longest(info.schemas for info in group if info.num_records),
        is_declared=manifest.schema is not None,
    )


def fill(sources: list[SegmentFiles], target: SegmentWriter) -> bool:
    """Copy all records of segments into a new one, those that were deleted as tombstones, and seal it.

    Returns:
        False if these are not the records that the manifest counts.

    Raises:
        FormatError: If one is damaged.
    """
    group = tuple(source.info for source in sources)
    deleted: list[np.ndarray[tuple[int], np.dtype[np.uint32]]] = []
    for source in sources:
        first = np.uint32(target.num_records)
        copy_live(source, target)
        deleted.append(source.deleted().sequences + first)
    target.finish_groups()
    listed = Manifest(generation=1, dataset_id="", segments=group)
    if target.group > 1 and any(map(len, deleted)):
        target.restate(_committed(listed, target.totals))
    if target.totals.digest != listed.digest:
        return False
    target.list_deleted(np.concatenate(deleted))
    target.seal()
    return True


def _replace(
    directory: DatasetDirectory,
    sources: list[SegmentFiles],
    target: SegmentWriter,
    *,
    durable: bool,
    keep_seconds: float,
) -> bool:
    group = tuple(source.info for source in sources)
    is_done = False
    try:
        if fill(sources, target):
            is_done = replace_segments(directory, group, target, durable=durable, keep_seconds=keep_seconds)
    finally:
        target.close()
        if not is_done:
            # It may be listed all the same, by a step that failed or was interrupted afterwards: then it stays.
            with suppress(OSError, FormatError):
                directory.remove_segment(target.id)
    return is_done


def _committed(listed: Manifest, appended: Totals) -> Totals:
    """Return the numbers of what was once committed to segments, of which some records were erased by now."""
    stored_bytes = max(appended.stored_bytes, sum(info.stored_bytes for info in listed.segments))
    raw_bytes = sum(info.raw_bytes for info in listed.segments)
    return Totals(listed.num_records, listed.digest, stored_bytes, raw_bytes, appended.max_raw_bytes)


def _alignment_for(directory: DatasetDirectory, group: tuple[SegmentInfo, ...]) -> int:
    """Return the alignment of payloads for a group: the greatest of any that does not make it several times larger.

    One segment of a few records with 4096 would make each of a million small records take a page.
    """
    headers = [header for info in group if (header := directory.index_header(info.id)) is not None]
    if len(group) == 1 and headers:
        return headers[0].alignment
    num_bytes = sum(sum(directory.paths.segment(info.id).sizes_of_bins().values()) for info in group)
    num_records = sum(info.num_records for info in group)
    possible = {header.alignment for header in headers if num_records * header.alignment <= _MOST_GROWTH * num_bytes}
    return max(possible, default=spec.FRAME_UNIT)


def _group_for(directory: DatasetDirectory, segments: tuple[SegmentInfo, ...]) -> int:
    """Return how many records a frame should hold: as in the segments, if all are grouped and all records fit."""
    group = max(info.group for info in segments)
    if len(segments) == 1:
        return group
    longest = [header.max_raw_bytes for info in segments if (header := directory.index_header(info.id)) is not None]
    room = group_room(
        group, group * (max(longest, default=0) + spec.MAX_KEY_BYTES), has_keys=True, alignment=spec.FRAME_UNIT
    )
    is_possible = all(info.is_grouped for info in segments) and len(longest) == len(segments)
    return group if is_possible and room < spec.LARGE_RECORD_BYTES else 1


def _dictionary_for(sources: list[SegmentFiles]) -> bytes:
    """Train a dictionary on the first records that were not deleted, if they had one before."""
    records: list[bytes] = []
    num_bytes = 0
    for source in sources:
        try:
            source.dictionary()
        except FormatError:
            # There is none. One that is damaged is missed by the records that need it.
            return b""
        reader = open_reader(source, ColdReads(), verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
        deleted = source.deleted()
        for sequence in range(source.info.num_records):
            if num_bytes >= _TRAINED_BYTES:
                break
            if sequence not in deleted and reader.length(sequence) < spec.LARGE_RECORD_BYTES:
                records.append(reader.get(sequence))
                num_bytes += len(records[-1])
    return train(records, DEFAULT_LEVEL)
