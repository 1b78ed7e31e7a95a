"""A large uncompressed record lies in its bin as FORMAT.md says: laid out here from the document's words alone.

SplitWriter ── 16 MiB and a little, 17 blocks ──> 000000.bin == header | frame | frame, made with struct
               the bytes made here, damaged       ──> SplitDataLoader, examples/read_with_stdlib_only.py

Such a record is too big for a golden file, so it is made anew each time.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

from splitdata import CorruptRecordError, SplitDataLoader, SplitWriter
from splitdata.dataset.verify.verify import verify
from tests.command import ROOT, run_python

MEBIBYTE: Final = 1 << 20
SMALL: Final = b"before it"
# 16 whole blocks and one of 5 bytes, which ends at no multiple of 8.
LARGE: Final = np.random.default_rng(7).bytes(16 * MEBIBYTE + 5)
MASK64: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Layout:
    """A bin as section 8 describes it, and where its large frame is."""

    data: bytes
    large_frame: int
    table: int


def align_up(length: int, unit: int) -> int:
    return -(-length // unit) * unit


def next_frame(end: int, header: int, alignment: int) -> int:
    """Section 8: the least place behind `end` from which a header of that length leads to an aligned payload."""
    return align_up(end + header, alignment) - header


def header_of(salt: int, offset: int, words: list[int]) -> bytes:
    """Section 8: word 0 and the others."""
    factors = [0x9E3779B97F4A7C15, 0xC90FDAA22168C235, 0xA4093822299F31D1, 0x452821E638D01377]
    mixed = salt ^ (offset * factors[0] & MASK64)
    for number, word in enumerate(words):
        mixed = (mixed ^ (mixed >> 32) ^ word) * factors[1 + number % 3] & MASK64
    sync = (salt & 0xFFFFFFFF) | 1
    return struct.pack(f"<{1 + len(words)}Q", sync | (mixed >> 32) << 32, *words)


def layout(segment: bytes, alignment: int) -> Layout:
    """Lay out the small and the large record in bin 0 of 1."""
    head = b"\x89SDB\r\n\x1a\n" + struct.pack(
        "<HHI16sIIIIB7x", 1, 0, 64, segment, 0, 1, 0, 0, alignment.bit_length() - 1
    )
    data = bytearray(head + struct.pack("<Q", xxh3_64_intdigest(head)))
    salt = xxh3_64_intdigest(segment + struct.pack("<I", 0), 0x5D)

    small = next_frame(len(data), 32, alignment)
    data += bytes(small - len(data))
    data += header_of(salt, small, [xxh3_64_intdigest(SMALL), 0, len(SMALL) | len(SMALL) << 32]) + SMALL

    large = next_frame(len(data), 64, alignment)
    data += bytes(large - len(data))
    starts = range(0, len(LARGE), MEBIBYTE)
    hashes = b"".join(struct.pack("<Q", xxh3_64_intdigest(LARGE[start : start + MEBIBYTE])) for start in starts)
    kind_large, sequence = 4, 1
    words = [
        xxh3_64_intdigest(hashes),
        sequence | kind_large << 32,
        len(LARGE) | len(LARGE) << 32,
        len(LARGE),
        len(LARGE),
        0,
        0,
    ]
    table = large + align_up(64 + len(LARGE), 8)
    data += header_of(salt, large, words) + LARGE
    data += bytes(table - len(data)) + hashes
    data += bytes(next_frame(len(data), 32, alignment) - len(data))
    return Layout(bytes(data), large, table)


def write(folder: Path, alignment: int) -> tuple[Path, Layout]:
    """Write both records; returns the bin, and what must be in it."""
    with SplitWriter(folder, bins=1, alignment=alignment) as writer:
        writer.write_many([SMALL, LARGE])
    [path] = folder.glob("segments/*/000000.bin")
    return path, layout(bytes.fromhex(path.parent.name), alignment)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        [byte] = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("alignment", [8, 32, 64, 4096])
def test_bin_with_a_large_uncompressed_record_is_what_the_document_says(tmp_path: Path, alignment: int) -> None:
    path, expected = write(tmp_path / "data", alignment)
    # Not by `==` in the assertion, which would print 16 MiB.
    is_equal = path.read_bytes() == expected.data
    assert is_equal
    assert (expected.large_frame + 64) % alignment == 0


@pytest.mark.slow
def test_large_uncompressed_record_reads_whole_and_in_parts(tmp_path: Path) -> None:
    write(tmp_path / "data", 8)
    assert verify(tmp_path / "data").is_intact
    with SplitDataLoader(tmp_path / "data") as loader:
        is_equal = loader[1] == LARGE
        assert is_equal
        assert loader.read_range(1, 16 * MEBIBYTE - 3, 17 * MEBIBYTE) == LARGE[16 * MEBIBYTE - 3 :]
    shown = run_python(ROOT / "examples" / "read_with_stdlib_only.py", tmp_path / "data").stdout.splitlines()
    assert shown == [f"0 {len(SMALL)} {SMALL!r}", f"1 {len(LARGE)} {LARGE[:30]!r}"]


def test_flip_in_one_block_leaves_the_other_blocks_readable(tmp_path: Path) -> None:
    path, expected = write(tmp_path / "data", 8)
    flip(path, expected.large_frame + 64 + 3 * MEBIBYTE)
    with SplitDataLoader(tmp_path / "data") as loader:
        with pytest.raises(CorruptRecordError, match="block 3"):
            loader[1]
        assert loader.read_range(1, 3 * MEBIBYTE - 4, 3 * MEBIBYTE) == LARGE[3 * MEBIBYTE - 4 : 3 * MEBIBYTE]
        assert loader.read_range(1, 4 * MEBIBYTE, 4 * MEBIBYTE + 4) == LARGE[4 * MEBIBYTE : 4 * MEBIBYTE + 4]


def test_flip_in_the_block_hashes_costs_the_whole_record(tmp_path: Path) -> None:
    path, expected = write(tmp_path / "data", 8)
    flip(path, expected.table + 8 * 16)
    with SplitDataLoader(tmp_path / "data") as loader:
        with pytest.raises(CorruptRecordError, match="table of block hashes"):
            loader.read_range(1, 0, 4)
        assert loader[0] == SMALL
