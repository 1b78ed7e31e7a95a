"""The bytes between the frames of a bin: they must be zeros. If they are not, no record is damaged by it.

verify reports such bytes, repair writes zeros over them.

    frame | 0 0 0 | frame | 0 7 0 | frame          both whole, one behind the other: the gap is padding
    header | 0 | dictionary | 0 | metadata         so are those before what stands in its place at the head of bin 0,
    large record | 0 | block hashes                and those within a large frame
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.dataset.repair.found_records import PROVEN
from splitdata.format import spec
from splitdata.format.frames import nonzero_gaps, padding_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splitdata.dataset.repair.frame_search import FrameSearch
    from splitdata.format.manifest import SegmentInfo

__all__ = ["MAX_GAP", "dirty_gaps"]

# Padding to the next frame.
MAX_GAP: Final = max(spec.ALIGNMENTS)
# Frames that are farther apart are not read for what lies between them.
_FAR_APART_BYTES: Final = 4096
_READ_BYTES: Final = 8 << 20


def dirty_gaps(search: FrameSearch, info: SegmentInfo, bin_index: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each gap in a bin that is padding, and not all zeros."""
    read = search.files.bin(bin_index).read
    known = [*_gaps_at_head(search, bin_index), *_gaps_within(search, info, bin_index)]
    yield from ((offset, length) for offset, length in known if any(read(offset, length)))
    yield from _gaps_between(search, info, bin_index)


def _gaps_at_head(search: FrameSearch, bin_index: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the gaps before dictionary and metadata."""
    if bin_index == 0:
        yield from ((end, begin - end) for end, begin in search.head.places)


def _gaps_within(search: FrameSearch, info: SegmentInfo, bin_index: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of the gap between the bytes of each large record and the hashes of its blocks."""
    mine = slice(bin_index, info.num_frames, info.num_bins)
    entries, starts = search.entries[mine], search.starts_in(bin_index, info.num_frames)
    are_large = (search.state[mine] == PROVEN) & (entries["raw"] >= spec.LARGE_RECORD_BYTES)
    # A longer one is left as it is: its length is in its frame.
    for number in np.flatnonzero(are_large & (entries["stored"] < spec.LENGTH_ESCAPE)).tolist():
        stored = int(entries["stored"][number])
        yield int(starts[number]) + spec.LARGE_FRAME_HEADER_BYTES + stored, padding_of(stored)


def _gaps_between(search: FrameSearch, info: SegmentInfo, bin_index: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of each gap before a record that is padding, and not all zeros."""
    starts, ends, is_padding = _frames_of(search, info, bin_index)
    if not len(starts):
        return
    stops, gaps = ends[:-1], starts - ends[:-1]
    gaps[~(is_padding & search.stand_in_place(bin_index, info.num_frames))] = 0
    source = search.files.bin(bin_index)
    numbers = np.flatnonzero(gaps)
    if (np.diff(stops[numbers]) < 0).any():
        # No writer lays frames out like this: it is not known what lies between them.
        return
    if len(numbers) and int(stops[-1] - stops[0]) // len(stops) > _FAR_APART_BYTES:
        for number in numbers.tolist():
            if any(source.read(int(stops[number]), int(gaps[number]))):
                yield int(stops[number]), int(gaps[number])
        return
    first = 0
    while first < len(numbers):
        base = int(stops[numbers[first]])
        last = max(first + 1, int(np.searchsorted(stops[numbers], base + _READ_BYTES)))
        chosen = numbers[first:last]
        data = source.read(base, int(stops[chosen[-1]] + gaps[chosen[-1]]) - base)
        for number in chosen[nonzero_gaps(data, stops[chosen] - base, gaps[chosen])].tolist():
            yield int(stops[number]), int(gaps[number])
        first = last


def _frames_of(
    search: FrameSearch, info: SegmentInfo, bin_index: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Return begins, ends and more of the listed frames of a bin.

    The ends have one more in front, that of what stands before the first frame. The last array says
    whether the bytes between a frame and the one before are known to be padding.
    """
    mine = slice(bin_index, info.num_frames, info.num_bins)
    are_proven = search.state[mine] == PROVEN
    starts = search.starts_in(bin_index, info.num_frames)
    ends = np.concatenate([[search.start_of_bin(bin_index)], search.ends_in(bin_index, info.num_frames)])
    return starts, ends, are_proven & np.concatenate([[True], are_proven[:-1]])
