"""The commit: a segment enters the manifest, against any number of rivals.

    newest manifest g ──> + own segment ──> publish as g+1 ── taken? ──> begin again
                                                 |
                              newest manifest has own segment? ── no ──> remove own g+1, begin again
                                                 | yes
                                              committed

The look back is needed because old manifests are removed: a slow writer can find number g+1
free only since its rivals have gone far beyond it.
"""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from splitdata._shown import one_line
from splitdata.dataset.manifests.declared_codec import RECORD_CODEC, check_codec
from splitdata.dataset.manifests.retention import (
    ABANDONED_SECONDS,
    KEPT_SECONDS,
    remove_abandoned,
    remove_superseded,
    remove_unlisted,
)
from splitdata.dataset.manifests.stamp import restamped, stamped, unstamped
from splitdata.dataset.manifests.stated_schema import check_schema
from splitdata.errors import DatasetExistsError, FormatError, ManifestError
from splitdata.format import spec
from splitdata.format.manifest import Manifest, encode_metadata
from splitdata.storage.publish import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.segments.segment_writer import SegmentWriter
    from splitdata.format.manifest import SegmentInfo

__all__ = ["Committer", "MovedError", "NewSegment", "add_segments", "replace_segments", "replace_tail"]

_logger = logging.getLogger(__name__)


class NewSegment(Protocol):
    """A segment that is to be listed: what a commit asks of it."""

    @property
    def id(self) -> str:
        """32 hex digits."""

    @property
    def num_records(self) -> int:
        """Records that it holds."""

    def info(self) -> SegmentInfo:
        """Return the entry that lists it."""

    def sync(self, *, first_position: int, durable: bool, is_first_commit: bool) -> None:
        """Bring all of it to the files, and to the medium."""

    def check_in_place(self, directory: DatasetDirectory) -> None:
        """Raise if it does not lie where a manifest in this directory would list it."""

    def mark_committed(self) -> None:
        """Take note that a manifest lists it now."""


class MovedError(Exception):
    """Another writer's segment lies behind ours, so what is pending must go into a new one."""


