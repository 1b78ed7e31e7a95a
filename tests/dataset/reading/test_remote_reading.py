"""A dataset in an object store is read as one in a folder is: every kind of record, every way, through any cache."""

from __future__ import annotations

import pickle
import random
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    BlockCache,
    ClosedError,
    CorruptRecordError,
    DatasetNotFoundError,
    FormatError,
    SampleDataset,
    SplitDataLoader,
    SplitWriter,
    StoreError,
)
from splitdata.dataset.manifests.remote_directory import RemoteDirectory
from splitdata.storage.remote.remote_blocks import BlockFetcher, RemoteFile
from splitdata.storage.remote.remote_files import RemoteFiles
from tests.dataset.record_kinds import KINDS, RecordKind
from tests.forked import answer_of_child
from tests.stores import Fault, FaultyStore, FolderStore, MemoryStore, store_of

SMALL = BlockCache(block_bytes=4096, max_bytes=1 << 20, memory_bytes=1 << 20)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[RecordKind, Path]:
    """A dataset of each kind, in a folder."""
    kind: RecordKind = request.param
    folder = tmp_path_factory.mktemp("kinds") / "data"
    kind.write_sealed(folder)
    return kind, folder


def files_of(loader: SplitDataLoader) -> RemoteFiles:
    """Return what a reader has of its store."""
    (directory,) = loader._remote.values()
    assert isinstance(directory, RemoteDirectory)
    return directory.files


