"""What a text names: the kind is told by what is there, and asked for where it cannot be told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import splitdata
from splitdata import SourceError, SplitWriter, open_source


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "lines"),
        ("a.TXT", "lines"),
        ("a.log.gz", "lines"),
        ("a.text.zst", "lines"),
        ("a.jsonl", "jsonl"),
        ("a.b.ndjson.zst", "jsonl"),
        ("a.jsonlines.GZ", "jsonl"),
        ("a.jsonl.bz2", "jsonl"),
        ("a.csv", "csv"),
        ("a.csv.xz", "csv"),
        ("a.tsv", "tsv"),
        ("a.TAB.zst", "tsv"),
    ],
)
def test_kind_of_a_file_is_told_by_its_name(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    source = open_source(tmp_path / name)

    assert source.kind == kind
    assert source.name == name


@pytest.mark.parametrize("name", ["a", "a.bin", "a.json", "a.xls", "a.gz", ".txt"])
def test_kind_that_a_name_does_not_tell_is_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    with pytest.raises(SourceError, match="say which kind"):
        open_source(tmp_path / name)
    assert open_source(tmp_path / name, kind="lines").kind == "lines"
    assert open_source(tmp_path / name, kind="prefixed").kind == "prefixed"


def test_other_places_have_their_kinds(tmp_path: Path) -> None:
    assert open_source(tmp_path).kind == "folder"
    assert open_source("-").kind == "lines"
    assert open_source("-", kind="prefixed").kind == "prefixed"
    assert open_source("os:listdir", kind="callable").kind == "callable"
    assert open_source(os.listdir).kind == "callable"


def test_file_whose_name_looks_like_a_function_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("os:listdir").touch()

    with pytest.raises(SourceError, match="say which kind"):
        open_source("os:listdir")


@pytest.mark.parametrize(
    "sources", ["os:listdir", ["os:listdir", "os:getcwd"], ["a.txt", "os:listdir"], "package.module:a.b"]
)
@pytest.mark.parametrize("kind", ["auto", "lines", "files"])
def test_text_that_looks_like_a_function_is_none_until_it_is_said(
    sources: str | list[str], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").touch()

    with pytest.raises(FileNotFoundError) as raised:
        list(open_source(sources, kind=kind))

    assert raised.value.filename != "a.txt"
    if kind == "auto":
        assert "kind='callable'" in str(raised.value)


@pytest.mark.parametrize("given", ["@list.txt", "*:listdir"])
def test_function_is_never_found_by_a_pattern_or_in_a_list(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("os:listdir\n")
    Path("os:listdir").touch()

    with pytest.raises(SourceError, match=r"there is no module|as module:function"):
        open_source(given, kind="callable")


def test_function_and_text_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()

    with pytest.raises(TypeError, match="is a function"):
        open_source([os.listdir, tmp_path / "a.txt"])
    with pytest.raises(ValueError, match="is read as callable"):
        open_source(os.listdir, validate=True)


@pytest.mark.parametrize("text", ["missing.txt", "", "a b:c", "http://example.org/a.txt", "os:"])
def test_text_that_names_nothing_is_not_found(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises((FileNotFoundError, ValueError)):
        open_source(text)


def test_dataset_is_not_taken_for_a_folder_of_files(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"a")

    assert open_source(tmp_path / "data").kind == "splitdata"
    assert open_source(tmp_path / "data", kind="folder").kind == "folder"


def test_unknown_kind_and_needless_validation_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind must be one of"):
        open_source(tmp_path, kind="images")
    with pytest.raises(ValueError, match="validate=True is for JSONL"):
        open_source(tmp_path, validate=True)
    (tmp_path / "a.csv").touch()
    with pytest.raises(ValueError, match="validate=True is for JSONL"):
        open_source(tmp_path / "a.csv", validate=True)
    (tmp_path / "a.txt").touch()
    for option in ({"column": "a"}, {"delimiter": ";"}, {"encoding": "latin-1"}):
        with pytest.raises(ValueError, match=r"options of CSV and TSV|column=NAME is for CSV"):
            open_source(tmp_path / "a.txt", **option)  # type: ignore[arg-type]  # each a text
    with pytest.raises(ValueError, match="no source was given"):
        open_source([])


def test_every_source_is_a_record_source(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a\n")
    (tmp_path / "a.csv").write_bytes(b"a\n")
    sources: list[splitdata.RecordSource] = [
        open_source(tmp_path),
        open_source(tmp_path / "a.txt"),
        open_source(tmp_path / "a.txt", kind="jsonl"),
        open_source(tmp_path / "a.txt", kind="prefixed"),
        open_source("os:listdir", kind="callable"),
        open_source([os.listdir, os.listdir]),
        open_source(tmp_path / "a.csv"),
        open_source(tmp_path / "a.txt", kind="files"),
        open_source([tmp_path / "a.txt", tmp_path / "*.txt"]),
    ]
    for source in sources:
        assert source.kind
        assert source.name
        assert source.identity()
        assert source.num_bytes in (2, 4, None)
        assert source.bytes_read == 0
        assert source.skipped == {}
        assert len(source.inputs) <= 2
