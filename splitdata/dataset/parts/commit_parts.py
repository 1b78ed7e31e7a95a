"""commit_parts: parts that several writers have made become visible in one commit, in the order of a list, each once.

So positions follow from the list, whichever attempt at a part was first, last or repeated.

    descriptors ── twice the same name? the first ── listed already? done ──> the rest, proven ──> one commit
                                                       `─ with other records? an error
    afterwards: other attempts at the same parts are removed
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from splitdata._local_path import local_path
from splitdata._shown import shown
from splitdata.dataset.manifests.declared_codec import RECORD_CODEC, stated_codec
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import ABANDONED_SECONDS, KEPT_SECONDS, remove_abandoned
from splitdata.dataset.manifests.stamp import restamped, stamped, unstamped
from splitdata.dataset.manifests.stated_schema import check_schema
from splitdata.dataset.parts.descriptor import PartDescriptor
from splitdata.dataset.parts.part_file import read_part_file
from splitdata.dataset.parts.part_segment import PartSegment
from splitdata.dataset.repair.repair import repair
from splitdata.dataset.writing.claimed_folder import ClaimedFolder
from splitdata.dataset.writing.commit import add_segments
from splitdata.errors import DatasetNotFoundError, FormatError, ManifestError, SplitDataError
from splitdata.format import spec
from splitdata.format.manifest import Manifest, encode_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PartsReport", "commit_parts", "part_names", "waiting_parts"]

_NO_MANIFEST: Final = Manifest(generation=0, dataset_id="")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsReport:
    """The report of `commit_parts`.

    Attributes:
        path: The dataset.
        generation: Of its newest manifest afterwards.
        num_records: Its records afterwards.
        positions: Of the records that this call has added.
        num_committed: Parts that this call has listed; those without records leave nothing to list.
        num_there: Parts that an earlier call had listed.
        num_doubles: Further attempts at a part in the list, of which none counts.
    """

    path: str
    generation: int
    num_records: int
    positions: range
    num_committed: int
    num_there: int
    num_doubles: int


class _OvertakenError(Exception):
    """Another program has committed some of these parts meanwhile."""


def commit_parts(
    path: str | os.PathLike[str],
    descriptors: Iterable[dict[str, Any]],
    *,
    metadata: dict[str, Any] | None = None,
    reproducible: bool = False,
    keep_seconds: float = KEPT_SECONDS,
) -> PartsReport:
    """Make parts visible, behind what the dataset has, in one commit and in the order of the list.

    Called again with the same list it does nothing. A part that was written several times counts once: of those in the
    list the first, of one that is committed already none. So a retry, a straggler or a lost machine neither doubles
    nor loses a record, and positions follow from the list alone. All or nothing: after an error the dataset is as it
    was. Keys are unique within each part; of two parts with one key the later is found.

    Costs a few small reads and one write a part, and one commit.

    Args:
        path: The dataset; where there is none, this makes it.
        descriptors: What `PartWriter.descriptor` or `waiting_parts` gave.
        metadata: Replace those of the dataset, key by key, in the same commit.
        reproducible: Leave out when and by what it was committed, and derive the id of a new dataset from its parts,
            so that equal parts give equal files.
        keep_seconds: As `SplitWriter` takes it.

    Raises:
        ValueError, TypeError: If a descriptor or the metadata are invalid, or parts have records of different codecs.
        ManifestError: If a part is not there, is another than was described, or was committed with other records.
        FormatError: If a part is damaged.
        SchemaError: If parts declare different schemas.
        BlockingIOError: If another program is at work in a part.
    """
    if isinstance(descriptors, (dict, str, bytes)):
        raise TypeError("descriptors must be several, as a list; this is one")
    if metadata:
        encode_metadata(metadata)
    given = [PartDescriptor.from_json(one) for one in descriptors]
    folder = ClaimedFolder(DatasetDirectory(local_path(path, "the dataset")), "append", durable=True)
    try:
        while True:
            with suppress(_OvertakenError):
                return _PartsCommit(folder.directory, given, metadata, reproducible, keep_seconds).carry_out()
    except BaseException:
        with suppress(OSError, SplitDataError):
            if folder.directory.newest_or_none() is None:
                folder.remove_made()
        raise
    finally:
        folder.close()


def waiting_parts(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the descriptors of all sealed parts that wait in a directory, by name, then by segment; [] if none do.

    Of a part that was written several times it returns each attempt. Reads one small file a part.

    Raises:
        ManifestError: If what a part says of itself is damaged.
        ValueError: If the path is a URL.
    """
    directory = DatasetDirectory(local_path(path, "the dataset"))
    found = _waiting(directory)
    return [one.to_json() for one in sorted(found, key=lambda one: (one.part, one.segment))]


def part_names(path: str | os.PathLike[str]) -> set[str]:
    """Return the names of all parts in a directory that are committed or wait."""
    directory = DatasetDirectory(local_path(path, "the dataset"))
    names = {one.part for one in _waiting(directory)}
    with suppress(DatasetNotFoundError):
        names |= _names_in(directory.newest())
    return names


def _waiting(directory: DatasetDirectory) -> list[PartDescriptor]:
    listed: set[str] = set()
    with suppress(DatasetNotFoundError):
        listed = {info.id for info in directory.newest().segments}
    found = []
    for segment_id in directory.segment_ids():
        if segment_id not in listed and directory.is_waiting_part(segment_id):
            with suppress(FileNotFoundError):
                found.append(PartDescriptor.of(read_part_file(directory, segment_id).segments[0]))
    return found


