"""The keys of a segment as tables: sorted by the hash of the key, a checksum over every part.

    0        header, 64 bytes         KeysHeader
    ...      run, run, ...            each sorted by itself; one in the file of a sealed segment
    then     directory, 24 bytes each run: offset u64 | keys u64 | hash of its fences u64
             footer, 24 bytes: keys u64 | runs u64 | hash of directory and footer up to here

    run      block, block, ...        1,024 keys each: hashes u64 | sequences u32; the last one shorter, zeros to 8
             fences                   16 bytes each block: its first hash u64 | hash of the block u64

A search reads the fences, which are a 768th of the keys, and one block, and proves both: so it can
say that a key is *not* there. Keys themselves stand in the frames only. FORMAT.md section 12.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.errors import BadMagicError, FormatError
from splitdata.format import spec
from splitdata.format.checksum import hash64
from splitdata.format.version import check_flags, check_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "FOOTER_BYTES",
    "KeyRun",
    "KeysHeader",
    "block_bytes",
    "directory_bytes",
    "encode_key",
    "encode_keys",
    "key_hash",
    "pack_blocks",
    "pack_directory",
    "parse_directory",
    "parse_footer",
    "unpack_block",
    "unpack_blocks",
]

_HEADER: Final = struct.Struct("<8sHHI16sII16x")
_RUN: Final = struct.Struct("<QQQ")
_FOOTER: Final = struct.Struct("<QQQ")
FOOTER_BYTES: Final = _FOOTER.size
_HASH_BYTES: Final = 8
_KEY_BYTES: Final = 12

key_hash = hash64


@dataclass(frozen=True, slots=True)
class KeysHeader:
    """The header of a table of keys: it says which segment they belong to."""

    segment_id: str

    def pack(self) -> bytes:
        """Return the 64 bytes with which the file begins."""
        body = _HEADER.pack(
            spec.KEYS_MAGIC, spec.MAJOR, spec.MINOR, spec.KEYS_HEADER_BYTES, bytes.fromhex(self.segment_id), 0, 0
        )
        return body + hash64(body).to_bytes(8, "little")

    @classmethod
    def unpack(cls, buffer: bytes | memoryview) -> KeysHeader:
        """Read and prove a header.

        Raises:
            BadMagicError: If this is not a file of keys.
            UnsupportedVersionError: If it is intact and needs a newer splitdata.
            FormatError: If it is damaged.
        """
        head = bytes(buffer[: spec.KEYS_HEADER_BYTES])
        if head[:8] != spec.KEYS_MAGIC:
            raise BadMagicError("the file does not begin as a file of keys does")
        if len(head) < spec.KEYS_HEADER_BYTES or hash64(head[:-8]) != int.from_bytes(head[-8:], "little"):
            raise FormatError("the header of the keys is damaged")
        _, major, minor, _, segment, must, _ = _HEADER.unpack_from(head)
        check_version(major, minor)
        check_flags(must)
        return cls(segment.hex())


@dataclass(frozen=True, slots=True)
class KeyRun:
    """One sorted run in a file of keys, as the directory lists it."""

    offset: int
    num_keys: int
    fences_hash: int

    @property
    def num_blocks(self) -> int:
        """Blocks, and fences, of the run."""
        return -(-self.num_keys // spec.KEYS_PER_BLOCK)

    @property
    def fences_offset(self) -> int:
        """Where the fences begin in the file."""
        full, rest = divmod(self.num_keys, spec.KEYS_PER_BLOCK)
        return self.offset + full * block_bytes(spec.KEYS_PER_BLOCK) + block_bytes(rest)

    @property
    def fences_bytes(self) -> int:
        """Length of the fences."""
        return 2 * _HASH_BYTES * self.num_blocks

    @property
    def end(self) -> int:
        """Where the run ends in the file."""
        return self.fences_offset + self.fences_bytes

    def block(self, number: int) -> tuple[int, int]:
        """Return offset and number of keys of one block."""
        count = min(spec.KEYS_PER_BLOCK, self.num_keys - number * spec.KEYS_PER_BLOCK)
        return self.offset + number * block_bytes(spec.KEYS_PER_BLOCK), count


def block_bytes(num_keys: int) -> int:
    """Return the length of a block of so many keys."""
    return (num_keys * _KEY_BYTES + 7) // 8 * 8


def pack_blocks(hashes: NDArray[np.uint64], sequences: NDArray[np.uint32]) -> tuple[bytes, bytes]:
    """Return sorted keys as blocks, and the fences of these blocks; only the last block may be short."""
    size = spec.KEYS_PER_BLOCK
    full, rest = divmod(len(hashes), size)
    table = np.zeros((full, block_bytes(size)), np.uint8)
    end = full * size
    table[:, : _HASH_BYTES * size] = hashes[:end].astype("<u8").view(np.uint8).reshape(full, _HASH_BYTES * size)
    table[:, _HASH_BYTES * size :] = sequences[:end].astype("<u4").view(np.uint8).reshape(full, -1) if full else 0
    data = table.tobytes()
    if rest:
        tail = hashes[end:].astype("<u8").tobytes() + sequences[end:].astype("<u4").tobytes()
        data += tail + bytes(-len(tail) % 8)
    step = block_bytes(size)
    blocks = (data[start : start + step] for start in range(0, len(data), step))
    fences = np.empty((full + bool(rest), 2), "<u8")
    fences[:, 0] = hashes[::size]
    fences[:, 1] = np.fromiter(map(hash64, blocks), np.uint64, len(fences))
    return data, fences.tobytes()


def unpack_block(data: bytes | memoryview, num_keys: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return hashes and sequence numbers of one block, without proving it."""
    hashes = np.frombuffer(data, "<u8", num_keys)
    return hashes, np.frombuffer(data, "<u4", num_keys, _HASH_BYTES * num_keys)


