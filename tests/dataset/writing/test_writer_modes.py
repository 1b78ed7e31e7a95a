"""What each mode makes of what is in the directory already; nothing foreign is ever touched."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

import pytest

from splitdata import DatasetExistsError, ManifestError, SplitDataLoader, SplitWriter, write_split_data
from tests.dataset.disk import files_of, read, written
from tests.stable_ids import stable_id

Mode = Literal["create", "append", "overwrite"]
ALL_MODES: list[Mode] = ["create", "append", "overwrite"]


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize("prepared", [False, True], ids=["missing", "empty"])
def test_every_mode_begins_a_dataset_where_there_is_nothing(tmp_path: Path, mode: Mode, prepared: bool) -> None:
    path = tmp_path / "parent" / "data"
    if prepared:
        path.mkdir(parents=True)
    with SplitWriter(path, mode=mode) as writer:
        assert [writer.write(b"a"), writer.write(b"b")] == [0, 1]

    assert read(path) == [b"a", b"b"]


def test_create_refuses_a_dataset_and_names_the_other_modes(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a"])
    before = files_of(path)

    with pytest.raises(DatasetExistsError, match=r"mode='append'.*mode='overwrite'"):
        SplitWriter(path)
    assert files_of(path) == before


@pytest.mark.parametrize("mode", ALL_MODES)
def test_no_mode_touches_a_directory_that_holds_a_foreign_file(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    before = files_of(tmp_path)

    with pytest.raises(DatasetExistsError, match=r"not empty|notes\.txt"):
        SplitWriter(tmp_path, mode=mode)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("place", ["notes.txt", "segments/notes.txt", ".hidden", "manifest.1.json", "segments/abc/x"])
def test_dataset_with_a_foreign_file_is_left_as_it_is(tmp_path: Path, mode: Mode, place: str) -> None:
    path = written(tmp_path / "data", [b"a"])
    (path / place).parent.mkdir(exist_ok=True)
    (path / place).write_text("mine")
    before = files_of(path)

    with pytest.raises(DatasetExistsError, match="not splitdata's"):
        SplitWriter(path, mode=mode)
    assert files_of(path) == before
    assert read(path) == [b"a"]


@pytest.mark.parametrize("mode", ALL_MODES)
def test_path_of_a_file_is_refused(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "data").write_text("mine")

    with pytest.raises(DatasetExistsError, match="is a file"):
        SplitWriter(tmp_path / "data", mode=mode)
    assert (tmp_path / "data").read_text() == "mine"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("mode", ALL_MODES)
def test_link_to_a_directory_is_written_through(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with SplitWriter(tmp_path / "link", mode=mode) as writer:
        writer.write(b"a")

    assert read(tmp_path / "real") == read(tmp_path / "link") == [b"a"]


@pytest.mark.parametrize("mode", ALL_MODES)
def test_dangling_link_is_refused(tmp_path: Path, mode: Mode) -> None:
    (tmp_path / "link").symlink_to("nowhere")

    with pytest.raises(DatasetExistsError):
        SplitWriter(tmp_path / "link", mode=mode)


def test_linked_segments_folder_is_foreign(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a"])
    (path / "segments").rename(tmp_path / "elsewhere")
    (path / "segments").symlink_to(tmp_path / "elsewhere")
    before = files_of(tmp_path / "elsewhere")

    with pytest.raises(DatasetExistsError, match="segments"):
        SplitWriter(path, mode="overwrite")
    assert files_of(tmp_path / "elsewhere") == before


def test_append_adds_behind_what_is_there(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"a", b"b"], bins=2)
    with SplitWriter(path, mode="append", bins=3) as writer:
        assert writer.write(b"c") == 0
        assert writer.commit() == range(2, 3)
        writer.write(b"d")
        assert writer.commit() == range(3, 4)

    assert read(path) == [b"a", b"b", b"c", b"d"]


def test_overwrite_keeps_the_old_records_until_its_first_commit(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"old"] * 5)
    with SplitWriter(path, mode="overwrite") as writer:
        writer.write(b"new")
        assert read(path) == [b"old"] * 5
        assert writer.commit() == range(1)
        assert read(path) == [b"new"]

    assert len(list((path / "segments").iterdir())) == 1
    assert next(path.glob("manifest.*")).name > "manifest.0000000001"


def test_overwrite_that_fails_before_its_first_commit_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"old"] * 5)
    before = files_of(path)

    def overwrite() -> None:
        with SplitWriter(path, mode="overwrite", bins=2) as writer:
            writer.write_many([b"new"] * 10)
            raise KeyError

    with pytest.raises(KeyError):
        overwrite()
    assert files_of(path) == before


def test_overwrite_with_nothing_written_leaves_an_empty_dataset(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"old"])
    SplitWriter(path, mode="overwrite").close()

    assert read(path) == []


def test_foreign_file_inside_a_replaced_segment_stays(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"old"])
    folder = next((path / "segments").iterdir())
    (folder / "notes.txt").write_text("mine")
    with SplitWriter(path, mode="overwrite") as writer:
        writer.write(b"new")
        writer.commit()
        writer.write(b"newer")

    assert read(path) == [b"new", b"newer"]
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_segments_without_a_manifest_are_not_built_upon(tmp_path: Path, mode: Mode) -> None:
    path = written(tmp_path / "data", [b"a"])
    for manifest in path.glob("manifest.*"):
        manifest.unlink()
    before = files_of(path / "segments")

    if mode == "append":
        with pytest.raises(ManifestError, match="manifest"):
            SplitWriter(path, mode=mode)
    else:
        SplitWriter(path, mode=mode).abort()
    assert files_of(path / "segments") == before


def test_create_loses_to_a_program_that_was_faster(tmp_path: Path) -> None:
    first = SplitWriter(tmp_path / "data")
    with pytest.raises(DatasetExistsError):
        SplitWriter(tmp_path / "data")
    first.write(b"a")
    first.close()

    assert read(tmp_path / "data") == [b"a"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mode": "w"}, ValueError),
        ({"mode": None}, ValueError),
        ({"compression": "gzip"}, ValueError),
        ({"compression": "zstd", "compression_level": 23}, ValueError),
        ({"durability": True}, ValueError),
        ({"alignment": 12}, ValueError),
        ({"alignment": 4}, ValueError),
        ({"alignment": 8.0}, ValueError),
        ({"mode": ["append"]}, ValueError),
        ({"alignment": 8192}, ValueError),
        ({"bins": 0}, ValueError),
        ({"bins": -1}, ValueError),
        ({"bins": (1 << 24) + 1}, ValueError),
        ({"bins": 2.0}, TypeError),
        ({"bins": True}, TypeError),
        ({"bins": "4"}, TypeError),
        ({"metadata": [1]}, TypeError),
        ({"metadata": {1: 2}}, TypeError),
        ({"metadata": {"a": object()}}, TypeError),
        ({"metadata": {"a": float("nan")}}, ValueError),
        ({"metadata": {"a": "x" * (1 << 20)}}, ValueError),
    ],
    ids=stable_id,
)
def test_wrong_option_is_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        SplitWriter(tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


# -- write_split_data --------------------------------------------------------------------------


def test_split_data_appends_round_robin_and_returns_positions(tmp_path: Path) -> None:
    path = tmp_path / "data"

    assert write_split_data(path, (b"%d" % number for number in range(10)), splits=4) == range(10)
    assert write_split_data(os.fspath(path), [b"x"], splits=2, shuffle=True, mode="append") == range(10, 11)
    loader = SplitDataLoader(path)
    assert list(loader) == [b"%d" % number for number in range(10)] + [b"x"]
    assert list(loader.iterate_binwise())[:3] == [b"0", b"4", b"8"]


def test_split_data_has_256_splits_unless_told(tmp_path: Path) -> None:
    write_split_data(tmp_path / "data", [b"x"] * 300)

    assert len(list(tmp_path.glob("data/segments/*/*.bin"))) == 256


def test_split_data_with_start_clean_replaces_a_dataset(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"old"] * 3)

    assert write_split_data(path, [b"new"], splits=2, start_clean=True) == range(1)
    assert read(path) == [b"new"]


@pytest.mark.parametrize("start_clean", [False, True])
def test_split_data_refuses_a_foreign_directory_and_touches_nothing(tmp_path: Path, start_clean: bool) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "000000.bin").write_text("mine")
    before = files_of(tmp_path)

    with pytest.raises(DatasetExistsError):
        write_split_data(tmp_path, [b"x"], start_clean=start_clean)
    with pytest.raises(DatasetExistsError):
        write_split_data(tmp_path / "photos", [b"x"], start_clean=start_clean)
    assert files_of(tmp_path) == before


def test_split_data_run_twice_is_refused_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write_split_data(path, [b"a", b"b"], splits=2)
    before = files_of(path)

    with pytest.raises(DatasetExistsError, match=r"mode='append' adds to it, mode='overwrite' replaces it"):
        write_split_data(path, [b"a", b"b"], splits=2)
    assert files_of(path) == before


@pytest.mark.parametrize("mode", ["create", "append"])
def test_split_data_with_start_clean_and_another_mode_is_refused(tmp_path: Path, mode: Mode) -> None:
    with pytest.raises(ValueError, match=f"start_clean=True replaces the dataset.*not '{mode}'"):
        write_split_data(tmp_path / "data", [b"a"], start_clean=True, mode=mode)


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_split_data_is_all_or_nothing(tmp_path: Path, mode: Mode) -> None:
    path = written(tmp_path / "data", [b"old"] * 3)
    before = files_of(path)

    with pytest.raises(ZeroDivisionError):
        write_split_data(path, (b"%d" % (1 // (5 - number)) for number in range(10)), mode=mode)
    assert files_of(path) == before


def test_split_data_passes_its_options_on(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 19,
        "durability": "none",
        "metadata": {"name": "tiny"},
        "reproducible": "source",
    }
    for name in ("a", "b"):
        write_split_data(tmp_path / name, [b"abc" * 1000] * 5, 2, **options)

    assert SplitDataLoader(tmp_path / "a").metadata == {"name": "tiny"}
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert sum(one.stat().st_size for one in tmp_path.glob("a/segments/*/*.bin")) < 3000


def test_split_data_of_nothing_makes_an_empty_dataset(tmp_path: Path) -> None:
    assert write_split_data(tmp_path / "data", []) == range(0)
    assert read(tmp_path / "data") == []


def test_reproducible_dataset_may_replace_itself(tmp_path: Path) -> None:
    for record in (b"a", b"b", b"c"):
        write_split_data(tmp_path / "data", [record], start_clean=True, reproducible=True)
        assert read(tmp_path / "data") == [record]
