"""Readers in a forked child: they read on, and whatever ends them there does nothing to the parent's.

parent   reader, pin of its snapshot, iterator in the middle
  │ fork
  └─ child   reads, goes on with the iterator, closes, deletes, exits      parent: all as if there had been no child
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from splitdata import SampleDataset, SplitDataLoader, SplitWriter
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import Pin
from splitdata.loader.samples.record_source import RecordFetcher
from tests.command import run_python
from tests.forked import answer_of_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

COUNT = 200
SAMPLES: list[dict[str, Any]] = [
    {"x": np.full(5, number, np.int32), "name": f"sample {number}"} for number in range(COUNT)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "data", bins=8, durability="none") as writer:
        for number, sample in enumerate(SAMPLES):
            writer.write_sample(sample, f"key {number}")
    return tmp_path / "data"


Io = Literal["mmap", "pread"]
READERS: dict[str, Callable[[Path, Io], Any]] = {
    "SplitDataLoader": lambda path, io: SplitDataLoader(path, io=io),
    "SampleDataset": lambda path, io: SampleDataset(path, io=io),
    "RecordFetcher": lambda path, io: RecordFetcher(SplitDataLoader(path, io=io)),
}


def everything(reader: Any) -> list[bytes]:  # any of the readers
    """Return what a reader gives by position, comparable."""
    if isinstance(reader, RecordFetcher):
        return [bytes(one) for one in reader.dataset[list(range(COUNT))]]
    if isinstance(reader, SampleDataset):
        return [reader[n]["x"].tobytes() + reader[n]["name"].encode() for n in range(COUNT)]
    assert reader.find("key 7") == 7
    return [reader[n] for n in range(COUNT)]


def used(reader: Any) -> None:  # as above
    everything(reader)


def closed(reader: Any) -> None:  # as above
    getattr(reader, "dataset", reader).close()


def left(reader: Any) -> None:  # as above
    with getattr(reader, "dataset", reader):
        pass


def deleted(reader: Any) -> None:  # as above
    del reader
    gc.collect()


@pytest.mark.parametrize("end", [used, closed, left, deleted])
@pytest.mark.parametrize("is_warm", [True, False], ids=["files open", "no file open yet"])
@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("name", READERS)
def test_reader_works_in_a_child_and_its_end_there_is_nothing_to_the_parent(
    path: Path, name: str, io: Io, is_warm: bool, end: Callable[[Any], None]
) -> None:
    with SplitDataLoader(path) as plain:
        expected = list(plain) if name != "SampleDataset" else [s["x"].tobytes() + s["name"].encode() for s in SAMPLES]
    reader = READERS[name](path, io)
    if is_warm:
        assert everything(reader) == expected

    def ask() -> str:
        assert everything(reader) == expected
        end(reader)
        return "read"

    assert answer_of_child(ask) == "read"
    # The snapshot is still kept: others replace the dataset, and commit often enough to free what nobody has pinned.
    for _ in range(10):
        with SplitWriter(path, mode="overwrite", bins=1, durability="none") as writer:
            writer.write_sample({"other": 1})
    assert everything(reader) == expected


def walks(loader: SplitDataLoader) -> dict[str, Iterator[Any]]:
    return {
        "in order": iter(loader),
        "binwise": loader.iterate_binwise(),
        "views": loader.iterate_binwise(as_views=True),
        "shuffled": loader.iterate_binwise(shuffle=True, seed=3),
        "positions": loader.iterate_binwise(shuffle=True, seed=3, with_positions=True),
    }


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_iterators_in_progress_go_on_in_both(path: Path, io: Io) -> None:
    with SplitDataLoader(path, io=io) as loader:
        expected = {
            name: [one if isinstance(one, tuple) else bytes(one) for one in walk]
            for name, walk in walks(loader).items()
        }
        running = walks(loader)
        taken = {name: [next(walk) for _ in range(9)] for name, walk in running.items()}
        assert {name: len(records) for name, records in taken.items()} == dict.fromkeys(running, 9)

        def rest() -> dict[str, list[Any]]:
            return {
                name: [one if isinstance(one, tuple) else bytes(one) for one in walk] for name, walk in running.items()
            }

        def ask() -> str:
            assert rest() == {name: records[9:] for name, records in expected.items()}
            loader.close()
            return "read"

        assert answer_of_child(ask) == "read"
        assert rest() == {name: records[9:] for name, records in expected.items()}


def test_pin_of_the_parent_holds_when_a_child_lets_go_of_its_copy(path: Path) -> None:
    pin = Pin.take(DatasetDirectory(path), 1)
    assert pin is not None

    def ask() -> str:
        nonlocal pin
        del pin
        gc.collect()
        return "gone"

    assert answer_of_child(ask) == "gone"
    for _ in range(10):
        with SplitWriter(path, mode="overwrite", bins=1, durability="none") as writer:
            writer.write_sample({"other": 1})
    assert 1 in DatasetDirectory(path).generations()
    del pin


_ENDS = """
import os, sys
from splitdata import SplitDataLoader, SampleDataset
loader, samples = SplitDataLoader(sys.argv[1], io="pread"), SampleDataset(sys.argv[1])
before, walk = list(loader), iter(loader)
next(walk)
pid = os.fork()
if pid == 0:
    assert list(loader) == before
    if sys.argv[2] == "exit":
        with loader:
            sys.exit(0)
    if sys.argv[2] == "error":
        with loader:
            raise SystemExit(3)
    os._exit(0)
os.waitpid(pid, 0)
assert list(loader) == before and list(walk) == before[1:] and samples[3]["name"] == "sample 3"
print("whole")
"""


@pytest.mark.parametrize("end", ["exit", "error", "os._exit"])
def test_child_that_ends_by_itself_leaves_the_parent_whole_and_says_nothing(path: Path, end: str) -> None:
    done = run_python("-c", _ENDS, path, end)
    assert (done.returncode, done.stdout, done.stderr) == (0, "whole\n", "")
