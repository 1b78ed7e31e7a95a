"""Datasets of format 0.1, which were written once: all of it is read, and nothing is written to them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from splitdata import (
    CorruptRecordError,
    SampleDataset,
    SourceError,
    SplitDataLoader,
    SplitWriter,
    UnsupportedVersionError,
    convert,
    repair,
    verify,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from tests.command import ROOT
from tests.dataset.disk import copied, files_of
from tests.golden.make_golden import RICH_KEYS, RICH_LOST, RICH_MAIN, RICH_RECORDS, TINY_RECORDS

OLD = ROOT / "tests" / "golden" / "v0.1"
READABLE = [position for position in range(len(RICH_RECORDS)) if position != RICH_LOST]
FIRST_KEYED = len(RICH_RECORDS) - 1 - len(RICH_KEYS)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("verified", [True, False])
def test_every_way_of_reading_gives_the_records_of_a_dataset_of_0_1(
    io: Literal["mmap", "pread"], verified: bool
) -> None:
    with SplitDataLoader(OLD / "rich", io=io, verify=verified) as loader:
        expected = [RICH_RECORDS[position] for position in READABLE]
        assert [loader[position] for position in READABLE] == expected
        assert [bytes(loader.view(position)) for position in READABLE] == expected
        assert loader[READABLE * 3] == expected * 3
        assert [loader.read_range(position, 1, 7) for position in READABLE] == [one[1:7] for one in expected]
        assert [loader.sizes[position] for position in READABLE] == [len(one) for one in expected]
        with pytest.raises(CorruptRecordError, match="lost"):
            loader[RICH_LOST]
        for position, key in enumerate(RICH_KEYS, FIRST_KEYED):
            assert loader.key(position) == key
            assert key is None or loader.find(key) == position
    with SplitDataLoader(OLD / "tiny", io=io, verify=verified) as loader:
        assert list(loader) == list(TINY_RECORDS)


def test_verify_finds_in_a_dataset_of_0_1_what_is_there_to_find(tmp_path: Path) -> None:
    assert verify(OLD / "tiny").is_intact
    assert [finding.position for finding in verify(OLD / "rich").findings] == [RICH_LOST]
    path = copied(OLD / "rich", tmp_path / "d")
    segment = DatasetDirectory(path).newest().segments[2]
    bin_file = path / "segments" / segment.id / "000000.bin"
    data = bytearray(bin_file.read_bytes())
    data[data.index(RICH_KEYS[0].encode())] ^= 1
    bin_file.write_bytes(data)

    assert [finding.position for finding in verify(path).findings if finding.num_records] == [RICH_LOST, FIRST_KEYED]
    with SplitDataLoader(path) as loader, pytest.raises(CorruptRecordError):
        loader[FIRST_KEYED]


def append(path: Path) -> None:
    with SplitWriter(path, mode="append") as writer:
        writer.write(b"r")


def resume(path: Path) -> None:
    with SplitWriter(path, mode="resume", bins=1) as writer:
        writer.write(b"r")


def repair_damaged(path: Path) -> None:
    (path / "manifest.0000000009.json").write_bytes(b"damaged")
    try:
        repair(path)
    finally:
        (path / "manifest.0000000009.json").unlink()


def repair_without_manifests(path: Path) -> None:
    manifests = {manifest: manifest.read_bytes() for manifest in path.glob("manifest.*")}
    for manifest in manifests:
        manifest.unlink()
    try:
        repair(path, adopt=True)
    finally:
        for manifest, data in manifests.items():
            manifest.write_bytes(data)


@pytest.mark.parametrize("change", [append, resume, repair, repair_damaged, repair_without_manifests])
@pytest.mark.parametrize("name", ["tiny", "rich"])
def test_whoever_would_change_a_dataset_of_0_1_is_told_to_copy_it(tmp_path: Path, name: str, change: object) -> None:
    path = copied(OLD / name, tmp_path / "d")
    before = files_of(path)

    with pytest.raises(UnsupportedVersionError, match="splitdata write OLD NEW"):
        change(path)  # type: ignore[operator]  # one of the functions above

    assert files_of(path) == before


@pytest.mark.parametrize("name", ["tiny", "samples"])
def test_conversion_copies_records_and_metadata_of_0_1_into_a_new_dataset(tmp_path: Path, name: str) -> None:
    convert(OLD / name, tmp_path / "new")

    manifest = DatasetDirectory(tmp_path / "new").newest()
    assert manifest.version == (1, 0)
    with SplitDataLoader(tmp_path / "new") as new, SplitDataLoader(OLD / name) as old:
        assert new.record_codec == old.record_codec
        if name == "tiny":
            assert list(new) == list(old)
            assert new.fingerprint == old.fingerprint
            return
        # Each has its schema with it in the old one.
        samples = SampleDataset(tmp_path / "new")
        assert [samples.encoded(position) for position in range(len(new))] == list(old)
        assert sum(map(len, new)) < sum(map(len, old))


@pytest.mark.parametrize("shuffle", [None, 3])
def test_conversion_of_a_dataset_copies_its_keys(tmp_path: Path, shuffle: int | None) -> None:
    keys = ["a", None, "c/ä"]
    with SplitWriter(tmp_path / "old", metadata={"licence": "MIT"}) as writer:
        writer.write_many([b"1", b"2", bytes(2 << 20)], keys=keys)

    convert(tmp_path / "old", tmp_path / "new", shuffle=shuffle)

    with SplitDataLoader(tmp_path / "new") as new:
        found = {new.key(position): new[position] for position in range(3)}
        assert new.metadata["licence"] == "MIT"
    assert found == dict(zip(keys, [b"1", b"2", bytes(2 << 20)], strict=True))


def test_conversion_of_a_damaged_dataset_says_which_record_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"record {RICH_LOST}"):
        convert(OLD / "rich", tmp_path / "new")


def test_overwriting_a_dataset_of_0_1_makes_one_of_this_version(tmp_path: Path) -> None:
    path = copied(OLD / "rich", tmp_path / "d")

    with SplitWriter(path, mode="overwrite") as writer:
        writer.write(b"new")

    with SplitDataLoader(path) as loader:
        assert list(loader) == [b"new"]
    assert verify(path).is_intact


def test_large_record_of_0_1_is_read_in_parts() -> None:
    position = next(number for number, record in enumerate(RICH_MAIN) if len(record) >= 1 << 24)
    with SplitDataLoader(OLD / "rich") as loader:
        assert loader.read_range(position, 3 << 20, (3 << 20) + 5) == bytes(5)
        assert np.frombuffer(loader[position], np.uint8).any() == np.False_
