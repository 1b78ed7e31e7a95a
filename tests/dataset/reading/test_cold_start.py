"""Dropping a whole dataset from the page cache: which files are asked for, and what counts as gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitdata import DatasetNotFoundError, SplitWriter
from splitdata.dataset.reading import cold_start
from tests.dataset.disk import read, written


def asked_for(path: Path, monkeypatch: pytest.MonkeyPatch, *, num_left: int) -> tuple[bool, set[str]]:
    """Drop a dataset where every file has `num_left` of 20 places left; return the answer and the files."""
    names: set[str] = set()

    def drop(name: str) -> tuple[int, int]:
        names.add(Path(name).relative_to(path).as_posix())
        return 20, num_left

    monkeypatch.setattr(cold_start, "drop_file", drop)
    return cold_start.drop_dataset(str(path)), names


def test_every_listed_file_is_dropped_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=2) as writer:
        writer.write_many([b"a", b"b", b"c"], keys=["x", "y", "z"])
    (segment,) = (path / "segments").iterdir()
    listed = {one.relative_to(path).as_posix() for one in segment.iterdir()}
    (segment / "foreign").touch()
    (path / "segments" / ("0" * 32)).mkdir()

    is_gone, names = asked_for(path, monkeypatch, num_left=0)

    assert is_gone
    assert names == listed
    assert len(names) == 4


@pytest.mark.parametrize(("num_left", "expected"), [(2, True), (3, False), (20, False)])
def test_dataset_is_gone_when_few_pages_are_left(
    num_left: int, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "data", [b"a"])

    assert asked_for(path, monkeypatch, num_left=num_left)[0] is expected


def test_directory_of_the_older_package_is_dropped_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splitdataloader = pytest.importorskip("splitdataloader")
    splitdataloader.write_split_data(str(tmp_path / "old"), [b"a", b"b", b"c"], splits=2)

    _, names = asked_for(tmp_path / "old", monkeypatch, num_left=0)

    assert names == {one.name for one in (tmp_path / "old").iterdir()}


def test_records_are_the_same_afterwards(tmp_path: Path) -> None:
    records = [b"%d" % number for number in range(1000)]
    path = written(tmp_path / "data", records, bins=4)

    cold_start.drop_dataset(str(path))

    assert read(path) == records


def test_missing_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError):
        cold_start.drop_dataset(str(tmp_path / "data"))
