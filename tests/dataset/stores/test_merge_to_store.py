"""merge into a store: the same dataset as in a folder, in one commit, and nothing to do the second time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import DatasetExistsError, DuplicateKeyError, SplitDataLoader, SplitWriter, delete, merge, verify
from tests.stores import bucket, lead_to

URL = "s3://merged/all"


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """Two datasets with keys, in one of which a record is deleted."""
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        with SplitWriter(folder, bins=2, durability="none") as writer:
            writer.write_many([b"%d" % n * 30 for n in range(40)], keys=[f"{folder.name}{n}" for n in range(40)])
    delete(folders[0], positions=[3])
    return folders


@pytest.fixture(autouse=True)
def objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty bucket, and a TMPDIR that is empty again at the end."""
    pytest.importorskip("obstore")
    pytest.importorskip("localbucket")
    staging = tmp_path / "tmp"
    staging.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(staging))
    (tmp_path / "buckets" / "merged").mkdir(parents=True)
    with bucket(tmp_path / "buckets") as address:
        lead_to(address, monkeypatch)
        yield tmp_path / "buckets" / "merged"
    assert not list(staging.iterdir())


def test_merge_into_a_store_is_the_merge_of_a_folder(sources: list[Path], tmp_path: Path) -> None:
    expected = merge(sources, tmp_path / "folder")
    report = merge(sources, URL)
    assert (report.path, report.num_records, report.positions) == (URL, expected.num_records, expected.positions)
    with SplitDataLoader(URL) as there, SplitDataLoader(tmp_path / "folder") as here:
        assert list(there.iterate(skip_deleted=True)) == list(here.iterate(skip_deleted=True))
        assert there.fingerprint == here.fingerprint
        assert there.find("b7") == 47
        assert there.num_deleted == 1
    assert verify(URL).is_intact


def test_second_merge_into_a_store_finds_all_there(sources: list[Path]) -> None:
    merge(sources, URL)
    again = merge(sources, URL)
    assert (len(again.positions), again.num_there, again.num_records) == (0, 2, 80)


def test_merge_into_a_store_refuses_another_dataset_and_shared_keys(sources: list[Path], objects: Path) -> None:
    merge(sources[:1], URL)
    before = sorted(objects.rglob("*"))
    with pytest.raises(DatasetExistsError, match=f"{URL} is a dataset already"):
        merge(sources, URL)
    for dry_run in (False, True):
        with pytest.raises(DuplicateKeyError):
            merge([sources[0], sources[0]], "s3://merged/twice", dry_run=dry_run)
    assert sorted(objects.rglob("*")) == before


def test_dry_merge_into_a_store_only_tells(sources: list[Path], objects: Path) -> None:
    report = merge(sources, URL, dry_run=True)
    assert (report.num_records, report.is_dry_run) == (80, True)
    assert not list(objects.iterdir())
