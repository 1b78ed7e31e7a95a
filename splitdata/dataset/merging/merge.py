"""merge, append: datasets end to end in one, by links to their files; no record is read or moved.

    A  s0 s1        merge      DEST  s0 s1 s2       one commit, when all is on the medium
    B  s2           ────────>                       killed before it: called again, it begins anew
                                                    killed behind it: called again, it finds all there

A segment keeps its id, so a second call knows what is there already (merge_plan.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from splitdata._local_path import local_path
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import KEPT_SECONDS
from splitdata.dataset.manifests.stamp import restamped, stamped
from splitdata.dataset.manifests.stated_schema import check_schema
from splitdata.dataset.merging.carry_out import carry_out, claimed, mend_torn
from splitdata.dataset.merging.inputs import MergeInput
from splitdata.dataset.merging.merge_plan import MergePlan, MergeStep, check_keys
from splitdata.dataset.segments.unfinished import remove_uncommitted
from splitdata.errors import DatasetExistsError, ManifestError
from splitdata.format import spec
from splitdata.format.manifest import Manifest

__all__ = ["MergeReport", "append", "merge_in_folder", "new_plan", "report_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """The report of `merge` and `append`.

    Attributes:
        path: The dataset that the others were put into.
        generation: Of its newest manifest afterwards.
        num_records: Its records afterwards, or as they would be.
        positions: In it, of the records that this call has added, or would.
        num_linked: Segments that were added by links or copies of their files.
        num_rewritten: Segments that were written anew: they were open, or another one had their id.
        num_there: Segments that an earlier call had added.
        num_bytes: Bytes of the bins of the segments that were added.
        num_copied_bytes: Bytes that were copied: the indexes, and whole files where no link was to be had.
        metadata_left_out: Keys of metadata for which a dataset has another value than one before it, which counts.
        is_dry_run: Whether nothing was changed.
    """

    path: str
    generation: int
    num_records: int
    positions: range
    num_linked: int
    num_rewritten: int
    num_there: int
    num_bytes: int
    num_copied_bytes: int
    metadata_left_out: tuple[str, ...]
    is_dry_run: bool


def merge_in_folder(
    sources: Sequence[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    allow_duplicate_keys: bool = False,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> MergeReport:
    """Merge datasets into a new one in a folder; see `merge` in `stores/merge_to_store.py`."""
    directory = DatasetDirectory(local_path(dest, "the dataset"))
    plan = new_plan(sources)
    there = directory.newest_or_none() if os.path.isdir(directory.folder) else None
    if there is not None:
        if plan.is_done_in(there):
            if not dry_run:
                mend_torn(directory, there)
            return report_of(directory, there, plan, steps=[], dry_run=dry_run)
        raise DatasetExistsError(
            f"{directory.folder} is a dataset already; `splitdata append` adds to it, or choose another place",
            path=directory.folder,
        )
    if not allow_duplicate_keys:
        check_keys(plan.sources)
    if dry_run:
        return report_of(directory, plan.base, plan, steps=plan.steps, dry_run=True)

    def begun(current: Manifest | None) -> Manifest:
        if current is not None:
            raise DatasetExistsError(
                f"{directory.folder}: another program has written a dataset here meanwhile", path=directory.folder
            )
        return stamped(replace(plan.base, generation=1))

    with claimed(directory, "resume") as held:
        remove_uncommitted(held)
        manifest, copied = carry_out(held, plan.steps, begun, keep_seconds=KEPT_SECONDS, progress=progress)
        return report_of(held, manifest, plan, steps=plan.steps, num_copied_bytes=copied)


def append(
    sources: Sequence[str | os.PathLike[str]],
    dest: str | os.PathLike[str],
    *,
    allow_duplicate_keys: bool = False,
    dry_run: bool = False,
    keep_seconds: float = KEPT_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> MergeReport:
    """Add all records of other datasets behind those of one, as `merge` does, in one commit.

    Writers may be at work in `dest`. What an earlier call has added, known by its segments, is not added again; so a
    source that has grown since adds what is new. (Not if segments of it, or of `dest`, were folded or compacted
    meanwhile: they are other ones then.)

    Args:
        sources: One dataset or more, all of whose segments are sealed: no writer is at work there, or was killed.
        dest: The dataset to extend.
        allow_duplicate_keys: As `merge` takes it; keys of `dest` count too.
        dry_run: Only check, and report what would be done.
        keep_seconds: As `SplitWriter` takes it.
        progress: Called with bytes of bins done and in all, after each segment.

    Raises:
        As `merge` does; DatasetNotFoundError if there is no dataset at `dest`.
    """
    folder = local_path(dest, "the dataset")
    there = MergeInput.opened(folder)
    inputs = _opened(sources)
    for one in inputs:
        if one.manifest.dataset_id == there.manifest.dataset_id and os.path.samefile(one.directory.folder, folder):
            raise ValueError(f"{folder} cannot be appended to itself; merge makes a dataset of one that is given twice")
        one.check_sealed()
    plan = MergePlan(there.manifest, inputs)
    if not plan.missing:
        return report_of(there.directory, there.manifest, plan, steps=[], dry_run=dry_run)
    if not allow_duplicate_keys:
        check_keys([there, *_with_missing(plan, inputs)])
    if dry_run:
        return report_of(there.directory, plan.base, plan, steps=plan.missing, dry_run=True)

    def extended(current: Manifest | None) -> Manifest:
        if current is None or current.dataset_id != plan.base.dataset_id:
            raise ManifestError(f"{folder}: the dataset was replaced meanwhile; nothing was appended", path=folder)
        if any(current.find(step.id) for step in plan.missing):
            raise ManifestError(f"{folder}: another program has appended the same meanwhile; call it again")
        if current.generation == spec.MAX_GENERATION:
            raise ManifestError(f"{folder} is at generation {current.generation}, the last there is; copy its records")
        check_schema(current, plan.base.schema)
        return restamped(
            replace(
                current,
                generation=current.generation + 1,
                metadata=plan.base.metadata | current.metadata,
                schema=plan.base.schema,
                version=max(current.version, plan.base.version),
            )
        )

    with claimed(there.directory, "append") as held:
        manifest, copied = carry_out(held, plan.missing, extended, keep_seconds=keep_seconds, progress=progress)
        return report_of(held, manifest, plan, steps=plan.missing, num_copied_bytes=copied)


def new_plan(sources: Sequence[str | os.PathLike[str]]) -> MergePlan:
    """Return how datasets become a new one; raises as `merge` does."""
    return MergePlan(Manifest(generation=0, dataset_id=os.urandom(16).hex()), _opened(sources))


def _opened(sources: Sequence[str | os.PathLike[str]]) -> list[MergeInput]:
    if isinstance(sources, (str, bytes, os.PathLike)):
        raise TypeError("the datasets must be several, as a list; this is one path")
    names = [local_path(one) for one in sources]
    if not names:
        raise ValueError("give at least one dataset beside the one that it is put into")
    return [MergeInput.opened(name) for name in names]


def _with_missing(plan: MergePlan, inputs: list[MergeInput]) -> list[MergeInput]:
    """Return the datasets as if they had only the segments that are not there yet."""
    missing = {(id(step.source), step.info.id) for step in plan.missing}
    return [
        replace(
            one,
            manifest=replace(
                one.manifest, segments=tuple(info for info in one.manifest.segments if (id(one), info.id) in missing)
            ),
        )
        for one in inputs
    ]


def report_of(
    directory: DatasetDirectory,
    manifest: Manifest,
    plan: MergePlan,
    *,
    steps: list[MergeStep],
    num_copied_bytes: int = 0,
    dry_run: bool = False,
) -> MergeReport:
    """Return the report of a merge by what it has made, and the manifest that lists it."""
    count = sum(step.info.num_records for step in steps)
    listed = [place for step in steps if (place := manifest.position_of(step.id)) is not None]
    first = min(listed, default=manifest.num_records)
    return MergeReport(
        path=directory.folder,
        generation=manifest.generation,
        num_records=manifest.num_records if listed else first + count,
        positions=range(first, first + count),
        num_linked=sum(step.is_link for step in steps),
        num_rewritten=sum(not step.is_link for step in steps),
        num_there=len(plan.steps) - len(steps),
        num_bytes=sum(step.num_bytes for step in steps),
        num_copied_bytes=num_copied_bytes,
        metadata_left_out=plan.metadata_left_out,
        is_dry_run=dry_run,
    )
