"""Patterns: `**` goes into every folder once, whatever links there are; the rest is as Python's own glob has it."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path

import pytest

from splitdata import SplitDataLoader, convert
from splitdata.conversion.sources.files.file_list import matching_files

FILES = ("t/1.txt", "t/a/2.txt", "t/a/b/3.txt", "t/.h/4.txt", "t/s[1]/x/5.txt", "t/.5.txt", "top.txt", "-/x/6.txt")
PATTERNS = (
    *(
        "*.txt",
        "t/*",
        "**",
        "**/",
        "**/*.txt",
        "./**/*.txt",
        "t/**",
        "t/**/",
        "t/**/*.txt",
        "t**/*.txt",
        "t/**/x/*.txt",
    ),
    *("t/a/**/b/*", "t/*/**/*.txt", "**/t/**/*.txt", "t/**/**/*.txt", "t/**/.h/*", "none/**/*", "t/1.txt/**/*", "**/a"),
)
WITH_LINKS = pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with some files in it."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("is_absolute", [False, True])
def test_files_without_links_match_as_they_do_in_python(folder: Path, pattern: str, is_absolute: bool) -> None:
    pattern = f"{folder}{os.sep}{pattern}" if is_absolute else pattern
    expected = {path for path in glob.glob(pattern, recursive=True) if not Path(path).is_dir()}  # noqa: PTH207

    assert set(matching_files(pattern)) == expected
    assert len(matching_files(pattern)) == len(expected)


@WITH_LINKS
@pytest.mark.parametrize("pattern", ["**/*.txt", "top/**/*.txt", "**/top/**/*.txt"])
def test_links_that_lead_round_or_twice_to_one_place_are_not_followed_again(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for level in range(30):
        Path(f"pool/{level}").mkdir(parents=True)
        for name in ("l1", "l2"):
            Path(f"pool/{level}/{name}").symlink_to(f"../{level + 1}")
        Path(f"pool/{level}/round").symlink_to("..")
    Path("pool/30").mkdir()
    Path("pool/30/a.txt").write_bytes(b"A")
    Path("top").symlink_to("pool/0")

    convert(pattern, tmp_path / "data")

    with SplitDataLoader(tmp_path / "data") as loader:
        assert list(loader) == [b"A"]


@WITH_LINKS
def test_what_lies_behind_links_alone_is_found_by_the_path_of_the_link(folder: Path) -> None:
    Path("elsewhere/deep").mkdir(parents=True)
    Path("elsewhere/deep/7.txt").touch()
    Path("t/a/link").symlink_to("../../elsewhere")
    Path("t/a/again").symlink_to("b")
    Path("t/a/nowhere").symlink_to("nowhere")

    assert matching_files("t/a/**/*.txt") == ["t/a/2.txt", "t/a/b/3.txt", "t/a/link/deep/7.txt"]
    assert matching_files("**/7.txt") == ["elsewhere/deep/7.txt"]
