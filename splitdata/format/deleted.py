"""The list of the records of one segment that were deleted: their sequence numbers, twice, each time with a header.

    0        header, 64 bytes     segment id, how many
    64       u32 each             sequence numbers, ascending
    64+4n    the same once more   so that one damage costs nothing

The name of the file says the hash of one half, and the manifest says it too: a list never changes, a longer one is
another file. FORMAT.md section 13.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import BadMagicError, FormatError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.version import check_flags, check_same_major, check_version

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["counts_deleted", "deleted_bytes", "pack_deleted", "unpack_deleted"]

_HEADER: Final = struct.Struct("<8sHHI16sIIQ8x")


def deleted_bytes(count: int) -> int:
    """Return the length of the file that lists so many records."""
    return 2 * (spec.DELETED_HEADER_BYTES + 4 * count)


def pack_deleted(segment_id: str, sequences: NDArray[np.uint32]) -> tuple[bytes, int]:
    """Return one half of the file, and its hash."""
    head = _HEADER.pack(
        spec.DELETED_MAGIC,
        spec.MAJOR,
        spec.MINOR,
        spec.DELETED_HEADER_BYTES,
        bytes.fromhex(segment_id),
        0,
        0,
        len(sequences),
    )
    half = head + hash64(head).to_bytes(8, "little") + sequences.astype("<u4").tobytes()
    return half, hash64(half)


def counts_deleted(head: bytes, count: int) -> bool:
    """Say whether a half that begins so is a list of so many records; what it lists is not proven."""
    is_intact = len(head) == spec.DELETED_HEADER_BYTES and hash64(head[:-8]) == int.from_bytes(head[-8:], "little")
    return is_intact and head[:8] == spec.DELETED_MAGIC and _HEADER.unpack_from(head)[-1] == count


def unpack_deleted(data: bytes, segment_id: str, expected_hash: int) -> NDArray[np.uint32]:
    """Read and prove a file; either half will do.

    Raises:
        UnsupportedVersionError: If it is intact and needs a newer splitdata.
        FormatError: If neither half is what the hash says, or it is another segment's.
    """
    # A file that was cut has no middle any more.
    for middle in dict.fromkeys((len(data) // 2, len(data), *_told(data))):
        for half in (data[:middle], data[middle:]):
            if hash64(half) == expected_hash:
                return _sequences(half, segment_id)
    raise FormatError("neither of the two lists of deleted records is what its hash says")


def _told(data: bytes) -> tuple[int, ...]:
    """Return the length of the first half as its header has it."""
    if len(data) < spec.DELETED_HEADER_BYTES:
        return ()
    count: int = _HEADER.unpack_from(data)[-1]
    return (spec.DELETED_HEADER_BYTES + 4 * count,)


def _sequences(half: bytes, segment_id: str) -> NDArray[np.uint32]:
    if half[:8] != spec.DELETED_MAGIC or len(half) < spec.DELETED_HEADER_BYTES:
        raise BadMagicError("the file does not begin as a list of deleted records does")
    head = half[: spec.DELETED_HEADER_BYTES]
    if hash64(head[:-8]) != int.from_bytes(head[-8:], "little"):
        raise FormatError("the header of the list of deleted records is damaged")
    _, major, minor, _, segment, must, _, count = _HEADER.unpack_from(head)
    check_version(major, minor)
    check_same_major(head, spec.FORMAT_VERSION)
    check_flags(must)
    if segment.hex() != segment_id:
        raise FormatError(f"this is the list of deleted records of another segment, {segment.hex()}")
    if len(half) != spec.DELETED_HEADER_BYTES + 4 * count:
        raise FormatError(f"the list of {count} deleted records has {len(half)} bytes")
    sequences = np.frombuffer(half, "<u4", offset=spec.DELETED_HEADER_BYTES)
    if (sequences[1:] <= sequences[:-1]).any():
        raise FormatError(f"the list of {count} deleted records is not in ascending order")
    return sequences.astype(np.uint32)
