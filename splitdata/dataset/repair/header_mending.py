"""Mends the header of a frame whose payload is proven: word 0, or the length of a key in word 2.

The header check says that something is wrong, and not what. If one bit of the key's length was flipped, the check
holds with that bit flipped back. If word 0 itself was damaged, the key that the header names has its hash, or, where
there is none, zeros and the next frame follow.

    word 0 | payload hash | sequence, kind, codec, key length | lengths | payload | key, hash | zeros | next frame
      ?        proven          proven                   ?        proven
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from splitdata.format import spec
from splitdata.format.checksum import sync_word
from splitdata.format.frame_layout import next_start
from splitdata.format.frames import FrameHeader, footprint
from splitdata.format.keys import key_hash

if TYPE_CHECKING:
    from splitdata.storage.file_source import Source

__all__ = ["HeaderMending"]

_KEY_BITS: Final = 16
_WORD_2: Final = slice(16, 24)


@dataclass(frozen=True, slots=True)
class HeaderMending:
    """What is known of the frames of one bin: enough to say what a damaged header was.

    Attributes:
        source: The open bin.
        salt: Of the bin.
        num_bins: Of the segment.
        alignments: That payloads may have.
    """

    source: Source
    salt: int
    num_bins: int
    alignments: tuple[int, ...]

    def mend(self, header: FrameHeader, offset: int) -> tuple[FrameHeader, int, bytes] | None:
        """Return the header as it was written, and which bytes are to be written where in the bin; no bytes if none.

        None if it is not known: perhaps the frame has a key that its header does not tell of, so nothing may be
        written behind its payload.

        Args:
            header: As it stands in the file, of a frame whose payload is proven.
            offset: Where the frame begins.
        """
        head = self.source.read(offset, header.size)
        if FrameHeader.has_right_check(head, self.salt, offset):
            return header, offset, b""
        for bit in range(_KEY_BITS):
            other = replace(header, key_length=header.key_length ^ 1 << bit)
            packed = other.pack(self.salt, offset)
            if packed[:8] == head[:8]:
                return other, offset + _WORD_2.start, packed[_WORD_2]
        is_proven = self._has_key(header, offset) if header.key_length else self._has_no_key(header, offset)
        return (header, offset, header.pack(self.salt, offset)[:8]) if is_proven else None

    def _has_key(self, header: FrameHeader, offset: int) -> bool:
        stored = self.source.read(offset + header.key_offset, header.key_extent)
        key, hash_of_key = stored[: header.key_length], stored[header.key_length :]
        return len(stored) == header.key_extent and key_hash(key) == int.from_bytes(hash_of_key, "little")

    def _has_no_key(self, header: FrameHeader, offset: int) -> bool:
        """Say whether zeros and then the next frame follow the payload, or the end of the file."""
        end = offset + footprint(header)
        starts = {
            next_start(end, alignment, is_large=is_large) for alignment in self.alignments for is_large in (False, True)
        }
        return any(self._is_padding(end, start, header.sequence + self.num_bins) for start in starts)

    def _is_padding(self, end: int, start: int, next_sequence: int) -> bool:
        data = self.source.read(end, start - end + spec.FRAME_HEADER_BYTES)
        zeros, head = data[: start - end], data[start - end :]
        is_next = head[:4] == sync_word(self.salt).to_bytes(4, "little")
        return not any(zeros) and (not head or is_next or head[16:20] == next_sequence.to_bytes(4, "little"))
