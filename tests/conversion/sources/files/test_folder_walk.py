"""The walk over a folder of files: what takes the place of a folder in it meanwhile leads nowhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from splitdata import convert
from splitdata.conversion.sources.files import file_record, folder_walk
from splitdata.conversion.sources.files.file_folder import FolderSource
from splitdata.errors import SourceError
from tests.faults.test_io_errors import open_descriptors


@pytest.fixture(params=[True, False], ids=["descriptors", "paths"])
def has_descriptors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both with what the system has, and as on Windows."""
    monkeypatch.setattr(folder_walk, "_has_folder_descriptors", request.param)
    if not request.param:
        monkeypatch.setattr(file_record, "_NO_LINKS", 0)
    return bool(request.param)


def tree(path: Path, word: str) -> Path:
    for name in ("a", "b/one", "b/two", "b/c/three", "b/d", "e"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"{word} {name}")
    return path


def swapped_by_link(path: Path, target: Path) -> None:
    path.rename(path.parent / f".{path.name}")
    path.symlink_to(target)


def texts_of(source: Path) -> Iterator[str]:
    """Yield the records of a folder as texts."""
    for record in FolderSource(str(source)):
        assert isinstance(record, bytes)
        yield record.decode()


@pytest.mark.usefixtures("has_descriptors")
@pytest.mark.parametrize("name", ["b", "b/c", "b/two", "e"])
@pytest.mark.parametrize("before", range(5))
def test_link_put_in_place_while_the_walk_is_on_never_leads_it_out(tmp_path: Path, name: str, before: int) -> None:
    source, foreign = tree(tmp_path / "source", "own"), tree(tmp_path / "foreign", "foreign")
    found: list[str] = []
    # Where the walk was to come back from, or to go.
    with suppress(SourceError, OSError):
        for record in texts_of(source):
            found.append(record)
            if len(found) == before + 1:
                swapped_by_link(source / name, foreign / name)

    assert len(found) > before
    assert [record for record in found if not record.startswith("own ")] == []


@pytest.mark.usefixtures("has_descriptors")
def test_folder_replaced_between_being_listed_and_being_entered_is_an_error_that_names_it(tmp_path: Path) -> None:
    source, foreign = tree(tmp_path / "source", "own"), tree(tmp_path / "foreign", "foreign")
    records = texts_of(source)
    assert next(records) == "own a"
    swapped_by_link(source / "b", foreign / "b")

    with pytest.raises(SourceError, match=r"source/b was replaced by something else") as caught:
        next(records)
    assert caught.value.path == str(source / "b")


def test_folder_moved_elsewhere_while_the_walk_is_in_it_does_not_lead_it_on_there(tmp_path: Path) -> None:
    source, other = tree(tmp_path / "source", "own"), tree(tmp_path / "other", "foreign")
    records = texts_of(source)
    while (record := next(records)) != "own b/c/three":
        assert record.startswith("own ")
    (source / "b" / "c").rename(other / "b" / "moved")

    with pytest.raises(SourceError, match="was replaced by something else, or moved"):
        next(records)


@pytest.mark.usefixtures("has_descriptors")
def test_look_at_a_folder_that_is_replaced_by_a_link_is_an_error(tmp_path: Path) -> None:
    source, foreign = tree(tmp_path / "source", "own"), tree(tmp_path / "foreign", "foreign")
    found = folder_walk.walk(str(source), Counter(), follow_links=False)
    assert next(found).relative == "a"
    swapped_by_link(source / "b", foreign / "b")

    with pytest.raises(SourceError, match="source/b"):
        next(found)


def test_conversion_of_a_folder_that_is_replaced_commits_nothing_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, foreign = tree(tmp_path / "source", "own"), tree(tmp_path / "foreign", "foreign")
    enter = folder_walk._WalkedFolder.enter

    def swap_and_enter(place: folder_walk._WalkedFolder, name: str) -> None:
        if name == "b" and not (source / "b").is_symlink():
            swapped_by_link(source / "b", foreign / "b")
        enter(place, name)

    monkeypatch.setattr(folder_walk._WalkedFolder, "enter", swap_and_enter)
    with pytest.raises(SourceError, match="source/b"):
        convert(str(source), tmp_path / "dest")
    data = b"".join(path.read_bytes() for path in tmp_path.glob("dest/segments/*/*.bin"))
    assert b"foreign" not in data


def test_walk_holds_one_descriptor_whatever_the_depth(tmp_path: Path) -> None:
    deep = tmp_path / "source" / "/".join("d" * 60)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    before = open_descriptors()
    found = folder_walk.walk(str(tmp_path / "source"), Counter(), follow_links=False)
    assert next(found).relative.endswith("d/file")
    assert open_descriptors() - before in (0, 1)
    assert list(found) == []
    assert open_descriptors() == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_whose_paths_double_at_each_level_are_refused(tmp_path: Path) -> None:
    for level in range(30):
        (tmp_path / f"pool/{level}").mkdir(parents=True)
        for name in ("l1", "l2"):
            (tmp_path / f"pool/{level}/{name}").symlink_to(f"../{level + 1}")
    (tmp_path / "pool/30").mkdir()
    (tmp_path / "pool/30/a.txt").touch()

    with pytest.raises(SourceError, match="more than 1000 paths lead to"):
        list(folder_walk.walk(str(tmp_path / "pool/0"), Counter(), follow_links=True))


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_many_links_to_one_folder_are_all_followed(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/a.txt").touch()
    (tmp_path / "source").mkdir()
    for number in range(1100):
        (tmp_path / f"source/{number}").symlink_to("../shared")

    assert len(list(folder_walk.walk(str(tmp_path / "source"), Counter(), follow_links=True))) == 1100
