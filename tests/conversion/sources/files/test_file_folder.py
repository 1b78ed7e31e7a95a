"""A folder of files: every regular file once, in an order of its own, and nothing from outside."""

from __future__ import annotations

import inspect
import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata.conversion.sources.files.file_folder import FolderSource
from splitdata.conversion.sources.files.sized_file import READ_WHOLE_BYTES, SizedFile
from splitdata.errors import SourceError


def make(root: Path, files: dict[str, bytes]) -> FolderSource:
    root.mkdir(exist_ok=True)
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return FolderSource(str(root))


def keys_of(source: FolderSource) -> list[str]:
    return [key for key, _ in source.keyed_records()]


def test_files_come_in_the_order_of_their_relative_paths_as_bytes(tmp_path: Path) -> None:
    names = ["b", "a/x", "a.b", "a-b", "a/é", "a/z", "B", "a0", "a/b/c", "a/b.c", "日本"]
    source = make(tmp_path / "root", {name: name.encode() for name in names})
    in_order = sorted(names, key=str.encode)

    assert keys_of(source) == in_order
    assert list(source) == [name.encode() for name in in_order]
    assert in_order.index("a.b") < in_order.index("a/b/c")


@given(st.sets(st.lists(st.sampled_from(["a", "a.b", "b", "a-", "A"]), min_size=1, max_size=3).map(tuple), min_size=1))
def test_order_of_any_tree_is_that_of_sorted_paths(
    tmp_path_factory: pytest.TempPathFactory, paths: set[tuple[str]]
) -> None:
    # A file cannot also be the folder of another.
    names = {"/".join(path) for path in paths if not any(other[: len(path)] == path != other for other in paths)}
    source = make(tmp_path_factory.mktemp("tree"), dict.fromkeys(names, b""))

    assert keys_of(source) == sorted(names, key=str.encode)


def test_hidden_files_and_folders_are_left_out_and_counted(tmp_path: Path) -> None:
    source = make(tmp_path, {"a": b"1", ".hidden": b"2", ".git/config": b"3", "d/.x": b"4", "d/y": b"5"})

    assert keys_of(source) == ["a", "d/y"]
    assert source.skipped == {"hidden name": 3}


def test_links_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"outside")
    source = make(tmp_path / "root", {"a": b"1", "d/b": b"2"})
    root = tmp_path / "root"
    try:
        (root / "out").symlink_to(tmp_path / "secret")
        (root / "in").symlink_to(root / "a")
        (root / "loop").symlink_to(root, target_is_directory=True)
        (root / "dangling").symlink_to(root / "nothing")
    except OSError:
        pytest.skip("this user may not make symbolic links")

    assert list(source) == [b"1", b"2"]
    assert source.skipped == {"symbolic link": 4}


def test_folder_that_is_a_link_itself_is_read(tmp_path: Path) -> None:
    make(tmp_path / "root", {"a": b"1"})
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "root", target_is_directory=True)

    assert list(FolderSource(str(link))) == [b"1"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_left_out_without_waiting_for_them(tmp_path: Path) -> None:
    source = make(tmp_path, {"a": b"1"})
    os.mkfifo(tmp_path / "pipe")

    assert list(source) == [b"1"]
    assert source.skipped == {"special file": 1}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems refuse such names")
def test_name_that_is_not_utf_8_has_its_place_and_its_content(tmp_path: Path) -> None:
    source = make(tmp_path, {"a": b"1", "日": b"3"})
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff")).write_bytes(b"2")

    assert list(source) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("extra", [{}, {".hidden": b"1"}])
def test_folder_without_a_file_is_an_error(tmp_path: Path, extra: dict[str, bytes]) -> None:
    source = make(tmp_path / "root", extra)

    with pytest.raises(SourceError, match="no file to convert"):
        list(source)


def test_large_file_is_given_open_with_its_length(tmp_path: Path) -> None:
    data = os.urandom(READ_WHOLE_BYTES + 5)
    source = make(tmp_path, {"a": data, "b": b"small"})
    found = []
    for record in source:
        if isinstance(record, SizedFile):
            assert record.seek(0, io.SEEK_END) == len(data)
            record.seek(0)
            found.append(record.read())
        else:
            found.append(record)

    assert found == [data, b"small"]
    assert source.bytes_read == source.num_bytes == len(data) + 5


def test_large_file_that_shrinks_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    source = make(tmp_path, {"a": bytes(READ_WHOLE_BYTES)})
    # Kept: a source that is dropped closes its files.
    records = iter(source)
    record = next(records)
    assert isinstance(record, SizedFile)
    os.truncate(tmp_path / "a", 1000)

    assert len(record.read(1 << 20)) == 1000
    with pytest.raises(SourceError, match="changed while it was read"):
        record.read(1)


def test_large_file_that_grows_while_it_is_read_keeps_the_size_it_had(tmp_path: Path) -> None:
    source = make(tmp_path, {"a": bytes(READ_WHOLE_BYTES)})
    # Kept: a source that is dropped closes its files.
    records = iter(source)
    record = next(records)
    assert isinstance(record, SizedFile)
    with (tmp_path / "a").open("ab") as file:
        file.write(b"more")

    assert record.read() == bytes(READ_WHOLE_BYTES)
    assert record.read() == b""


def test_folders_nested_deeper_than_python_calls_are_walked(tmp_path: Path) -> None:
    depth = 300
    name = "d/" * depth + "file"
    source = make(tmp_path, {name: b""})
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + depth // 2)
    try:
        keys = keys_of(source)
    finally:
        sys.setrecursionlimit(limit)

    assert keys == [name]


def test_identity_depends_on_the_names_of_files_alone(tmp_path: Path) -> None:
    one = make(tmp_path / "one", {"a": b"1", "d/b": b"2"})
    same = make(tmp_path / "two", {"a": b"3", "d/b": b"4"})
    other = make(tmp_path / "three", {"a": b"1", "d/c": b"2"})

    assert one.identity() == same.identity() != other.identity()


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(NotADirectoryError):
        FolderSource(str(tmp_path / "a"))
    with pytest.raises(FileNotFoundError):
        FolderSource(str(tmp_path / "b"))
