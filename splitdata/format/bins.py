"""The bin file: a header, then frames, and the search for frames where the index is lost.

A damaged header costs nothing: all it says is known from the manifest and the file's name.
It lets a bin that was found alone be recognised. FORMAT.md section 8, docs/format/repair.md section 1.

    0     header, 64 bytes     magic, version, segment, number of this bin, alignment, xxh3
    64..  frames               frames.py; zeros between them
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import BadMagicError, FormatError
from splitdata.format import spec
from splitdata.format.checksum import frame_checks, hash64, sync_word
from splitdata.format.version import GROUPS, check_flags, check_version, features_of, flags_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BinHeader", "alignment_of", "candidate_frames", "group_of"]

_LAYOUT: Final = struct.Struct("<8sHHI16sIIIIBBB5x")


@dataclass(frozen=True, slots=True, kw_only=True)
class BinHeader:
    """The header of a bin file: it says which bin of which segment the file is.

    Attributes:
        features: Names of what a reader must understand.
        hash_kind: Of all hashes in the segment; 0 is xxh3-64.
        group: Records of a frame, a power of two.
    """

    segment_id: str
    bin_index: int
    num_bins: int
    alignment: int = spec.FRAME_UNIT
    features: tuple[str, ...] = ()
    hash_kind: int = spec.HASH_XXH3
    group: int = 1

    def pack(self) -> bytes:
        """Return the 64 bytes with which the file begins."""
        body = _LAYOUT.pack(
            spec.BIN_MAGIC,
            spec.MAJOR,
            spec.MINOR,
            spec.BIN_HEADER_BYTES,
            bytes.fromhex(self.segment_id),
            self.bin_index,
            self.num_bins,
            flags_of(self.features),
            0,
            self.alignment.bit_length() - 1,
            self.hash_kind,
            self.group.bit_length() - 1,
        )
        return body + hash64(body).to_bytes(8, "little")

    def other_owner(self, segment_id: str, bin_index: int) -> str | None:
        """Return what this is the header of, in words, None if it is that of the bin which is asked for."""
        if (self.segment_id, self.bin_index) == (segment_id, bin_index):
            return None
        return f"bin {self.bin_index} of {self.num_bins} in segment {self.segment_id}"

    @classmethod
    def unpack(cls, buffer: bytes | memoryview) -> BinHeader:
        """Read and prove a header.

        Raises:
            BadMagicError: If this is not a bin.
            UnsupportedVersionError: If it is intact and needs a newer splitdata.
            FormatError: If it is damaged.
        """
        head = bytes(buffer[: spec.BIN_HEADER_BYTES])
        if head[:8] != spec.BIN_MAGIC:
            raise BadMagicError("the file does not begin as a bin of splitdata does")
        if len(head) < spec.BIN_HEADER_BYTES or hash64(head[:-8]) != int.from_bytes(head[-8:], "little"):
            raise FormatError("the header of the bin is damaged")
        fields = _LAYOUT.unpack_from(head)
        _, major, minor, _, segment, bin_index, num_bins, must, _, alignment_bits, hash_kind, group_log2 = fields
        check_version(major, minor)
        check_flags(must)
        return cls(
            segment_id=segment.hex(),
            bin_index=bin_index,
            num_bins=num_bins,
            alignment=alignment_of(alignment_bits, "the bin"),
            features=features_of(must),
            hash_kind=hash_kind,
            group=group_of(must, group_log2, "the bin"),
        )


def alignment_of(bits: int, what: str) -> int:
    """Return the alignment that a header gives as a power of two; raises `FormatError` if no writer has such."""
    alignment = 1 << min(bits, 63)
    if alignment not in spec.ALIGNMENTS:
        raise FormatError(f"the header of {what} says that payloads are aligned to 2**{bits} bytes, which none can be")
    return alignment


def group_of(flags: int, bits: int, what: str) -> int:
    """Return the records of a group that a header gives as a power of two; raises `FormatError` if none can be so."""
    group = 1 << min(bits, 63)
    if group > spec.MAX_GROUP or (group > 1) != (GROUPS in features_of(flags)):
        raise FormatError(
            f"the header of {what} says that a frame holds 2**{bits} records, with the features {flags:#x}"
        )
    return group


def candidate_frames(data: NDArray[np.uint8], base: int, salt: int) -> NDArray[np.int64]:
    """Return the offsets at which a frame header of this bin is proven by its check.

    Args:
        data: Bytes of the bin from byte `base` on, a multiple of 8; a window that ends within
            a header does not find it, so windows must overlap by the 64 bytes of a large one.
        base: Where `data` begins in the bin.
        salt: Of the bin.

    Note:
        One numpy pass for the sync word, then the check of the few places where it stands.
    """
    words = data[: len(data) & ~7].view("<u8")
    places = np.flatnonzero(words.astype("<u4") == np.uint32(sync_word(salt)))
    places = places[places + 4 <= len(words)]
    is_large = (words[places + 2] >> np.uint64(32)).astype("<u1") == spec.KIND_LARGE
    found = []
    for num_words, chosen in ((3, places[~is_large]), (7, places[is_large])):
        inside = chosen[chosen + 1 + num_words <= len(words)]
        offsets = (inside * 8 + base).astype(np.uint64)
        salts = np.full(len(inside), salt, np.uint64)
        checks = frame_checks(salts, offsets, tuple(words[inside + 1 + n] for n in range(num_words)))
        found.append(offsets[checks == words[inside] >> np.uint64(32)])
    return np.sort(np.concatenate(found)).astype(np.int64)
