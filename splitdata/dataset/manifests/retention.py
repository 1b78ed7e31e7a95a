"""Retention: which old manifests, and segments that only they list, may go; and the removal of a whole dataset.

    reader ── shared lock ──> manifest.0000000040.json       for as long as it has that snapshot open
    writer, after a commit ─> each manifest behind the newest 8
                                | lists a segment that the next one does not list,
                                | and the next one is younger than an hour? ──────── yes ──> stays
                                | exclusive lock? ────────────────────────────────── no ───> stays
                              removed, and the segments in it that no other manifest lists

So a reader keeps its snapshot while small segments are folded or the dataset is replaced, and where locks work
no clock decides when it ends. A job on another machine, that shares no locks, has an hour. Folders of writers at
work are in no manifest; those of killed ones are removed when nobody has written in them for a day. A sealed part waits
for its commit for a week, unless the dataset is replaced, or another part of its name committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.storage import files

if TYPE_CHECKING:
    from splitdata.storage.folder import Folder

__all__ = [
    "ABANDONED_SECONDS",
    "KEPT_MANIFESTS",
    "KEPT_SECONDS",
    "WAITING_SECONDS",
    "Pin",
    "remove_abandoned",
    "remove_dataset",
    "remove_superseded",
    "remove_unlisted",
]

# Manifests that stay for readers which have listed them and are about to open them.
KEPT_MANIFESTS: Final = 8
# So long a manifest whose segments were replaced stays for readers that have it open without a lock.
KEPT_SECONDS: Final = 3600.0
# So long what a killed writer has left stays for `repair --adopt`, behind the last byte that was written there.
ABANDONED_SECONDS: Final = 24 * 3600.0
# So long a sealed part waits for its commit, behind its sealing or the last attempt to commit it.
WAITING_SECONDS: Final = 7 * 24 * 3600.0
# So many stay for that at most.
_MOST_KEPT: Final = 1000
# A manifest of which nothing was replaced goes with one of the next commits; so only the newest of those behind
# the 8 are read, and what is still there behind them was kept before.
_MOST_READ: Final = 32


class Pin:
    """Keeps one manifest and its segments from being removed, until it is dropped or the process ends."""

    # For an object whose construction has failed.
    _descriptor = -1

    def __init__(self, descriptor: int) -> None:
        """Take the descriptor of a manifest on which the shared lock is held."""
        self._descriptor = descriptor

    @classmethod
    def take(cls, directory: DatasetDirectory, generation: int) -> Self | None:
        """Pin a generation; None if its manifest is gone, or is being removed."""
        name = directory.paths.manifest_name(generation)
        try:
            with directory.opened() as root:
                descriptor = root.open_file(name)
                if files.lock(descriptor, shared=True) and root.is_named(descriptor, name):
                    return cls(descriptor)
        except FileNotFoundError:
            return None
        files.close(descriptor)
        return None

    def __del__(self, close: Callable[[int], None] = files.close) -> None:
        """Let it go; what that takes is bound here, as at exit the names of this module may be gone already."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            close(descriptor)


def remove_superseded(
    directory: DatasetDirectory, current: int, *, keep: int = KEPT_MANIFESTS, keep_seconds: float = KEPT_SECONDS
) -> None:
    """Remove what no reader needs any more, after a commit.

    Args:
        directory: Of the dataset.
        current: The newest generation.
        keep: How many of the newest manifests stay in any case.
        keep_seconds: How long a manifest stays behind them after a commit has replaced segments that it lists.
    """
    with directory.held() as held:
        generations = held.generations()
        kept = _kept_by_time(held, generations, current - keep, keep_seconds) if keep_seconds > 0 else set()
        for generation in generations:
            if generation <= current - keep and generation not in kept:
                _remove_generation(held, generation)


def _kept_by_time(directory: DatasetDirectory, generations: list[int], last: int, keep_seconds: float) -> set[int]:
    """Return which manifests up to the generation `last` stay because segments of them were replaced just now.

    By the time of the file that no longer lists them, which stays, too: it says when that was.
    """
    old = [pair for pair in pairwise(generations) if pair[0] <= last]
    kept: set[int] = set()
    now = time.time()
    for number, (generation, successor) in enumerate(old):
        num_behind = len(old) - number
        with suppress(FileNotFoundError):
            if num_behind > _MOST_KEPT or now - _written_at(directory, successor) >= keep_seconds:
                continue
            if num_behind > _MOST_READ or _has_replaced(directory, generation, successor):
                kept |= {generation, successor}
    return kept


def _written_at(directory: DatasetDirectory, generation: int) -> float:
    with directory.opened() as root:
        return root.written_at(directory.paths.manifest_name(generation))


def _has_replaced(directory: DatasetDirectory, generation: int, successor: int) -> bool:
    """Say whether a manifest lists segments that the next one does not list; True where one cannot be read."""
    try:
        before, after = directory.read(generation), directory.read(successor)
    except FormatError:
        return True
    return not {segment.id for segment in before.segments} <= {segment.id for segment in after.segments}