class Committer:
    """Puts the segments of one writer into the manifest of one dataset.

    Attributes:
        directory: Of the dataset.
        manifest: The newest one in which this writer's records are, None before.
    """

    def __init__(
        self,
        directory: DatasetDirectory,
        *,
        dataset_id: str,
        replaces: bool,
        creates: bool,
        durable: bool,
        has_stamp: bool,
        resumes: Manifest | None = None,
        keep_seconds: float = KEPT_SECONDS,
        schema: bytes | None = None,
    ) -> None:
        """Say what the first commit does.

        Args:
            directory: Of the dataset.
            dataset_id: For a dataset that does not exist yet.
            replaces: The first commit leaves out all that was there before.
            creates: The first commit must find nothing.
            durable: Whether commits wait for the medium.
            has_stamp: Whether manifests say which program made them, and when.
            resumes: The newest manifest, if its last segment is resumed: then no commit is the first.
            keep_seconds: As `remove_superseded` takes it.
            schema: That the dataset declares, or is to declare with the first commit.
        """
        self.manifest = resumes
        self.directory = directory
        self._dataset_id = dataset_id
        self._replaces = replaces
        self._creates = creates
        self._durable = durable
        self._stamp = stamped if has_stamp else unstamped
        self._keep_seconds = keep_seconds
        self._schema = schema

    def commit(
        self, segment: SegmentWriter | None, metadata: dict[str, Any] | None = None, *, adds: dict[str, Any]
    ) -> int:
        """List all that was appended to a segment; returns the position of its first record.

        Args:
            segment: None only makes the dataset itself, and its metadata.
            metadata: Replace those of the dataset, key by key.
            adds: Metadata that the first commit of this writer adds.

        Raises:
            MovedError: If the segment is listed already and no longer the last one.
            ManifestError: If the dataset, or the segment in it, was replaced meanwhile.
            ValueError: If the metadata become too large, or the dataset has records of another codec.
            SchemaError: If the dataset declares another schema by now.
        """
        while True:
            current = self.directory.newest_or_none()
            base = self._stamp(self._base(current, adds, segment))
            if metadata:
                base = replace(base, metadata=base.metadata | metadata)
                encode_metadata(base.metadata)
            first = base.num_records
            if segment is not None:
                listed = base.position_of(segment.id)
                if listed is not None and segment.pending.num_records and base.segments[-1].id != segment.id:
                    raise MovedError
                if listed is None and len(base.segments) >= spec.MAX_SEGMENTS:
                    raise ManifestError(
                        f"{self.directory.folder} has {len(base.segments)} segments, the limit; "
                        "read it and write its records into a new dataset"
                    )
                first = first if listed is None else listed
                segment.sync(first_position=first, durable=self._durable, is_first_commit=current is None)
                base = base.with_segment(segment.info())
            if self._publish(base, segment):
                self._finish(base)
                return first

    def _base(self, current: Manifest | None, adds: dict[str, Any], segment: SegmentWriter | None) -> Manifest:
        """Return the manifest to build upon, with the number that the new one is to have."""
        if current is None:
            if self.manifest is not None:
                raise ManifestError(f"{self.directory.folder}: its manifests were removed while this writer worked")
            return Manifest(generation=1, dataset_id=self._dataset_id, metadata=adds, schema=self._schema)
        generation = current.generation + 1
        if generation > spec.MAX_GENERATION:
            raise ManifestError(
                f"{self.directory.folder} is at generation {current.generation}, the last there is; copy its records"
            )
        if self.manifest is None:
            if self._creates:
                raise DatasetExistsError(
                    f"{self.directory.folder}: another program has written a dataset here meanwhile",
                    path=self.directory.folder,
                )
            if self._replaces:
                own = None if segment is None else segment.id
                return Manifest(
                    generation=generation,
                    dataset_id=self._dataset_id,
                    metadata=adds,
                    schema=self._schema,
                    # Also those of writers at work: they can commit no more, and what they leave is not this dataset's.
                    replaced=tuple(one for one in self.directory.segment_ids() if one != own),
                )
            current.check_writable()
            check_codec(current, adds.get(RECORD_CODEC))
            check_schema(current, self._schema)
            metadata = current.metadata | adds
            return replace(self._pruned(current), generation=generation, metadata=metadata, schema=self._schema)
        if current.dataset_id != self.manifest.dataset_id:
            raise ManifestError(f"{self.directory.folder}: the dataset was replaced while this writer was at work")
        return replace(self._pruned(current), generation=generation)

    def _pruned(self, current: Manifest) -> Manifest:
        """Return a manifest without the ids of replaced segments that are gone by now."""
        left = tuple(one for one in current.replaced if self.directory.has_segment(one))
        return current if left == current.replaced else replace(current, replaced=left)

    def check_not_replaced(self) -> None:
        """Raise if the dataset in which this writer has committed was replaced: it can commit no more.

        Raises:
            ManifestError: If so.
        """
        if self.manifest is not None and self.directory.newest().dataset_id != self.manifest.dataset_id:
            raise ManifestError(f"{self.directory.folder}: the dataset was replaced while this writer was at work")

    def _publish(self, manifest: Manifest, segment: SegmentWriter | None) -> bool:
        segments = () if segment is None else (segment,)
        return _publish(self.directory, manifest, segments, durable=self._durable)

    def _finish(self, manifest: Manifest) -> None:
        is_first = self.manifest is None
        self.manifest = manifest
        try:
            if is_first and self._replaces:
                # Who overwrites has said that the old records are to go.
                remove_superseded(self.directory, manifest.generation, keep=1, keep_seconds=0)
                remove_unlisted(self.directory, part_seconds=0)
            remove_superseded(self.directory, manifest.generation, keep_seconds=self._keep_seconds)
            if is_first:
                remove_abandoned(self.directory, seconds=ABANDONED_SECONDS)
        except (OSError, FormatError) as error:
            # The commit stands. What should be gone only takes up room.
            _logger.warning(
                "%s: cannot remove what is no longer needed: %s", one_line(self.directory.folder), one_line(error)
            )


