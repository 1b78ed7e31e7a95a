"""copy: a dataset as it is, from a folder or store to another, in parallel; called again it goes on.

    manifest of A ──> its segments ──files that B lacks──> B ──> the same manifest in B ──> verify B

B is the dataset when its manifest is there; before that it is nothing that a reader would open, or its older state: a
file of that which has grown is replaced as a whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from splitdata._place import dataset_place, is_url
from splitdata.dataset.legacy.legacy_directory import LegacyDirectory
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.remote_directory import directory_at
from splitdata.dataset.reading.snapshot import open_pinned
from splitdata.dataset.segments.new_folder import sync_names
from splitdata.dataset.stores.send_segments import files_of, send_files
from splitdata.dataset.stores.store_commit import StoreCommitter
from splitdata.dataset.verify.verify import verify_directory
from splitdata.errors import DatasetExistsError, DatasetNotFoundError, FormatError
from splitdata.order.counts import checked_count
from splitdata.storage.remote.block_cache import BlockCache
from splitdata.storage.remote.folder_store import FolderStore
from splitdata.storage.remote.patience import Patience
from splitdata.storage.remote.remote_files import RemoteFiles
from splitdata.storage.remote.store_access import StoreAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from splitdata.format.manifest import Manifest

__all__ = ["CopyReport", "copy"]

_NUM_WORKERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """What `copy` has done.

    Attributes:
        source, dest: The datasets.
        generation: Of both.
        num_records: Of both.
        num_files: Of the copy, without its manifest.
        num_bytes: Of these.
        bytes_sent: Of those that were not there yet.
        is_verified: Whether the copy was read and proven.
    """

    source: str
    dest: str
    generation: int
    num_records: int
    num_files: int
    num_bytes: int
    bytes_sent: int
    is_verified: bool


def copy(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    source_options: Mapping[str, Any] | None = None,
    dest_options: Mapping[str, Any] | None = None,
    generation: int | None = None,
    check: bool = True,
    single_writer: bool = False,
    num_workers: int = _NUM_WORKERS,
    progress: Callable[[int, int], None] | None = None,
) -> CopyReport:
    """Copy a dataset, with its id and generation, byte by byte.

    Files that `dest` has already are not sent again: a copy that was interrupted goes on, and one of an earlier
    generation gets what came since.

    Args:
        source: A path or URL.
        dest: A path or URL, where there is nothing, or an unfinished or older copy of this dataset.
        source_options, dest_options: Of their stores, as `SplitDataLoader` takes `storage_options`.
        generation: Which manifest of `source`; None is the newest.
        check: Read the whole copy afterwards, and hold it against its checksums.
        single_writer: Nobody else writes to `dest`: its store need not make objects only if there are none. A folder
            always does.
        num_workers: Files that are sent at a time.
        progress: Called with bytes done and in all.

    Raises:
        DatasetNotFoundError, ManifestError: As for opening `source`.
        DatasetExistsError: If `dest` is another dataset, or holds anything else.
        StoreError: If a store fails; call it again to go on.
        OSError: If the disk of `dest` fails: it is as it was, or goes on when it is called again.
        FormatError: If the copy is damaged, as its source then is.
    """
    checked_count("num_workers", num_workers, 1)
    origin, target = dataset_place(source, "the source"), dataset_place(dest, "the copy")
    directory = directory_at(origin, StoreAccess.of(source_options))
    # Held to the end, so that nothing of it is removed meanwhile.
    manifest, pin = open_pinned(directory, generation, None)
    if isinstance(manifest, LegacyDirectory):
        raise ValueError(f"{origin} was written by splitdataloader 0.0.1; `splitdata write` makes a dataset of it")
    sent = _files_at(target, StoreAccess.of(dest_options))
    # A folder makes a manifest only if there is none, and whole.
    is_folder = not is_url(target)
    committer = StoreCommitter(sent, single_writer=single_writer and not is_folder, is_trusted=is_folder)
    _check_dest(target, committer.directory, manifest)
    files = files_of(directory, manifest.segments)
    bytes_sent = send_files(directory, files, sent, num_workers=num_workers, progress=progress)
    if committer.directory.newest_or_none() != manifest:
        if is_folder:
            _sync_names(target, manifest)
        committer.commit(lambda newest: _same(newest, manifest, target))
    del pin
    if check:
        _verify(target, dest_options)
    return CopyReport(
        source=origin,
        dest=target,
        generation=manifest.generation,
        num_records=manifest.num_records,
        num_files=len(files),
        num_bytes=sum(one.size for one in files),
        bytes_sent=bytes_sent,
        is_verified=check,
    )


def _files_at(target: str, access: StoreAccess) -> RemoteFiles:
    if is_url(target):
        return access.open(target)
    return RemoteFiles(target, "", FolderStore(target), BlockCache(), Patience(0))


def _sync_names(target: str, manifest: Manifest) -> None:
    """Wait until all names that a manifest is to lead to are on the medium, those too that a killed call has made."""
    with DatasetDirectory(target).held() as directory:
        for info in manifest.segments:
            with directory.open_segment(info.id) as folder:
                sync_names(directory, folder)


def _check_dest(target: str, found: DatasetDirectory, manifest: Manifest) -> None:
    """Raise if a copy may not be made there."""
    newest = found.newest_or_none()
    if newest is not None:
        _same(newest, manifest, target)
    elif not is_url(target):
        try:
            foreign = DatasetDirectory(target).foreign_names()
        except (FileNotFoundError, DatasetNotFoundError):
            return
        if foreign:
            raise DatasetExistsError(f"{target} holds other things, such as {foreign[0]!r}", path=target)


def _same(newest: Manifest | None, manifest: Manifest, target: str) -> Manifest:
    """Return the manifest to make; raise unless what is there is an older state of the same dataset, or nothing."""
    if newest is None or newest == manifest:
        return manifest
    if newest.dataset_id != manifest.dataset_id:
        raise DatasetExistsError(f"{target} is another dataset; copy to another place", path=target)
    if newest.generation >= manifest.generation:
        raise DatasetExistsError(
            f"{target} is at generation {newest.generation} of this dataset, the source at {manifest.generation}: "
            "something else has written there",
            path=target,
        )
    return manifest


def _verify(target: str, options: Mapping[str, Any] | None) -> None:
    report = verify_directory(directory_at(target, StoreAccess.of(options)))
    if not report.is_intact:
        first = report.findings[0]
        raise FormatError(
            f"the copy is damaged, {first.path}: {first.problem}; `splitdata verify` tells of source and copy what is "
            "wrong with each",
            path=first.path,
        )