def remove_unlisted(directory: DatasetDirectory, *, part_seconds: float) -> None:
    """Remove the segments of killed writers, which no manifest lists, when the dataset that they were for was replaced.

    They would be taken for the new one's: `repair --adopt` would bring records of the old one back.

    Args:
        directory: Of the dataset.
        part_seconds: As `remove_segment` takes it: 0 where the dataset was replaced that parts were for.

    Raises:
        FormatError: If a manifest is damaged; nothing was removed then.
    """
    listed: set[str] = set()
    with directory.held() as held:
        for generation in held.generations():
            with suppress(FileNotFoundError):
                listed |= {segment.id for segment in held.read(generation).segments}
        for segment_id in held.segment_ids():
            # Without a header it may be that of a writer which has not taken its lock yet.
            if segment_id not in listed and held.index_header(segment_id) is not None:
                held.remove_segment(segment_id, part_seconds=part_seconds)


def remove_abandoned(directory: DatasetDirectory, *, seconds: float) -> int:
    """Remove the segments that no manifest lists, whose locks are free, and in which nobody has written for so long.

    Returns:
        How many were removed.

    Raises:
        FormatError: If a manifest is damaged; nothing was removed then.
    """
    with directory.held() as held:
        listed = {segment.id for segment in held.newest().segments}
        # Nearly always there is none, and no other manifest needs to be read.
        old = [one for one in held.segment_ids() if one not in listed and _is_old(held, one, seconds)]
        for generation in held.generations() if old else ():
            with suppress(FileNotFoundError):
                listed |= {segment.id for segment in held.read(generation).segments}
        orphans = [one for one in old if one not in listed]
        return sum([held.remove_segment(one, part_seconds=WAITING_SECONDS) for one in orphans])


def _is_old(directory: DatasetDirectory, segment_id: str, seconds: float) -> bool:
    """Say whether nothing in the folder of a segment was written for so long."""
    # Without a header it may be that of a writer which has not taken its lock yet.
    if directory.index_header(segment_id) is None:
        seconds = max(seconds, KEPT_SECONDS)
    now = time.time()
    try:
        with directory.open_segments() as segments, segments.sub(segment_id) as folder:
            times = [segments.written_at(segment_id), *map(folder.written_at, folder.names())]
    except (FileNotFoundError, NotADirectoryError, FormatError):
        # Gone meanwhile, or no folder at all.
        return False
    return all(now - written >= seconds for written in times)


def _remove_generation(directory: DatasetDirectory, generation: int) -> None:
    """Remove one manifest, and before it the segments that only it lists, unless a reader has pinned it.

    In this order: a kill in between leaves an old manifest, with which the next commit goes on, and
    no segment that nothing speaks of any more.
    """
    try:
        with directory.opened() as root:
            lock = root.open_locked(directory.paths.manifest_name(generation))
    except FileNotFoundError:
        return
    if lock is None:
        return
    with lock:
        superseded = _listed_nowhere_else(directory, generation)
        if superseded is None:
            return
        # A list, so that the others go where one cannot; then the manifest stays, as it speaks of that one.
        # One that was a part was committed once.
        if all([directory.remove_segment(segment_id, part_seconds=0) for segment_id in superseded]):
            directory.remove_manifest(generation)


def _listed_nowhere_else(directory: DatasetDirectory, generation: int) -> set[str] | None:
    """Return the segments of one manifest that no other one lists, None if one of them cannot be read."""
    try:
        listed = {segment.id for segment in directory.read(generation).segments}
        # The newest one lists most of them still; the older ones are read only where it does not.
        for other in reversed(directory.generations()):
            if not listed:
                break
            if other != generation:
                # One that has gone meanwhile, by another writer's hand, lists nothing any more.
                with suppress(FileNotFoundError):
                    listed -= {segment.id for segment in directory.read(other).segments}
    except FormatError:
        # Only repair can find out what a damaged manifest lists.
        return None
    return listed


def remove_dataset(parent: Folder, name: str) -> None:
    """Remove a dataset that nobody uses any more; readers that have it open keep what they have mapped.

    Only files by names that a dataset can have are removed. What else lies there stays, and so does a segment
    in which a writer is at work: then the folder stays, too, for another call. What a link leads to is not ours.

    Args:
        parent: The folder that it is in.
        name: Of its directory.
    """
    if not parent.has_folder(name):
        return
    with parent.sub(name) as root:
        directory = DatasetDirectory(root.path, root)
        # The manifests first: what is left half way is no dataset.
        for entry in root.names():
            if directory.paths.generation_of_name(entry) is not None or directory.paths.is_scratch(entry):
                root.remove(entry)
        if root.has_folder(spec.SEGMENTS_FOLDER):
            for segment_id in directory.segment_ids():
                if directory.has_segment(segment_id):
                    with suppress(OSError):
                        directory.remove_segment(segment_id, part_seconds=0)
        with suppress(OSError):
            root.remove_directory(spec.SEGMENTS_FOLDER)
    with suppress(OSError):
        parent.remove_directory(name)
