"""Strays: what file managers, file systems and people leave beside a dataset is ignored, and stays."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from splitdata import Cache, DatasetExistsError, DistributedLoader, SplitDataLoader, SplitWriter, repair, verify
from splitdata.dataset.manifests.retention import remove_dataset
from splitdata.storage.folder import Folder
from splitdata.storage.paths import is_stray
from tests.dataset.disk import read, written

Mode = Literal["create", "append", "overwrite", "resume"]
FILES = [
    ".DS_Store",
    "._manifest.0000000001.json",
    ".nfs00000000deadbeef00000001",
    ".gitkeep",
    ".gitignore",
    "Thumbs.db",
    "README",
    "README.md",
]
FOLDERS = ["@eaDir", "lost+found"]


def strew(folder: Path) -> dict[Path, bytes]:
    """Put every stray into a folder, the folders with something in them; returns the files."""
    made = {}
    for name in [*FILES, *(f"{name}/inside" for name in FOLDERS)]:
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(name.encode())
        made[path] = name.encode()
    return made


def double(record: bytes) -> bytes:
    return record * 2


def contents(made: dict[Path, bytes]) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in made}


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
def test_stray_is_known_by_its_whole_name(name: str) -> None:
    assert is_stray(name)
    assert not is_stray("x" + name)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "READMENOT", "manifest.json", "segments", "lost", "nfs", ""])
def test_other_name_is_no_stray(name: str) -> None:
    assert not is_stray(name)


@pytest.mark.parametrize("mode", ["create", "append", "overwrite", "resume"])
def test_dataset_begins_among_strays_in_every_mode(tmp_path: Path, mode: Mode) -> None:
    made = strew(tmp_path)

    with SplitWriter(tmp_path, mode=mode) as writer:
        writer.write_many([b"a", b"b"])

    assert read(tmp_path) == [b"a", b"b"]
    assert contents(made) == made


@pytest.mark.parametrize("mode", ["append", "overwrite", "resume"])
@pytest.mark.parametrize("place", [".", "segments", "segments/*"])
def test_dataset_with_strays_is_written_on(tmp_path: Path, mode: Mode, place: str) -> None:
    path = written(tmp_path / "data", [b"a"])
    (folder,) = path.glob(place) if "*" in place else [path / place]
    made = strew(folder)

    with SplitWriter(path, mode=mode) as writer:
        writer.write(b"b")
    for _ in range(10):
        with SplitWriter(path, mode="append") as writer:
            writer.write(b"c")

    assert read(path) == [b"a"] * (mode != "overwrite") + [b"b"] + [b"c"] * 10
    assert contents(made) == made
    assert verify(path).is_intact
    assert not repair(path).actions


def test_replaced_segments_with_strays_leave_their_folder_and_nothing_of_ours(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"old"])
    (segment,) = (path / "segments").iterdir()
    made = strew(segment)

    for number in range(12):
        with SplitWriter(path, mode="overwrite") as writer:
            writer.write(b"%d" % number)

    assert contents(made) == made
    assert sorted(one.name for one in segment.iterdir()) == sorted([*FILES, *FOLDERS])
    assert read(path) == [b"11"]


def test_strays_do_not_excuse_a_foreign_file(tmp_path: Path) -> None:
    strew(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(DatasetExistsError, match="not empty and is no splitdata dataset"):
        SplitWriter(tmp_path)
    with pytest.raises(DatasetExistsError, match=r"1 thing that is not splitdata's \(notes\.txt\)"):
        SplitWriter(tmp_path, mode="append")


def test_removed_dataset_leaves_its_strays(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a"])
    made = strew(path)

    with Folder.open(str(tmp_path)) as folder:
        remove_dataset(folder, path.name)

    assert contents(made) == made
    assert {one.name for one in path.iterdir()} == {*FILES, *FOLDERS}


def test_cache_works_in_a_folder_with_strays(tmp_path: Path) -> None:
    dataset = SplitDataLoader(written(tmp_path / "data", [b"a", b"b"]))
    made = strew(tmp_path / "cache")

    with DistributedLoader(
        dataset, batch_size=2, transform=double, cache=Cache(tmp_path / "cache"), collate_fn=list
    ) as loader:
        assert [list(loader), list(loader)] == [[[b"aa", b"bb"]]] * 2

    assert contents(made) == made