class _PartsCommit:
    """One attempt to commit parts, at the dataset as it is now."""

    def __init__(
        self,
        directory: DatasetDirectory,
        given: list[PartDescriptor],
        metadata: dict[str, Any] | None,
        reproducible: bool,
        keep_seconds: float,
    ) -> None:
        self._directory = directory
        self._given = given
        self._metadata = metadata or {}
        self._reproducible = reproducible
        self._keep_seconds = keep_seconds
        current = directory.newest_or_none()
        self._there = current or _NO_MANIFEST
        self._missing = self._not_there()
        self._names = {one.part for one in given}

    def _not_there(self) -> list[PartDescriptor]:
        """Return the first attempt at each part that is not listed."""
        listed = {info.part: info for info in self._there.segments if info.part is not None}
        missing: dict[str, PartDescriptor] = {}
        for one in self._given:
            info = listed.get(one.part)
            if info is None:
                missing.setdefault(one.part, one)
            elif one.segment != info.id and (one.num_records, one.digest) != (info.num_records, info.digest):
                raise ManifestError(
                    f"{self._directory.folder} has a part {shown(one.part)} already, with {info.num_records} records "
                    f"and the digest {info.digest:016x}, and this one has {one.num_records} and {one.digest:016x}; "
                    "nothing was changed: parts of another job need other names",
                    path=self._directory.folder,
                )
        return list(missing.values())

    def carry_out(self) -> PartsReport:
        """Commit what is missing, and remove what is of no more use."""
        try:
            segments, manifest = self._committed()
        except FormatError:
            newest = self._directory.newest_or_none()
            if newest is not None and {one.part for one in self._missing} & _names_in(newest):
                raise _OvertakenError from None
            raise
        self._clear_away(manifest)
        listed = [place for one in segments if (place := manifest.position_of(one.id)) is not None]
        first = min(listed, default=manifest.num_records)
        return PartsReport(
            path=self._directory.folder,
            generation=manifest.generation,
            num_records=manifest.num_records,
            positions=range(first, first + sum(one.num_records for one in segments)),
            num_committed=len(segments),
            num_there=len(self._names & _names_in(self._there)),
            num_doubles=len(self._given) - len(self._names),
        )

    def _committed(self) -> tuple[list[PartSegment], Manifest]:
        """Return the parts that were missing, and the manifest that lists them."""
        # Those without records are listed nowhere; what they say counts where there is nothing else.
        needed = [one for one in self._missing if one.num_records]
        if not needed and not self._there.generation:
            needed = self._missing
        proven = [PartSegment(self._directory, one) for one in needed]
        segments = [one for one in proven if one.num_records]
        has_news = any(self._there.metadata.get(key) != value for key, value in self._metadata.items())
        if not segments and not has_news and self._there.generation:
            self._mend_torn()
            return segments, self._there
        manifest = add_segments(
            self._directory,
            segments,
            lambda current: self._extended(current, [one.stated for one in proven]),
            keep_seconds=self._keep_seconds,
        )
        return segments, manifest

    def _mend_torn(self) -> None:
        """Mend what a kill behind the commit may have left: a header, torn while it was written again."""
        if any(self._directory.index_header(info.id) is None for info in self._there.segments if info.part is not None):
            repair(self._directory.folder)

    def _extended(self, current: Manifest | None, stated: list[Manifest]) -> Manifest:
        """Return the manifest to build upon, with what the parts say of their records."""
        if current is not None and self._names & (_names_in(current) - _names_in(self._there)):
            raise _OvertakenError
        base = current or replace(_NO_MANIFEST, dataset_id=self._new_id())
        if base.generation == spec.MAX_GENERATION:
            raise ManifestError(f"{self._directory.folder} is at generation {base.generation}, the last there is")
        base.check_writable()
        if gone := set(base.replaced) & {one.segment for one in self._missing}:
            raise ManifestError(
                f"{self._directory.folder}: the dataset was replaced since part {min(gone)} was written; nothing was "
                "changed: write it again",
                path=self._directory.folder,
            )
        metadata: dict[str, Any] = {}
        schema = base.schema
        for one in stated:
            metadata = one.metadata | metadata
            _check_like(base, one, stated[0])
            schema = one.schema if schema is None else schema
        metadata = base.metadata | metadata | self._metadata
        encode_metadata(metadata)
        made = replace(base, generation=base.generation + 1, metadata=metadata, schema=schema)
        return unstamped(made) if self._reproducible else restamped(made) if current else stamped(made)

    def _new_id(self) -> str:
        """Return the id of a new dataset."""
        if not self._reproducible or not self._missing:
            return os.urandom(16).hex()
        return self._missing[0].segment

    def _clear_away(self, manifest: Manifest) -> None:
        """Remove attempts at these parts that are not listed; what fails here has changed nothing."""
        with suppress(OSError, FormatError):
            listed = {info.id for info in manifest.segments}
            for one in _waiting(self._directory):
                if one.part in self._names and one.segment not in listed:
                    self._directory.remove_segment(one.segment, part_seconds=0)
            remove_abandoned(self._directory, seconds=ABANDONED_SECONDS)


def _names_in(manifest: Manifest) -> set[str]:
    """Return the names of the parts that a manifest lists."""
    return {info.part for info in manifest.segments if info.part is not None}


def _check_like(base: Manifest, part: Manifest, first: Manifest) -> None:
    """Raise if the records of a part cannot join those of the dataset and of the first part."""
    if not part.num_records:
        return
    codec = stated_codec(part.metadata)
    for other in (first, base):
        if other.num_records and stated_codec(other.metadata) != codec:
            raise ValueError(
                f"records of the codec {shown(stated_codec(other.metadata) or 'none')} and parts of the codec "
                f"{shown(codec or 'none')} cannot be in one dataset ({RECORD_CODEC} in their metadata)"
            )
    check_schema(first, part.schema)
    if base.num_records or base.schema is not None:
        check_schema(base, part.schema)
