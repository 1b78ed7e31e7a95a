"""diff: the records that one dataset has and another has not, that have changed, or that stand elsewhere.

    segments that both begin, or end, with ── equal id, records, deletions ──> the same, not read
    the records between ── rows (identified.py) ── matched (matching.py) ──> DiffReport

Records are told apart by their checksums: `verify` proves that these are true.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from splitdata._place import dataset_place
from splitdata.dataset.comparison.identified import identified_rows
from splitdata.dataset.comparison.matching import Differences, find_differences
from splitdata.dataset.comparison.row_store import RowStore
from splitdata.dataset.legacy.legacy_directory import LegacyDirectory
from splitdata.dataset.manifests.declared_codec import stated_codec
from splitdata.dataset.manifests.remote_directory import directory_at
from splitdata.dataset.reading.snapshot import Snapshot, open_pinned
from splitdata.format import spec
from splitdata.format.schemas import fit_together

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splitdata.dataset.reading.snapshot import Listing
    from splitdata.format.manifest import SegmentInfo

__all__ = ["DiffReport", "RecordDifference", "diff"]

_MOST_LISTED: Final = 1000


@dataclass(frozen=True, slots=True)
class RecordDifference:
    """One record that differs.

    Attributes:
        kind: What has become of it on the way from the first dataset to the second.
        key: Its key, None if it has none.
        position_a: Where it stands in the first dataset, None if it was added.
        position_b: Where it stands in the second, None if it was removed.
    """

    kind: Literal["added", "removed", "changed", "moved"]
    key: str | None
    position_a: int | None
    position_b: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffReport:
    """The report of `diff`.

    Attributes:
        path_a, path_b: The datasets.
        generation_a, generation_b: The states that were compared.
        by: What a record is known by: its key where both datasets have keys, else its content.
        num_same: Records that both have, unchanged, in one order with the others of these.
        num_added: Records of the second dataset only.
        num_removed: Records of the first only.
        num_changed: Records of one key, or, without keys, at one position, with other content.
        num_moved: Records that both have, changed or not, at another place among all that both have.
        num_unread: Records of segments that are in both, so that none was looked at; they count as same.
        differences: The first of each kind, up to the limit.
    """

    path_a: str
    path_b: str
    generation_a: int
    generation_b: int
    by: Literal["key", "content"]
    num_same: int
    num_added: int
    num_removed: int
    num_changed: int
    num_moved: int
    num_unread: int
    differences: tuple[RecordDifference, ...] = field(default=())

    @property
    def is_equal(self) -> bool:
        """Whether both have the same records in the same order, deleted ones left out."""
        return not (self.num_added or self.num_removed or self.num_changed or self.num_moved)


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    limit: int = _MOST_LISTED,
    progress: Callable[[int, int], None] | None = None,
) -> DiffReport:
    """Compare the records of two datasets: how B differs from A.

    Records are known by their keys where both datasets have some, by their content otherwise, and compared by their
    checksums. Of records that are not compressed these are read from their frames, so that of large ones hardly
    anything is read; others are read and decompressed. Segments that both have, as `merge` and `append` make them,
    are not looked at where both begin or end with them. Records that were deleted are not there.

    Memory: about 200 MB, and 8 bytes for each record that differs or was deleted; 24 bytes a record in a temporary
    file where there are more than a million.

    Args:
        a, b: The datasets.
        limit: So many differences of each kind are listed; all are counted.
        progress: Called with records done and in all.

    Raises:
        DatasetNotFoundError, ManifestError: As for opening one.
        FormatError: If a record that has to be read is damaged.
    """
    if limit < 0:
        raise ValueError(f"limit must be 0 or more, got {limit}")
    with ExitStack() as stack:
        sides = [_Side(dataset_place(path)) for path in (a, b)]
        for side in sides:
            stack.callback(side.snapshot.drop)
        first, second = sides
        head, tail = _shared(first.segments, second.segments)
        ranges = [range(head, side.snapshot.num_records - tail) for side in sides]
        by_key = all(side.has_keys for side in sides)
        with_schemas = _need_schemas(first, second)
        ticker = _Ticker(sum(map(len, ranges)), progress)
        stores = []
        for side, positions in zip(sides, ranges, strict=True):
            store = stack.enter_context(RowStore(max(map(len, ranges)), 3))
            for rows in identified_rows(side.snapshot, positions, by_key=by_key, with_schemas=with_schemas):
                store.add(rows)
                ticker.advance(len(rows))
            stores.append(store)
        found = find_differences(*stores, stop=ranges[0].stop, absent=second.absent(ranges[1]), most_moved=limit)
        if not by_key:
            _pair_by_position(found)
        ticker.finish()
        num_unread = head + tail - first.num_deleted_outside(ranges[0])
        return DiffReport(
            path_a=first.directory.folder,
            path_b=second.directory.folder,
            generation_a=first.listing.generation,
            generation_b=second.listing.generation,
            by="key" if by_key else "content",
            num_same=num_unread + found.num_pairs - _num_differing(found, by_key=by_key),
            num_added=len(found.added),
            num_removed=len(found.removed),
            num_changed=len(found.changed),
            num_moved=found.num_moved,
            num_unread=num_unread,
            differences=tuple(_listed(found, first, second, limit)),
        )


class _Side:
    """One of the two datasets, open."""

    def __init__(self, path: str) -> None:
        self.directory = directory_at(path)
        self.listing, pin = open_pinned(self.directory, None, None)
        self.snapshot = Snapshot(
            [self.directory],
            [(self.listing, pin)],
            io="auto",
            verify=True,
            max_record_bytes=spec.MAX_COMPRESSED_RAW_BYTES,
        )

    @property
    def segments(self) -> tuple[SegmentInfo, ...]:
        listing: Listing = self.listing
        if isinstance(listing, LegacyDirectory):
            return ()
        return tuple(info for info in listing.segments if info.num_records)

    @property
    def has_keys(self) -> bool:
        return any(info.num_keys for info in self.segments)

    @property
    def holds_samples(self) -> bool:
        return stated_codec(self.listing.metadata) == "sample"

    def absent(self, positions: range) -> NDArray[np.int64]:
        """Return the deleted positions of a range."""
        deleted = self.snapshot.deleted_positions()
        return deleted[(deleted >= positions.start) & (deleted < positions.stop)]

    def num_deleted_outside(self, positions: range) -> int:
        """Return how many records outside of a range were deleted."""
        return len(self.snapshot.deleted_positions()) - len(self.absent(positions))

    def key(self, position: int) -> str | None:
        """Return the key of a record, None if it has none."""
        segment, sequence = self.snapshot.find(position)
        return segment.key(sequence).decode("utf-8", "backslashreplace") or None


class _Ticker:
    """Tells how far it is."""

    def __init__(self, total: int, progress: Callable[[int, int], None] | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def advance(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)

    def finish(self) -> None:
        self.advance(self._total - self._done)


def _shared(a: tuple[SegmentInfo, ...], b: tuple[SegmentInfo, ...]) -> tuple[int, int]:
    """Return how many records both have in segments that they begin with, and that they end with."""
    same = [_identity(one) == _identity(other) for one, other in zip(a, b, strict=False)]
    head = same.index(False) if False in same else len(same)
    rest_a, rest_b = a[head:], b[head:]
    tail = 0
    while tail < min(len(rest_a), len(rest_b)) and _identity(rest_a[-1 - tail]) == _identity(rest_b[-1 - tail]):
        tail += 1
    of_tail = rest_a[len(rest_a) - tail :]
    return sum(info.num_records for info in a[:head]), sum(info.num_records for info in of_tail)


def _identity(info: SegmentInfo) -> tuple[object, ...]:
    return info.id, info.num_records, info.digest, info.num_deleted, info.deleted_hash, info.num_keys


def _need_schemas(a: _Side, b: _Side) -> bool:
    """Say whether equal samples may have other bytes: they name schemas by other numbers, or hold them."""
    if not (a.holds_samples and b.holds_samples):
        return False
    lists = [*a.snapshot.schemas, *b.snapshot.schemas]
    longest = max(lists, key=len, default=())
    return any(longest) and not all(one and fit_together(one, longest) for one in lists)


def _pair_by_position(found: Differences) -> None:
    """Take what was removed and added at one position for one that has changed: without keys nothing else tells."""
    both = np.intersect1d(found.removed, found.added, assume_unique=True)
    found.removed = np.setdiff1d(found.removed, both, assume_unique=True)
    found.added = np.setdiff1d(found.added, both, assume_unique=True)
    found.changed = np.stack([both, both], axis=1)


def _num_differing(found: Differences, *, by_key: bool) -> int:
    """Return how many of the pairs have changed, moved or both."""
    if not by_key:
        return found.num_moved
    return found.num_moved + len(found.changed) - found.num_moved_and_changed


def _listed(found: Differences, a: _Side, b: _Side, limit: int) -> Iterator[RecordDifference]:
    for position in found.removed[:limit].tolist():
        yield RecordDifference("removed", a.key(position), position, None)
    for position in found.added[:limit].tolist():
        yield RecordDifference("added", b.key(position), None, position)
    for one, other in found.changed[:limit].tolist():
        yield RecordDifference("changed", b.key(other), one, other)
    for one, other in found.moved[:limit].tolist():
        yield RecordDifference("moved", b.key(other), one, other)
