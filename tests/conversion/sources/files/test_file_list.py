"""Patterns, lists and several sources: what they name, in the order in which they name it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splitdata import DuplicateKeyError, SourceError, SplitDataLoader, convert, open_source
from splitdata.conversion.sources.files.file_list import FileListSource


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with some files in it."""
    monkeypatch.chdir(tmp_path)
    for name, data in {
        "images/b.jpg": b"B",
        "images/a.jpg": b"A",
        "images/.h.jpg": b"H",
        "images/more.jpg/c.jpg": b"C",
        "lines/1.jsonl": b'{"a":1}\n\n{"a":2}',
        "lines/2.jsonl": b'\n{"a":3}\n',
        "lines/1.csv": b"x,y\n1,2\n",
        "lines/2.csv": b"y,x\n3,4\n5,6\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def keys_of(text: str) -> list[tuple[str, object]]:
    source = open_source(text)
    assert isinstance(source, FileListSource)
    return list(source.keyed_records())


@pytest.mark.parametrize("pattern", ["images/*.jpg", "images/[ab].jpg", "images/?.jpg", "imag*/?.jpg"])
def test_pattern_gives_the_matching_files_sorted_without_hidden_ones_and_folders(folder: Path, pattern: str) -> None:
    assert keys_of(pattern) == [("images/a.jpg", b"A"), ("images/b.jpg", b"B")]
    assert list(open_source(folder / pattern)) == [b"A", b"B"]


def test_two_stars_go_into_all_folders(folder: Path) -> None:
    found = [name for name, _ in keys_of("**/*.jpg")]

    assert found == ["images/a.jpg", "images/b.jpg", "images/more.jpg/c.jpg"]


def test_file_whose_name_looks_like_a_pattern_or_list_is_a_file(folder: Path) -> None:
    Path("images/[a].txt").write_bytes(b"1\n2\n")
    Path("@list.txt").write_bytes(b"3\n")

    assert list(open_source("images/[a].txt")) == [b"1", b"2"]
    assert list(open_source("@list.txt")) == [b"3"]


@pytest.mark.parametrize("text", ["images/*.png", "@missing.txt", "nothing*"])
def test_pattern_without_a_match_and_missing_list_are_not_found(folder: Path, text: str) -> None:
    with pytest.raises(FileNotFoundError):
        open_source(text)


def test_files_of_lines_that_match_are_read_one_after_another(folder: Path) -> None:
    source = open_source("lines/*.jsonl")

    assert list(source) == [b'{"a":1}', b'{"a":2}', b'{"a":3}']
    assert (source.kind, source.name) == ("jsonl", "*.jsonl")
    assert source.skipped == {"blank line": 2}
    assert source.bytes_read == source.num_bytes == 16 + 9
    assert len(list(source)) == 3
    assert source.bytes_read == 16 + 9


def test_each_csv_file_has_its_own_header(folder: Path) -> None:
    source = open_source(["lines/1.csv", "lines/2.csv"])

    assert list(source) == [b'{"x":"1","y":"2"}', b'{"y":"3","x":"4"}', b'{"y":"5","x":"6"}']
    assert list(open_source("lines/*.csv", column="x")) == [b"1", b"4", b"6"]
    assert source.name == "1.csv and 1 more"


def test_files_of_several_kinds_need_to_be_told(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"several kinds by their names \(csv, jsonl\)"):
        open_source("lines/*")
    assert len(list(open_source("lines/*", kind="files"))) == 4
    assert len(list(open_source(["lines/*.csv", "images/?.jpg"], kind="files"))) == 4


def test_several_folders_are_read_one_after_another(folder: Path) -> None:
    assert list(open_source(["images/more.jpg", "images"])) == [b"C", b"A", b"B", b"C"]


def test_list_keeps_its_order_and_its_paths(folder: Path) -> None:
    Path("list.txt").write_bytes(b"\xef\xbb\xbfimages/b.jpg\r\n\nimages/more.jpg/c.jpg\n./images/b.jpg")

    assert keys_of("@list.txt") == [("images/b.jpg", b"B"), ("images/more.jpg/c.jpg", b"C"), ("./images/b.jpg", b"B")]
    source = open_source("list.txt", kind="list")
    assert source.num_bytes == 3
    assert source.name == "list.txt"
    assert list(source) == [b"B", b"C", b"B"]
    assert source.bytes_read == 3


def test_list_of_files_of_lines_is_read_by_lines_where_asked(folder: Path) -> None:
    Path("list.txt").write_bytes(b"lines/2.jsonl\nlines/1.jsonl\n")

    assert len(list(open_source("@list.txt"))) == 2
    assert list(open_source("@list.txt", kind="jsonl")) == [b'{"a":3}', b'{"a":1}', b'{"a":2}']


@pytest.mark.skipif(os.name == "nt", reason="names on Windows are no bytes")
def test_list_may_hold_names_that_are_no_text(folder: Path) -> None:
    name = os.fsdecode(b"images/\xff.jpg")
    Path(name).write_bytes(b"F")
    Path("list.txt").write_bytes(os.fsencode(name) + b"\n")

    assert keys_of("@list.txt") == [(name, b"F")]


@pytest.mark.parametrize(
    ("line", "error", "reason"),
    [
        (b"images/none.jpg", FileNotFoundError, "none.jpg"),
        (b"images", SourceError, "no file but a folder"),
        (b"a\0b", SourceError, "is no list of paths"),
        (b"", SourceError, "names no file to convert"),
    ],
)
def test_list_that_names_no_file_commits_nothing(
    folder: Path, line: bytes, error: type[Exception], reason: str
) -> None:
    Path("list.txt").write_bytes((b"images/a.jpg\n" if line else b"") + line + b"\n")

    with pytest.raises(error, match=reason):
        convert("@list.txt", folder / "data")
    assert not (folder / "data").exists()


def test_error_in_a_later_file_counts_from_the_first_record_of_all(folder: Path) -> None:
    Path("lines/3.jsonl").write_bytes(b"1\n{\n")

    with pytest.raises(SourceError, match=r"line 2 of lines/3\.jsonl") as caught:
        list(open_source("lines/*.jsonl", validate=True))
    assert caught.value.position == 4


def test_large_listed_file_is_streamed_and_its_bytes_counted(folder: Path) -> None:
    data = os.urandom(1 << 20) * 3
    Path("large").write_bytes(data)
    Path("large too").write_bytes(data)
    Path("list.txt").write_bytes(b"large\nlarge too\n")

    report = convert("@list.txt", folder / "data", bins=1)

    assert list(SplitDataLoader(folder / "data")) == [data, data]
    assert report.kind == "files"
    assert report.num_bytes == 2 * len(data)


def test_paths_are_the_keys_of_the_records_and_none_comes_twice(folder: Path) -> None:
    Path("list.txt").write_bytes(b"images/b.jpg\n./images/a.jpg\n")
    convert("@list.txt", folder / "listed")
    convert("images/?.jpg", folder / "matched")

    with SplitDataLoader(folder / "listed") as loader:
        assert (loader.key(0), loader[loader.find("./images/a.jpg")]) == ("images/b.jpg", b"A")
    with SplitDataLoader(folder / "matched") as loader:
        assert loader.find("images/b.jpg") == 1
    Path("list.txt").write_bytes(b"images/b.jpg\n" * 2)
    with pytest.raises(DuplicateKeyError, match=r"images/b\.jpg"):
        convert("@list.txt", folder / "twice")
    assert not (folder / "twice").exists()


def test_equal_lists_give_equal_datasets_where_asked(folder: Path) -> None:
    for name in ("one", "two"):
        convert("images/?.jpg", folder / name, reproducible=True)
    convert(["images/b.jpg", "images/a.jpg"], folder / "three", reproducible=True)

    def files_of(name: str) -> dict[str, bytes]:
        root = folder / name
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    assert files_of("one") == files_of("two")
    assert files_of("one") != files_of("three")
