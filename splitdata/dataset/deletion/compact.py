"""compact: erases the bytes of deleted records, seals what killed writers left open, folds; positions stay as they are.

    segment with deletions ── written anew without them: join.py ──> manifest g+1
    segment left open      ── written anew, sealed: the same
    erase=True             ── manifests but the newest, and segments that it does not list, are removed at once

The id of the new segment follows from the old one and its list: a second call, or a repair, knows one that a killed
call has left. Killed at any point, the dataset is as before, or compacted in part.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splitdata._local_path import local_path
from splitdata.dataset.deletion.delete import files_of_segments
from splitdata.dataset.deletion.drop_damaged import drop_damaged as drop
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import (
    KEPT_SECONDS,
    WAITING_SECONDS,
    remove_abandoned,
    remove_superseded,
    remove_unlisted,
)
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.compacted_id import compacted_id
from splitdata.dataset.segments.group_reader import GroupReader
from splitdata.dataset.writing.fold import fold_small_segments
from splitdata.dataset.writing.join import join_segments
from splitdata.errors import DatasetNotFoundError, FormatError
from splitdata.format import spec
from splitdata.format.version import check_written_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.dataset.segments.segment_files import SegmentFiles

__all__ = ["CompactReport", "compact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """The report of `compact`.

    Attributes:
        path: The dataset.
        generation: Of the newest manifest afterwards.
        num_deleted: Records of the dataset that are deleted.
        num_erased: Deleted records that this call has left out of their segments, or would.
        num_sealed: Segments that killed writers had left open, and that are sealed now, or would be.
        num_reclaimed: Segments of killed writers, which no manifest lists, that were removed.
        dropped: Positions that damaged records had which were dropped, or would be.
        num_bytes: Bytes of the segments that were written anew, before.
        left: What still holds bytes of deleted records, one line each: to be erased by another call.
        is_dry_run: Whether nothing was changed.
    """

    path: str
    generation: int
    num_deleted: int
    num_erased: int
    num_sealed: int
    num_reclaimed: int
    dropped: tuple[int, ...]
    num_bytes: int
    left: tuple[str, ...]
    is_dry_run: bool

    @property
    def is_erased(self) -> bool:
        """Whether no file of the dataset holds bytes of a deleted record any more."""
        return not self.left and not self.is_dry_run


def compact(
    path: str | os.PathLike[str],
    *,
    erase: bool = False,
    drop_damaged: bool = False,
    dry_run: bool = False,
    keep_seconds: float = KEPT_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> CompactReport:
    """Write segments with deleted records anew, without the bytes of these, and fold small segments.

    A segment that a killed writer has left open is written anew too, as far as it was committed, and sealed. Readers
    and writers may be at work. Needs room for the largest such segment once more. What killed writers have left that
    never was committed is removed, if it is as old as `keep_seconds` says.

    Args:
        path: The dataset.
        erase: Remove old manifests and superseded segments at once, with what killed writers left uncommitted,
            so that no file holds a byte of a deleted record. Jobs on other machines that have an older state open
            without a lock fail then; what a reader here holds open stays until it ends, and is named in `left`.
        drop_damaged: Before that, leave out the records that are damaged and that no repair can mend. **Records behind
            them move forward**: positions of before mean other records now, so that readers, saved states and writers
            of before find another dataset. All that comes behind is written anew.
        dry_run: Only report what would be done.
        keep_seconds: How long superseded segments stay without `erase`.
        progress: Called with bytes of bins done and in all, after each segment.

    Raises:
        DatasetNotFoundError, ManifestError: As for opening.
        FormatError: If a record that was not deleted is damaged: repair, delete or drop it first. What was compacted
            before it stays so. With `drop_damaged`, if a repair can mend something.
        BlockingIOError: With `drop_damaged`, if a writer is at work.
    """
    directory = DatasetDirectory(local_path(path))
    manifest = directory.newest()
    check_written_here(manifest.version, directory.folder)
    dropped: list[int] = []
    if drop_damaged:
        dropped = drop(directory, dry_run=dry_run, keep_seconds=keep_seconds).tolist()
        manifest = directory.newest()
    todo = [
        files
        for files in files_of_segments(directory, manifest)
        if _num_unerased(files) or (files.info.num_records and not files.info.is_sealed)
    ]
    for files in todo:
        files.info.check_features()
    sizes = {files.info.id: sum(files.paths.sizes_of_bins().values()) for files in todo}
    erased = sum(map(_num_unerased, todo))
    sealed = sum(not files.info.is_sealed for files in todo)
    left: list[str] = []
    reclaimed = 0
    if not dry_run:
        done = erased = sealed = 0
        for files in todo:
            count = _num_unerased(files)
            if _compact(directory, files.info.id, keep_seconds):
                erased += count
                sealed += not files.info.is_sealed
            done += sizes[files.info.id]
            if progress is not None:
                progress(done, sum(sizes.values()))
        fold_small_segments(directory, lambda: os.urandom(16).hex(), durable=True, keep_seconds=keep_seconds)
        reclaimed = remove_abandoned(directory, seconds=keep_seconds)
        if erase:
            remove_superseded(directory, directory.newest().generation, keep=1, keep_seconds=0)
            remove_unlisted(directory, part_seconds=WAITING_SECONDS)
        left = _left(directory)
    manifest = directory.newest()
    return CompactReport(
        path=directory.folder,
        generation=manifest.generation,
        num_deleted=manifest.num_deleted,
        num_erased=erased,
        num_sealed=sealed,
        num_reclaimed=reclaimed,
        dropped=tuple(dropped),
        num_bytes=sum(sizes.values()),
        left=tuple(left),
        is_dry_run=dry_run,
    )


def _num_unerased(files: SegmentFiles) -> int:
    """Return how many deleted records of a segment it still holds."""
    if not files.info.num_deleted:
        return 0
    deleted = files.deleted().sequences.tolist()
    if files.info.is_grouped:
        # In a group one that was erased has neither bytes nor a key.
        reader = GroupReader(files, ColdReads(), verify=True, max_record_bytes=spec.LARGE_RECORD_BYTES)
        return sum(1 for sequence in deleted if reader.length(sequence) or reader.key(sequence))
    return sum(files.entry(sequence)[0] != spec.TOMBSTONE for sequence in deleted)


def _compact(directory: DatasetDirectory, segment_id: str, keep_seconds: float) -> bool:
    """Write one segment anew; False if a writer is at work in it, or another program was faster."""
    manifest = directory.newest()
    info = manifest.find(segment_id)
    # What a later version says of a segment may not be true of what it is written into.
    if info is None or info.others:
        return False
    new_id = compacted_id(info)
    if manifest.find(new_id) is None and directory.has_segment(new_id):
        # A call that was killed has left it.
        directory.remove_segment(new_id)
    return join_segments(
        directory,
        manifest,
        (info,),
        new_id,
        num_bins=info.num_bins,
        with_dictionary=True,
        durable=True,
        keep_seconds=keep_seconds,
    )


def _left(directory: DatasetDirectory) -> list[str]:
    """Name what still holds bytes of records that the newest manifest has as deleted."""
    manifest = directory.newest()
    left = [
        f"{files.paths.folder}: holds {count} deleted records, and a writer is at work in it, or another "
        "program holds the lock of its index (`lsof` names it), or a newer splitdata wrote it: compact again when "
        "it has ended, or with that"
        for files in files_of_segments(directory, manifest)
        if (count := _num_unerased(files))
    ]
    if not manifest.num_deleted:
        return left
    listed = {info.id for info in manifest.segments}
    older = set()
    for generation in directory.generations():
        with suppress(FileNotFoundError, FormatError, DatasetNotFoundError):
            older |= {info.id for info in directory.read(generation).segments}
    for segment_id in directory.segment_ids():
        # A part that waits never had a record that was deleted.
        if segment_id not in listed and not directory.is_waiting_part(segment_id):
            why = "an older state, which readers may have open" if segment_id in older else "a writer, or a killed one"
            left.append(
                f"{directory.paths.segment(segment_id).folder}: belongs to {why}, and may hold deleted records: "
                "compact with erase when all have ended"
            )
    return left
