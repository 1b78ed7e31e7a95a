"""Links inside of a dataset, from the start or put there while a tool works: nothing that they lead to changes.

    data/segments           ──> foreign/segments              refused, before anything is written
    data/segments/ID        ──> foreign/segments/ID
    data/segments/ID/index  ──> foreign/segments/ID/index

The foreign dataset is a copy, so that all that a tool looks for is there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from splitdata import (
    FormatError,
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    compact,
    delete,
    describe,
    repair,
    verify,
)
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.dataset.writing import fold
from splitdata.storage import files
from tests.dataset.disk import files_of
from tests.dataset.record_kinds import kill, overwrite
from tests.faults.file_faults import CHANGING, READING, fast_folder, intercepted

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need rights there")

# So many segments are folded here, rather than 32.
FANOUT = 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(fold, "_FANOUT", FANOUT)
    with fast_folder(tmp_path) as path:
        yield path


def append(path: Path, *, mode: Any = "append", number: int = 0) -> None:  # the modes are SplitWriter's
    with SplitWriter(path, bins=2, mode=mode, durability="none") as writer:
        writer.write_many([b"%d one" % number, b"%d two" % number], keys=[f"{number}/1", f"{number}/2"])


def append_many(path: Path) -> None:
    for number in range(100, 110):
        append(path, number=number)


def resume(path: Path) -> None:
    with SplitWriter(path, bins=2, mode="resume", durability="none") as writer:
        writer.write(b"resumed", key="resumed")


def give_up(path: Path) -> None:
    writer = SplitWriter(path, bins=2, mode="append", durability="none")
    try:
        writer.write_many([b"never", b"committed"])
        writer._guarded(writer._flush)
    finally:
        writer.abort()


TOOLS: dict[str, Callable[[Path], object]] = {
    "append": append,
    "append, give up": give_up,
    "append until old segments go": append_many,
    "overwrite": lambda path: append(path, mode="overwrite"),
    "resume": resume,
    "repair": repair,
    "repair --adopt": lambda path: repair(path, adopt=True),
    "repair --discard": lambda path: repair(path, discard=True),
}
# These look at no segment in which they have nothing to do.
ALL_TOOLS: dict[str, Callable[[Path], object]] = TOOLS | {
    "delete": lambda path: delete(path, positions=[0, 5]),
    "compact": compact,
}


def prepare(folder: Path) -> Path:
    """Make a dataset of which each tool has something to change: the next append folds, damage, a killed run."""
    path = folder / "prepared"
    for number in range(FANOUT - 2):
        append(path, number=number)
    writer = SplitWriter(path, bins=2, mode="append", durability="none")
    writer.write_many([b"a", b"b", b"c"], keys=["a", "b", "c"])
    writer.commit()
    writer.write_many([b"d", b"e"])
    kill(writer)
    never = SplitWriter(path, bins=2, mode="append", durability="none")
    never.write_many([b"f", b"g"])
    kill(never)
    return path


def damage(path: Path) -> None:
    """Damage what repair makes again: header of an index and of a bin, keys."""
    for segment in sorted((path / "segments").iterdir()):
        overwrite(segment / "000000.bin", 8, b"\xff")
        if (segment / "keys").exists():
            overwrite(segment / "index", 20, b"\xff")
            overwrite(segment / "keys", 70, b"\xff\xff")


def with_copies(prepared: Path, name: str) -> tuple[Path, Path]:
    """Return a dataset and another one like it, both damaged where the tool mends."""
    path, foreign = prepared.with_name("data"), prepared.with_name("foreign")
    for one in (path, foreign):
        shutil.rmtree(one, ignore_errors=True)
        shutil.copytree(prepared, one)
        if name.startswith("repair"):
            damage(one)
    return path, foreign


def link_in(path: Path, foreign: Path, name: str) -> Path:
    """Replace something in a dataset by a link to the same thing in another; returns the link."""
    own, other = path / name, foreign / name
    own.rename(path.with_name("aside"))
    own.symlink_to(other)
    return own


def segment_names(path: Path) -> list[str]:
    return [f"segments/{one.name}" for one in sorted((path / "segments").iterdir())]


def remove_aside(path: Path) -> None:
    aside = path.with_name("aside")
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)


@pytest.mark.parametrize("name", TOOLS)
def test_link_in_place_of_a_folder_is_refused_before_anything_is_written(folder: Path, name: str) -> None:
    prepared = prepare(folder)
    for inner in ("segments", *segment_names(prepared)):
        path, foreign = with_copies(prepared, name)
        link = link_in(path, foreign, inner)
        before = files_of(foreign), files_of(path)

        with pytest.raises(SplitDataError) as caught:
            TOOLS[name](path)

        assert inner in str(caught.value)
        assert str(path) in str(caught.value)
        assert (files_of(foreign), files_of(path)) == before
        assert link.is_symlink()
        remove_aside(path)


@pytest.mark.parametrize("name", ALL_TOOLS)
def test_link_in_place_of_a_file_changes_nothing_behind_it(folder: Path, name: str) -> None:
    prepared = prepare(folder)
    listed = [str(one.relative_to(prepared)) for one in sorted(prepared.rglob("*")) if one.is_file()]
    for inner in listed:
        path, foreign = with_copies(prepared, name)
        link_in(path, foreign, inner)
        before = files_of(foreign)

        with suppress(SplitDataError, OSError):
            ALL_TOOLS[name](path)

        assert files_of(foreign) == before, inner
        remove_aside(path)


@pytest.mark.parametrize("inner", ["index.tmp", "keys.tmp", "keys.open.tmp"])
def test_link_in_place_of_a_scratch_file_changes_nothing_behind_it(folder: Path, inner: str) -> None:
    path, _ = with_copies(prepare(folder), "repair")
    precious = folder / "precious"
    precious.write_bytes(b"years of work")
    for name in segment_names(path):
        (path / name / inner).symlink_to(precious)

    with suppress(SplitDataError, OSError):
        repair(path, adopt=True)

    assert precious.read_bytes() == b"years of work"


class Swap:
    """Puts a link in the place of a folder before operation `number`, or behind it.

    Attributes:
        count: Operations so far.
    """

    def __init__(self, number: int, path: Path, foreign: Path, inner: str) -> None:
        self.count = 0
        self._number = number
        self._path, self._foreign, self._inner = path, foreign, inner

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        """Swap, if it is time, and do the operation."""
        number, self.count = self.count, self.count + 1
        if number == self._number and (self._path / self._inner).exists():
            link_in(self._path, self._foreign, self._inner)
        return real(*arguments, **keywords)

    def behind(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        """Do the operation, and swap, if it is time."""
        done = real(*arguments, **keywords)
        self(name, lambda: None, (), {})
        return done


@pytest.mark.parametrize("which", ["some", pytest.param("all", marks=[pytest.mark.soak, pytest.mark.time_limit(3000)])])
@pytest.mark.parametrize("name", ALL_TOOLS)
def test_link_put_in_place_between_any_two_steps_changes_nothing_behind_it(folder: Path, name: str, which: str) -> None:
    prepared = prepare(folder)
    for inner in ("segments", *segment_names(prepared)):
        path, foreign = with_copies(prepared, name)
        counter = Swap(1 << 40, path, foreign, inner)
        with intercepted(counter, (*CHANGING, *READING)):
            ALL_TOOLS[name](path)
        stride = max(1, counter.count // 8) if which == "some" else 1
        for number in range(counter.count % stride, counter.count, stride):
            path, foreign = with_copies(prepared, name)
            before = files_of(foreign)
            with (
                intercepted(Swap(number, path, foreign, inner), (*CHANGING, *READING)),
                suppress(SplitDataError, OSError),
            ):
                ALL_TOOLS[name](path)

            assert files_of(foreign) == before, (inner, number)
            remove_aside(path)


@pytest.mark.parametrize("name", TOOLS)
def test_without_open_folders_a_link_put_in_place_behind_a_listing_changes_nothing_behind_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    prepared = prepare(folder)
    monkeypatch.setattr(files, "_has_folder_descriptors", False)
    for inner in ("segments", *segment_names(prepared)):
        for number in range(4):
            path, foreign = with_copies(prepared, name)
            before = files_of(foreign)
            swap = Swap(number, path, foreign, inner)
            with intercepted(swap.behind, ("list_names",)), suppress(SplitDataError, OSError):
                TOOLS[name](path)

            assert files_of(foreign) == before, (inner, number)
            remove_aside(path)


def test_tools_work_where_no_folder_can_be_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(folder)
    for name, tool in TOOLS.items():
        path, other = with_copies(prepared, name)
        tool(path)
        with monkeypatch.context() as patch:
            patch.setattr(files, "_has_folder_descriptors", False)
            tool(other)

        assert verify(path).is_intact == verify(other).is_intact
        assert verify(path).num_records == verify(other).num_records


KEY = CacheKey(dataset="d", num_records=2, transform="", code="", version="v", seed=0, codec=1, epoch=0)


@pytest.mark.parametrize("inner", ["generation", "writer.0000", "writer.0000/segments"])
def test_cache_removal_follows_no_link_put_in_place_between_any_two_steps(folder: Path, inner: str) -> None:
    number = 0
    while True:
        for name in ("data", "foreign", "aside"):
            shutil.rmtree(folder / name, ignore_errors=True)
        cache = CacheFolder(folder / "data")
        generation = cache.open(KEY)
        append(Path(generation.paths.writer(0)))
        generation.close()
        shutil.copytree(folder / "data", folder / "foreign")
        before = files_of(folder / "foreign")
        name = Path(generation.paths.folder).name
        swap = Swap(number, folder / "data", folder / "foreign", name if inner == "generation" else f"{name}/{inner}")
        with intercepted(swap, (*CHANGING, *READING)):
            cache.make_room(KEY.at(5))

        assert files_of(folder / "foreign") == before, number
        if swap.count <= number:
            break
        number += 1
    assert number > 10


READERS: dict[str, Callable[[SplitDataLoader], object]] = {
    "record": lambda loader: loader[0],
    "batch": lambda loader: loader.gather(range(4)),
    "walk": list,
    "key": lambda loader: loader.find("key 1"),
}


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("inner", ["segments", "segment"])
def test_reader_opens_no_file_behind_a_link_put_in_place_under_it(
    tmp_path: Path,
    inner: str,
    name: str,
    io: Any,  # the modes are SplitDataLoader's
) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=2, durability="none") as writer:
        writer.write_many([b"record"] * 4, keys=[f"key {number}" for number in range(4)])
    with SplitDataLoader(path, io=io) as loader:
        assert loader.sizes[0] == 6
        folder = path / "segments" if inner == "segments" else next(path.glob("segments/*"))
        folder.symlink_to(folder.rename(tmp_path / "aside"))

        with pytest.raises(FormatError, match="is a symbolic link"):
            READERS[name](loader)


@pytest.mark.parametrize("inner", ["segments", "segment"])
def test_what_only_looks_at_sizes_lists_no_folder_behind_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: str
) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=2, durability="none") as writer:
        writer.write_many([b"record"] * 4)
    folder = path / "segments" if inner == "segments" else next(path.glob("segments/*"))
    folder.symlink_to(folder.rename(tmp_path / "aside"))
    monkeypatch.setattr(os, "scandir", lambda path: pytest.fail(f"listed {path}"))

    with pytest.raises(FormatError, match="is a symbolic link"):
        describe(path)
    assert not verify(path).is_intact
