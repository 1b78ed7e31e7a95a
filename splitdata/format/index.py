"""The index of a segment: where each record lies.

    0        header, 128 bytes        IndexHeader
    128      entries, 16 bytes each   loc u64 | stored u32 | raw u32     by number of the frame
                                      of a group also the length u32 of each record
    when sealed, behind the last entry:
             block sums   u64 xxh3-64 of each 64 KiB of entries
             bin table    u64 length of each bin file
             dictionary   its bytes, zeros to a multiple of 8
             footer       u64 xxh3-64 each of block sums, bin table, dictionary

    loc = bin << 40 | offset of the frame / 8      all ones: the record is lost

Entries are mapped, never read whole. Their truth is proven on use by the frame they lead to;
header and tables serve verify and repair. FORMAT.md section 7.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import xxhash

from splitdata.errors import BadMagicError, FormatError
from splitdata.format import spec
from splitdata.format.bins import alignment_of, group_of
from splitdata.format.checksum import hash64
from splitdata.format.version import check_flags, check_version, features_of, flags_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "ENTRY_DTYPE",
    "IndexHeader",
    "IndexTables",
    "entries_per_sum",
    "entries_with_lengths",
    "entry_bytes",
    "entry_offset",
    "make_entries",
    "num_lengths_of",
    "pack_loc",
    "pack_locs",
    "tables_size",
    "unpack_loc",
    "unpack_locs",
]

_ZERO_BYTES: Final = 1 << 20
_LAYOUT: Final = struct.Struct("<8sHHI16sIIQQIBBBxQQQQIBBxx16s")

ENTRY_DTYPE: Final = np.dtype([("loc", "<u8"), ("stored", "<u4"), ("raw", "<u4")])


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexHeader:
    """The header of an index: it describes the segment as a whole; everything in it can be had elsewhere too.

    Attributes:
        awaits_first_commit: Set until the first manifest of the dataset exists: without a manifest
            it tells a first commit that was interrupted from a dataset whose manifests were deleted.
        version: Of the format.
        features: Names of what a reader must understand.
        hash_kind: Of all hashes in the segment; 0 is xxh3-64.
        group: Records of a frame, a power of two.
        key_id: Names the key of encrypted payloads, 16 bytes; zeros where they are not encrypted.
    """

    segment_id: str
    num_bins: int
    alignment: int = spec.FRAME_UNIT
    is_sealed: bool = False
    awaits_first_commit: bool = False
    num_records: int = 0
    first_position: int = 0
    digest: int = 0
    stored_bytes: int = 0
    raw_bytes: int = 0
    max_raw_bytes: int = 0
    dictionary_bytes: int = 0
    version: tuple[int, int] = spec.FORMAT_VERSION
    features: tuple[str, ...] = ()
    hash_kind: int = spec.HASH_XXH3
    group: int = 1
    key_id: bytes = spec.NO_KEY_ID

    def pack(self) -> bytes:
        """Return the 128 bytes with which the file begins."""
        body = _LAYOUT.pack(
            spec.INDEX_MAGIC,
            *self.version,
            spec.INDEX_HEADER_BYTES,
            bytes.fromhex(self.segment_id),
            flags_of(self.features),
            0,
            self.num_records,
            self.first_position,
            self.num_bins,
            self.alignment.bit_length() - 1,
            self.is_sealed,
            self.awaits_first_commit,
            self.digest,
            self.stored_bytes,
            self.raw_bytes,
            self.max_raw_bytes,
            self.dictionary_bytes,
            self.hash_kind,
            self.group.bit_length() - 1,
            self.key_id,
        )
        return body + hash64(body).to_bytes(8, "little")

    def other_owner(self, segment_id: str) -> str | None:
        """Return what this is the header of, in words, None if it is that of the segment which is asked for."""
        return None if self.segment_id == segment_id else f"segment {self.segment_id} with {self.num_bins} bins"

    @classmethod
    def unpack(cls, buffer: bytes | memoryview) -> IndexHeader:
        """Read and prove a header.

        Raises:
            BadMagicError: If this is not an index.
            UnsupportedVersionError: If it is intact and needs a newer splitdata.
            FormatError: If it is damaged.
        """
        head = bytes(buffer[: spec.INDEX_HEADER_BYTES])
        if head[:8] != spec.INDEX_MAGIC:
            raise BadMagicError("the file does not begin as an index of splitdata does")
        if len(head) < spec.INDEX_HEADER_BYTES or hash64(head[:-8]) != int.from_bytes(head[-8:], "little"):
            raise FormatError("the header of the index is damaged")
        fields = _LAYOUT.unpack_from(head)
        check_version(fields[1], fields[2])
        check_flags(fields[5])
        if not 1 <= fields[9] <= spec.MAX_BINS or fields[7] > spec.MAX_SEGMENT_RECORDS:
            raise FormatError(f"the index says {fields[7]} records in {fields[9]} bins, which no segment has")
        return cls(
            segment_id=fields[4].hex(),
            num_records=fields[7],
            first_position=fields[8],
            num_bins=fields[9],
            alignment=alignment_of(fields[10], "the index"),
            is_sealed=bool(fields[11]),
            awaits_first_commit=bool(fields[12]),
            digest=fields[13],
            stored_bytes=fields[14],
            raw_bytes=fields[15],
            max_raw_bytes=fields[16],
            dictionary_bytes=fields[17],
            version=(fields[1], fields[2]),
            features=features_of(fields[5]),
            hash_kind=fields[18],
            group=group_of(fields[5], fields[19], "the index"),
            key_id=fields[20],
        )


def entry_bytes(group: int) -> int:
    """Return the length of an entry of a segment with so many records in a frame."""
    return spec.INDEX_ENTRY_BYTES + (4 * group if group > 1 else 0)


def entry_offset(frame: int, group: int) -> int:
    """Return where the entry of a frame begins in the file."""
    return spec.INDEX_HEADER_BYTES + frame * entry_bytes(group)


def entries_per_sum(group: int) -> int:
    """Return how many entries one block sum covers."""
    return max(1, spec.SUM_BYTES // entry_bytes(group))


def pack_loc(bin_index: int, offset: int) -> int:
    """Return the `loc` of a frame that begins at byte `offset` of a bin."""
    return bin_index << spec.BIN_SHIFT | offset // spec.FRAME_UNIT


def unpack_loc(loc: int) -> tuple[int, int]:
    """Return the bin of a frame, and the byte at which it begins."""
    return loc >> spec.BIN_SHIFT, (loc & spec.PLACE_MASK) * spec.FRAME_UNIT


def pack_locs(bins: NDArray[np.integer] | int, offsets: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Return the `loc` of each of many frames."""
    shifted = np.asarray(bins).astype(np.uint64) << np.uint64(spec.BIN_SHIFT)
    return shifted | offsets.astype(np.uint64) // np.uint64(spec.FRAME_UNIT)


