"""Many groups of records at once, each held to what a writer makes; by numpy, as one by one takes ten times as long.

    payloads, one behind the other    | tables | items | keys | tables | items | keys | ...
    tables ──> where each item lies ── as the index says? zeros between? the last one ends the payload? ──> items, keys

Where any of it is not so, nobody says here what: that is for the look at each group by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.frames import nonzero_gaps
from splitdata.format.record_group import GROUP_HEAD_BYTES, group_tables, item_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ManyGroups", "look_into_groups"]


@dataclass(frozen=True, slots=True)
class ManyGroups:
    """The content of several groups of equally many records.

    Attributes:
        items: All records in order.
        hashes: Of the records, uint64[groups, records of one].
        keys: Those that there are, in order.
        key_places: Which of `items` each key belongs to.
    """

    items: list[bytes]
    hashes: NDArray[np.uint64]
    keys: list[bytes]
    key_places: NDArray[np.int64]


def look_into_groups(payloads: list[bytes], count: int, lengths: NDArray[np.int64]) -> ManyGroups | None:
    """Return the content of groups; None if one is not as it must be, or they are of several forms.

    Args:
        payloads: Raw, proven by their hashes.
        count: Records that each must hold.
        lengths: Of each record as the index says, int64[groups, count].
    """
    heads = {payload[:GROUP_HEAD_BYTES] for payload in payloads}
    tables = group_tables(int.from_bytes(heads.pop(), "little")) if len(heads) == 1 else None
    sizes = np.fromiter(map(len, payloads), np.int64, len(payloads))
    if tables is None or tables[0] != count or int(sizes.min()) < tables[1]:
        return None
    _, end_of_tables, alignment = tables
    has_keys = end_of_tables > GROUP_HEAD_BYTES + 4 * count
    joined = b"".join(payloads)
    bases = np.cumsum(sizes) - sizes
    stored = b"".join([payload[GROUP_HEAD_BYTES:end_of_tables] for payload in payloads])
    ends = np.frombuffer(stored, "<u4").reshape(len(payloads), -1).astype(np.int64)
    befores = np.column_stack([np.full(len(payloads), end_of_tables), ends[:, : count - 1]])
    spans = item_spans(befores, ends[:, :count], end_of_tables, alignment, sizes[:, None])
    if spans is None or np.count_nonzero(ends[:, -1] != sizes):
        return None
    starts, stops = spans
    gaps = starts - befores
    if np.count_nonzero(stops - starts != lengths) or (
        alignment > 1 and nonzero_gaps(joined, (befores + bases[:, None]).ravel(), gaps.ravel()).any()
    ):
        return None
    items = _cut(joined, starts + bases[:, None], stops + bases[:, None])
    hashes = np.fromiter(map(hash64, items), np.uint64, len(items)).reshape(len(payloads), count)
    if not has_keys:
        return ManyGroups(items, hashes, [], np.empty(0, np.int64))
    key_starts, key_stops = ends[:, count - 1 : -1], ends[:, count:]
    extents = key_stops - key_starts
    if np.count_nonzero((extents < 0) | (extents > spec.MAX_KEY_BYTES)):
        return None
    keys = _cut(joined, key_starts + bases[:, None], key_stops + bases[:, None])
    return ManyGroups(items, hashes, list(filter(None, keys)), np.flatnonzero(extents.ravel()))


def _cut(data: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[bytes]:
    return [data[start:stop] for start, stop in zip(starts.ravel().tolist(), stops.ravel().tolist(), strict=True)]
