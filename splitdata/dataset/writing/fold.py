"""Folding: many small segments, one behind the other, become one; positions stay as they are.

    s0 s1 s2 ... s31 | big | s33 s34        32 or more adjacent, sealed, all of one tier
    └──── folded ───┘

Tiers grow by a factor of 32, so a record is copied once a tier, and a dataset of n appends has
about 32 segments a tier instead of n. Frames are copied as they are stored; a group in which
anything is damaged is left alone.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from splitdata._shown import one_line
from splitdata.dataset.manifests.retention import KEPT_SECONDS
from splitdata.dataset.segments.frame_copy import copy_records
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.segments.segment_writer import SegmentWriter
from splitdata.dataset.writing.commit import replace_segments
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.manifest import encode_metadata
from splitdata.format.record_group import group_room

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.manifest import Manifest, SegmentInfo
    from splitdata.storage.locked_file import LockedFile

__all__ = ["fold_small_segments", "foldable_group"]

_logger = logging.getLogger(__name__)

_FANOUT: Final = 32
# So many times what it had a folded segment may take for the alignment of its payloads.
_MOST_GROWTH: Final = 2
# Of the largest segment in a group, with what its records cost beside their payload. Folding the
# last tier makes segments of up to 128 MiB or so, which are no longer small.
_TIER_BYTES: Final = (4 << 10, 128 << 10, 4 << 20)


def foldable_group(segments: tuple[SegmentInfo, ...]) -> tuple[SegmentInfo, ...]:
    """Return the first adjacent segments that are worth folding, of the lowest tier; empty if there is none.

    Smaller segments between those of the tier go along, but do not count: else a few large ones
    would be copied again for every few small ones that come behind them.
    """
    for above, most_bytes in pairwise((0, *_TIER_BYTES)):
        group: list[SegmentInfo] = []
        for info in (*segments, None):
            if info is not None and _may_be_folded(info) and _disk_bytes(info) <= most_bytes:
                group.append(info)
            elif _count_above(group, above) >= _FANOUT:
                break
            else:
                group = []
        if _count_above(group, above) >= _FANOUT:
            return tuple(group)
    return ()


def _may_be_folded(info: SegmentInfo) -> bool:
    # What a later version says of a segment may not be true of what it is folded into.
    return info.is_sealed and info.is_understood and not info.others


def _count_above(group: list[SegmentInfo], num_bytes: int) -> int:
    return sum(_disk_bytes(info) > num_bytes for info in group)


def _disk_bytes(info: SegmentInfo) -> int:
    return info.stored_bytes + info.num_records * (spec.FRAME_HEADER_BYTES + spec.INDEX_ENTRY_BYTES)


def fold_small_segments(
    directory: DatasetDirectory, new_id: Callable[[], str], *, durable: bool, keep_seconds: float = KEPT_SECONDS
) -> None:
    """Fold groups of small segments until none is left; gives up quietly where another program is faster.

    Args:
        directory: Of the dataset.
        new_id: Makes the id of a new segment.
        durable: Whether to wait for the medium.
        keep_seconds: As `remove_superseded` takes it.
    """
    while group := foldable_group((manifest := directory.newest()).segments):
        if not _fold(directory, manifest, group, new_id(), durable=durable, keep_seconds=keep_seconds):
            return


def _fold(
    directory: DatasetDirectory,
    manifest: Manifest,
    group: tuple[SegmentInfo, ...],
    segment_id: str,
    *,
    durable: bool,
    keep_seconds: float,
) -> bool:
    locks: list[LockedFile] = []
    try:
        if not _take_locks(directory, group, locks):
            return False
        # Another program may have folded them before they were ours: then they are on their way out.
        if not set(group) <= set(directory.newest().segments):
            return False
        return _fold_locked(directory, manifest, group, segment_id, durable=durable, keep_seconds=keep_seconds)
    finally:
        for lock in locks:
            lock.close()


def _take_locks(directory: DatasetDirectory, group: tuple[SegmentInfo, ...], locks: list[LockedFile]) -> bool:
    """Add the lock of each segment to `locks`; False if a writer still has one.

    A writer holds its own until it has seen its last commit in the newest manifest: were its
    segment folded before, it would find it nowhere, and commit it again.
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


def _fold_locked(
    directory: DatasetDirectory,
    manifest: Manifest,
    group: tuple[SegmentInfo, ...],
    segment_id: str,
    *,
    durable: bool,
    keep_seconds: float,
) -> bool:
    target = SegmentWriter(
        directory,
        segment_id,
        num_bins=1,
        alignment=_alignment_for(directory, group),
        metadata=encode_metadata(manifest.metadata) if manifest.metadata else b"",
        has_unique_keys=False,
        group=_group_for(directory, group),
    )
    is_done = False
    try:
        for info in group:
            first_position = manifest.position_of(info.id) or 0
            source = SegmentFiles(directory.paths.segment(info.id), info, first_position, OpenFiles("pread"))
            copy_records(source, range(info.num_records), target)
        if target.totals.digest == replace(manifest, segments=group).digest:
            target.seal()
            is_done = replace_segments(directory, group, target, durable=durable, keep_seconds=keep_seconds)
    except FormatError as error:
        _logger.warning(
            "%s: small segments are not folded, as one is damaged: %s", one_line(directory.folder), one_line(error)
        )
    finally:
        target.close()
        if not is_done:
            # It may be listed all the same, by a step that failed or was interrupted afterwards: then it stays.
            with suppress(OSError, FormatError):
                directory.remove_segment(segment_id)
    return is_done


def _group_for(directory: DatasetDirectory, segments: tuple[SegmentInfo, ...]) -> int:
    """Return how many records a frame should hold: as in the segments, if all are grouped and all records fit."""
    group = max(info.group for info in segments)
    longest = [header.max_raw_bytes for info in segments if (header := directory.index_header(info.id)) is not None]
    room = group_room(
        group, group * (max(longest, default=0) + spec.MAX_KEY_BYTES), has_keys=True, alignment=spec.FRAME_UNIT
    )
    is_possible = all(info.is_grouped for info in segments) and len(longest) == len(segments)
    return group if is_possible and room < spec.LARGE_RECORD_BYTES else 1


def _alignment_for(directory: DatasetDirectory, group: tuple[SegmentInfo, ...]) -> int:
    """Return the alignment of payloads for a group: the greatest of any that does not make it several times larger.

    One segment of a few records with 4096 would make each of a million small records take a page.
    """
    headers = [header for info in group if (header := directory.index_header(info.id)) is not None]
    num_bytes = sum(sum(directory.paths.segment(info.id).sizes_of_bins().values()) for info in group)
    num_records = sum(info.num_records for info in group)
    possible = {header.alignment for header in headers if num_records * header.alignment <= _MOST_GROWTH * num_bytes}
    return max(possible, default=spec.FRAME_UNIT)
