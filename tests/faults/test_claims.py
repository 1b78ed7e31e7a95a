"""Limits of what a reader copies, a writer derives and a fold writes, where files and folders claim what they like."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path

import numpy as np
import pytest

from splitdata import FormatError, RecordTooLargeError, SplitDataLoader, SplitWriter, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.reading.iteration import walk_bins_shuffled
from splitdata.format import spec
from splitdata.format.checksum import bin_salt, hash64
from splitdata.format.frames import FrameHeader
from splitdata.loader.benchmark import measure_dataset
from tests.dataset.disk import written
from tests.faults.forging import write_manifest
from tests.faults.hostile_sizes import SEGMENT, bin_header, entries, index_header, publish, sparse
from tests.faults.small_dataset import Io

SIZE = 3000


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_uncompressed_record_above_the_limit_is_not_copied_and_can_be_read_in_parts(tmp_path: Path, io: str) -> None:
    records = [b"a", bytes(SIZE), b"c"]
    path = written(tmp_path / "data", records)
    with SplitDataLoader(path, io=io, max_record_bytes=SIZE - 1) as loader:  # type: ignore[arg-type]
        for read in (lambda: loader[1], lambda: loader[[0, 1]], lambda: loader[:], lambda: list(loader)):
            with pytest.raises(RecordTooLargeError, match=f"record 1 .*{SIZE} bytes, the limit is {SIZE - 1}"):
                read()
        assert [loader[0], loader[2]] == [b"a", b"c"]
        assert loader.read_range(1, 10, 20) == bytes(10)
    with SplitDataLoader(path, io=io, max_record_bytes=SIZE) as loader:  # type: ignore[arg-type]
        assert loader[:] == records
        assert loader.view(1) == bytes(SIZE)


def test_mapped_record_above_the_limit_is_viewed_without_a_copy(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [bytes(spec.LARGE_RECORD_BYTES)])
    with SplitDataLoader(path, io="mmap", max_record_bytes=1000) as loader:
        assert len(loader.view(0)) == spec.LARGE_RECORD_BYTES
    with SplitDataLoader(path, io="pread", max_record_bytes=1000) as loader, pytest.raises(RecordTooLargeError):
        loader.view(0)


def test_batch_that_expands_beyond_all_that_is_there_is_refused(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=1, compression="zstd", durability="none") as writer:
        writer.write_many([bytes(1 << 20)] * 200)
    with SplitDataLoader(tmp_path / "data", max_record_bytes=1 << 20) as loader:
        with pytest.raises(RecordTooLargeError, match=r"200 records of .* together"):
            loader[:]
        assert len(loader[:3]) == 3
        assert sum(map(len, loader)) == 200 << 20
    with SplitDataLoader(tmp_path / "data") as loader:
        assert sum(map(len, loader[:])) == 200 << 20


def test_long_batch_of_what_is_there_is_read_whatever_it_has(tmp_path: Path) -> None:
    records = [random.Random(1).randbytes(1000)] * 300
    path = written(tmp_path / "data", records)
    with SplitDataLoader(path, max_record_bytes=1000) as loader:
        assert loader[:] == records
        # A record that is asked for twice is there once.
        assert loader[[7] * 5000] == records[:1] * 5000


def test_derived_id_that_somebody_has_taken_again_and_again_is_drawn_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.dataset.writing.write_session._MOST_DERIVED", 3)
    taken: list[str] = []
    for number in range(6):
        path = tmp_path / str(number)
        for name in taken:
            (path / "segments" / name).mkdir(parents=True)
        with SplitWriter(path, bins=1, durability="none", reproducible="r", mode="append") as writer:
            writer.write(b"x")
        taken.append(DatasetDirectory(path).newest().segments[0].id)

    assert len(set(taken)) == 6


def test_fold_aligns_small_records_to_no_page_because_one_segment_does(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for number in range(33):
        options = {"alignment": 4096} if number == 3 else {}
        with SplitWriter(path, mode="append", bins=1, durability="none", **options) as writer:  # type: ignore[arg-type]
            writer.write_many([b"x"] * (1 if number == 3 else 500))

    (info,) = DatasetDirectory(path).newest().segments
    assert sum(file.stat().st_size for file in (path / "segments" / info.id).iterdir()) < 2 << 20


def test_fold_gives_up_where_records_are_longer_than_the_manifest_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "data"
    for _ in range(31):
        with SplitWriter(path, mode="append", bins=1, durability="none") as writer:
            writer.write(b"x" * 100)
    directory = DatasetDirectory(path)
    manifest = directory.newest()
    file = Path(directory.paths.manifest(manifest.generation))
    line = file.read_bytes().split(b"\n")[0].replace(b'"raw_bytes":100', b'"raw_bytes":5')
    write_manifest(path, line, manifest.generation)
    with caplog.at_level(logging.WARNING), SplitWriter(path, mode="append", bins=1, durability="none") as writer:
        writer.write(b"x" * 100)

    assert len(directory.newest().segments) == 32
    assert "longer than the manifest says" in caplog.text


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_shuffled_walk_is_cut_by_what_records_have_not_by_the_mean_of_the_manifest(tmp_path: Path, io: Io) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=1, durability="none", compression="zstd") as writer:
        writer.write_many([bytes(5 << 20)] * 40)
    manifest = DatasetDirectory(path).newest()
    file = Path(DatasetDirectory(path).paths.manifest(manifest.generation))
    line = file.read_bytes().split(b"\n")[0].replace(b'"raw_bytes":%d' % (40 * (5 << 20)), b'"raw_bytes":40')
    write_manifest(path, line, manifest.generation)

    with SplitDataLoader(path, io=io) as loader:
        snapshot = loader._snapshot
        assert snapshot.lengths_of(np.array([3, 1])).tolist() == [5 << 20] * 2
        chunks = walk_bins_shuffled(snapshot, seed=0, epoch=0, interleave=4)
        assert max(len(positions) for positions, _ in chunks) <= 2
        assert sum(map(len, loader.iterate_binwise(shuffle=True))) == 40 * (5 << 20)


def test_file_of_keys_whose_footer_counts_runs_without_end_is_an_error_before_it_is_read(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=1) as writer:
        writer.write(b"x", key="k")
    (keys,) = (tmp_path / "data").glob("segments/*/keys")
    os.truncate(keys, 1 << 40)
    with keys.open("r+b") as file:
        file.seek((1 << 40) - 24)
        file.write((1).to_bytes(8, "little") + (((1 << 40) - 88) // 24).to_bytes(8, "little"))

    # What the manifest says is as it was: that directory is whole.
    with SplitDataLoader(tmp_path / "data") as loader:
        assert loader.find("k") == 0

    directory = DatasetDirectory(tmp_path / "data")
    manifest = directory.newest()
    line = Path(directory.paths.manifest(manifest.generation)).read_bytes().split(b"\n")[0]
    line = line.replace(b'"keys_bytes":%d' % manifest.segments[0].keys_bytes, b'"keys_bytes":%d' % (1 << 40))
    write_manifest(tmp_path / "data", line, manifest.generation)
    with SplitDataLoader(tmp_path / "data") as loader, pytest.raises(FormatError, match=r"keys.*cannot be looked up"):
        loader.find("k")
    assert verify(tmp_path / "data").findings


def test_bench_of_billions_of_records_that_are_not_there_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a", b"b"])
    manifest = DatasetDirectory(path).newest()
    file = Path(DatasetDirectory(path).paths.manifest(manifest.generation))
    line = file.read_bytes().split(b"\n")[0].replace(b'"records":2', b'"records":4294967294')
    write_manifest(path, line, manifest.generation)

    found = measure_dataset(path, num_workers=0, seconds=0.05)

    assert found.num_measured == 2


def test_repair_reads_no_byte_more_than_a_few_times_where_entries_lead_into_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, length = 200, 1 << 20
    path = tmp_path / "data"
    publish(path, {"num_records": count})
    folder = path / "segments" / SEGMENT
    offsets = [64 + 32 * number for number in range(count)]
    frames = {
        offset: FrameHeader(sequence=number, stored_length=length, raw_length=length, payload_hash=number).pack(
            bin_salt(SEGMENT, 0), offset
        )
        for number, offset in enumerate(offsets)
    }
    sparse(folder / "000000.bin", offsets[-1] + 32 + length, {0: bin_header(), **frames})
    (folder / "index").write_bytes(index_header(num_records=count) + entries(offsets, [length] * count))
    hashed: list[int] = []

    def counted(data: bytes | memoryview) -> int:
        hashed.append(len(data))
        return hash64(data)

    monkeypatch.setattr("splitdata.dataset.segments.record_reader.hash64", counted)
    report = repair(path, dry_run=True)

    assert sum(hashed) <= 5 * length
    assert any("look like frames that overlap" in note for note in (*report.notes, *map(str, report.findings)))