def unpack_locs(locs: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return bin of each of many frames, and the byte at which it begins, int64; the last possible of both if lost."""
    # Both fit into int64, and are shown as such without a copy.
    bins = (locs >> np.uint64(spec.BIN_SHIFT)).view("<i8")
    return bins, (locs & np.uint64(spec.PLACE_MASK)).view("<i8") * spec.FRAME_UNIT


def make_entries(
    locs: NDArray[np.uint64], stored_lengths: NDArray[np.uint64], raw_lengths: NDArray[np.uint64]
) -> NDArray[np.void]:
    """Return index entries, ready for the file; lengths of 2**32-1 and more become the escape."""
    entries = np.empty(len(locs), ENTRY_DTYPE)
    entries["loc"] = locs
    entries["stored"] = np.minimum(stored_lengths, np.uint64(spec.LENGTH_ESCAPE))
    entries["raw"] = np.minimum(raw_lengths, np.uint64(spec.LENGTH_ESCAPE))
    return entries


def entries_with_lengths(entries: NDArray[np.void], lengths: NDArray[np.integer] | None) -> bytes:
    """Return entries for the file.

    Args:
        entries: Of the frames, as `make_entries` gives them.
        lengths: Of the records of groups, [groups, records of a group], zeros behind the last; None without groups.
    """
    if lengths is None:
        return entries.tobytes()
    rows = np.empty((len(entries), entry_bytes(lengths.shape[1]) // 4), "<u4")
    rows[:, :4] = np.ascontiguousarray(entries).view("<u4").reshape(-1, 4)
    rows[:, 4:] = lengths
    return rows.tobytes()


def num_lengths_of(num_frames: int, num_bins: int) -> int:
    """Return how many bins of a segment may hold a frame: the first ones, and bin 0 always."""
    return max(1, min(num_bins, num_frames))


def tables_size(num_frames: int, num_bins: int, dictionary_bytes: int = 0, group: int = 1) -> int:
    """Return the bytes that sealing writes behind the last entry."""
    num_sums = -(-num_frames // entries_per_sum(group))
    return 8 * num_sums + 8 * num_bins + (dictionary_bytes + 7) // 8 * 8 + 24


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexTables:
    """What sealing adds: sums over the entries, lengths of the bins, the dictionary.

    Attributes:
        block_sums: Of the entries.
        bin_lengths: Of the bins that may hold a frame.
        num_empty_bins: How many follow these that hold none, and whose length is 0: there may be millions.
        dictionary: Empty if there is none.
    """

    block_sums: tuple[int, ...]
    bin_lengths: tuple[int, ...]
    num_empty_bins: int = 0
    dictionary: bytes = b""

    def pack(self) -> bytes:
        """Return the tables and their footer."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield what `pack` returns in pieces, of which none is long because there are many bins."""
        sums = np.array(self.block_sums, "<u8").tobytes()
        lengths = np.array(self.bin_lengths, "<u8").tobytes()
        dictionary = self.dictionary + bytes(-len(self.dictionary) % 8)
        yield sums
        yield lengths
        of_lengths = xxhash.xxh3_64(lengths)
        for start in range(0, 8 * self.num_empty_bins, _ZERO_BYTES):
            zeros = bytes(min(_ZERO_BYTES, 8 * self.num_empty_bins - start))
            of_lengths.update(zeros)
            yield zeros
        yield dictionary
        hashes = hash64(sums), of_lengths.intdigest(), hash64(dictionary)
        yield b"".join(one.to_bytes(8, "little") for one in hashes)

    @classmethod
    def unpack(
        cls, buffer: bytes, *, num_frames: int, num_bins: int, dictionary_bytes: int = 0, group: int = 1
    ) -> IndexTables:
        """Read and prove the tables.

        Raises:
            FormatError: If one is damaged; the message names it.
        """
        if len(buffer) != tables_size(num_frames, num_bins, dictionary_bytes, group):
            raise FormatError(f"the tables of the index have {len(buffer)} bytes, other than its header implies")
        num_sums = -(-num_frames // entries_per_sum(group))
        borders = [0, 8 * num_sums, 8 * (num_sums + num_bins), len(buffer) - 24]
        parts = [memoryview(buffer)[start:stop] for start, stop in pairwise(borders)]
        num_lengths = num_lengths_of(num_frames, num_bins)
        for number, (part, name) in enumerate(zip(parts, ("block sums", "bin table", "dictionary"), strict=True)):
            stored = buffer[len(buffer) - 24 + 8 * number :][:8]
            if hash64(part) != int.from_bytes(stored, "little"):
                raise FormatError(f"the {name} of the index is damaged")
        return cls(
            block_sums=tuple(np.frombuffer(parts[0], "<u8").tolist()),
            bin_lengths=tuple(np.frombuffer(parts[1][: 8 * num_lengths], "<u8").tolist()),
            num_empty_bins=num_bins - num_lengths,
            dictionary=bytes(parts[2][:dictionary_bytes]),
        )
