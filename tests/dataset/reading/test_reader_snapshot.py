"""What a reader shows: its snapshot, until refresh; several datasets as one; through a pickle."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from splitdata import (
    ClosedError,
    DatasetNotFoundError,
    ManifestError,
    SplitDataLoader,
    SplitWriter,
    write_split_data,
)
from tests.command import ROOT, run_python
from tests.dataset.disk import read, written

Io = Literal["mmap", "pread"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "data", [b"a", b"b", b"c"], bins=2)


def test_reader_sees_commits_after_refresh_only(path: Path) -> None:
    loader = SplitDataLoader(path)
    assert not loader.refresh()
    with SplitWriter(path, mode="append") as writer:
        writer.write(b"d")
        writer.commit()
        assert list(loader) == [b"a", b"b", b"c"]
        with pytest.raises(IndexError):
            loader[3]
        assert loader.refresh()
        assert loader[3] == b"d"
        writer.write(b"e")
        writer.commit()
        assert loader.refresh()
        assert loader[[4, 0]] == [b"e", b"a"]
    assert loader.refresh()
    assert not loader.refresh()
    assert len(loader) == len(loader.sizes) == 5


def test_iterators_sizes_and_views_taken_before_a_refresh_keep_their_snapshot(path: Path) -> None:
    loader = SplitDataLoader(path)
    iterator, sizes, view = iter(loader), loader.sizes, loader.view(1)
    shuffled = loader.iterate_binwise(shuffle=True, seed=1)
    next(iterator)
    next(shuffled)
    write_split_data(path, [b"longer"] * 5, mode="append")
    loader.refresh()

    assert list(iterator) == [b"b", b"c"]
    assert len(list(shuffled)) == 2
    assert list(sizes) == [1, 1, 1]
    assert bytes(view) == b"b"


def test_refresh_onto_another_dataset_is_refused_and_the_snapshot_stays(path: Path) -> None:
    loader = SplitDataLoader(path)
    list(loader)
    write_split_data(path, [b"new"], start_clean=True)

    with pytest.raises(ManifestError, match="replaced"):
        loader.refresh()
    assert list(loader) == [b"a", b"b", b"c"]


def test_refresh_notices_a_reproducible_dataset_that_replaced_itself(tmp_path: Path) -> None:
    write_split_data(tmp_path, [b"a"], reproducible=True)
    loader = SplitDataLoader(tmp_path)
    write_split_data(tmp_path, [b"b"], start_clean=True, reproducible=True)

    with pytest.raises(ManifestError, match="replaced"):
        loader.refresh()


def test_generation_opens_an_older_state(path: Path) -> None:
    for record in (b"d", b"e"):
        write_split_data(path, [record], mode="append")
    newest = SplitDataLoader(path).generation
    older = SplitDataLoader(path, generation=1)

    assert list(older) == [b"a", b"b", b"c"]
    assert older.generations == [1]
    assert newest > 1
    assert older.refresh()
    assert list(older) == [b"a", b"b", b"c", b"d", b"e"]


@pytest.mark.parametrize("generation", [0, 99])
def test_generation_that_is_gone_is_an_error_that_lists_the_others(path: Path, generation: int) -> None:
    with pytest.raises(ManifestError, match=f"no generation {generation} .*it has 1"):
        SplitDataLoader(path, generation=generation)


@pytest.mark.parametrize("wrong", ["missing", "file", "empty", "foreign"])
def test_what_is_no_dataset_is_not_found(tmp_path: Path, wrong: str) -> None:
    target = tmp_path / wrong
    if wrong == "file":
        target.touch()
    elif wrong != "missing":
        target.mkdir()
    if wrong == "foreign":
        (target / "photo.jpg").touch()

    with pytest.raises(DatasetNotFoundError) as caught:
        SplitDataLoader(target)
    assert str(target) in str(caught.value)


def test_unknown_io_and_no_paths_are_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="io must be"):
        SplitDataLoader(path, io="fast")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="no path"):
        SplitDataLoader([])


# -- several datasets --------------------------------------------------------------------------


def test_several_paths_are_read_end_to_end(tmp_path: Path) -> None:
    parts = [[b"a", b"b"], [], [b"c"] * 40, [b"d", b""]]
    paths = [written(tmp_path / str(number), records, bins=3) for number, records in enumerate(parts)]
    loader = SplitDataLoader(paths)
    whole = [record for part in parts for record in part]

    assert len(loader) == len(whole)
    assert list(loader) == loader[:] == whole
    assert [loader[index] for index in range(-len(whole), 0)] == whole
    assert loader[[43, 0, 2]] == [whole[43], b"a", b"c"]
    assert list(loader.sizes) == [len(record) for record in whole]
    assert sorted(loader.iterate_binwise(shuffle=True, seed=0, with_positions=True)) == list(enumerate(whole))
    assert loader.fingerprint == SplitDataLoader(written(tmp_path / "one", whole)).fingerprint
    assert loader.generations == [1, 1, 1, 1]
    assert repr(loader).endswith("44 records")
    assert pickle.loads(pickle.dumps(loader))[:] == whole
    write_split_data(paths[1], [b"new"], mode="append")
    assert loader.refresh()
    assert loader[2] == b"new"


def test_one_dataset_may_be_listed_twice(path: Path) -> None:
    assert list(SplitDataLoader([path, path])) == [b"a", b"b", b"c"] * 2


def test_generation_goes_with_one_path(path: Path) -> None:
    with pytest.raises(ValueError, match="one dataset"):
        SplitDataLoader([path, path], generation=1)


def test_metadata_of_several_are_joined(tmp_path: Path) -> None:
    SplitWriter(tmp_path / "a", metadata={"x": 1, "y": 1}).close()
    SplitWriter(tmp_path / "b", metadata={"y": 2}).close()

    assert SplitDataLoader([tmp_path / "a", tmp_path / "b"]).metadata == {"x": 1, "y": 2}


# -- fingerprint -------------------------------------------------------------------------------


def test_fingerprint_is_of_the_records_and_not_of_how_they_are_stored(tmp_path: Path) -> None:
    records = [b"%d " % number * number for number in range(60)] + [bytes(16 << 20)]
    found = set()
    for number, (bins, compression, parts) in enumerate(
        [(1, None, 1), (7, "zstd", 1), (3, None, 4), (100, "zstd", 61)]
    ):
        path = tmp_path / str(number)
        for part in range(parts):
            bounds = len(records) * part // parts, len(records) * (part + 1) // parts
            with SplitWriter(path, mode="append", bins=bins, compression=compression, durability="none") as writer:  # type: ignore[arg-type]
                writer.write_many(records[slice(*bounds)])
        found.add(SplitDataLoader(path).fingerprint)

    assert len(found) == 1
    assert found.pop().startswith("61-")


@pytest.mark.parametrize("other", [[b"b", b"a", b"c"], [b"a", b"b"], [b"a", b"b", b"c", b""], [b"ab", b"", b"c"], []])
def test_fingerprint_changes_with_order_and_content(path: Path, tmp_path: Path, other: list[bytes]) -> None:
    assert SplitDataLoader(written(tmp_path / "other", other)).fingerprint != SplitDataLoader(path).fingerprint


# -- pickles, copies, closing, threads ---------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_small_and_opens_the_same_snapshot(path: Path, protocol: int) -> None:
    loader = SplitDataLoader(path, verify=False, io="pread", max_record_bytes=77)
    loader[0]
    data = pickle.dumps(loader, protocol)
    write_split_data(path, [b"later"], mode="append")
    other = pickle.loads(data)

    assert len(data) < 1024
    assert list(other) == [b"a", b"b", b"c"]
    assert (other._verify, other._io, other._max_record_bytes) == (False, "pread", 77)
    assert b"later" in (other.refresh() and list(other))


@pytest.mark.parametrize("commits", [1, 20, 100])
@pytest.mark.parametrize("same_writer", [True, False])
def test_pickle_opens_the_same_snapshot_after_further_commits(tmp_path: Path, commits: int, same_writer: bool) -> None:
    """Its manifest is removed by then, and its last segment may have grown."""
    path = tmp_path / "data"
    writer = SplitWriter(path, mode="append", bins=2, durability="none")
    writer.write_many([b"a", b"b", b"c"])
    writer.commit()
    loader = SplitDataLoader(path)
    data = pickle.dumps(loader)
    for number in range(commits):
        if same_writer:
            writer.write(b"%d" % number)
            writer.commit()
        else:
            with SplitWriter(path, mode="append", durability="none") as other_writer:
                other_writer.write(b"%d" % number)
    other: SplitDataLoader = pickle.loads(data)
    writer.close()

    assert len(data) < 1024
    assert list(other) == list(loader) == [b"a", b"b", b"c"]
    assert other.generation == loader.generation
    assert other.fingerprint == loader.fingerprint
    assert sorted(other.iterate_binwise(shuffle=True, seed=1)) == [b"a", b"b", b"c"]
    assert other.refresh()
    assert len(other) == 3 + commits
    assert list(copy.copy(loader)) == [b"a", b"b", b"c"]


def test_pickle_of_a_dataset_that_was_replaced_is_refused(path: Path) -> None:
    data = pickle.dumps(SplitDataLoader(path))
    for number in range(20):
        write_split_data(path, [b"%d" % number], start_clean=True)

    with pytest.raises(ManifestError, match="replaced"):
        pickle.loads(data)


def test_pickle_is_read_by_another_process(path: Path, tmp_path: Path) -> None:
    (tmp_path / "loader.pickle").write_bytes(pickle.dumps(SplitDataLoader(path)))
    code = (
        f"import pathlib, pickle, sys; sys.path.insert(0, {str(ROOT)!r}); "
        "print(list(pickle.loads(pathlib.Path('loader.pickle').read_bytes())))"
    )
    ended = run_python("-c", code, cwd=tmp_path)

    assert ended.stdout == "[b'a', b'b', b'c']\n", ended.stderr


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_loader_works_on_both_sides_of_a_fork(path: Path, io: Io) -> None:
    loader = SplitDataLoader(path, io=io)
    loader[0]
    child = os.fork()
    if child == 0:
        os._exit(0 if list(loader) == [b"a", b"b", b"c"] and loader[-1] == b"c" else 1)
    assert list(loader) == [b"a", b"b", b"c"]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_closed_loader_refuses_and_may_be_closed_again(path: Path) -> None:
    with SplitDataLoader(path) as loader:
        loader[0]
    loader.close()
    actions: list[Any] = [
        lambda: loader[0],
        lambda: loader[-1],
        lambda: loader[[0]],
        lambda: loader[:],
        lambda: loader.view(0),
        lambda: loader.gather([0]),
        lambda: loader.read_range(0, 0, 1),
        lambda: loader.prefetch([0]),
        lambda: loader.read_ahead([0]),
        lambda: loader.sizes,
        lambda: next(iter(loader)),
        loader.iterate_binwise,
        loader.refresh,
    ]
    for action in actions:
        with pytest.raises(ClosedError, match="is closed"):
            action()
    assert len(loader) == 3


def test_batched_fetch_protocol_of_a_data_loader(path: Path) -> None:
    """What torch.utils.data asks of a map-style dataset, without torch."""
    loader = SplitDataLoader(path)
    fetch = getattr(loader, "__getitems__", None)

    assert fetch is not None
    assert fetch([2, 0]) == [b"c", b"a"]
    assert [loader[index] for index in np.random.default_rng(0).permutation(len(loader))] != []


@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("limit", [4, 1000])
def test_threads_share_a_loader(tmp_path: Path, io: Io, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where bins are dropped all the time because few files may be open."""
    monkeypatch.setattr("splitdata.dataset.segments.open_files.descriptor_limit", lambda: limit)
    records = [b"%d " % number * (number % 30) for number in range(3000)]
    loader = SplitDataLoader(written(tmp_path / "data", records, bins=20), io=io)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        generator = np.random.default_rng(seed)
        try:
            for _ in range(5):
                positions = generator.integers(0, 3000, 100)
                assert loader[positions] == [records[position] for position in positions]
                assert [loader[position] for position in positions] == [records[position] for position in positions]
                assert bytes(loader.view(int(positions[0]))) == records[positions[0]]
                assert list(loader) == records
                assert sorted(loader.iterate_binwise(with_positions=True)) == list(enumerate(records))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_loader_of_a_replaced_dataset_keeps_its_records_though_it_had_opened_none(path: Path) -> None:
    loader = SplitDataLoader(path)
    before = read(path)
    write_split_data(path, [b"new"], start_clean=True)

    assert list(loader) == before
    assert read(path) == [b"new"]
