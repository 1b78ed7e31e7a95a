"""Carrying out a merge: each segment is put beside the others, then one commit lists them all.

    steps ──> segments made one by one, on the medium ──> commit ──> done

After an error what was made is removed; after a kill the next call does so.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeAlias

from splitdata.dataset.merging.linked_segment import LinkedSegment
from splitdata.dataset.repair.repair import repair
from splitdata.dataset.segments.open_files import OpenFiles
from splitdata.dataset.segments.segment_files import SegmentFiles
from splitdata.dataset.segments.segment_writer import SegmentWriter
from splitdata.dataset.writing.claimed_folder import ClaimedFolder
from splitdata.dataset.writing.commit import add_segments
from splitdata.dataset.writing.join import fill, new_target
from splitdata.errors import FormatError, SplitDataError

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.merging.merge_plan import MergeStep
    from splitdata.format.manifest import Manifest

__all__ = ["MadeSegment", "carry_out", "claimed", "mend_torn"]

MadeSegment: TypeAlias = LinkedSegment | SegmentWriter


@contextmanager
def claimed(directory: DatasetDirectory, mode: str) -> Iterator[DatasetDirectory]:
    """Give the folder of a dataset to write in; what was made of it is removed if nothing was committed."""
    folder = ClaimedFolder(directory, mode, durable=True)
    try:
        yield folder.directory
    except BaseException:
        with suppress(OSError, SplitDataError):
            if folder.directory.newest_or_none() is None:
                folder.remove_made()
        raise
    finally:
        folder.close()


def carry_out(
    directory: DatasetDirectory,
    steps: list[MergeStep],
    base: Callable[[Manifest | None], Manifest],
    *,
    keep_seconds: float,
    progress: Callable[[int, int], None] | None,
    finish: Callable[[MadeSegment, MergeStep], None] = lambda segment, step: None,
) -> tuple[Manifest, int]:
    """Make all segments and commit them; returns the manifest, and how many bytes were copied.

    Args:
        directory: The dataset, claimed.
        steps: What is to be made.
        base: As `add_segments` takes it.
        keep_seconds: As `add_segments` takes it.
        progress: Called with bytes of bins done and in all.
        finish: Called with each segment when its records are there.
    """
    made: list[MadeSegment] = []
    is_done = False
    sizes = [step.num_bytes for step in steps]
    try:
        for number, step in enumerate(steps, 1):
            made.append(_made(directory, step))
            finish(made[-1], step)
            if progress is not None:
                progress(sum(sizes[:number]), sum(sizes))
        manifest = add_segments(directory, made, base, keep_seconds=keep_seconds)
        is_done = True
    finally:
        for segment in made:
            segment.close()
        if not is_done:
            for segment in made:
                # It may be listed all the same, by a step that failed or was interrupted afterwards: then it stays.
                with suppress(OSError, SplitDataError):
                    directory.remove_segment(segment.id)
    return manifest, sum(segment.num_copied_bytes for segment in made if isinstance(segment, LinkedSegment))


def mend_torn(directory: DatasetDirectory, manifest: Manifest) -> None:
    """Mend what a kill behind the commit may have left: the header of an index, torn while it was written again.

    No reader needs it; without it `verify` would call the dataset damaged.
    """
    if any(directory.index_header(info.id) is None for info in manifest.segments):
        repair(directory.folder)


def _made(directory: DatasetDirectory, step: MergeStep) -> MadeSegment:
    """Put one segment beside the others; no manifest lists it yet."""
    if directory.has_segment(step.id) and not directory.remove_segment(step.id):
        raise BlockingIOError(
            errno.EAGAIN, "another program is putting the same segment here", directory.paths.segment(step.id).folder
        )
    origin, info = step.source.directory, step.info
    if step.is_link:
        return _removed_if_it_fails(directory, step.id, lambda: LinkedSegment(directory, origin, info))

    def rewritten() -> SegmentWriter:
        first = step.source.manifest.position_of(info.id) or 0
        files = SegmentFiles(origin.paths.segment(info.id), info, first, OpenFiles("pread"))
        target = new_target(directory, origin, step.source.manifest, (info,), step.id, num_bins=info.num_bins)
        is_whole = False
        try:
            is_whole = fill([files], target)
        finally:
            if not is_whole:
                target.close()
        if not is_whole:
            raise FormatError(
                f"{origin.paths.segment(info.id).folder}: its records are not those that the manifest counts; "
                f"`splitdata verify {origin.folder}` tells more",
                path=origin.folder,
            )
        return target

    return _removed_if_it_fails(directory, step.id, rewritten)


def _removed_if_it_fails(directory: DatasetDirectory, segment_id: str, make: Callable[[], MadeSegment]) -> MadeSegment:
    try:
        return make()
    except BaseException:
        with suppress(OSError, SplitDataError):
            directory.remove_segment(segment_id)
        raise
