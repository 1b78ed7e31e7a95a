"""Writing to a store: what was committed is there, whole, once, whoever else writes, and whatever the way does."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from splitdata import (
    DatasetExistsError,
    DuplicateKeyError,
    ManifestError,
    SampleDataset,
    SchemaError,
    SplitDataLoader,
    SplitWriter,
    StoreError,
    verify,
)
from tests.stores import FolderStore, MemoryStore


@pytest.fixture(autouse=True)
def staging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterable[Path]:
    """The folder of all staging folders, which are gone at the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def records(store: MemoryStore) -> list[bytes]:
    return SplitDataLoader("data", store=store)[:]


def test_records_that_are_written_to_a_store_are_read_from_it(store: MemoryStore) -> None:
    written = [b"%d" % number * number for number in range(300)]
    with SplitWriter("data", store=store, bins=3, compression="zstd", metadata={"a": 1}) as writer:
        writer.write_many(written, keys=map(str, range(300)))
    loader = SplitDataLoader("data", store=store)
    assert loader[:] == written
    assert loader.find("7") == 7
    assert loader.metadata == {"a": 1}
    assert {key.split("/")[0] for key in store.objects} == {"data"}


def test_each_commit_is_seen_and_says_its_positions(store: MemoryStore) -> None:
    writer = SplitWriter("data", store=store)
    writer.write_many([b"a", b"b"])
    assert writer.commit() == range(2)
    assert records(store) == [b"a", b"b"]
    assert not len(writer.commit())
    writer.write(b"c")
    assert records(store) == [b"a", b"b"]
    assert writer.commit(metadata={"x": 1}) == range(2, 3)
    writer.write(b"d")
    writer.close()
    assert records(store) == [b"a", b"b", b"c", b"d"]
    assert SplitDataLoader("data", store=store).metadata == {"x": 1}


def test_bytes_do_not_stay_in_the_staging_folder_when_they_are_committed(store: MemoryStore, staging: Path) -> None:
    with SplitWriter("data", store=store, bins=1) as writer:
        for _ in range(3):
            writer.write(bytes(100_000))
            writer.commit()
            assert sum(path.stat().st_size for path in staging.rglob("*.bin")) < 100_000


def test_append_adds_behind_what_is_there_and_create_refuses_it(store: MemoryStore) -> None:
    for text in (b"a", b"b"):
        with SplitWriter("data", store=store, mode="append") as writer:
            writer.write(text)
    assert records(store) == [b"a", b"b"]
    with pytest.raises(DatasetExistsError, match="store://data is a splitdata dataset; mode='append' adds"):
        SplitWriter("data", store=store)
    with pytest.raises(ValueError, match="is not resumed"):
        SplitWriter("data", store=store, mode="resume")


def test_overwrite_replaces_the_dataset_with_its_first_commit(store: MemoryStore) -> None:
    with SplitWriter("data", store=store) as writer:
        writer.write(b"old")
    with SplitWriter("data", store=store, mode="overwrite") as writer:
        writer.write(b"new")
        assert records(store) == [b"old"]
    assert records(store) == [b"new"]


def test_abort_commits_nothing(store: MemoryStore) -> None:
    writer = SplitWriter("data", store=store)
    writer.write(b"a")
    writer.abort()
    assert not store.objects


def test_samples_keep_their_schema_over_commits_and_sessions(store: MemoryStore) -> None:
    with SplitWriter("data", store=store, schema={"x": "int"}) as writer:
        for number in range(4):
            writer.write_sample({"x": number})
            writer.commit()
    with SplitWriter("data", store=store, mode="append") as writer:
        writer.write_sample({"x": 4})
        with pytest.raises(SchemaError):
            writer.write_sample({"x": "text"})
    assert [sample["x"] for sample in SampleDataset("data", store=store)] == list(range(5))


def test_duplicate_keys_of_a_commit_are_refused(store: MemoryStore) -> None:
    writer = SplitWriter("data", store=store)
    writer.write_many([b"a", b"b"], keys=["key", "key"])
    with pytest.raises(DuplicateKeyError):
        writer.close()
    assert not store.objects