READS: dict[str, Callable[[SplitDataLoader], Any]] = {
    "one by one": lambda loader: [loader[number] for number in range(len(loader))],
    "backwards": lambda loader: loader[list(range(len(loader)))[::-1]],
    "in write order": lambda loader: list(loader),
    "bins": lambda loader: list(loader.iterate_binwise(shuffle=True, seed=3)),
    "views": lambda loader: list(map(bytes, loader.views(range(len(loader))))),
    "a view": lambda loader: bytes(loader.view(1)),
    "views of bins": lambda loader: list(map(bytes, loader.iterate_binwise(as_views=True))),
    "keys": lambda loader: loader.keys_of(range(len(loader))),
    "ranges": lambda loader: [loader.read_range(number, 1, 5) for number in range(len(loader))],
    "sizes": lambda loader: loader.sizes[:].tolist(),
    "digest": lambda loader: loader.digest(num_workers=2),
    "facts": lambda loader: (len(loader), loader.fingerprint, loader.metadata, loader.generation),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_every_kind_is_read_from_a_store_as_from_a_folder(
    written: tuple[RecordKind, Path], read: Callable[[SplitDataLoader], Any]
) -> None:
    _, folder = written
    remote = SplitDataLoader("data", store=MemoryStore(store_of(folder)), block_cache=SMALL)
    assert read(remote) == read(SplitDataLoader(folder))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 600 records, in two segments, with keys."""
    folder = tmp_path_factory.mktemp("remote") / "data"
    source = random.Random(5)
    for part in range(2):
        with SplitWriter(folder, bins=4, mode="append", durability="none") as writer:
            for number in range(300):
                writer.write(source.randbytes(source.randrange(2000)), f"{part} {number}")
    return folder


def test_records_of_a_batch_are_asked_for_together(folder: Path) -> None:
    store = MemoryStore(store_of(folder))
    loader = SplitDataLoader("data", store=store, block_cache=BlockCache(block_bytes=4096))
    loader[[0]], loader[[300]]
    store.requests.clear()
    numbers = list(range(600))
    random.Random(1).shuffle(numbers)
    assert loader[numbers] == SplitDataLoader(folder)[numbers]
    assert len(store.requests) <= 2 * 4


def test_nothing_is_asked_for_twice_while_it_is_kept(folder: Path) -> None:
    store = MemoryStore(store_of(folder))
    loader = SplitDataLoader("data", store=store)
    first = loader[:]
    store.requests.clear()
    assert loader[:] == first
    assert not store.requests


def test_folder_serves_another_reader_when_the_store_is_gone(folder: Path, tmp_path: Path) -> None:
    store = MemoryStore(store_of(folder))
    cache = BlockCache(tmp_path / "cache", 16 << 20, 4096)
    expected = SplitDataLoader("data", store=store, block_cache=cache)[:]
    store.requests.clear()
    again = SplitDataLoader("data", store=store, block_cache=cache)
    assert again[:] == expected
    # The manifest alone is read past the cache.
    assert {key.rpartition("/")[2][:8] for key, _ in store.requests} == {"manifest"}


def test_memory_stays_within_its_limit(folder: Path) -> None:
    cache = BlockCache(block_bytes=4096, max_bytes=16 * 4096)
    loader = SplitDataLoader("data", store=MemoryStore(store_of(folder)), block_cache=cache)
    assert loader[:] == SplitDataLoader(folder)[:]
    files = files_of(loader)
    in_memory = sum(len(block) for file in files._files.values() for block in file.blocks.values())
    assert in_memory <= 16 * 4096


def test_other_records_under_the_same_names_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    cache = BlockCache(tmp_path / "cache", 16 << 20, 4096)
    found = []
    for text in (b"one", b"two"):
        with SplitWriter(tmp_path / text.decode(), bins=1, durability="none", reproducible="same") as writer:
            writer.write_many([text] * 50)
        store = MemoryStore(store_of(tmp_path / text.decode()))
        found.append(set(SplitDataLoader("data", store=store, block_cache=cache)[:]))
    assert found == [{b"one"}, {b"two"}]


FAULTS: dict[str, list[Fault]] = {
    "errors": ["error", "", "error", "drop", "error"],
    "cut answers": ["short", "short", "", "short"],
    "other bytes": ["", "", "other range", "", "", "other range", "", "", "", "other range"],
    "flipped bits": ["", "", "flip", "", "flip", "", "", "flip"],
    "all of them": ["error", "short", "flip", "drop", "", "flip", "", "other range"],
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_fault_of_the_way_costs_another_request_and_no_record(
    folder: Path, faults: list[Fault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.storage.remote.patience._FIRST_PAUSE", 0.001)
    store = FaultyStore(store_of(folder), faults, only="segments/")
    loader = SplitDataLoader("data", store=store, block_cache=SMALL)
    assert loader[:] == SplitDataLoader(folder)[:]
    assert store.num_faults


def test_damage_in_the_store_itself_is_an_error_that_names_the_record(folder: Path) -> None:
    objects = store_of(folder)
    key = next(key for key in sorted(objects) if key.endswith("000001.bin"))
    objects[key] = objects[key][:-700] + bytes(700)
    loader = SplitDataLoader("data", store=MemoryStore(objects), block_cache=SMALL)
    bad = []
    for number in range(600):
        try:
            loader[number]
        except CorruptRecordError as error:
            bad.append(error.position)
    assert bad
    assert len(bad) < 20
    with pytest.raises(FormatError):
        loader[:]


def test_store_that_is_gone_is_an_error_and_no_hang(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.storage.remote.patience._FIRST_PAUSE", 0.001)
    store = FaultyStore(store_of(folder), repeat("error"), only="segments/")
    loader = SplitDataLoader("data", store=store, storage_options=None)
    object.__setattr__(files_of(loader).reader._patience, "seconds", 0.02)
    with pytest.raises(StoreError, match=r"reading store://data/segments/.* failed \d+ times .*503 slow down"):
        loader[0]


def test_store_that_never_answers_is_an_error(folder: Path) -> None:
    class Silent(MemoryStore):
        def get_ranges(self, key: str, ranges: Any, /) -> list[bytes]:
            if "segments" in key:
                time.sleep(30)
            return super().get_ranges(key, ranges)

    loader = SplitDataLoader("data", store=Silent(store_of(folder)))
    files = files_of(loader)
    object.__setattr__(files.reader._patience, "seconds", 0.0)
    object.__setattr__(files.reader._patience, "call_seconds", -4.9)
    with pytest.raises(StoreError, match="has not answered for"):
        loader[0]


def test_refusal_is_final(folder: Path) -> None:
    store = FaultyStore(store_of(folder), ["denied"], only="segments/")
    with pytest.raises(PermissionError, match="403"):
        SplitDataLoader("data", store=store)[0]
    assert store.num_faults == 1


def test_list_that_is_older_than_the_objects_hides_none(folder: Path) -> None:
    class Stale(MemoryStore):
        def list(self, prefix: str, /) -> list[tuple[str, int]]:
            return [one for one in super().list(prefix) if not one[0].endswith(("index", "000000.bin"))]

    loader = SplitDataLoader("data", store=Stale(store_of(folder)))
    assert loader[:] == SplitDataLoader(folder)[:]


def test_store_that_cannot_list_is_read_by_the_file_current(folder: Path) -> None:
    class Web(MemoryStore):
        def list(self, prefix: str, /) -> list[tuple[str, int]]:
            raise NotImplementedError

    objects = store_of(folder)
    generation = SplitDataLoader(folder).generation
    objects["data/CURRENT"] = f"{generation}\n".encode()
    assert SplitDataLoader("data", store=Web(objects))[:] == SplitDataLoader(folder)[:]


def test_nothing_at_a_key_is_no_dataset() -> None:
    with pytest.raises(DatasetNotFoundError, match="store://data/train is not a splitdata dataset"):
        SplitDataLoader("data/train", store=MemoryStore())


def test_reader_pickles_and_opens_the_same_snapshot_elsewhere(folder: Path) -> None:
    loader = SplitDataLoader("data", store=FolderStore(folder))
    assert pickle.loads(pickle.dumps(loader))[:] == SplitDataLoader(folder)[:]


def test_forked_child_is_refused_by_name(folder: Path) -> None:
    loader = SplitDataLoader("data", store=MemoryStore(store_of(folder)))
    loader[0]

    def read() -> str:
        try:
            loader[300]
        except ClosedError as error:
            return str(error)
        return "it has read"

    assert "the remote dataset store://data" in (answer := answer_of_child(read))
    assert "was forked" in answer


def test_commit_is_seen_after_refresh(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=1, durability="none") as writer:
        writer.write(b"one")
    store = MemoryStore(store_of(tmp_path / "data"))
    loader = SplitDataLoader("data", store=store)
    assert loader[:] == [b"one"]
    with SplitWriter(tmp_path / "data", bins=1, mode="append", durability="none") as writer:
        writer.write(b"two")
    store.objects |= store_of(tmp_path / "data")
    assert not (len(loader) - 1)
    assert loader.refresh()
    assert loader[:] == [b"one", b"two"]


def test_samples_are_gathered_from_a_store(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=2, durability="none") as writer:
        for number in range(40):
            writer.write_sample({"x": np.full(3, number)})
    store = MemoryStore(store_of(tmp_path / "data"))
    dataset = SampleDataset("data", store=store)
    assert dataset.gather([7, 3])["x"].tolist() == [[7] * 3, [3] * 3]
    assert [int(sample["x"][0]) for sample in dataset] == list(range(40))


@pytest.mark.parametrize("taker", [SplitDataLoader, SampleDataset])
def test_path_object_of_a_url_is_refused_and_no_folder_is_made(
    taker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="s3"):
        taker(Path("s3://bucket/x"))
    with pytest.raises(ValueError, match="name or a password in it") as caught:
        taker("s3://me:hidden-key@bucket/x")
    assert "hidden-key" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_missing_library_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(ModuleNotFoundError, match=r"s3://bucket: .* pip install 'splitdata\[remote\]'"):
        SplitDataLoader("s3://bucket/x")


def test_file_url_is_the_folder(folder: Path) -> None:
    assert SplitDataLoader(folder.as_uri())[:] == SplitDataLoader(folder)[:]


# With the blocks that a chunk of 16 KiB has, at least and at most: 15 records, side by side or here and there.
WALKS: dict[str, tuple[Callable[[SplitDataLoader], Any], int, int]] = {
    "in order": (lambda loader: loader.iterate(), 4, 7),
    "bin by bin": (lambda loader: loader.iterate_binwise(), 4, 7),
    "shuffled": (lambda loader: loader.iterate_binwise(shuffle=True, seed=3, interleave=1), 9, 30),
}


@pytest.mark.parametrize(("max_bytes", "num_chunks"), [(1 << 20, 4), (64 << 10, 2)])
@pytest.mark.parametrize(("walk", "least", "most"), WALKS.values(), ids=WALKS)
def test_walk_asks_for_the_next_chunks_and_no_more_before_it_hands_out_the_first(
    walk: Callable[[SplitDataLoader], Any],
    least: int,
    most: int,
    max_bytes: int,
    num_chunks: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("splitdata.dataset.reading.iteration._CHUNK_BYTES", 16 << 10)
    with SplitWriter(tmp_path / "data", bins=2, group=1, durability="none") as writer:
        writer.write_many([b"%04d" % number * 256 for number in range(1000)])
    store = MemoryStore(store_of(tmp_path / "data"))
    loader = SplitDataLoader("data", store=store, block_cache=BlockCache(None, max_bytes, 4096, max_bytes))
    asked: set[tuple[str, int]] = set()
    ask = BlockFetcher.ahead

    def noted(self: BlockFetcher, file: RemoteFile, blocks: Sequence[int]) -> None:
        asked.update((file.key, number) for number in blocks if file.key.endswith(".bin"))
        ask(self, file, blocks)

    monkeypatch.setattr(BlockFetcher, "ahead", noted)
    records = walk(loader)
    first = next(records)

    # Each of the two bins has a block with its header.
    assert least * num_chunks <= len(asked) <= most * num_chunks + 2
    assert sorted([first, *records]) == [b"%04d" % number * 256 for number in range(1000)]
