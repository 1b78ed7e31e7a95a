"""Datasets that say what their writer wants, with every checksum right: what an attacker would hand out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splitdata import SplitWriter
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader, lengths_word


def write_manifest(path: Path, line: bytes, generation: int = 1) -> None:
    """Put a manifest with this first line in place of all others."""
    for old in path.glob("manifest.*.json"):
        old.unlink()
    checksum = b'{"xxh3":"' + f"{hash64(line):016x}".encode() + b'"}\n'
    (path / f"manifest.{generation:010d}.json").write_bytes(line + b"\n" + checksum)


def write_forged_record(path: Path, stored: bytes, **fields: Any) -> None:
    """Write a dataset of one record whose frame header says what `fields` say; the index says the same."""
    with SplitWriter(path, bins=1, durability="none") as writer:
        writer.write(stored)
    segment = DatasetDirectory(path).newest().segments[0]
    folder = path / "segments" / segment.id
    values = {"sequence": 0, "stored_length": len(stored), "raw_length": len(stored), "payload_hash": hash64(stored)}
    header = FrameHeader(**(values | fields))
    data = bytearray((folder / "000000.bin").read_bytes())
    packed = header.pack(bin_salt(segment.id, 0), spec.BIN_HEADER_BYTES)
    if header.kind == spec.KIND_LARGE:
        table = b"".join(
            hash64(stored[start : start + spec.BLOCK_BYTES]).to_bytes(8, "little")
            for start in range(0, len(stored), spec.BLOCK_BYTES)
        )
        header = FrameHeader(**(values | fields | {"payload_hash": hash64(table)}))
        packed = header.pack(bin_salt(segment.id, 0), spec.BIN_HEADER_BYTES)
        data = data[: spec.BIN_HEADER_BYTES] + packed + stored + bytes(-len(stored) % 8) + table
    else:
        data[spec.BIN_HEADER_BYTES : spec.BIN_HEADER_BYTES + len(packed)] = packed
    (folder / "000000.bin").write_bytes(data)
    index = bytearray((folder / "index").read_bytes())
    lengths = lengths_word(header.stored_length, header.raw_length)
    index[spec.INDEX_HEADER_BYTES + 8 : spec.INDEX_HEADER_BYTES + 16] = lengths.to_bytes(8, "little")
    (folder / "index").write_bytes(index)
