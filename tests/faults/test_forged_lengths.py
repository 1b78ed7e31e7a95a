"""A frame of an uncompressed record whose two lengths differ, or that ends behind its file: every way to read refuses.

The index entry says the same as the frame, and the payload hash is that of what a slice would give.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitdata import FormatError, SplitDataLoader, SplitWriter
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader
from tests.faults.small_dataset import Io

COUNT = 40
LENGTH = 100
KEY = b"key"
WAYS: dict[str, Callable[[SplitDataLoader, int], Any]] = {
    "get": lambda loader, at: loader[at],
    "view": lambda loader, at: loader.view(at),
    "few": lambda loader, at: loader[[at]],
    "batch": lambda loader, at: loader[[*range(20), at]],
    "views": lambda loader, at: loader.views([*range(20), at]),
    "walk": lambda loader, _: list(loader),
    "binwise": lambda loader, _: list(loader.iterate_binwise()),
    "shuffled": lambda loader, _: list(loader.iterate_binwise(shuffle=True, seed=1)),
    "range": lambda loader, at: loader.read_range(at, 0, 5),
    "key": lambda loader, at: loader.key(at),
}
# Stored and raw length, and how many bytes are left behind the header.
FORGED = {
    "raw shorter": (LENGTH, LENGTH - 10, None),
    "stored shorter": (LENGTH - 10, LENGTH, None),
    "stored nothing": (0, LENGTH, None),
    "raw nothing": (LENGTH, 0, None),
    "both, the file ends before": (LENGTH, LENGTH, LENGTH - 12),
    "stored as the file has, raw longer": (LENGTH - 12, LENGTH, LENGTH - 12),
    "raw as the file has, stored longer": (LENGTH, LENGTH - 12, LENGTH - 12),
    "far behind the file": (1 << 20, 1 << 20, None),
}


def forge(path: Path, stored: int, raw: int, left: int | None, key: bytes) -> None:
    """Replace the last record by one with these lengths, with its index entry; the index is that of an open segment."""
    (segment,) = (path / "segments").iterdir()
    index, data = bytearray((segment / "index").read_bytes()), bytearray((segment / "000000.bin").read_bytes())
    at = spec.INDEX_HEADER_BYTES + (COUNT - 1) * spec.INDEX_ENTRY_BYTES
    offset = int.from_bytes(index[at : at + 8], "little") * spec.FRAME_UNIT
    start = offset + spec.FRAME_HEADER_BYTES
    if left is not None:
        del data[start + left :]
    header = FrameHeader(
        sequence=COUNT - 1,
        stored_length=stored,
        raw_length=raw,
        payload_hash=hash64(bytes(data[start : start + raw + len(key)])),
        key_length=len(key),
    )
    data[offset:start] = header.pack(bin_salt(segment.name, 0), offset)
    index[at + 8 : at + 16] = stored.to_bytes(4, "little") + raw.to_bytes(4, "little")
    (segment / "000000.bin").write_bytes(data)
    (segment / "index").write_bytes(index)


@pytest.mark.parametrize("key", [b"", KEY], ids=["no key", "key"])
@pytest.mark.parametrize("forged", FORGED)
def test_frame_with_impossible_lengths_is_refused_by_every_way_to_read(tmp_path: Path, forged: str, key: bytes) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=1, durability="none") as writer:
        writer.write_many(
            [bytes([n]) * LENGTH for n in range(COUNT)], keys=[key.decode() + str(n) for n in range(COUNT)]
        )
    forge(path, *FORGED[forged], key)

    ios: list[Io] = ["mmap", "pread"]
    for io in ios:
        for checked in (True, False):
            with SplitDataLoader(path, io=io, verify=checked) as loader:
                # So that all files are open.
                assert loader[: COUNT - 1] == [bytes([n]) * LENGTH for n in range(COUNT - 1)]
                for name, read in WAYS.items():
                    with pytest.raises(FormatError):
                        pytest.fail(f"{name}, {io}, verify={checked}: {read(loader, COUNT - 1)!r:.80}")