def unpack_blocks(data: bytes | memoryview, num_keys: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
    """Return hashes and sequence numbers of several blocks that lie end to end, without proving them."""
    size = spec.KEYS_PER_BLOCK
    full, rest = divmod(num_keys, size)
    end = full * block_bytes(size)
    table = np.frombuffer(data, np.uint8, end).reshape(full, block_bytes(size))
    hashes = np.ascontiguousarray(table[:, : _HASH_BYTES * size]).reshape(-1).view("<u8")
    sequences = np.ascontiguousarray(table[:, _HASH_BYTES * size :]).reshape(-1).view("<u4")
    if not rest:
        return hashes, sequences
    last_hashes, last_sequences = unpack_block(data[end:], rest)
    return np.concatenate([hashes, last_hashes]), np.concatenate([sequences, last_sequences])


def directory_bytes(num_runs: int) -> int:
    """Return the length of directory and footer."""
    return _RUN.size * num_runs + FOOTER_BYTES


def pack_directory(runs: list[KeyRun]) -> bytes:
    """Return directory and footer."""
    listed = b"".join(_RUN.pack(run.offset, run.num_keys, run.fences_hash) for run in runs)
    listed += struct.pack("<QQ", sum(run.num_keys for run in runs), len(runs))
    return listed + hash64(listed).to_bytes(8, "little")


def parse_footer(footer: bytes | memoryview) -> int:
    """Return how many runs a footer counts; whether that is true only the whole directory tells."""
    if len(footer) != FOOTER_BYTES:
        raise FormatError("the file of keys ends too early")
    num_runs: int = _FOOTER.unpack(footer)[1]
    if num_runs > spec.MAX_KEY_RUNS:
        raise FormatError(f"the footer of the keys counts {num_runs} runs, more than {spec.MAX_KEY_RUNS}")
    return num_runs


def parse_directory(data: bytes | memoryview, start: int) -> list[KeyRun]:
    """Read and prove directory and footer, which begin at byte `start` of the file.

    Raises:
        FormatError: If they are damaged, or a run lies outside of the file.
    """
    listed = bytes(data)
    if len(listed) < FOOTER_BYTES or (len(listed) - FOOTER_BYTES) % _RUN.size:
        raise FormatError(f"the directory of the keys has {len(listed)} bytes")
    if hash64(listed[:-8]) != int.from_bytes(listed[-8:], "little"):
        raise FormatError("the directory of the keys is damaged")
    runs = [KeyRun(*_RUN.unpack_from(listed, place)) for place in range(0, len(listed) - FOOTER_BYTES, _RUN.size)]
    num_keys = _FOOTER.unpack_from(listed, len(listed) - FOOTER_BYTES)[0]
    # Runs that share bytes would be read again for each: a megabyte can list forty thousand of all of it.
    ordered = sorted(runs, key=lambda run: run.offset)
    if any(run.end > following.offset for run, following in pairwise(ordered)):
        raise FormatError("the directory of the keys lists runs that overlap")
    for run in runs:
        if run.offset % 8 or run.offset < spec.KEYS_HEADER_BYTES or not run.num_keys or run.end > start:
            raise FormatError(f"the directory of the keys lists a run of {run.num_keys} keys at byte {run.offset}")
    if sum(run.num_keys for run in runs) != num_keys:
        raise FormatError("the directory of the keys counts other keys than it lists")
    # A file that is one hole has room for any number, and all fences are hashed before a search.
    if num_keys > spec.MAX_SEGMENT_RECORDS:
        raise FormatError(f"the directory of the keys counts {num_keys} keys, more than a segment has records")
    return runs


def encode_key(key: str) -> bytes:
    """Return a key as it is stored.

    Raises:
        TypeError: If it is no text.
        ValueError: If it is empty, too long, or holds half of a surrogate pair.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"the key {key!r} cannot be stored as UTF-8: {error}") from None
    if not 0 < len(encoded) <= spec.MAX_KEY_BYTES:
        raise ValueError(f"a key has 1 to {spec.MAX_KEY_BYTES} bytes of UTF-8, not {len(encoded)}: {key[:40]!r}")
    return encoded


def encode_keys(keys: Sequence[object]) -> list[bytes] | None:
    """Return keys that are all usual as they are stored, None where `encode_key` is to look at each."""
    if set(map(type, keys)) != {str}:
        return None
    try:
        encoded = list(map(str.encode, keys))  # type: ignore[arg-type]  # all are text
    except UnicodeEncodeError:
        return None
    lengths = list(map(len, encoded))
    return encoded if min(lengths) and max(lengths) <= spec.MAX_KEY_BYTES else None