def test_rival_commits_are_all_there_each_in_its_order(store: MemoryStore) -> None:
    with SplitWriter("data", store=store) as writer:
        writer.write(b"first")

    def write(name: int) -> None:
        with SplitWriter("data", store=store, mode="append") as writer:
            for number in range(3):
                writer.write(b"%d %d" % (name, number))
                assert len(writer.commit()) == 1

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = records(store)
    assert sorted(found) == sorted([b"first", *(b"%d %d" % (name, number) for name in range(4) for number in range(3))])
    for name in range(4):
        own = [record for record in found if record.startswith(b"%d " % name)]
        assert own == sorted(own)


def test_dataset_that_was_replaced_meanwhile_is_not_added_to(store: MemoryStore) -> None:
    with SplitWriter("data", store=store) as writer:
        writer.write(b"old")
    writer = SplitWriter("data", store=store, mode="append")
    writer.write(b"more")
    with SplitWriter("data", store=store, mode="overwrite") as other:
        other.write(b"new")
    with pytest.raises(ManifestError, match="was replaced while this writer was at work"):
        writer.close()
    assert records(store) == [b"new"]


class Careless(MemoryStore):
    """A store that overwrites whatever the condition."""

    def put_new(self, key: str, data: bytes | Iterable[bytes], /) -> None:
        super().put_new(key, [data] if isinstance(data, bytes) else data)


class Unable(MemoryStore):
    """A store that knows no conditions."""

    def put_new(self, key: str, data: bytes | Iterable[bytes], /) -> None:
        if isinstance(data, bytes):
            raise NotImplementedError
        super().put_new(key, data)


@pytest.mark.parametrize(("kind", "problem"), [(Careless, "although there is one"), (Unable, "does not know how")])
def test_store_without_conditions_is_refused_but_for_a_single_writer(kind: type[MemoryStore], problem: str) -> None:
    store = kind()
    with pytest.raises(StoreError, match=f"{problem}.*single_writer=True"), SplitWriter("data", store=store) as writer:
        writer.write(b"a")
    assert not [key for key in store.objects if "manifest" in key]
    for text in (b"a", b"b"):
        with SplitWriter("data", store=store, mode="append", single_writer=True) as writer:
            writer.write(text)
    assert records(store) == [b"a", b"b"]


class LosingAnswers(MemoryStore):
    """A store that does what it is asked, and says each second time that it has failed."""

    num_puts = 0

    def put_new(self, key: str, data: bytes | Iterable[bytes], /) -> None:
        super().put_new(key, data)
        self.num_puts += 1
        if self.num_puts % 2:
            raise ConnectionResetError("the answer got lost")


def test_answer_that_got_lost_neither_doubles_nor_loses_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.storage.remote.patience._FIRST_PAUSE", 0.001)
    store = LosingAnswers()
    with SplitWriter("data", store=store, bins=1) as writer:
        for number in range(5):
            writer.write(b"%d" % number)
            assert writer.commit() == range(number, number + 1)
    assert records(store) == [b"%d" % number for number in range(5)]
    assert len([key for key in store.objects if "manifest" in key]) == 5
    assert not [key for key in store.objects if key.endswith(".tmp")]


def test_store_that_keeps_less_than_it_was_sent_is_an_error() -> None:
    class Cutting(MemoryStore):
        def put_new(self, key: str, data: Any, /) -> None:
            whole = data if isinstance(data, bytes) else b"".join(data)[:-1]
            super().put_new(key, whole)

    store = Cutting()
    with pytest.raises(StoreError, match=r"the store has \d+ of \d+ bytes"), SplitWriter("data", store=store) as writer:
        writer.write(b"a")
    assert not [key for key in store.objects if "manifest" in key]


def test_what_is_in_the_store_is_a_dataset_in_a_folder_too(store: MemoryStore, tmp_path: Path) -> None:
    with SplitWriter("data", store=store, bins=2) as writer:
        writer.write_many([b"%d" % number for number in range(50)])
        writer.commit()
        writer.write(b"more")
    for key, data in store.objects.items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert verify(tmp_path / "data").is_intact
    assert SplitDataLoader(tmp_path / "data")[:] == records(FolderStore(tmp_path / "data"))