def add_segments(
    directory: DatasetDirectory,
    segments: Sequence[NewSegment],
    base: Callable[[Manifest | None], Manifest],
    *,
    keep_seconds: float = KEPT_SECONDS,
) -> Manifest:
    """List segments that are whole and sealed behind all others, in one commit; returns its manifest.

    Args:
        directory: Of the dataset, which need not exist yet.
        segments: In the order of their positions; none is listed yet.
        base: Returns the manifest to build upon, given the newest one or None: its generation is that of the new one.
            Called again where a rival was faster.
        keep_seconds: As `remove_superseded` takes it.

    Raises:
        What `base` raises; nothing was changed then.
    """
    while True:
        current = directory.newest_or_none()
        manifest = base(current)
        if len(manifest.segments) + len(segments) > spec.MAX_SEGMENTS:
            raise ManifestError(
                f"{directory.folder} would have {len(manifest.segments) + len(segments)} segments, the limit is "
                f"{spec.MAX_SEGMENTS}: `splitdata compact` makes few of many small ones"
            )
        for segment in segments:
            segment.sync(first_position=manifest.num_records, durable=True, is_first_commit=current is None)
            manifest = manifest.with_segment(segment.info())
        if _publish(directory, manifest, segments, durable=True):
            for segment in segments:
                segment.mark_committed()
            _clear_superseded(directory, manifest.generation, keep_seconds)
            return manifest


def replace_segments(
    directory: DatasetDirectory,
    replaced: tuple[SegmentInfo, ...],
    segment: SegmentWriter,
    *,
    durable: bool,
    keep_seconds: float = KEPT_SECONDS,
) -> bool:
    """Put one sealed segment in the place of several that hold the same records; False if they are no longer there.

    Positions stay as they are, so readers and writers of the dataset notice nothing.
    """
    while True:
        current = directory.newest()
        ids = [info.id for info in current.segments]
        start = ids.index(replaced[0].id) if replaced[0].id in ids else 0
        if current.segments[start : start + len(replaced)] != replaced:
            return False
        first_position = sum(info.num_records for info in current.segments[:start])
        segment.sync(first_position=first_position, durable=durable, is_first_commit=False)
        # Of one segment alone the same part is written anew.
        info = replace(segment.info(), part=replaced[0].part if len(replaced) == 1 else None)
        segments = (*current.segments[:start], info, *current.segments[start + len(replaced) :])
        manifest = restamped(replace(current, generation=current.generation + 1, segments=segments))
        if _publish(directory, manifest, (segment,), durable=durable):
            segment.mark_committed()
            _clear_superseded(directory, manifest.generation, keep_seconds)
            return True


def replace_tail(
    directory: DatasetDirectory,
    kept: tuple[SegmentInfo, ...],
    replaced: tuple[SegmentInfo, ...],
    segments: Sequence[NewSegment],
    *,
    keep_seconds: float,
) -> None:
    """Put sealed segments with other records in the place of the last ones: from then on it is another dataset.

    Raises:
        ManifestError: If another program has committed meanwhile; nothing was changed.
    """
    current = directory.newest()
    overtaken = f"{directory.folder}: another program has committed meanwhile; nothing was changed, try again"
    if current.segments != (*kept, *replaced):
        raise ManifestError(overtaken)
    manifest = replace(
        current,
        generation=current.generation + 1,
        dataset_id=os.urandom(16).hex(),
        segments=kept,
        replaced=tuple(info.id for info in replaced),
    )
    for segment in segments:
        segment.sync(first_position=manifest.num_records, durable=True, is_first_commit=False)
        manifest = manifest.with_segment(segment.info())
    manifest = restamped(manifest)
    if not _publish(directory, manifest, segments, durable=True):
        raise ManifestError(overtaken)
    _clear_superseded(directory, manifest.generation, keep_seconds)


def _publish(directory: DatasetDirectory, manifest: Manifest, segments: Sequence[NewSegment], *, durable: bool) -> bool:
    """Make a manifest that lists these segments with others; False if a rival was faster: nothing was changed then."""
    with directory.held() as held, held.opened() as root:
        for segment in segments:
            segment.check_in_place(held)
        if not publish(root, manifest.generation, manifest.encode(), durable=durable):
            return False
    newest = directory.newest()
    if newest.generation == manifest.generation:
        return True
    listed = [(newest.find(segment.id), segment) for segment in segments]
    if newest.dataset_id == manifest.dataset_id and all(
        info is not None and info.num_records >= segment.num_records for info, segment in listed
    ):
        return True
    directory.remove_manifest(manifest.generation)
    return False


def _clear_superseded(directory: DatasetDirectory, generation: int, keep_seconds: float) -> None:
    try:
        remove_superseded(directory, generation, keep_seconds=keep_seconds)
    except (OSError, FormatError) as error:
        # The commit stands. What should be gone only takes up room.
        _logger.warning("%s: cannot remove what is no longer needed: %s", one_line(directory.folder), one_line(error))
