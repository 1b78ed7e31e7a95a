"""A forked child that inherits a cache or a rotation is refused, and its parent goes on as if there were no child."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import Cache, DistributedLoader, Rotation
from splitdata.dataset.cache.cache_folder import CacheFolder
from splitdata.dataset.cache.cache_key import CacheKey
from splitdata.errors import ClosedError
from splitdata.loader.cache import cache_writer
from splitdata.loader.cache.cache_entry import EntryCodec
from splitdata.loader.cache.disk_store import DiskStore
from splitdata.loader.rotation.sample_store import FileStore, StoreMaker
from tests.dataset.disk import files_of
from tests.forked import answer_of_child
from tests.loader.counting import Counting, calls, expected_sample, samples_of, write_numbers

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

NUM_RECORDS = 24
KEY = CacheKey(dataset="d", num_records=9, transform="f", code="c", version=None, seed=0, codec=1, epoch=0)

REUSES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "cache on disk": lambda folder: {"cache": Cache(folder / "cache")},
    "cache with a limit": lambda folder: {"cache": Cache(folder / "cache", max_bytes=10_000_000)},
    "rotation": lambda folder: {"rotation": Rotation(1, 8)},
    "rotation on disk": lambda folder: {"rotation": Rotation(1, 8, "disk", folder / "rotation")},
}


@pytest.mark.parametrize("reuse", REUSES)
def test_child_is_refused_the_inherited_iterator_and_the_parent_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reuse: str
) -> None:
    # The parent's thread, which commits by the clock, must not change the files while the child is looked at.
    monkeypatch.setattr(cache_writer, "_COMMIT_SECONDS", 3600.0)
    monkeypatch.setattr(cache_writer, "_LATE_SECONDS", 3600.0)
    log = tmp_path / "log"
    loader = DistributedLoader(
        write_numbers(tmp_path / "data", NUM_RECORDS), batch_size=4, transform=Counting(log), **REUSES[reuse](tmp_path)
    )
    iterator = iter(loader)
    samples = samples_of([next(iterator), next(iterator)])
    files, made = files_of(tmp_path), calls(log)

    def ask() -> str:
        nonlocal iterator, loader
        with pytest.raises(ClosedError, match=f"belongs to process {os.getppid()}"):
            list(iterator)
        loader.close()
        del iterator, loader
        gc.collect()
        return "refused"

    assert answer_of_child(ask) == "refused"
    assert files_of(tmp_path) == files
    assert calls(log) == made
    samples += samples_of(iterator)
    assert sorted(samples) == [expected_sample(number, 0) for number in range(NUM_RECORDS)]
    loader.close()


@pytest.mark.parametrize("reuse", ["cache on disk", "cache with a limit"])
def test_child_iterates_anew_with_files_of_its_own(tmp_path: Path, reuse: str) -> None:
    log = tmp_path / "log"
    loader = DistributedLoader(
        write_numbers(tmp_path / "data", NUM_RECORDS), batch_size=4, transform=Counting(log), **REUSES[reuse](tmp_path)
    )
    iterator = iter(loader)
    head = samples_of([next(iterator)])

    def ask() -> str:
        child = samples_of(loader)
        loader.close()
        return str(sorted(child) == [expected_sample(number, 0) for number in range(NUM_RECORDS)])

    assert answer_of_child(ask) == "True"
    assert sorted(head + samples_of(iterator)) == [expected_sample(number, 0) for number in range(NUM_RECORDS)]
    with loader:
        assert len(samples_of(loader)) == NUM_RECORDS
        assert loader.stats().cache.num_hits >= NUM_RECORDS  # type: ignore[union-attr]


def test_store_whose_lock_is_held_by_a_thread_of_the_parent_refuses_and_never_waits(tmp_path: Path) -> None:
    store = DiskStore(Cache(tmp_path / "cache"), KEY, 9, EntryCodec((), copy=True), keeps=True)
    store.begin(0)
    store.add(3, b"three")
    opened = store._opened
    assert opened is not None

    def ask() -> str:
        refused = []
        uses: list[Callable[[], None]] = [lambda: store.begin(0), lambda: store.add(4, b"four"), store.commit]
        for use in uses:
            with pytest.raises(ClosedError, match="belongs to process"):
                use()
            refused.append("refused")
        store.close()
        # The parent's are free as soon as the parent lets go of them, however long this child lives.
        return " ".join([*refused, str(opened.generation._descriptor)])

    with opened.writer._changed, opened.writer._writing:
        assert answer_of_child(ask) == "refused refused refused -1"
    store.close()
    generation = CacheFolder(tmp_path / "cache").open(KEY)
    assert generation.claim().number == 0
    generation.close()


def test_file_of_a_rotation_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    maker = StoreMaker(Rotation(2, 8, "disk", tmp_path))
    store = FileStore(str(tmp_path), maker)
    first, second = (store.add(np.full(100, number, np.uint8)) for number in (1, 2))

    def ask() -> str:
        with pytest.raises(ClosedError, match="a rotation on disk belongs to process"):
            store.read_into(first, memoryview(bytearray(100)))
        with pytest.raises(ClosedError, match="a rotation on disk belongs to process"):
            store.add(np.zeros(5, np.uint8))
        store.close()
        return "refused"

    assert answer_of_child(ask) == "refused"
    room = bytearray(100)
    store.read_into(second, memoryview(room))
    assert room == bytes([2]) * 100
    store.close()
