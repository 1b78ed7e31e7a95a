"""Folding: many small segments, one behind the other, become one; positions stay as they are.

    s0 s1 s2 ... s31 | big | s33 s34        32 or more adjacent, sealed, all of one tier
    └──── folded ───┘

Tiers grow by a factor of 32, so a record is copied once a tier, and a dataset of n appends has
about 32 segments a tier instead of n. A group in which anything is damaged is left alone. join.py joins them.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from splitdata._shown import one_line
from splitdata.dataset.manifests.retention import KEPT_SECONDS
from splitdata.dataset.writing.join import join_segments
from splitdata.errors import FormatError
from splitdata.format import spec
from splitdata.format.schemas import fit_together, longest

if TYPE_CHECKING:
    from collections.abc import Callable

    from splitdata.dataset.manifests.directory import DatasetDirectory
    from splitdata.format.manifest import SegmentInfo

__all__ = ["fold_small_segments", "foldable_group"]

_logger = logging.getLogger(__name__)

_FANOUT: Final = 32
# Of the largest segment in a group, with what its records cost beside their payload. Folding the
# last tier makes segments of up to 128 MiB or so, which are no longer small.
_TIER_BYTES: Final = (4 << 10, 128 << 10, 4 << 20)


def foldable_group(segments: tuple[SegmentInfo, ...]) -> tuple[SegmentInfo, ...]:
    """Return the first adjacent segments that are worth folding, of the lowest tier; empty if there is none.

    Smaller segments between those of the tier go along, but do not count: else a few large ones
    would be copied again for every few small ones that come behind them.
    """
    for above, most_bytes in pairwise((0, *_TIER_BYTES)):
        group: list[SegmentInfo] = []
        for info in (*segments, None):
            is_small = info is not None and _may_be_folded(info) and _disk_bytes(info) <= most_bytes
            if info is not None and is_small and fit_together(info.schemas, longest(one.schemas for one in group)):
                group.append(info)
            elif _count_above(group, above) >= _FANOUT:
                break
            else:
                # One whose samples have schemas of other numbers begins a group of its own.
                group = [info] if info is not None and is_small else []
        if _count_above(group, above) >= _FANOUT:
            return tuple(group)
    return ()


def _may_be_folded(info: SegmentInfo) -> bool:
    # What a later version says of a segment may not be true of what it is folded into. A part is known by its name, so
    # that it is never committed twice.
    return info.is_sealed and info.is_understood and info.part is None and not info.others


def _count_above(group: list[SegmentInfo], num_bytes: int) -> int:
    return sum(_disk_bytes(info) > num_bytes for info in group)


def _disk_bytes(info: SegmentInfo) -> int:
    return info.stored_bytes + info.num_records * (spec.FRAME_HEADER_BYTES + spec.INDEX_ENTRY_BYTES)


def fold_small_segments(
    directory: DatasetDirectory, new_id: Callable[[], str], *, durable: bool, keep_seconds: float = KEPT_SECONDS
) -> None:
    """Fold groups of small segments until none is left; gives up quietly where another program is faster.

    Args:
        directory: Of the dataset.
        new_id: Makes the id of a new segment.
        durable: Whether to wait for the medium.
        keep_seconds: As `remove_superseded` takes it.
    """
    while group := foldable_group((manifest := directory.newest()).segments):
        try:
            if not join_segments(directory, manifest, group, new_id(), durable=durable, keep_seconds=keep_seconds):
                return
        except FormatError as error:
            _logger.warning(
                "%s: small segments are not folded, as one is damaged: %s", one_line(directory.folder), one_line(error)
            )
            return
