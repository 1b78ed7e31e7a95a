"""Dictionaries: trained where they pay, kept twice, needed by no record that does not use them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from splitdata import CorruptRecordError, SplitDataLoader, SplitWriter, describe, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.segments.dictionary import train
from splitdata.dataset.segments.segment_reader import SegmentReader
from splitdata.format import spec
from splitdata.format.compression import Compressor, Decompressor
from splitdata.format.frames import FrameHeader

_WORDS = [f"word{number * 7919 % 1000:03d}" for number in range(1000)]


def json_records(count: int, seed: int = 0) -> list[bytes]:
    source = random.Random(seed)
    return [
        json.dumps(
            {
                "identifier": number,
                "author": {"name": source.choice(_WORDS), "verified": source.random() < 0.5},
                "tags": source.choices(_WORDS, k=source.randrange(1, 6)),
                "score": round(source.random(), 4),
            }
        ).encode()
        for number in range(count)
    ]


RECORDS = json_records(3000)


def write(
    path: Path, records: list[bytes] = RECORDS, *, is_sealed: bool = True, options: dict[str, Any] | None = None
) -> Path:
    """Write a dataset with a dictionary; returns the folder of its last segment."""
    given: dict[str, Any] = {"bins": 2, "compression": "zstd", "dictionary": True, "durability": "none"}
    writer = SplitWriter(path, **(given | (options or {})))
    writer.write_many(records)
    writer.commit()
    if is_sealed:
        writer.close()
    else:
        writer.abort()
    return Path(DatasetDirectory(path).paths.segment(DatasetDirectory(path).newest().segments[-1].id).folder)


def codecs_of(path: Path) -> set[int]:
    codecs = set()
    with SplitDataLoader(path) as loader:
        for position in range(len(loader)):
            segment, sequence = loader._snapshot.find(position)
            assert isinstance(segment, SegmentReader)
            codecs.add(segment.records.locate(sequence).header.codec)
    return codecs


def damage_index_copy(folder: Path) -> None:
    index = bytearray((folder / "index").read_bytes())
    index[-200] ^= 1
    (folder / "index").write_bytes(index)


def damage_bin_copy(folder: Path) -> None:
    data = bytearray((folder / "000000.bin").read_bytes())
    data[64 + 32 + 500] ^= 1
    (folder / "000000.bin").write_bytes(data)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("is_sealed", [True, False], ids=["sealed", "open"])
@pytest.mark.parametrize("options", [{}, {"alignment": 4096, "metadata": {"a": 1}}], ids=["plain", "metadata"])
def test_records_written_with_a_dictionary_read_back(
    tmp_path: Path, is_sealed: bool, options: dict[str, Any], io: Literal["mmap", "pread"]
) -> None:
    write(tmp_path / "d", is_sealed=is_sealed, options=options)

    with SplitDataLoader(tmp_path / "d", io=io) as loader:
        assert [loader[position] for position in range(0, len(loader), 7)] == RECORDS[::7]
        assert list(loader) == RECORDS == loader[range(len(loader))]
    assert codecs_of(tmp_path / "d") == {spec.CODEC_ZSTD_DICTIONARY}
    assert verify(tmp_path / "d").findings == ()
    (segment,) = describe(tmp_path / "d").segments
    assert segment.dictionary_bytes >= 1024
    assert repair(tmp_path / "d").actions == ()


def test_dictionary_halves_small_json_records_and_counts_its_own_size(tmp_path: Path) -> None:
    write(tmp_path / "with")
    write(tmp_path / "without", options={"dictionary": False})

    with_it, without = describe(tmp_path / "with"), describe(tmp_path / "without")
    assert with_it.stored_bytes < 0.5 * without.stored_bytes
    assert with_it.disk_bytes < without.disk_bytes
    assert with_it.fingerprint == without.fingerprint


@pytest.mark.parametrize(
    "records",
    [
        [b""] * 100,
        RECORDS[:20],
        [random.Random(number).randbytes(200) for number in range(500)],
    ],
    ids=["empty", "few", "noise"],
)
def test_dictionary_that_does_not_pay_is_not_made(tmp_path: Path, records: list[bytes]) -> None:
    write(tmp_path / "d", records)

    assert sum(segment.dictionary_bytes for segment in describe(tmp_path / "d").segments) == 0
    with SplitDataLoader(tmp_path / "d") as loader:
        assert list(loader) == records
    assert verify(tmp_path / "d").is_intact


def test_each_record_is_stored_as_is_smallest() -> None:
    dictionary = train(RECORDS, 3)
    plain, with_dictionary = Compressor(3), Compressor(3, dictionary)
    noise, text = random.Random(1).randbytes(300), b"quite another thing, " * 200
    for raw in (RECORDS[7], noise, text, b"", b"x", RECORDS[1] * 50):
        stored, codec = with_dictionary.encode(raw)
        assert len(stored) <= len(plain.compress(raw)) <= len(raw)
        assert codec == spec.CODEC_NONE or len(stored) < len(raw)
        decompressor = Decompressor(dictionary if codec == spec.CODEC_ZSTD_DICTIONARY else b"")
        assert codec == spec.CODEC_NONE or decompressor.decompress(stored, len(raw), 1 << 20) == raw
    assert with_dictionary.encode(noise)[1] == spec.CODEC_NONE
    assert with_dictionary.encode(RECORDS[7])[1] == spec.CODEC_ZSTD_DICTIONARY


def test_same_records_give_the_same_files(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name, options={"reproducible": True}) for name in ("one", "other"))

    assert [file.read_bytes() for file in sorted(one.iterdir())] == [
        file.read_bytes() for file in sorted(other.iterdir())
    ]


def test_dictionary_without_compression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"compression='zstd'"):
        SplitWriter(tmp_path / "d", dictionary=True)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("damage", [damage_index_copy, damage_bin_copy], ids=["index", "bin"])
def test_damage_to_one_copy_costs_nothing_is_reported_and_mended(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder = write(tmp_path / "d", options={"metadata": {"a": 1}})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    damage(folder)

    with SplitDataLoader(tmp_path / "d") as loader:
        assert list(loader) == RECORDS
    report = verify(tmp_path / "d")
    assert not report.is_intact
    assert report.num_damaged_records == 0
    assert repair(tmp_path / "d").is_whole
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert verify(tmp_path / "d").is_intact


def test_damage_to_both_copies_costs_only_the_records_that_need_them(tmp_path: Path) -> None:
    noise = [random.Random(number).randbytes(90) for number in range(50)]
    folder = write(tmp_path / "d", [*RECORDS, *noise])
    damage_index_copy(folder)
    damage_bin_copy(folder)

    with SplitDataLoader(tmp_path / "d") as loader:
        assert [loader[len(RECORDS) + number] for number in range(50)] == noise
        with pytest.raises(CorruptRecordError, match=r"record 5 .*dictionary"):
            loader[5]
    assert verify(tmp_path / "d").num_damaged_records == len(RECORDS)


def test_lost_index_of_a_segment_with_a_dictionary_is_made_again_byte_by_byte(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", options={"metadata": {"a": 1}})
    before = (folder / "index").read_bytes()
    for content in (None, before[:100], b"\0" * 64 + before[64:]):
        (folder / "index").unlink()
        if content is not None:
            (folder / "index").write_bytes(content)
        assert repair(tmp_path / "d").is_whole
        assert (folder / "index").read_bytes() == before


def test_pending_records_that_move_take_the_dictionary_along(tmp_path: Path) -> None:
    path = tmp_path / "d"
    options: dict[str, Any] = {"bins": 2, "mode": "append", "compression": "zstd", "dictionary": True}
    with SplitWriter(path, **options) as one, SplitWriter(path, **options) as other:
        one.write_many(RECORDS[:1500])
        one.commit()
        one.write_many(RECORDS[1500:2000])
        other.write(b"between")
        other.commit()
        one.write_many(RECORDS[2000:])
        one.commit()

    with SplitDataLoader(path) as loader:
        assert list(loader) == [*RECORDS[:1500], b"between", *RECORDS[1500:]]
    assert verify(path).findings == ()


def test_folded_segments_with_dictionaries_keep_their_records(tmp_path: Path) -> None:
    path = tmp_path / "d"
    expected = []
    for number in range(34):
        records = json_records(120, number)
        with SplitWriter(path, mode="append", compression="zstd", dictionary=True, durability="none") as writer:
            writer.write_many(records, keys=[f"{number}/{place}" for place in range(120)])
        expected += records

    with SplitDataLoader(path) as loader:
        assert len(DatasetDirectory(path).newest().segments) < 34
        assert list(loader) == expected
        assert loader.find("3/7") == 367
    assert verify(path).findings == ()


def test_resumed_run_goes_on_with_the_dictionary_of_its_segment(tmp_path: Path) -> None:
    path = tmp_path / "d"
    options: dict[str, Any] = {"bins": 2, "mode": "resume", "compression": "zstd", "dictionary": True}
    write(path, RECORDS[:2000], is_sealed=False, options={"mode": "resume"})
    with SplitWriter(path, **options) as writer:
        assert writer.num_written == 2000
        writer.write_many(RECORDS[2000:])

    with SplitDataLoader(path) as loader:
        assert list(loader) == RECORDS
    assert len(describe(path).segments) == 1
    assert codecs_of(path) == {spec.CODEC_ZSTD_DICTIONARY}
    assert verify(path).findings == ()


def test_every_flipped_bit_of_the_dictionary_frame_is_reported(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", RECORDS[:400])
    file = folder / "000000.bin"
    whole = file.read_bytes()
    header = FrameHeader.unpack(whole[64:112])
    assert header.kind == spec.KIND_DICTIONARY
    bits = [*range(64 * 8, 96 * 8, 3), *range(96 * 8, (96 + header.stored_length) * 8, 4001)]
    descriptor = os.open(file, os.O_RDWR)
    try:
        for bit in bits:
            os.pwrite(descriptor, bytes([whole[bit // 8] ^ 1 << bit % 8]), bit // 8)
            report = verify(tmp_path / "d", num_workers=1)
            assert not report.is_intact, bit
            assert report.num_damaged_records == 0, bit
            os.pwrite(descriptor, whole[bit // 8 : bit // 8 + 1], bit // 8)
    finally:
        os.close(descriptor)
