"""delete: marks records as deleted, in one commit; their positions stay, nobody reads them any more.

    positions, keys ──> sequence numbers of each segment ──> segments/ID/deleted.<hash>, a new list, on the medium
                                                         ──> manifest g+1, which names the lists ── taken? ── again
                                                         ──> newest manifest lists them? ── no ──> again

The bytes are there until `compact` has erased them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata._local_path import local_path
from splitdata.dataset.legacy.legacy_directory import is_legacy_directory
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import KEPT_SECONDS, remove_superseded
from splitdata.dataset.manifests.stamp import restamped
from splitdata.dataset.segments.cold_reads import ColdReads
from splitdata.dataset.segments.deleted_records import write_list
from splitdata.dataset.segments.group_reader import open_reader
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.errors import FormatError, ManifestError
from splitdata.format import spec
from splitdata.format.keys import encode_key
from splitdata.format.version import check_written_here
from splitdata.order.positions import checked_positions
from splitdata.storage.publish import publish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from splitdata.format.manifest import Manifest, SegmentInfo

__all__ = ["DeleteReport", "delete", "files_of_segments"]

# Rivals that commit without a pause, and segments that are folded meanwhile.
_MAX_TRIES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteReport:
    """The report of `delete`.

    Attributes:
        path: The dataset.
        generation: Of the newest manifest afterwards.
        positions: Of the records that were deleted by this call, or would be, ascending.
        num_deleted_before: Of those that were asked for, deleted before.
        missing_keys: Keys that no record has (any more).
        is_dry_run: Whether nothing was changed.
    """

    path: str
    generation: int
    positions: tuple[int, ...]
    num_deleted_before: int
    missing_keys: tuple[str, ...]
    is_dry_run: bool

    @property
    def num_deleted(self) -> int:
        """The number of records that were deleted by this call."""
        return len(self.positions)


def delete(
    path: str | os.PathLike[str],
    *,
    positions: Sequence[int] | NDArray[np.integer[Any]] | slice = (),
    keys: Iterable[str] = (),
    dry_run: bool = False,
    keep_seconds: float = KEPT_SECONDS,
) -> DeleteReport:
    """Mark records as deleted: reading one says RecordDeletedError, its key is not found, its position stays taken.

    One commit: all of them or none. Writers may be at work in the dataset. Readers that are open see the state
    that they have opened until they refresh. `compact` erases the bytes. A second call finds nothing to do.

    Args:
        path: The dataset.
        positions: Of records.
        keys: All records that have one of these are deleted, not the newest alone.
        dry_run: Only report what would be deleted.
        keep_seconds: As `SplitWriter` takes it.

    Raises:
        DatasetNotFoundError, ManifestError: As for opening.
        IndexError, TypeError: If a position is out of range, or none.
        FormatError: If the keys of a segment cannot be looked up, or its list of deleted records cannot be read.
    """
    if isinstance(keys, str):
        raise TypeError("keys must be several keys, as a list; this is one text")
    directory = DatasetDirectory(local_path(path))
    wanted = list(dict.fromkeys(keys))
    if is_legacy_directory(directory.folder) and not directory.generations():
        raise FormatError(
            f"{directory.folder} is a directory of splitdataloader, which cannot mark records as deleted; "
            "`splitdata write` converts it",
            path=directory.folder,
        )
    manifest = directory.newest()
    check_written_here(manifest.version, directory.folder)
    chosen = {int(one) for one in checked_positions(positions, manifest.num_records).tolist()}
    missing: list[str] = []
    before = 0
    for key in wanted:
        live, deleted = _positions_of(directory, manifest, encode_key(key))
        chosen |= live
        before += len(deleted)
        if not live and not deleted:
            missing.append(key)
    ordered = np.array(sorted(chosen), np.int64)
    for _ in range(_MAX_TRIES):
        newly, changed = _changes(directory, manifest, ordered)
        if dry_run or not changed or _commit(directory, manifest, changed, keep_seconds):
            return DeleteReport(
                path=directory.folder,
                generation=manifest.generation + bool(changed and not dry_run),
                positions=tuple(newly.tolist()),
                num_deleted_before=before + len(ordered) - len(newly),
                missing_keys=tuple(missing),
                is_dry_run=dry_run,
            )
        dataset_id, manifest = manifest.dataset_id, directory.newest()
        if manifest.dataset_id != dataset_id:
            raise ManifestError(f"{directory.folder}: the dataset was replaced meanwhile; nothing was deleted")
    raise ManifestError(f"{directory.folder}: other programs commit all the time; nothing was deleted, try again")


def files_of_segments(directory: DatasetDirectory, manifest: Manifest) -> list[SegmentFiles]:
    """Return the files of each segment of a manifest, to be read."""
    pool = OpenFiles("pread")
    starts = np.cumsum([0, *(info.num_records for info in manifest.segments)]).tolist()
    return [
        SegmentFiles(directory.paths.segment(info.id), info, start, pool)
        for info, start in zip(manifest.segments, starts, strict=False)
    ]


def _positions_of(directory: DatasetDirectory, manifest: Manifest, key: bytes) -> tuple[set[int], set[int]]:
    """Return the positions of all records with a key: those that are not deleted, and those that are."""
    found: tuple[set[int], set[int]] = set(), set()
    for files in files_of_segments(directory, manifest):
        if files.info.num_keys:
            reader = open_reader(files, ColdReads(), verify=True, max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES)
            deleted = files.deleted()
            for sequence in reader.find_all(key):
                found[sequence in deleted].add(files.first_position + sequence)
    return found


def _changes(
    directory: DatasetDirectory, manifest: Manifest, positions: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.uint32]]]:
    """Return which positions are not deleted yet, and for each segment that changes the list of all its deleted."""
    newly: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    changed: dict[str, NDArray[np.uint32]] = {}
    for files in files_of_segments(directory, manifest):
        first = files.first_position
        low, high = np.searchsorted(positions, (first, first + files.info.num_records)).tolist()
        sequences = positions[low:high] - first
        if not len(sequences):
            continue
        known = files.deleted()
        new = sequences[~known.among(sequences)]
        if len(new):
            newly.append(new + first)
            changed[files.info.id] = np.union1d(known.sequences, new.astype(np.uint32))
    return np.concatenate(newly), changed


def _commit(
    directory: DatasetDirectory, manifest: Manifest, changed: dict[str, NDArray[np.uint32]], keep_seconds: float
) -> bool:
    """Write the lists, then the manifest that names them; False if another program has committed meanwhile."""
    with directory.held() as held:
        try:
            segments = tuple(_with_list(held, info, changed.get(info.id)) for info in manifest.segments)
        except FileNotFoundError:
            # Folded and removed meanwhile; else it is missing, and to be restored first.
            if held.newest().generation == manifest.generation:
                raise
            return False
        following = restamped(replace(manifest, generation=manifest.generation + 1, segments=segments))
        if following.generation > spec.MAX_GENERATION:
            raise ManifestError(f"{directory.folder} is at generation {manifest.generation}, the last there is")
        with held.opened() as root:
            if not publish(root, following.generation, following.encode(), durable=True):
                return False
        newest = held.newest()
        # A number is free far behind the newest, too, since old manifests are removed.
        if newest.generation != following.generation and not _holds(held, newest, manifest, changed):
            held.remove_manifest(following.generation)
            return False
        with suppress(OSError, FormatError):
            remove_superseded(held, following.generation, keep_seconds=keep_seconds)
    return True


def _with_list(directory: DatasetDirectory, info: SegmentInfo, sequences: NDArray[np.uint32] | None) -> SegmentInfo:
    if sequences is None:
        return info
    with directory.open_segment(info.id) as folder:
        return replace(info, num_deleted=len(sequences), deleted_hash=write_list(folder, info.id, sequences))


def _holds(
    directory: DatasetDirectory, newest: Manifest, manifest: Manifest, changed: dict[str, NDArray[np.uint32]]
) -> bool:
    """Say whether a newer manifest has all that was to be deleted as deleted."""
    positions = [
        np.empty(0, np.int64),
        *((manifest.position_of(one) or 0) + sequences.astype(np.int64) for one, sequences in changed.items()),
    ]
    newly, _ = _changes(directory, newest, np.sort(np.concatenate(positions)))
    return newest.dataset_id == manifest.dataset_id and not len(newly)
