"""A view: a dataset of links to all segments of another, in which the records that it leaves out are deleted.

    DIR    s0 [r0 r1 r2 r3]      links, an index, a list      view   s0 [r0 .  r2 . ]
                                 ─────────────────────────>

So it costs 16 bytes a record for the index, and 8 for each that is left out. Positions are those of the original.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import KEPT_SECONDS
from splitdata.dataset.manifests.stamp import stamped
from splitdata.dataset.merging.carry_out import MadeSegment, carry_out, claimed, mend_torn
from splitdata.dataset.merging.inputs import MergeInput
from splitdata.dataset.merging.merge_plan import MergePlan, MergeStep
from splitdata.dataset.segments.unfinished import remove_uncommitted
from splitdata.errors import DatasetExistsError
from splitdata.format.deleted import pack_deleted
from splitdata.format.manifest import Manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["write_view"]


def write_view(
    source: str, dest: str, positions: NDArray[np.int64], *, progress: Callable[[int, int], None] | None = None
) -> None:
    """Make a view of some records of a dataset, in one commit; nothing where an earlier call has made it.

    Args:
        source: The dataset.
        dest: The view.
        positions: Of the records that it has, ascending.
        progress: Called with bytes of bins done and in all, after each segment.

    Raises:
        DatasetExistsError: If `dest` is not empty, and not this view.
        FormatError: As `merge` does.
    """
    one = MergeInput.opened(source)
    directory = DatasetDirectory(dest)
    plan = MergePlan(Manifest(generation=0, dataset_id=os.urandom(16).hex()), [one])
    left_out = _left_out(one, positions)
    there = directory.newest_or_none() if os.path.isdir(directory.folder) else None
    if there is not None:
        listed = [info.deleted_hash for info in there.segments]
        if plan.is_done_in(there) and listed == [_hash_of(step, left_out) for step in plan.steps]:
            mend_torn(directory, there)
            return
        raise DatasetExistsError(f"{dest} is another dataset already; choose another place", path=dest)

    def begun(current: Manifest | None) -> Manifest:
        if current is not None:
            raise DatasetExistsError(f"{dest}: another program has written a dataset here meanwhile", path=dest)
        return stamped(replace(plan.base, generation=1))

    def finish(segment: MadeSegment, step: MergeStep) -> None:
        if len(left_out[step.info.id]):
            segment.list_deleted(left_out[step.info.id])

    with claimed(directory, "resume") as held:
        remove_uncommitted(held)
        carry_out(held, plan.steps, begun, keep_seconds=KEPT_SECONDS, progress=progress, finish=finish)


def _left_out(source: MergeInput, positions: NDArray[np.int64]) -> dict[str, NDArray[np.uint32]]:
    """Return the records of each segment that a view has not: sequence numbers, ascending."""
    found = {}
    for files in source.files():
        start, count = files.first_position, files.info.num_records
        first, stop = np.searchsorted(positions, (start, start + count)).tolist()
        is_out = np.ones(count, np.bool_)
        is_out[positions[first:stop] - start] = False
        is_out[files.deleted().sequences] = True
        found[files.info.id] = np.flatnonzero(is_out).astype(np.uint32)
    return found


def _hash_of(step: MergeStep, left_out: dict[str, NDArray[np.uint32]]) -> int:
    sequences = left_out[step.info.id]
    return pack_deleted(step.id, sequences)[1] if len(sequences) else 0
