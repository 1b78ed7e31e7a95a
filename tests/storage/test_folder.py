"""An open folder: whatever takes its name, what is done through it is done in it, and no link is followed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitdata.errors import FormatError
from splitdata.storage import files
from splitdata.storage.folder import Folder


@pytest.fixture(params=[True, False], ids=["descriptors", "paths"])
def has_descriptors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both with what the system has, and as on Windows, where no folder can be opened."""
    monkeypatch.setattr(files, "_has_folder_descriptors", request.param)
    return bool(request.param)


def put_link_in_place(folder: Path, target: Path) -> None:
    folder.rename(folder.with_name("aside"))
    folder.symlink_to(target, target_is_directory=True)


ACTS: dict[str, Callable[[Folder], object]] = {
    "create": lambda folder: os.close(folder.create("new")),
    "open": lambda folder: os.close(folder.open_file("file", writable=True)),
    "remove": lambda folder: folder.remove("file"),
    "make": lambda folder: folder.make("new"),
    "remove_directory": lambda folder: folder.remove_directory("empty"),
    "rename_over": lambda folder: folder.rename_over("file", "renamed"),
    "rename_exclusive": lambda folder: folder.rename_exclusive("file", "renamed"),
    "link": lambda folder: folder.link("file", "second"),
    "sub": lambda folder: folder.sub("empty").close(),
    "sync": lambda folder: folder.sync(),
    "names": lambda folder: folder.names(),
    "check_writable": lambda folder: folder.check_writable(),
}


def filled(path: Path) -> Path:
    (path / "empty").mkdir(parents=True)
    (path / "file").write_bytes(b"content")
    return path


def names_in(path: Path) -> dict[str, bytes | None]:
    return {one.name: one.read_bytes() if one.is_file() else None for one in path.iterdir()}


@pytest.mark.parametrize("act", ACTS)
def test_link_in_place_of_an_open_folder_leads_nothing_to_where_it_points(
    tmp_path: Path, has_descriptors: bool, act: str
) -> None:
    path, foreign = filled(tmp_path / "data" / "sub"), filled(tmp_path / "foreign")
    expected, before = filled(tmp_path / "expected"), names_in(foreign)
    with Folder.open(str(expected)) as other:
        ACTS[act](other)
    with Folder.open(str(tmp_path / "data")) as root, root.sub("sub") as folder:
        put_link_in_place(path, foreign)
        if has_descriptors:
            ACTS[act](folder)
        else:
            with pytest.raises(FormatError, match="was replaced by another folder"):
                ACTS[act](folder)

    assert names_in(foreign) == before
    assert names_in(path.with_name("aside")) == (names_in(expected) if has_descriptors else before)


@pytest.mark.usefixtures("has_descriptors")
def test_other_folder_in_place_of_an_open_one_is_left_alone(tmp_path: Path) -> None:
    path = filled(tmp_path / "data")
    with Folder.open(str(path)) as folder:
        path.rename(tmp_path / "aside")
        filled(path)
        try:
            folder.remove("file")
        except FormatError as error:
            assert error.path == str(path)  # noqa: PT017  # only where the way is by path

    assert (path / "file").exists()


@pytest.mark.usefixtures("has_descriptors")
def test_link_to_a_folder_is_followed_where_a_user_named_it_and_nowhere_below(tmp_path: Path) -> None:
    filled(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "inner").symlink_to(tmp_path / "real" / "empty")

    with Folder.open(str(tmp_path / "link")) as folder:
        assert set(folder.names()) == {"empty", "file", "inner"}
        assert not folder.has_folder("inner")
        with pytest.raises(FormatError, match=r"inner is a symbolic link") as caught:
            folder.sub("inner")
    assert Path(str(caught.value.path)).name == "inner"


@pytest.mark.usefixtures("has_descriptors")
def test_what_is_no_folder_is_an_error_with_its_path(tmp_path: Path) -> None:
    filled(tmp_path / "data")
    with Folder.open(str(tmp_path / "data")) as folder:
        for name, kind in (("file", NotADirectoryError), ("none", FileNotFoundError)):
            with pytest.raises(kind) as caught:
                folder.sub(name)
            assert caught.value.filename == str(tmp_path / "data" / name)
            with pytest.raises(kind):
                Folder.open(str(tmp_path / "data" / name))


@pytest.mark.usefixtures("has_descriptors")
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "a\0b"])
def test_path_is_no_name(tmp_path: Path, name: str) -> None:
    with Folder.open(str(tmp_path)) as folder, pytest.raises(ValueError, match="no name of a file"):
        folder.remove(name)


def test_closed_folder_takes_nothing(tmp_path: Path) -> None:
    path = filled(tmp_path / "data")
    folder = Folder.open(str(path))
    folder.close()
    folder.close()
    for act in ACTS.values():
        with pytest.raises(ValueError, match="this folder is closed"):
            act(folder)

    assert set(names_in(path)) == {"empty", "file"}


@pytest.mark.usefixtures("has_descriptors")
def test_lock_of_a_file_that_was_replaced_before_it_was_taken_is_that_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / "new").write_bytes(b"new")
    lock = files.lock

    def replace_and_lock(descriptor: int) -> bool:
        if (tmp_path / "new").exists():
            (tmp_path / "new").replace(tmp_path / "file")
        return lock(descriptor)

    monkeypatch.setattr(files, "lock", replace_and_lock)
    with Folder.open(str(tmp_path)) as folder:
        file = folder.open_locked("file")
        assert file is not None
        assert os.pread(file.descriptor, 9, 0) == b"new"
        assert folder.open_locked("file") is None
        file.close()
        with folder.open_locked("file") or pytest.fail("its lock was not given back"):
            pass


@pytest.mark.parametrize("links_links", [True, False])
def test_link_in_place_of_a_file_gives_no_name_to_what_it_leads_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_descriptors: bool, links_links: bool
) -> None:
    def link_replaced(*args: Any, **options: Any) -> None:  # those of os.link
        (inside / "late").unlink()
        (inside / "late").symlink_to(precious)
        link(*args, **options)

    precious, inside = tmp_path / "precious", tmp_path / "inside"
    precious.write_bytes(b"precious")
    inside.mkdir()
    (inside / "early").symlink_to(precious)
    (inside / "late").touch()
    link = os.link
    monkeypatch.setattr(files, "_links_links", links_links and files._links_links)
    monkeypatch.setattr(os, "link", link_replaced)

    with Folder.open(str(inside)) as folder:
        with pytest.raises(FormatError, match="no regular file"):
            folder.link("early", "second")
        with contextlib.suppress(FormatError):
            folder.link("late", "second")
    assert precious.stat().st_nlink == 1
    assert not (inside / "second").exists() or (inside / "second").is_symlink()


@pytest.mark.parametrize("look", ["has", "has_folder", "size_of", "is_one_file"])
def test_look_at_a_name_that_fails_names_the_whole_path(tmp_path: Path, look: str) -> None:
    # Any other refusal of the system would do, as that of a folder that this user may not search.
    name = "n" * 300
    with Folder.open(str(tmp_path)) as folder, pytest.raises(OSError, match="cannot look at") as raised:
        getattr(folder, look)(name, *([name] if look == "is_one_file" else []))
    assert raised.value.filename == str(tmp_path / name)
