"""Packages bring kinds of sources by entry points: read when they are said, listed, and never loaded to guess."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from splitdata import SourceError, SplitDataLoader, convert, open_source, source_kinds

MODULE = """
class Source:
    kind, inputs, num_bytes, bytes_read, skipped = "letters", [], 3, 0, {}

    def __init__(self, path):
        self.name = path

    def identity(self):
        return f"letters {self.name}"

    def __iter__(self):
        yield from (b"a", b"b", b"c")


def no_source(path):
    return [b"a"]
"""
ENTRIES = """[splitdata.sources]
letters = letters_of_a_package:Source
nothing = letters_of_a_package:no_source
lines = letters_of_a_package:no_source
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package as an installer leaves it."""
    site = tmp_path / "site"
    about = site / "letters_of_a_package-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: letters-of-a-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    (site / "letters_of_a_package.py").write_text(MODULE)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "letters_of_a_package", raising=False)
    return tmp_path


@pytest.mark.usefixtures("package")
def test_kind_of_a_package_is_read_where_it_is_said(tmp_path: Path) -> None:
    assert source_kinds()["letters"] == "the package letters-of-a-package reads it"

    convert(open_source("anything", kind="letters"), tmp_path / "data")

    assert [bytes(record) for record in SplitDataLoader(tmp_path / "data")] == [b"a", b"b", b"c"]
    assert len(list(open_source(["one", "two"], kind="letters"))) == 6


@pytest.mark.usefixtures("package")
def test_package_is_listed_and_not_loaded_to_find_out_what_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "a.unknown").touch()

    with pytest.raises(SourceError, match="'letters'"):
        open_source(tmp_path / "a.unknown")

    assert "letters_of_a_package" not in sys.modules


@pytest.mark.usefixtures("package")
def test_own_kind_is_never_replaced_and_what_is_no_source_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n")

    assert list(open_source(tmp_path / "a.txt", kind="lines")) == [b"x"]
    assert source_kinds()["lines"] == ""
    with pytest.raises(TypeError, match="no_source gave list, which is no RecordSource: it has no kind"):
        open_source("x", kind="nothing")
    with pytest.raises(ValueError, match="validate=True is for JSONL"):
        open_source("x", kind="letters", validate=True)
