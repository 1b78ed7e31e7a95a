"""Chooses between frames that can be laid out in several ways, by the digest of the segment.

    layout A   [0][1][  ?  ][3][4]      one record missing: which hash it must have follows from the digest
    layout B   [0][1][     ?     ][3'][4']       the bytes in its place have that hash in one layout alone

So it is known which frames are records, also where the header of one is lost. It is not known where two are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import zstandard

from splitdata.dataset.repair.found_records import PROVEN
from splitdata.errors import SplitDataError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.digest import add_digests, shift_digest
from splitdata.format.frame_layout import LAYOUT, next_start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from splitdata.dataset.repair.frame_search import FrameSearch
    from splitdata.format.manifest import SegmentInfo

__all__ = ["settle_by_digest"]

_KEY_LENGTH: Final = slice(22, 24)
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
# Padding leaves several ends of a record possible; so many bytes are hashed for all of them.
_HASHED_BYTES: Final = 64 << 20


def settle_by_digest(search: FrameSearch, info: SegmentInfo, alignment: int) -> None:
    """Take that layout of a bin's frames which the digest of the committed segment confirms, if there is one.

    Also find out whether the digest confirms what was taken, where no index does.
    """
    for layout in search.layouts():
        search.take_layout(layout)
        if _is_confirmed(search, info, alignment):
            search.note_confirmed(info.num_frames)
            return
    if search.layouts():
        search.take_layout(None)
    elif not search.is_all_anchored and _is_confirmed(search, info, alignment):
        search.note_confirmed(info.num_frames)


def _is_confirmed(search: FrameSearch, info: SegmentInfo, alignment: int) -> bool:
    """Say whether the records that are there, and the bytes in the place of one that is missing, have the digest."""
    missing = np.flatnonzero(search.state[: info.num_frames] != PROVEN).tolist()
    # What is missing of a group is not one record.
    if len(missing) > (0 if info.is_grouped else 1):
        return False
    # A missing record counts as an empty one.
    digest = search.digest(info.num_frames)
    if not missing:
        return digest == info.digest
    behind = info.num_frames - 1 - missing[0]
    empty = hash64(b"")
    return any(
        add_digests([digest, shift_digest(hash64(raw) - empty, behind)]) == info.digest
        for raw in _possible_records(search, missing[0], alignment)
    )


def _possible_records(search: FrameSearch, missing: int, alignment: int) -> Iterator[bytes]:
    """Yield what a missing record may be: its header is of no use, so that the end of it is not known exactly."""
    gap = search.gap_of(missing)
    if gap is None:
        return
    bin_index, end_before, stop = gap
    place = next_start(end_before, alignment)
    start = place + spec.FRAME_HEADER_BYTES
    if not start <= stop <= start + _HASHED_BYTES:
        return
    source = search.files.bin(bin_index)
    header, body = source.read(place, spec.FRAME_HEADER_BYTES), source.read(start, stop - start)
    num_hashed = 0
    for length in range(len(body), max(len(body.rstrip(b"\0")) - 1, len(body) - 2 * alignment, -1), -1):
        if not _may_end(start + length, stop, alignment):
            continue
        for key_length in {0, int.from_bytes(header[_KEY_LENGTH], "little")}:
            num_hashed += length
            extent = LAYOUT.key_extent(key_length)
            if extent <= length and num_hashed <= _HASHED_BYTES:
                yield from _decoded(search, body[: length - extent])


def _may_end(end: int, stop: int, alignment: int) -> bool:
    """Say whether a frame that ends at one byte may have the next one at another."""
    return stop in (next_start(end, alignment), next_start(end, alignment, is_large=True))


def _decoded(search: FrameSearch, stored: bytes) -> Iterator[bytes]:
    """Yield the record that these bytes are, stored in any way that is known."""
    yield stored
    if not stored.startswith(_ZSTD_MAGIC):
        return
    try:
        raw_length = zstandard.get_frame_parameters(stored[:18]).content_size
    except zstandard.ZstdError:
        return
    for decompressor in search.decompressors():
        try:
            yield decompressor.decompress(stored, raw_length, spec.LARGE_RECORD_BYTES)
        except SplitDataError:
            continue
