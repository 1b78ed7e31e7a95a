"""What verify looks at beyond the records: headers, gaps, copies and keys that no reading of a record needs.

whole dataset ── one oddity, its hashes right ──> verify names it ── repair makes it whole, where that can be known
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import CorruptRecordError, SplitDataLoader, SplitWriter, UnsupportedVersionError, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.format import spec
from splitdata.format.bins import BinHeader
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.deleted import pack_deleted, unpack_deleted
from splitdata.format.frames import FrameHeader, footprint
from splitdata.format.index import IndexHeader
from splitdata.storage.paths import SegmentPaths
from tests.dataset.disk import copied
from tests.dataset.record_kinds import overwrite
from tests.faults.forging import write_manifest

RECORDS = [b"record %d" % number * (number % 7) for number in range(60)]


def written(path: Path, records: list[bytes] = RECORDS, *, keys: bool = False, **options: Any) -> Path:
    given: dict[str, Any] = {"bins": 2, "durability": "none", "mode": "append", "metadata": {"a": 1}}
    with SplitWriter(path, **(given | options)) as writer:
        writer.write_many(records, keys=[f"k{number}" for number in range(len(records))] if keys else None)
    return path


def files_of(path: Path) -> SegmentPaths:
    directory = DatasetDirectory(path)
    return directory.paths.segment(directory.newest().segments[-1].id)


def problems_of(path: Path) -> list[str]:
    return [finding.problem for finding in verify(path, num_workers=1).findings]


def change_index(path: Path, **fields: Any) -> None:
    """Put other fields into the header of an index, with a right hash."""
    index = Path(files_of(path).index)
    header = IndexHeader.unpack(index.read_bytes())
    overwrite(index, 0, dataclasses.replace(header, **fields).pack())


def change_bin(path: Path, number: int, **fields: Any) -> None:
    """Put other fields into the header of a bin, with a right hash."""
    file = Path(files_of(path).bin(number))
    overwrite(file, 0, dataclasses.replace(BinHeader.unpack(file.read_bytes()), **fields).pack())


INDEX_FIELDS: dict[str, Any] = {
    "num_bins": 3,
    "first_position": 1,
    "num_records": 59,
    "digest": 7,
    "stored_bytes": 7,
    "raw_bytes": 7,
    "is_sealed": False,
    "hash_kind": 1,
    "key_id": b"k" * 16,
    "alignment": 128,
}


@pytest.mark.parametrize("field", INDEX_FIELDS)
def test_index_header_that_contradicts_the_manifest_is_reported_read_and_mended(tmp_path: Path, field: str) -> None:
    path = written(tmp_path / "d", alignment=64)
    whole = Path(files_of(path).index).read_bytes()
    change_index(path, **{field: INDEX_FIELDS[field]})

    assert problems_of(path) != []
    with SplitDataLoader(path) as reader:
        assert list(reader) == RECORDS
    # Which of two alignments is the right one nobody knows.
    if field != "alignment":
        repair(path)
        assert Path(files_of(path).index).read_bytes() == whole


@pytest.mark.parametrize(("field", "value"), [("num_bins", 3), ("alignment", 128), ("hash_kind", 1)])
def test_bin_header_that_contradicts_manifest_or_index_is_reported_and_read(
    tmp_path: Path, field: str, value: int
) -> None:
    path = written(tmp_path / "d", alignment=64)
    change_bin(path, 1, **{field: value})

    assert any("the header says" in problem for problem in problems_of(path))
    with SplitDataLoader(path) as reader:
        assert list(reader) == RECORDS


def test_features_of_headers_that_the_manifest_does_not_have_are_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "d")
    change_index(path, features=("groups",), group=4)
    change_bin(path, 0, features=("groups",), group=4)

    assert [problem.count("groups") for problem in problems_of(path)] == [1, 1]
    with SplitDataLoader(path) as reader:
        assert list(reader) == RECORDS


@pytest.mark.parametrize("name", ["index", "000001.bin", "keys"])
def test_file_of_another_major_than_the_manifest_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "d", keys=True)
    file = Path(files_of(path).folder) / name
    head_bytes = spec.INDEX_HEADER_BYTES if name == "index" else 64
    head = bytearray(file.read_bytes()[: head_bytes - 8])
    head[8:12] = b"\x00\x00\x01\x00"
    overwrite(file, 0, bytes(head) + hash64(bytes(head)).to_bytes(8, "little"))

    assert any("format 0.1 in a dataset of format 1.0" in problem for problem in problems_of(path))
    with SplitDataLoader(path) as reader, pytest.raises(UnsupportedVersionError, match=r"0\.1"):
        reader.find("k1") if name == "keys" else reader[1]


def test_list_of_deleted_records_of_another_major_is_refused() -> None:
    half, _ = pack_deleted("ab" * 16, np.array([1], np.uint32))
    head = bytearray(half[:56])
    head[8:12] = b"\x00\x00\x01\x00"
    half = bytes(head) + hash64(bytes(head)).to_bytes(8, "little") + half[64:]
    with pytest.raises(UnsupportedVersionError, match=r"0\.1"):
        unpack_deleted(half + half, "ab" * 16, hash64(half))


@pytest.mark.parametrize("alignment", [64, 4096])
def test_bytes_between_the_header_of_a_bin_and_its_control_frames_are_zeros(tmp_path: Path, alignment: int) -> None:
    path = written(tmp_path / "d", alignment=alignment)
    file = Path(files_of(path).bin(0))
    whole = file.read_bytes()
    for place in (spec.BIN_HEADER_BYTES, alignment - spec.FRAME_HEADER_BYTES - 1 + 64 * (alignment == 64)):
        assert whole[place] == 0
        overwrite(file, place, b"\x07")

        assert any("not the zeros" in problem for problem in problems_of(path))
        assert repair(path).is_whole
        assert file.read_bytes() == whole
        assert repair(path).actions == ()


@pytest.mark.parametrize("options", [{}, {"compression": "zstd"}], ids=["plain", "zstd"])
def test_padding_within_a_large_frame_is_zeros(tmp_path: Path, options: dict[str, Any]) -> None:
    # Ends at no multiple of 8, compressed too.
    large = random.Random(1).randbytes(3 << 20) + bytes(spec.LARGE_RECORD_BYTES - (3 << 20) + 3)
    path = written(tmp_path / "d", [large], bins=1, **options)
    file = Path(files_of(path).bin(0))
    data = file.read_bytes()
    entry = Path(files_of(path).index).read_bytes()[spec.INDEX_HEADER_BYTES :][:16]
    offset = int.from_bytes(entry[:8], "little") * spec.FRAME_UNIT
    header = FrameHeader.unpack(data[offset:])
    assert header.kind == spec.KIND_LARGE
    padding = header.table_offset - header.size - header.stored_length
    assert padding
    overwrite(file, offset + header.table_offset - 1, b"\x07")

    assert any("not the zeros" in problem for problem in problems_of(path))
    assert repair(path).is_whole
    assert file.read_bytes() == data


def test_sealed_bin_ends_where_the_next_frame_would_begin(tmp_path: Path) -> None:
    path = written(tmp_path / "d", alignment=64)
    file = Path(files_of(path).bin(1))
    file.write_bytes(file.read_bytes() + bytes(64))
    index = Path(files_of(path).index)
    # The table of the index says so too: after its block sum the lengths of two bins, then the footer.
    lengths = index.read_bytes()[-40:-24]
    lengths = lengths[:8] + file.stat().st_size.to_bytes(8, "little")
    overwrite(index, index.stat().st_size - 32, lengths[8:])
    overwrite(index, index.stat().st_size - 16, hash64(lengths).to_bytes(8, "little"))

    assert [problem for problem in problems_of(path) if "and the bin at" in problem]


def control_frames(path: Path) -> list[tuple[int, FrameHeader]]:
    """Return offset and header of what stands before the records, of alignment 8."""
    data = Path(files_of(path).bin(0)).read_bytes()
    found, offset = [], spec.BIN_HEADER_BYTES
    while (header := FrameHeader.unpack(data[offset:])).sequence == spec.CONTROL_SEQUENCE:
        found.append((offset, header))
        offset += (footprint(header) + 7) // 8 * 8
    return found


def put_control_payload(path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    """Change the payload of a control frame to another of its length, with right hashes."""
    file = Path(files_of(path).bin(0))
    offset, header = control_frames(path)[number]
    place = offset + header.size
    payload = change(file.read_bytes()[place : place + header.stored_length])
    assert len(payload) == header.stored_length
    packed = dataclasses.replace(header, payload_hash=hash64(payload))
    overwrite(file, offset, packed.pack(bin_salt(Path(files_of(path).folder).name, 0), offset) + payload)


def test_copy_of_the_metadata_that_is_no_json_is_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "d")
    put_control_payload(path, 0, lambda data: b"{" * len(data))

    assert any("copy of the metadata" in problem for problem in problems_of(path))


def test_two_dictionaries_that_are_not_equal_are_reported(tmp_path: Path) -> None:
    records = [b'{"name": "record %d", "kind": "small", "of": "many"}' % (number % 97) for number in range(5000)]
    path = written(tmp_path / "d", records, bins=1, compression="zstd", dictionary=True, group=1)
    assert [header.kind for _, header in control_frames(path)] == [spec.KIND_DICTIONARY, spec.KIND_METADATA]
    put_control_payload(path, 0, lambda data: data[:-1] + bytes([data[-1] ^ 1]))

    assert any("the index another one" in problem for problem in problems_of(path))


def test_control_frame_with_a_key_is_none(tmp_path: Path) -> None:
    records = [b'{"name": "record %d", "kind": "small", "of": "many"}' % (number % 97) for number in range(5000)]
    path = written(tmp_path / "d", records, bins=1, compression="zstd", dictionary=True, group=1)
    (offset, header), _ = control_frames(path)
    index = Path(files_of(path).index)
    # The other copy is damaged: just before the footer.
    overwrite(index, index.stat().st_size - 32, b"damaged.")
    with SplitDataLoader(path) as reader:
        assert reader[7] == records[7]

    packed = dataclasses.replace(header, key_length=3).pack(bin_salt(Path(files_of(path).folder).name, 0), offset)
    overwrite(Path(files_of(path).bin(0)), offset, packed)

    with SplitDataLoader(path) as reader, pytest.raises(CorruptRecordError, match="dictionary"):
        reader[7]
    assert not verify(path).is_intact


def put_key(path: Path, old: bytes, new: bytes) -> None:
    """Put another key of the same length into a frame, with the hash behind it."""
    for number in range(2):
        file = Path(files_of(path).bin(number))
        data = file.read_bytes()
        place = data.find(old + hash64(old).to_bytes(8, "little"))
        if place >= 0:
            overwrite(file, place, new + hash64(new).to_bytes(8, "little"))


def test_key_that_is_not_utf_8_is_reported_and_is_an_error_of_its_record_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "d", keys=True)
    put_key(path, b"k31", b"k\xff1")

    assert any("not UTF-8" in problem for problem in problems_of(path))
    with SplitDataLoader(path) as reader:
        assert reader[31] == RECORDS[31]
        with pytest.raises(CorruptRecordError, match="record 31") as caught:
            reader.key(31)
        assert caught.value.position == 31
        with pytest.raises(CorruptRecordError):
            reader.keys_of([30, 31])


def test_deleted_record_that_the_segment_does_not_have_is_reported_and_ignored(tmp_path: Path) -> None:
    path = written(tmp_path / "d")
    segment = DatasetDirectory(path).newest().segments[0]
    half, list_hash = pack_deleted(segment.id, np.array([3, 60], np.uint32))
    (Path(files_of(path).folder) / f"deleted.{list_hash:016x}").write_bytes(half + half)
    manifest = DatasetDirectory(path).newest()
    changed = dataclasses.replace(segment, num_deleted=2, deleted_hash=list_hash)
    line = dataclasses.replace(manifest, segments=(changed,)).encode().splitlines()[0]
    write_manifest(path, line, manifest.generation)

    assert problems_of(path) == ["it lists 1 records that the segment does not have"]
    with SplitDataLoader(path) as reader:
        assert reader[59] == RECORDS[59]


def test_header_files_of_a_whole_dataset_are_as_the_manifest_says(tmp_path: Path) -> None:
    path = written(tmp_path / "d", keys=True)
    written(path, keys=True, bins=3, alignment=64)
    written(path, group=4)

    assert problems_of(path) == []
    assert problems_of(copied(path, tmp_path / "e")) == []
