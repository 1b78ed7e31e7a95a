"""The list of segments made again: what the newest intact manifest says, and what index headers say goes on from it.

Each position must have exactly one claim; where two segments claim it, or none does, nothing is decided here.

    manifest 41 (intact)   a: 0..9   b: 10..14                 42 is damaged, or was deleted
    index headers          b counts 8 records, from 10         -> b: 10..17
                           c counts 5 records, from 18         -> c: 18..22
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from splitdata.errors import FormatError, ManifestError, UnsupportedVersionError
from splitdata.format import spec
from splitdata.format.digest import EMPTY_DIGEST, join_digests
from splitdata.format.manifest import SegmentInfo
from splitdata.storage import files
from splitdata.storage.publish import publish

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.index import IndexHeader
    from splitdata.format.manifest import Manifest

__all__ = [
    "ManifestsOnDisk",
    "continue_segments",
    "info_of_header",
    "look_at_manifests",
    "old_dataset_id",
    "publish_manifest",
]

# Commits count by one. At a thousand a second this many take two months, in which not one manifest stayed intact.
_MOST_AHEAD: Final = spec.MAX_GENERATION // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestsOnDisk:
    """The manifests of a dataset, intact or not.

    Attributes:
        intact: The newest intact one, None if there is none.
        damaged: Numbers of those above it, which are damaged; descending.
        odd: Numbers of those below it whose names something else than a file has; descending.
        listed: What the newest intact one lists, with what an older one lists for the same records in the place of
            a segment that is gone.
        stand_ins: For each such place the id of what is gone, and how many segments stand for it.
        superseded: Ids of segments that older manifests list and these are not among: they were
            replaced or folded, readers may have them open, and writers remove them in time.
    """

    intact: Manifest | None
    damaged: tuple[int, ...]
    odd: tuple[int, ...]
    listed: tuple[SegmentInfo, ...]
    stand_ins: tuple[tuple[str, int], ...]
    superseded: frozenset[str]

    @property
    def far(self) -> tuple[int, ...]:
        """Those of the damaged ones whose numbers no commit can have reached: no new manifest needs to lie behind them.

        Behind the last number that there is none could.
        """
        base = self.intact.generation if self.intact else 0
        return tuple(number for number in self.damaged if number - base > _MOST_AHEAD)

    @property
    def next_generation(self) -> int:
        """The number that a new manifest must have."""
        base = self.intact.generation if self.intact else 0
        newest = max((base, *(number for number in self.damaged if number not in self.far)))
        if newest >= spec.MAX_GENERATION:
            raise ManifestError(f"generation {newest} is the last there is: no manifest can be added")
        return newest + 1


def look_at_manifests(directory: DatasetDirectory) -> ManifestsOnDisk:
    """Read manifests, the newest first, until one is intact.

    Raises:
        UnsupportedVersionError: If one needs a newer splitdata.
        FormatError: If something else than a file has the name of the newest manifest.
    """
    damaged: list[int] = []
    odd: list[int] = []
    intact: list[Manifest] = []
    for generation in reversed(directory.generations()):
        try:
            manifest = directory.read(generation)
        except FileNotFoundError:
            continue
        except ManifestError:
            if not intact:
                damaged.append(generation)
            continue
        except UnsupportedVersionError:
            raise
        except FormatError:
            if not intact:
                raise
            odd.append(generation)
            continue
        if not intact:
            manifest.check_writable()
        intact.append(manifest)
    listed, stand_ins = _with_stand_ins(directory, intact) if intact else ((), ())
    ids = {segment.id for segment in listed}
    return ManifestsOnDisk(
        intact=intact[0] if intact else None,
        damaged=tuple(damaged),
        odd=tuple(odd),
        listed=listed,
        stand_ins=stand_ins,
        superseded=frozenset(segment.id for manifest in intact for segment in manifest.segments) - ids,
    )


def _with_stand_ins(
    directory: DatasetDirectory, manifests: list[Manifest]
) -> tuple[tuple[SegmentInfo, ...], tuple[tuple[str, int], ...]]:
    """Return what the newest manifest lists, each segment that is gone replaced by what held its records before."""
    listed: list[SegmentInfo] = []
    stand_ins: list[tuple[str, int]] = []
    for info in manifests[0].segments:
        first = sum(one.num_records for one in listed)
        found: tuple[SegmentInfo, ...] = ()
        if not _is_there(directory, info):
            older = (manifest for manifest in manifests[1:] if manifest.dataset_id == manifests[0].dataset_id)
            candidates = (_segments_of(manifest, first, info) for manifest in older)
            found = next((some for some in candidates if some and all(_is_there(directory, one) for one in some)), ())
        if found:
            stand_ins.append((info.id, len(found)))
        listed += found or [info]
    return tuple(listed), tuple(stand_ins)


def _is_there(directory: DatasetDirectory, info: SegmentInfo) -> bool:
    return directory.has_segment(info.id)


def _segments_of(manifest: Manifest, first_position: int, info: SegmentInfo) -> tuple[SegmentInfo, ...]:
    """Return the segments of a manifest that hold exactly the records of another, which begins at a position."""
    found: list[SegmentInfo] = []
    position, digest = 0, EMPTY_DIGEST
    for segment in manifest.segments:
        if first_position <= position < first_position + info.num_records:
            found.append(segment)
            digest = join_digests(digest, segment.digest, segment.num_records)
        position += segment.num_records
    is_same = sum(one.num_records for one in found) == info.num_records and digest == info.digest
    return tuple(found) if is_same and info.id not in {one.id for one in found} else ()


def old_dataset_id(directory: DatasetDirectory, damaged: tuple[int, ...]) -> str | None:
    """Return the dataset's id as a damaged manifest still shows it; nothing depends on its truth."""
    for generation in damaged:
        with directory.opened() as root:
            descriptor = root.open_file(directory.paths.manifest_name(generation))
        try:
            found = re.search(rb'"dataset":"([0-9a-f]{32})"', files.read_at(descriptor, 4096, 0))
        finally:
            files.close(descriptor)
        if found:
            return found[1].decode()
    return None


