"""merge: datasets end to end in a new one, in a folder, or staged there by links and sent to a store.

    A, B ──merge──> TMPDIR/splitdata-staging-*/data ──copy──> s3://bucket/all      its manifest comes last

Where TMPDIR is on the file system of the datasets the staged one takes no room but for its indexes.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from splitdata._place import dataset_place, is_url
from splitdata.dataset.manifests.remote_directory import directory_at
from splitdata.dataset.merging.merge import MergeReport, merge_in_folder, new_plan, report_of
from splitdata.dataset.merging.merge_plan import check_keys
from splitdata.dataset.stores.copy_dataset import copy
from splitdata.dataset.stores.store_session import staging_folder
from splitdata.errors import DatasetExistsError
from splitdata.storage.remote.store_access import StoreAccess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["merge"]


def merge(
    sources: Sequence[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    allow_duplicate_keys: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    single_writer: bool = False,
) -> MergeReport:
    """Make a dataset of all records of others, in their order, with their keys, schemas and metadata.

    Files are linked where that can be done, so that merging costs as much as the indexes (16 bytes a record); on
    another file system they are copied. No record is read, but for those of a segment that is still open, or whose id
    another one has: it is written anew. The others stay as they are, and each dataset can be changed, and removed,
    without the others: no file that has two names is changed in its place. Damage of a linked file is damage of
    both; `compact` of one erases nothing in the other.

    All or nothing: until the one commit at the end there is no dataset. Killed, it is called again; finished, a second
    call finds nothing to do. Records that were deleted keep their positions.

    In an object store the new dataset is put together in TMPDIR first, and sent from there; what an interrupted call
    has sent is not sent again.

    Args:
        sources: One dataset or more, in folders; one may be given twice.
        dest: The new dataset, in a folder, or its URL in an object store.
        allow_duplicate_keys: Let records of two datasets have one key: it leads to the last of them.
        dry_run: Only check, and report what would be done.
        progress: Called with bytes done and in all: of bins, after each segment; to a store, of files that were sent.
        storage_options, single_writer: Of the object store, as `SplitWriter` takes them.

    Raises:
        DatasetNotFoundError, ManifestError: As for opening one.
        DatasetExistsError: If `dest` is not empty.
        DuplicateKeyError: If a key occurs in two datasets; it names them.
        SchemaError, ValueError: If they declare different schemas, or have records of different codecs.
        FormatError: If an index is damaged, a bin is missing, or a dataset is of an older format.
        BlockingIOError: If another program writes there.
        StoreError: If the store fails; call it again to go on.
    """
    target = dataset_place(dest, "the dataset")
    if not is_url(target):
        return merge_in_folder(
            sources, target, allow_duplicate_keys=allow_duplicate_keys, dry_run=dry_run, progress=progress
        )
    plan = new_plan(sources)
    directory = directory_at(target, StoreAccess.of(storage_options))
    there = directory.newest_or_none()
    if there is not None:
        if plan.is_done_in(there):
            return report_of(directory, there, plan, steps=[], dry_run=dry_run)
        raise DatasetExistsError(f"{target} is a dataset already; choose another place", path=target)
    if dry_run:
        if not allow_duplicate_keys:
            check_keys(plan.sources)
        return report_of(directory, plan.base, plan, steps=plan.steps, dry_run=True)
    with staging_folder() as folder:
        staged = os.path.join(folder, "data")
        report = merge_in_folder(sources, staged, allow_duplicate_keys=allow_duplicate_keys)
        copied = copy(
            staged, target, dest_options=storage_options, check=False, single_writer=single_writer, progress=progress
        )
    return replace(report, path=target, generation=copied.generation, num_copied_bytes=copied.bytes_sent)
