"""Collects what each segment says of its place: the claims by which manifest_repair.py decides on the order.

Where the manifests are lost, the segments themselves say how many records they hold and where these begin.

    segments on disk ── intact header? ── yes ──> what it counts, and from which position on
                             `─ no ──> what its bins hold, searched for once more than usual
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitdata.dataset.repair.adoption import copy_of, extended, tail_of
from splitdata.dataset.repair.manifest_repair import continue_segments

if TYPE_CHECKING:
    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.dataset.repair.manifest_repair import ManifestsOnDisk
    from splitdata.dataset.repair.segment_on_disk import SegmentOnDisk
    from splitdata.format.index import IndexHeader
    from splitdata.format.manifest import SegmentInfo

__all__ = ["committed_segments"]


def committed_segments(
    directory: DatasetDirectory, manifests: ManifestsOnDisk, disk: dict[str, SegmentOnDisk], *, adopt: bool
) -> list[SegmentInfo]:
    """Return the segments that were committed, in the order of their positions; changes nothing.

    Where the newest manifest is intact these are what it lists, and with `adopt` what goes on from there.

    Raises:
        ManifestError: If segments contradict each other, and no manifest decides.
    """
    listed = manifests.listed
    is_strict = bool(manifests.damaged) or manifests.intact is None
    if not is_strict and not adopt:
        return list(listed)
    known = manifests.superseded | {info.id for info in listed}
    others = [
        _held_by_bins(segment, segment.unlisted_info())
        for one, segment in disk.items()
        if is_strict and one not in known and segment.header is None and segment.bins
    ]
    return continue_segments(
        listed,
        _trusted_headers(manifests, disk, is_strict=is_strict),
        [info for info in others if info.num_records],
        last_grown=_last_grown(listed, disk) if is_strict else None,
        folder=directory.folder,
        is_strict=is_strict,
    )


def _trusted_headers(
    manifests: ManifestsOnDisk, disk: dict[str, SegmentOnDisk], *, is_strict: bool
) -> dict[str, IndexHeader]:
    """Return the intact headers that may say what was committed, by segment id."""
    headers = {
        one: segment.header
        for one, segment in disk.items()
        if segment.header is not None and one not in manifests.superseded
    }
    if is_strict:
        # Without any manifest, and if there never was one, nothing was committed: all may be adopted.
        was_one = manifests.damaged or not all(header.awaits_first_commit for header in headers.values())
        return headers if was_one else {}
    copies = {copy_of(info) for info in manifests.listed}
    # Records that a writer at work has not committed yet are its own affair.
    return {one: header for one, header in headers.items() if one not in copies and disk[one].take_lock()}


def _last_grown(listed: tuple[SegmentInfo, ...], disk: dict[str, SegmentOnDisk]) -> SegmentInfo | None:
    """Return the last listed segment with all that its bins hold, if it is open and its header is damaged."""
    last = listed[-1] if listed else None
    segment = disk.get(last.id) if last and not last.is_sealed else None
    if last is None or segment is None or segment.header is not None:
        return None
    return _held_by_bins(segment, last)


def _held_by_bins(segment: SegmentOnDisk, info: SegmentInfo) -> SegmentInfo:
    """Return a segment with the whole records behind those that are known to be in it."""
    search = segment.search(info, 0, _take_no_note)
    grown = extended(info, tail_of(info, search).totals)
    search.close()
    return grown


def _take_no_note(num_bytes: int) -> None:
    """Pass over bytes that are read once more later, and counted then."""
