"""The folder of a cache, or one in it, is replaced while a loader fills, reads or tidies it: nothing changes elsewhere.

    two epochs, a generation each ──before the n-th step: the folder is moved away, a link or another takes its path

The foreign folder holds a sample for each record, and each is wrong.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splitdata import Cache, CacheError, DistributedLoader, SplitDataError, describe_cache, verify
from tests.dataset.disk import files_of
from tests.faults.file_faults import CHANGING, READING, fast_folder, intercepted

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a folder with open files cannot be moved there")

NUM_RECORDS = 6
STEPS = (*CHANGING, *READING, "list_entries", "free_bytes")


class Numbers:
    """Records that no disk is asked for."""

    fingerprint = "numbers"

    def __len__(self) -> int:
        return NUM_RECORDS

    def __getitem__(self, index: int) -> bytes:
        return bytes([index])


def number_of(record: bytes, *, is_wrong: bool) -> int:
    return 100 if is_wrong else record[0]


def trained(cache: Path, *, is_wrong: bool = False, num_epochs: int = 2) -> list[int]:
    """Return the samples of some epochs, sorted. All are of one version: wrong ones would be taken for right ones."""
    options = Cache(cache, version="1", refresh_every=1, max_bytes=1 << 20)
    transform = functools.partial(number_of, is_wrong=is_wrong)
    found: list[int] = []
    with DistributedLoader(Numbers(), batch_size=3, transform=transform, cache=options, rank=0, world_size=1) as loader:
        for _ in range(num_epochs):
            found += [number for batch in loader for number in batch.tolist()]
    return sorted(found)


RIGHT = sorted([*range(NUM_RECORDS)] * 2)


def link_to(path: Path, foreign: Path) -> Path:
    path.symlink_to(foreign, target_is_directory=True)
    return foreign


def put_there(path: Path, foreign: Path) -> Path:
    return foreign.rename(path)


class Swap:
    """A handler that puts a foreign folder in the place of another before the n-th step at which that is there."""

    def __init__(
        self, number: int, pattern: str, cache: Path, foreign: Path, kind: Callable[[Path, Path], Path]
    ) -> None:
        self.foreign: Path | None = None
        self._left = number
        self._pattern = pattern
        self._cache = cache
        self._source = foreign
        self._kind = kind

    def __call__(
        self, name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> object:
        if self.foreign is None:
            self._left -= 1
            if self._left < 0:
                self._swap()
        return real(*arguments, **keywords)

    def _swap(self) -> None:
        found = sorted(self._cache.parent.glob(f"cache{self._pattern}"))
        source = sorted(self._source.parent.glob(f"{self._source.name}{self._pattern}"))
        if not found or found[0].is_symlink():
            return
        # That of the first epoch is not there yet where it is made now: then the foreign one has another name.
        found[0].rename(self._cache.with_name("aside"))
        self.foreign = self._kind(found[0], source[0])


PLACES: dict[str, tuple[str, Callable[[Path, Path], Path]]] = {
    "link to a cache": ("", link_to),
    "folder of something else": ("", put_there),
    "generation": ("/generation.*", link_to),
    "writer": ("/generation.*/writer.0000", link_to),
    "segments": ("/generation.*/writer.0000/segments", link_to),
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as path:
        trained(path / "wrong", is_wrong=True)
        trained(path / "right", num_epochs=1)
        yield path


def prepared(folder: Path, place: str, *, is_filled: bool) -> tuple[Path, Path]:
    """Return a cache, and what is put in its place."""
    for name in ("cache", "foreign", "aside"):
        path = folder / name
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(folder / "wrong", folder / "foreign")
    if place == "folder of something else":
        (folder / "foreign" / "model.bin").write_bytes(b"model")
    if is_filled:
        shutil.copytree(folder / "right", folder / "cache")
    return folder / "cache", folder / "foreign"


@pytest.mark.parametrize("is_filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("stride", [17, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "every"])
def test_training_is_right_and_the_foreign_folder_stays_whenever_it_comes(
    folder: Path, place: str, is_filled: bool, stride: int
) -> None:
    pattern, kind = PLACES[place]
    num_swapped = 0
    for number in itertools.count(step=stride):
        cache, foreign = prepared(folder, place, is_filled=is_filled)
        before = files_of(foreign)
        swap = Swap(number, pattern, cache, foreign, kind)
        with intercepted(swap, STEPS):
            try:
                samples = trained(cache)
            except CacheError:
                samples = RIGHT
        if swap.foreign is None:
            break
        num_swapped += 1
        assert samples == RIGHT, number
        after = files_of(foreign if foreign.exists() else swap.foreign)
        assert after == before, number
    assert num_swapped > 2


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("tool", [describe_cache, verify], ids=["describe", "verify"])
def test_tool_that_looks_at_a_cache_changes_nothing_whenever_another_folder_comes(
    folder: Path, place: str, tool: Callable[[Path], object]
) -> None:
    pattern, kind = PLACES[place]
    for number in itertools.count():
        cache, foreign = prepared(folder, place, is_filled=True)
        before = files_of(foreign)
        swap = Swap(number, pattern, cache, foreign, kind)
        with intercepted(swap, STEPS), contextlib.suppress(SplitDataError, FileNotFoundError):
            tool(cache)
        if swap.foreign is None:
            break
        assert files_of(foreign if foreign.exists() else swap.foreign) == before, number
    assert number > 2
