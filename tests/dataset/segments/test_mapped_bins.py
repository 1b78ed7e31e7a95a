"""Batches are read as one array of all bins: the same records, and the same errors, as one by one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from splitdata import CorruptRecordError, FormatError, SplitDataLoader, SplitWriter, TruncatedFileError

BATCH = 64
INDEX_HEADER_BYTES = 128
ENTRY_BYTES = 16


def records_of(sizes: list[int]) -> list[bytes]:
    return [random.Random(number).randbytes(size) for number, size in enumerate(sizes)]


def write(path: Path, records: list[bytes], bins: int, compression: Literal["zstd"] | None = None) -> Path:
    with SplitWriter(path, bins=bins, durability="none", compression=compression) as writer:
        writer.write_many(records)
    return path


def index_of(path: Path) -> Path:
    return next((path / "segments").iterdir()) / "index"


def change(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("bins", [1, 7])
@pytest.mark.parametrize(
    "sizes",
    [[128] * 500, [5] * 500, [3000] * 200, [0] * 100, [1 + 37 * number % 501 for number in range(500)]],
    ids=["of-128", "of-5", "of-3000", "empty", "mixed"],
)
def test_batch_is_equal_to_records_read_one_by_one(tmp_path: Path, sizes: list[int], bins: int) -> None:
    records = records_of(sizes)
    loader = SplitDataLoader(write(tmp_path / "data", records, bins))
    positions = [random.Random(1).randrange(len(records)) for _ in range(BATCH)]
    expected = [records[position] for position in positions]

    # The first batch opens the bins, the second finds them open.
    for _ in range(2):
        assert loader[positions] == expected
        assert loader.views(positions) == expected
    if len(set(sizes)) == 1:
        rows = loader.gather(positions)
        assert rows.shape == (BATCH, sizes[0])
        assert [row.tobytes() for row in rows] == expected
        assert rows.flags.writeable


def test_gather_of_records_of_two_sizes_is_refused(tmp_path: Path) -> None:
    loader = SplitDataLoader(write(tmp_path / "data", records_of([8] * 50 + [9] * 50), 3))
    for _ in range(2):
        with pytest.raises(ValueError, match="8 to 9 bytes"):
            loader.gather(list(range(100)))


def test_batch_of_compressed_and_plain_records_is_read(tmp_path: Path) -> None:
    records = [bytes(200) if number % 3 else random.Random(number).randbytes(200) for number in range(100)]
    loader = SplitDataLoader(write(tmp_path / "data", records, 4, "zstd"))
    for _ in range(2):
        assert loader[list(range(100))] == records
        assert loader.views(range(100)) == records
        assert loader.gather(list(range(100))).tobytes() == b"".join(records)


@pytest.mark.parametrize("size", [128, 3000])
def test_batch_with_flipped_payload_bit_raises_corrupt_record(tmp_path: Path, size: int) -> None:
    records = records_of([size] * 100)
    path = write(tmp_path / "data", records, 2)
    for file in (path / "segments").rglob("000001.bin"):
        data = file.read_bytes()
        place = data.index(records[51])
        change(file, place + 70, bytes([data[place + 70] ^ 1]))
    loader = SplitDataLoader(path)
    others = [position for position in range(100) if position != 51]

    for _ in range(2):
        with pytest.raises(CorruptRecordError, match="record 51 does not match its checksum"):
            loader[list(range(100))]
        with pytest.raises(CorruptRecordError, match="record 51 does not match its checksum"):
            loader.gather(np.arange(100))
        with pytest.raises(CorruptRecordError, match="record 51 does not match its checksum"):
            loader.views(np.arange(100))
        assert loader[others] == [records[position] for position in others]
    unverified = SplitDataLoader(path, verify=False)
    assert [len(record) for record in unverified[list(range(100))]] == [size] * 100
    assert [len(record) for record in unverified.views(range(100))] == [size] * 100


@pytest.mark.parametrize(
    ("loc", "error"),
    [
        (0xFFFFFFFFFFFFFFFF, CorruptRecordError),
        (0xFFFFFFFFFF, TruncatedFileError),
        (1 << 63 | 8, FormatError),
        (5 << 40 | 8, FormatError),
        (7, FormatError),
    ],
    ids=["tombstone", "behind-the-bin", "negative-bin", "bin-that-is-not-there", "before-the-frame"],
)
def test_batch_with_entry_that_leads_astray_raises(tmp_path: Path, loc: int, error: type[Exception]) -> None:
    records = records_of([64] * 100)
    path = write(tmp_path / "data", records, 2)
    change(index_of(path), INDEX_HEADER_BYTES + 40 * ENTRY_BYTES, loc.to_bytes(8, "little"))
    loader = SplitDataLoader(path)
    others = [position for position in range(100) if position != 40]

    for _ in range(2):
        assert loader[others] == [records[position] for position in others]
        with pytest.raises(error):
            loader[list(range(100))]
        with pytest.raises(error):
            loader.views(range(100))
        with pytest.raises(error):
            loader.gather(list(range(100)))


def test_length_that_reaches_beyond_the_map_raises(tmp_path: Path) -> None:
    path = write(tmp_path / "data", records_of([64] * 100), 2)
    change(index_of(path), INDEX_HEADER_BYTES + 40 * ENTRY_BYTES + 8, b"\xf0\xff\xff\xff" * 2)
    loader = SplitDataLoader(path)
    for _ in range(2):
        with pytest.raises(FormatError):
            loader[list(range(100))]


def test_rows_stay_valid_after_close(tmp_path: Path) -> None:
    records = records_of([128] * 100)
    loader = SplitDataLoader(write(tmp_path / "data", records, 3))
    loader.gather(list(range(100)))
    rows = loader.gather(list(range(100)))
    loader.close()
    del loader
    assert rows.tobytes() == b"".join(records)


def test_batches_over_several_segments_are_read_in_the_order_asked(tmp_path: Path) -> None:
    records = records_of([32] * 300)
    for start in range(0, 300, 100):
        with SplitWriter(tmp_path / "data", bins=2, mode="append", durability="none") as writer:
            writer.write_many(records[start : start + 100])
    loader = SplitDataLoader(tmp_path / "data")
    order = random.Random(2).sample(range(300), 300)
    for _ in range(2):
        assert loader[order] == [records[position] for position in order]
        assert loader.views(order) == [records[position] for position in order]
        assert loader.gather(order).tobytes() == b"".join(records[position] for position in order)
