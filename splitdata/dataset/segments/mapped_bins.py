"""The mapped bins of a segment as one array: the frames of a batch, in many bins, by one call of numpy.

    memory     | bin 2 |      not ours      | bin 0 |   | bin 1 |
    array      0 ..........................  ^ (address of bin 0 - lowest address) / 8

    index entries ─> bin, place ─> held against the length of the bin ─> headers ─> usual? ─> payloads, hashed

The array spans all maps and what lies between them, which must never be touched: no place is used
before it was found to be inside of its bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from splitdata.format import spec
from splitdata.format.checksum import frame_checks, hash64, sync_words
from splitdata.format.frames import are_ordinary, key_extents
from splitdata.format.index import unpack_locs
from splitdata.format.keys import key_hash
from splitdata.format.record_group import GROUP_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splitdata.storage.file_source import MappedSource

__all__ = ["SMALL_RECORD_BYTES", "MappedBins", "UsualFrames", "cut", "only_value"]

# Up to here records of one size are copied twice, by numpy, which is faster than a slice for each.
SMALL_RECORD_BYTES: Final = 2048
# What shifts the length of a key out of word 2.
_KEY_BITS: Final = np.uint64(64 - spec.KEY_SHIFT)
_HALF: Final = np.uint64(32)
_LOW: Final = np.uint64(0xFFFFFFFF)


class MappedBins:
    """The bins of one segment that are mapped at the moment; safe to share between threads.

    It holds the maps, so its memory stays valid for as long as it is held itself.
    """

    def __init__(self, bins: Sequence[MappedSource | None], salts: NDArray[np.uint64]) -> None:
        """Take each bin as it is mapped, None where it is not open, and its salt."""
        self._syncs = sync_words(salts)
        self.maps = [one.map if one else b"" for one in bins]
        self.views = [one.data if one else b"" for one in bins]
        addresses = [one.address if one else 0 for one in bins]
        lengths = [one.size if one else 0 for one in bins]
        lowest = min(filter(None, addresses), default=0)
        self._lengths = np.array(lengths, np.int64)
        # Maps begin with a page, so their distance is a multiple of 8.
        self._first_words = np.array([max(0, address - lowest) // 8 for address in addresses], np.int64)
        highest = max(address + length for address, length in zip(addresses, lengths, strict=True))
        self._memory = np.asarray(_AddressedMemory(lowest, highest - lowest)) if highest else np.empty(0, np.uint8)

    def find(
        self, sequences: NDArray[np.int64], pairs: NDArray[np.uint64], limit: int, *, as_views: bool, kind: int
    ) -> UsualFrames | None:
        """Return the frames to which index entries lead; None unless all are within their bins and usual.

        Args:
            sequences: Number of each frame, at least one.
            pairs: Its index entry, as place and lengths.
            limit: Payloads are shorter than this.
            as_views: The payloads stay where they are: none is copied with its header, but for the head of a group.
            kind: Of all frames.
        """
        quarters = pairs.view(np.uint32).reshape(-1, 4)
        bins, offsets = unpack_locs(pairs[:, 0])
        if np.count_nonzero(bins != sequences % len(self.maps)):
            return None
        starts = offsets + spec.FRAME_HEADER_BYTES
        stops = starts + quarters[:, 3]
        if np.count_nonzero(stops > self._lengths[bins]):
            return None
        words = self._first_words[bins] + (offsets >> 3)
        size = only_value(quarters[:, 3])
        # A forged entry may say 4 GiB, and so may the frame.
        if (int(quarters[:, 3].max()) if size is None else size) >= limit:
            return None
        small = size if not as_views and size is not None and 0 < size <= SMALL_RECORD_BYTES else 0
        if kind == spec.KIND_GROUP:
            small = GROUP_HEAD_BYTES
            if int(quarters[:, 3].min()) < small:
                return None
        # Header and small payload in one go: what such a copy waits for is memory, not bytes.
        frames = self.rows_at(words, spec.FRAME_HEADER_BYTES + small).view(np.uint8).reshape(len(words), -1)
        headers = np.ascontiguousarray(frames[:, : spec.FRAME_HEADER_BYTES]).view(np.uint64)
        # The kind and no codec beside the number, a key or none, the lengths of the entry, and only one length.
        difference = headers[:, 2] ^ sequences.view(np.uint64)
        if kind:
            difference ^= np.uint64(kind << 32)
        if (
            (np.count_nonzero(difference) and np.count_nonzero(difference << _KEY_BITS))
            or np.count_nonzero(headers[:, 3] != pairs[:, 1])
            or np.count_nonzero(quarters[:, 2] != quarters[:, 3])
            or np.count_nonzero(headers.view(np.uint32)[:, 0] != self._syncs[bins])
        ):
            return None
        cells = _as_cells(frames[:, spec.FRAME_HEADER_BYTES :]) if small else None
        return UsualFrames(self, bins, starts, stops, words, headers[:, 1], size, cells)

    def keys(
        self, sequences: NDArray[np.int64], pairs: NDArray[np.uint64], salts: NDArray[np.uint64]
    ) -> list[bytes] | None:
        """Return the keys of records, empty where one has none; None unless all are ordinary and proven.

        Args:
            sequences: Sequence number of each record, at least one.
            pairs: Its index entry, as place and lengths.
            salts: Of all bins.
        """
        bins, offsets = unpack_locs(pairs[:, 0])
        starts = offsets + spec.FRAME_HEADER_BYTES + pairs.view(np.uint32).reshape(-1, 4)[:, 2]
        if (bins != sequences % len(self.maps)).any() or (starts > self._lengths[bins]).any():
            return None
        words = self.rows_at(self._first_words[bins] + (offsets >> 3), spec.FRAME_HEADER_BYTES).view("<u8")
        headers = words.reshape(-1, 4).T
        of_bins = salts[bins]
        checks = frame_checks(of_bins, offsets.view(np.uint64), (headers[1], headers[2], headers[3]))
        proven = headers[0] == (of_bins & _LOW | np.uint64(1) | checks << _HALF)
        proven &= (headers[2] & _LOW == sequences.view(np.uint64)) & (headers[3] == pairs[:, 1])
        stops = starts + key_extents((headers[2] >> np.uint64(spec.KEY_SHIFT)).view(np.int64))
        if not proven.all() or not are_ordinary(headers[2], headers[3]).all() or (stops > self._lengths[bins]).any():
            return None
        places = zip(bins.tolist(), starts.tolist(), stops.tolist(), strict=True)
        stored = [self.maps[number][start:stop] for number, start, stop in places]
        keys = [one[: -spec.KEY_HASH_BYTES] for one in stored]
        hashes = np.frombuffer(b"".join(one[-spec.KEY_HASH_BYTES :] for one in stored), "<u8")
        found = np.fromiter(map(key_hash, filter(None, keys)), np.uint64)
        return keys if len(found) == len(hashes) and (found == hashes).all() else None

    def rows_at(self, words: NDArray[np.int64], length: int) -> NDArray[np.void]:
        """Return copies of `length` bytes from each place on; whether they are ours is for the caller to know."""
        count = (len(self._memory) - length) // 8 + 1
        overlapping: NDArray[np.void] = np.ndarray((count,), f"V{length}", self._memory.data, strides=(8,))
        return overlapping[words]

    def bytes_at(self, offsets: NDArray[np.int64], length: int) -> NDArray[np.void]:
        """Return what `rows_at` does, from any bytes on."""
        count = len(self._memory) - length + 1
        overlapping: NDArray[np.void] = np.ndarray((count,), f"V{length}", self._memory.data, strides=(1,))
        return overlapping[offsets]


# Not frozen: one is made for each batch, and freezing triples what that costs.
@dataclass(slots=True)
class UsualFrames:
    """Frames of uncompressed records, whose headers were found to be right.

    Attributes:
        bins, starts, stops: Bin of each, and where in its map the payload begins and ends.
        words: Where the frame begins in the array of all bins, in words.
        hashes: Of the payloads, as the headers say.
        size: The length of each record, None if they differ.
        cells: The payloads, where they are of one size and small; of groups their heads.
    """

    mapped: MappedBins
    bins: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    words: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    size: int | None
    cells: NDArray[np.void] | None

    def rows(self, *, verify: bool) -> NDArray[np.uint8] | None:
        """Return the records as rows, uint8[records, size]; None if they differ in size, or one is damaged."""
        cells = self.cells
        if cells is None:
            if not self.size:
                return None
            cells = self.mapped.rows_at(self.words + spec.FRAME_HEADER_BYTES // spec.FRAME_UNIT, self.size)
        if verify and not self._are_intact(cells.tolist()):
            return None
        return cells.view(np.uint8).reshape(len(cells), -1)

    def payloads(self, *, verify: bool) -> list[bytes] | None:
        """Return the records; None if one is damaged."""
        if self.cells is not None:
            payloads: list[bytes] = self.cells.tolist()
            return payloads if not verify or self._are_intact(payloads) else None
        maps = self.mapped.maps
        if not verify:
            return self._payloads(maps)
        frames = zip(self.bins.tolist(), self.starts.tolist(), self.stops.tolist(), self.hashes.tolist(), strict=True)
        # Each is hashed as soon as it was touched, while it is in the caches.
        records = [
            one for number, start, stop, expected in frames if hash64(one := maps[number][start:stop]) == expected
        ]
        return records if len(records) == len(self.starts) else None

    def views(self, *, verify: bool) -> list[memoryview] | None:
        """Return the records as views of the maps; None if one is damaged."""
        views = self._payloads(self.mapped.views)
        return None if verify and not self._are_intact(views) else views

    def are_intact(self) -> bool:
        """Say whether all payloads are what was written; they are hashed where they lie."""
        places = zip(self.bins.tolist(), self.starts.tolist(), self.stops.tolist(), strict=True)
        views = self.mapped.views
        # Each view is gone before the next is made: many at once are visited by the garbage collector.
        found: list[int] = [hash64(views[number][start:stop]) for number, start, stop in places]
        return bool(found == self.hashes.tolist())

    def _payloads(self, maps: Sequence[Any]) -> list[Any]:
        return cut(maps, self.bins, self.starts, self.stops)

    def _are_intact(self, payloads: list[Any]) -> bool:
        found = np.fromiter(map(hash64, payloads), np.uint64, len(payloads))
        return bool((found == self.hashes).all())


def cut(maps: Sequence[Any], bins: NDArray[np.int64], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> list[Any]:
    """Cut parts out of the maps, or the views, of their bins."""
    if only_value(bins) is not None:
        one = maps[int(bins[0])]
        return [one[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
    places = zip(bins.tolist(), starts.tolist(), stops.tolist(), strict=True)
    return [maps[number][start:stop] for number, start, stop in places]


def only_value(values: NDArray[np.integer]) -> int | None:
    """Return what all values are, None if they differ; there is at least one."""
    first = values[0]
    return int(first) if not np.count_nonzero(values != first) else None


def _as_cells(rows: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return each row as one item, in memory of its own."""
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").reshape(-1)


class _AddressedMemory:
    """Addresses as something that numpy takes for an array, by its array interface."""

    def __init__(self, address: int, length: int) -> None:
        self.__array_interface__ = {"data": (address, True), "shape": (length,), "typestr": "|u1", "version": 3}
