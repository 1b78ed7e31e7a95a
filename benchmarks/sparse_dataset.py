"""A dataset of a billion records in a few KiB of disk: an index that is a hole, and bins with a few records.

    manifest     1,000,000,000 records, 64 bins, not sealed (an index without tables)
    index        header, then 16 GB of hole with the entries of the real records
    000000.bin   header, frames of the real records that belong here

Written from FORMAT.md with the library's own structs. An entry in the hole leads nowhere: reading
such a record is CorruptRecordError, its size is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader
from splitdata.format.index import IndexHeader, make_entries
from splitdata.format.manifest import Manifest, SegmentInfo

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NUM_RECORDS", "make_sparse_dataset"]

NUM_RECORDS: Final = 1_000_000_000
_NUM_BINS: Final = 64
_SEGMENT: Final = "5eed" * 8
_DATASET: Final = "da7a" * 8


def make_sparse_dataset(folder: Path, records: dict[int, bytes], num_records: int = NUM_RECORDS) -> None:
    """Make a dataset most of whose index is a hole.

    Args:
        folder: Made; on a file system with sparse files and room for one of 16 bytes a record.
        records: The real records by position, below 16 MiB each.
        num_records: How many records the manifest claims.
    """
    segment = folder / "segments" / _SEGMENT
    segment.mkdir(parents=True)
    raw_bytes = sum(map(len, records.values()))
    header = IndexHeader(segment_id=_SEGMENT, num_bins=_NUM_BINS, num_records=num_records, raw_bytes=raw_bytes)
    bins = {
        number: bytearray(
            BinHeader(segment_id=_SEGMENT, bin_index=number, num_bins=_NUM_BINS, alignment=spec.FRAME_UNIT).pack()
        )
        for number in range(_NUM_BINS)
    }
    with (segment / "index").open("wb") as index:
        index.write(header.pack())
        index.truncate(spec.INDEX_HEADER_BYTES + num_records * spec.INDEX_ENTRY_BYTES)
        for position, record in sorted(records.items()):
            number = position % _NUM_BINS
            offset = _append_frame(bins[number], number, position, record)
            length = np.array([len(record)], np.uint64)
            loc = np.array([number << spec.BIN_SHIFT | offset // spec.FRAME_UNIT], np.uint64)
            index.seek(spec.INDEX_HEADER_BYTES + position * spec.INDEX_ENTRY_BYTES)
            index.write(make_entries(loc, length, length).tobytes())
    for number, data in bins.items():
        (segment / f"{number:06d}.bin").write_bytes(data)
    info = SegmentInfo(
        id=_SEGMENT,
        num_records=num_records,
        num_bins=_NUM_BINS,
        is_sealed=False,
        digest=0,
        raw_bytes=raw_bytes,
        stored_bytes=raw_bytes,
    )
    manifest = Manifest(generation=1, dataset_id=_DATASET, segments=(info,))
    (folder / "manifest.0000000001.json").write_bytes(manifest.encode())


def _append_frame(data: bytearray, bin_index: int, sequence: int, record: bytes) -> int:
    """Put a record at the end of a bin; returns where its frame begins."""
    offset = len(data)
    header = FrameHeader(
        sequence=sequence, stored_length=len(record), raw_length=len(record), payload_hash=hash64(record)
    )
    data += header.pack(bin_salt(_SEGMENT, bin_index), offset) + record
    data += bytes(-len(data) % spec.FRAME_UNIT)
    return offset