def info_of_header(header: IndexHeader) -> SegmentInfo:
    """Return the manifest entry that an index header asks for."""
    return SegmentInfo(
        id=header.segment_id,
        num_records=header.num_records,
        num_bins=header.num_bins,
        is_sealed=header.is_sealed,
        digest=header.digest,
        raw_bytes=header.raw_bytes,
        stored_bytes=header.stored_bytes,
        group=header.group,
        features=header.features,
    )


def continue_segments(
    listed: tuple[SegmentInfo, ...],
    headers: dict[str, IndexHeader],
    others: list[SegmentInfo],
    *,
    last_grown: SegmentInfo | None = None,
    folder: str,
    is_strict: bool,
) -> list[SegmentInfo]:
    """Return the listed segments and those that go on from them, in the order of positions.

    Args:
        listed: By the newest intact manifest.
        headers: Intact index headers by segment id.
        others: Segments that have records and no header to say where they belong.
        last_grown: The last listed one with what its bins hold, if its header cannot say.
        folder: Of the dataset, for messages.
        is_strict: A manifest is known to have listed more: so raise where it is not clear what, instead of
            stopping there.

    Raises:
        ManifestError: If two segments claim a position, or none does.
    """
    chain = _Chain(listed, headers, folder=folder, is_strict=is_strict)
    if last_grown is not None:
        chain.grown[last_grown.id] = last_grown
    if is_strict:
        chain.check_not_replaced()
    while chain.advance():
        pass
    if is_strict and others:
        chain.add_other(others)
        while chain.advance():
            pass
    if is_strict:
        chain.check_complete()
    return chain.segments


