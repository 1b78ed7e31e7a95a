"""A dataset that is moved, deleted or replaced under an open reader is not called damaged.

mv, rm -rf            DatasetNotFoundError: was moved or deleted
rm -rf, rewritten     ManifestError: was replaced by another dataset
manifest and index deleted                  the message names `repair --adopt`, which brings all back
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from splitdata import (
    DatasetNotFoundError,
    FormatError,
    ManifestError,
    MissingBinError,
    SplitDataLoader,
    SplitWriter,
    describe,
    repair,
    verify,
)

COUNT = 40
ASKED: dict[str, Callable[[SplitDataLoader], Any]] = {
    "record": lambda loader: loader[3],
    "view": lambda loader: loader.view(3),
    "batch": lambda loader: loader[list(range(COUNT))],
    "rows": lambda loader: loader.gather(np.arange(COUNT)),
    "walk": lambda loader: list(loader),
    "binwise": lambda loader: list(loader.iterate_binwise()),
    "shuffled": lambda loader: list(loader.iterate_binwise(shuffle=True, seed=1)),
    "key": lambda loader: loader.key(3),
    "find": lambda loader: loader.find("key 3"),
    "sizes": lambda loader: loader.sizes[3],
}


def write(path: Path, *, seed: int = 0, count: int = COUNT, reproducible: bool = False) -> None:
    with SplitWriter(path, bins=4, durability="none", reproducible=reproducible) as writer:
        writer.write_many([b"%5d" % (n + seed) for n in range(count)], keys=[f"key {n}" for n in range(count)])


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def deleted(path: Path) -> None:
    shutil.rmtree(path)


def emptied(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def rewritten(path: Path) -> None:
    shutil.rmtree(path)
    write(path, seed=500)


def rewritten_with_the_same_ids(path: Path) -> None:
    shutil.rmtree(path)
    write(path, count=2, reproducible=True)


GONE = (moved, deleted, emptied)
REPLACED = (rewritten, rewritten_with_the_same_ids)


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("change", GONE + REPLACED)
@pytest.mark.parametrize("asked", ASKED)
def test_reader_says_that_its_dataset_is_gone_or_another(
    tmp_path: Path, asked: str, change: Callable[[Path], None], io: Literal["mmap", "pread"]
) -> None:
    path = tmp_path / "data"
    write(path, reproducible=change is rewritten_with_the_same_ids)
    with SplitDataLoader(path, io=io) as loader:
        change(path)
        expected = (DatasetNotFoundError, "was moved or deleted") if change in GONE else (ManifestError, "was replaced")
        with pytest.raises(expected[0], match=expected[1]):
            ASKED[asked](loader)


def test_refresh_says_it_too(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path)
    with SplitDataLoader(path) as loader:
        rewritten(path)
        with pytest.raises(ManifestError, match="was replaced"):
            loader.refresh()
        deleted(path)
        with pytest.raises(DatasetNotFoundError):
            loader.refresh()


def test_moved_dataset_goes_on_where_it_is_open_already(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path)
    with SplitDataLoader(path) as loader:
        before = list(loader)
        moved(path)
        assert list(loader) == before


def test_missing_bin_of_a_dataset_that_is_there_is_still_called_missing(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path)
    with SplitDataLoader(path) as loader:
        next(path.glob("segments/*/000003.bin")).unlink()
        with pytest.raises(MissingBinError):
            loader[3]
        assert loader[2] == b"    2"


@pytest.mark.parametrize("ask", [SplitDataLoader, verify, describe, repair])
def test_manifest_and_index_gone_names_the_repair_that_recovers_everything(
    tmp_path: Path, ask: Callable[[Path], object]
) -> None:
    path = tmp_path / "data"
    write(path)
    for file in [*path.glob("manifest.*"), *path.glob("segments/*/index")]:
        file.unlink()

    with pytest.raises((DatasetNotFoundError, FormatError), match=r"splitdata repair --adopt"):
        ask(path)

    assert repair(path, adopt=True).num_records == COUNT
    with SplitDataLoader(path) as loader:
        assert list(loader) == [b"%5d" % n for n in range(COUNT)]
        assert loader.find("key 7") == 7
