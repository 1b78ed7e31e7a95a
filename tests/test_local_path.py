"""What a path may be: text of this machine, made absolute once."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from splitdata._local_path import local_path


@pytest.mark.parametrize("relative", ["d", "./d", "d/", "a/d", Path("d"), "d e", "ü", "s3:", "-", "a:b/c"])
def test_relative_path_is_the_same_place_after_chdir(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: str | Path
) -> None:
    monkeypatch.chdir(tmp_path)

    path = local_path(relative)
    monkeypatch.chdir("/")

    assert Path(path) == tmp_path / relative


def test_dots_behind_a_link_are_followed_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "far" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "folder")
    monkeypatch.chdir(tmp_path)

    assert Path(local_path("link/../here")).parent.samefile(tmp_path / "far")


def test_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    assert local_path("~/train") == "/home/me/train"
    assert local_path(Path("~")) == "/home/me"


def test_tilde_of_an_unknown_user_is_refused_and_never_a_folder() -> None:
    with pytest.raises(ValueError, match=r"no home folder of '~nobody-here'; './~nobody-here/x' is a folder"):
        local_path("~nobody-here/x")


@pytest.mark.parametrize(
    "url",
    ["s3://b/x", "gs://b/x", "https://h/x", "S3://b/x", "hf://datasets/x", "az+https://c/x", Path("s3://b/x"), "s3:/b"],
)
def test_url_is_refused_by_its_scheme(url: str | Path) -> None:
    scheme = str(url).split(":")[0]
    with pytest.raises(ValueError, match=rf"DEST .*is a URL: {re.escape(scheme)}:// is not supported"):
        local_path(url, "DEST")


def test_file_url_is_refused_and_the_path_asked_for() -> None:
    with pytest.raises(ValueError, match="write the path by itself, without 'file://'"):
        local_path("file:///data/x")


@pytest.mark.parametrize("value", [b"d", 3, None, os.open, ["d"]])
def test_what_is_no_text_is_refused_by_type(value: object) -> None:
    with pytest.raises(TypeError, match=f"the folder must be text .*, got {type(value).__name__}"):
        local_path(value, "the folder")  # type: ignore[arg-type]  # the point of the test


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_text_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must name a file or folder"):
        local_path(text)


def test_relative_path_in_a_deleted_folder_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    with pytest.raises(FileNotFoundError, match="the working folder does not exist any more: 'd'"):
        local_path("d")
    assert local_path("/d") == "/d"