class _Chain:
    """Segments end to end, and the claims that may go on from there."""

    def __init__(
        self, listed: tuple[SegmentInfo, ...], headers: dict[str, IndexHeader], *, folder: str, is_strict: bool
    ) -> None:
        self.segments = [_sealed_as(info, headers.get(info.id)) if is_strict else info for info in listed]
        self.grown = {one: info_of_header(header) for one, header in headers.items()}
        self._folder = folder
        self._is_strict = is_strict
        self._total = sum(info.num_records for info in listed)
        known = {info.id for info in listed}
        claims = [header for header in headers.values() if header.segment_id not in known and header.num_records]
        claims = _without_copies(claims, listed)
        # A first commit that was interrupted claims the same positions as the one that succeeded.
        settled = [header for header in claims if not header.awaits_first_commit]
        may_await = is_strict and not listed and not any(header.first_position == 0 for header in settled)
        self._claims = claims if may_await else settled

    def check_not_replaced(self) -> None:
        """Raise if a segment claims the dataset's first position beside the listed ones: was all replaced?"""
        first = [claim for claim in self._claims if claim.first_position == 0]
        if self._total and first:
            self._refuse(0, [self.segments[0].id, first[0].segment_id])

    def advance(self) -> bool:
        """Add the one segment, or the records of the last one, that go on from here; False if there is none."""
        last = self.segments[-1] if self.segments else None
        grown = self.grown.get(last.id) if last and not last.is_sealed else None
        grown = grown if grown and last and grown.num_records > last.num_records else None
        end = self._total + (grown.num_records - last.num_records if grown and last else 0)
        here = [claim for claim in self._claims if self._total <= claim.first_position < max(end, self._total + 1)]
        if len(here) + (grown is not None) > 1:
            if self._is_strict:
                names = [claim.segment_id for claim in here] + ([grown.id] if grown else [])
                self._refuse(self._total, names)
            return False
        if grown and last:
            self.segments[-1] = replace(grown, features=last.features, others=last.others)
            self._total = end
        elif here:
            self._add(info_of_header(here[0]))
        return bool(grown or here)

    def add_other(self, others: list[SegmentInfo]) -> None:
        """Add a segment of which only the length is known, where it must be."""
        if len(others) > 1:
            self._refuse(self._total, [info.id for info in others])
        self._add(others[0])

    def check_complete(self) -> None:
        """Raise if a segment lies behind positions that no segment has."""
        behind = [claim for claim in self._claims if claim.first_position > self._total]
        if behind:
            raise ManifestError(
                f"{self._folder}: no segment has the positions from {self._total} on, and segment "
                f"{behind[0].segment_id} begins at {behind[0].first_position}: restore what is missing, or remove "
                "the folder of that segment if its records were never committed; nothing was changed",
                path=self._folder,
            )

    def _add(self, info: SegmentInfo) -> None:
        # A header may count records of a commit that never was: then another segment lies there.
        inside = [c for c in self._claims if self._total < c.first_position < self._total + info.num_records]
        if inside and self._is_strict:
            self._refuse(inside[0].first_position, [info.id, *(claim.segment_id for claim in inside)])
        self.segments.append(info)
        self._total += info.num_records

    def _refuse(self, position: int, ids: list[str]) -> None:
        raise ManifestError(
            f"{self._folder}: position {position} is claimed by several segments, {' and '.join(ids)}, and no manifest "
            "is left to say which was committed: restore a manifest, or remove the folder of the segment that is not "
            "wanted; nothing was changed",
            path=self._folder,
        )


def _sealed_as(info: SegmentInfo, header: IndexHeader | None) -> SegmentInfo:
    """Return a segment as sealed if its header says so for the same records: the last step of its writer."""
    is_same = header is not None and header.num_records == info.num_records
    return replace(info, is_sealed=True) if is_same and header is not None and header.is_sealed else info


def _without_copies(claims: list[IndexHeader], listed: tuple[SegmentInfo, ...]) -> list[IndexHeader]:
    """Leave out segments into which several others were folded, or a listed one compacted, which are there still."""
    places: dict[int, list[SegmentInfo]] = {}
    position = 0
    for info in listed:
        places.setdefault(position, []).append(info)
        position += info.num_records
    compacted = {(one, info.num_records, info.digest) for one, infos in places.items() for info in infos}
    claims = [one for one in claims if (one.first_position, one.num_records, one.digest) not in compacted]
    for claim in claims:
        places.setdefault(claim.first_position, []).append(info_of_header(claim))
    return [claim for claim in claims if not _is_copy(claim, places)]


def _is_copy(claim: IndexHeader, places: dict[int, list[SegmentInfo]]) -> bool:
    position, end = claim.first_position, claim.first_position + claim.num_records
    digest = EMPTY_DIGEST
    while position < end:
        parts = [info for info in places.get(position, []) if 0 < info.num_records < claim.num_records]
        if not parts or position + parts[0].num_records > end:
            return False
        digest = join_digests(digest, parts[0].digest, parts[0].num_records)
        position += parts[0].num_records
    return digest == claim.digest


def publish_manifest(directory: DatasetDirectory, manifest: Manifest, *, far: tuple[int, ...]) -> None:
    """Publish what a repair has found, and remove the manifests of numbers that no commit can have reached.

    Raises:
        ManifestError: If another program has committed meanwhile; nothing is lost.
    """
    with directory.opened() as root:
        # The names in all folders must survive a loss of power; one that is not there has none.
        for info in manifest.segments:
            with suppress(FileNotFoundError, NotADirectoryError), directory.open_segment(info.id) as folder:
                folder.sync()
        root.sync()
        with suppress(FileNotFoundError, NotADirectoryError), directory.open_segments() as folder:
            folder.sync()
        if not publish(root, manifest.generation, manifest.encode(), durable=True):
            raise _overtaken(directory.folder)
    for generation in far:
        directory.remove_manifest(generation)
    # As every writer does: old manifests are removed, so the number may be free since others have gone beyond it.
    if directory.newest().generation != manifest.generation:
        directory.remove_manifest(manifest.generation)
        raise _overtaken(directory.folder)


def _overtaken(folder: str) -> ManifestError:
    return ManifestError(
        f"{folder}: another program has committed while this was repaired; nothing is lost, run "
        f"`splitdata repair {folder}` again",
        path=folder,
    )
