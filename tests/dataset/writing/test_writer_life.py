"""The life of a writer: commits, exceptions, closing, being forgotten."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import ClosedError, DatasetNotFoundError, ManifestError, SplitDataLoader, SplitWriter
from splitdata.storage import files
from tests.dataset.disk import files_of, read, written


def test_write_numbers_the_run_and_commit_the_dataset(tmp_path: Path) -> None:
    path = written(tmp_path / "data", [b"x"] * 5)
    with SplitWriter(path, mode="append") as writer:
        assert [writer.write(b"a"), writer.write(b"b")] == [0, 1]
        assert writer.write_many([b"c", b"d"]) == 2
        assert writer.num_written == 4
        assert writer.commit() == range(5, 9)
        assert writer.write(b"e") == 4
        assert writer.commit() == range(9, 10)
        assert list(writer.commit()) == []

    assert read(path) == [b"x"] * 5 + [b"a", b"b", b"c", b"d", b"e"]


def test_commit_of_a_large_record_among_small_ones_keeps_the_order(tmp_path: Path) -> None:
    records = [b"a", bytes(16 << 20), b"b", b"", bytes(17 << 20), b"c"]
    with SplitWriter(tmp_path / "data", bins=3, durability="none") as writer:
        assert [writer.write(record) for record in records] == [0, 1, 2, 3, 4, 5]

    assert read(tmp_path / "data") == records


def test_empty_writer_makes_an_empty_dataset(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data"):
        pass
    loader = SplitDataLoader(tmp_path / "data")

    assert len(loader) == 0
    assert list(loader) == list(loader.iterate_binwise()) == list(loader.iterate_binwise(shuffle=True)) == []
    assert loader[:] == loader[[]] == []
    assert loader.gather([]).shape == (0, 0)
    with pytest.raises(IndexError):
        loader[0]


def test_commit_of_nothing_makes_the_dataset(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        assert writer.commit() == range(0)
        assert read(tmp_path / "data") == []


def test_exception_in_the_block_keeps_what_was_committed_and_nothing_else(tmp_path: Path) -> None:
    def fail() -> None:
        with SplitWriter(tmp_path / "data", bins=2) as writer:
            writer.write_many([b"a", b"b", b"c"])
            writer.commit()
            writer.write_many([b"lost"] * 10)
            writer.write(bytes(16 << 20))
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert read(tmp_path / "data") == [b"a", b"b", b"c"]
    with SplitWriter(tmp_path / "data", mode="append") as writer:
        writer.write(b"d")
    assert read(tmp_path / "data") == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("prepared", [False, True])
def test_exception_before_the_first_commit_leaves_the_place_as_it_was(tmp_path: Path, prepared: bool) -> None:
    path = tmp_path / "data"
    if prepared:
        path.mkdir()

    def fail() -> None:
        with SplitWriter(path, bins=2) as writer:
            writer.write(bytes(16 << 20))
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert path.exists() == prepared
    assert files_of(tmp_path) == ({"data": "folder"} if prepared else {})


def test_abort_drops_what_was_not_committed(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data")
    writer.write(b"a")
    writer.commit()
    writer.write(b"b")
    writer.abort()
    writer.abort()
    writer.close()

    assert read(tmp_path / "data") == [b"a"]


def test_closed_writer_refuses_everything_but_closing(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data")
    writer.write(b"a")
    writer.close()
    writer.close()

    for action in (lambda: writer.write(b"b"), lambda: writer.write_many([b"b"]), writer.commit):
        with pytest.raises(ClosedError, match="is closed"):
            action()
    assert read(tmp_path / "data") == [b"a"]
    assert writer.num_written == 1


def test_writer_that_has_failed_says_so_and_what_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SplitWriter(tmp_path / "data", bins=1)
    writer.write(b"safe")
    writer.commit()
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_data", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        writer.write(b"lost")
        with pytest.raises(OSError, match="No space left"):
            writer.commit()
    with pytest.raises(ClosedError, match="1 records that were committed in this session are safe"):
        writer.write(b"more")
    writer.close()

    assert read(tmp_path / "data") == [b"safe"]


def test_forgotten_writer_warns_of_records_that_were_not_committed(tmp_path: Path) -> None:
    def forget() -> None:
        writer = SplitWriter(tmp_path / "data")
        writer.write(b"a")
        writer.commit()
        writer.write_many([b"b", b"c"])
        del writer
        gc.collect()

    with pytest.warns(ResourceWarning, match="2 records that were not committed"):
        forget()

    assert read(tmp_path / "data") == [b"a"]


def test_forgotten_writer_without_such_records_is_silent(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data")
    writer.write(b"a")
    writer.commit()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del writer
        gc.collect()

    assert read(tmp_path / "data") == [b"a"]


def test_uncommitted_writer_is_no_dataset_yet(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=1) as writer:
        writer.write(bytes(5 << 20))
        with pytest.raises(DatasetNotFoundError, match="has not committed yet"):
            SplitDataLoader(tmp_path / "data")


# -- write_many --------------------------------------------------------------------------------


def failing_after(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"%d" % number
    raise KeyError("the source failed")


def test_error_of_the_iterable_passes_and_what_came_before_counts(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", bins=2) as writer:
        with pytest.raises(KeyError, match="the source failed"):
            writer.write_many(failing_after(5))
        assert writer.num_written == 5
        writer.write(b"next")

    assert read(tmp_path / "data") == [b"0", b"1", b"2", b"3", b"4", b"next"]


def test_small_chunks_do_not_change_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splitdata.dataset.writer._MIN_CHUNK_BYTES", 300)
    monkeypatch.setattr("splitdata.dataset.writer._CHUNK_BYTES_PER_BIN", 1)
    records = [b"%d" % number * (number % 50) for number in range(2000)]
    with SplitWriter(tmp_path / "data", bins=5) as writer:
        assert writer.write_many(iter(records[:700])) == 700
        for record in records[700:800]:
            writer.write(record)
        assert writer.write_many(bytearray(record) for record in records[800:]) == 1200

    assert read(tmp_path / "data") == records


def test_iterable_that_commits_and_writes_loses_nothing(tmp_path: Path) -> None:
    committed = []
    with SplitWriter(tmp_path / "data", bins=2) as writer:

        def source() -> Iterator[bytes]:
            for number in range(20):
                if number % 5 == 0:
                    committed.append(writer.commit())
                if number == 7:
                    writer.write(b"between")
                yield b"%d" % number

        assert writer.write_many(source()) == 21

    expected = [b"%d" % number for number in range(20)]
    assert read(tmp_path / "data") == [*expected[:7], b"between", *expected[7:]]
    assert committed == [range(0), range(5), range(5, 11), range(11, 16)]


def test_iterable_that_closes_the_writer_is_told(tmp_path: Path) -> None:
    writer = SplitWriter(tmp_path / "data")

    def source() -> Iterator[bytes]:
        yield b"a"
        writer.close()
        yield b"b"

    with pytest.raises(ClosedError):
        writer.write_many(source())
    assert read(tmp_path / "data") == [b"a"]


# -- several writers ---------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_two_writers_that_take_turns_lose_nothing(tmp_path: Path, compression: None) -> None:
    """The one that is no longer last in the manifest moves what is pending into a new segment."""
    path = tmp_path / "data"
    a = SplitWriter(path, mode="append", bins=2, compression=compression)
    b = SplitWriter(path, mode="append", bins=3)
    model: list[bytes] = []
    large = b"large" * (4 << 20)
    for turn in range(6):
        writer, name = ((a, b"a"), (b, b"b"))[turn % 2]
        records = [b"%s%d " % (name, turn) * number for number in range(5)] + ([large] if turn == 2 else [])
        writer.write_many(records)
        positions = writer.commit()
        assert positions == range(len(model), len(model) + len(records))
        model += records
    a.close()
    b.close()

    assert read(path) == model
    loader = SplitDataLoader(path)
    assert loader.fingerprint == SplitDataLoader(written(tmp_path / "other", model)).fingerprint


def test_segments_past_the_limit_are_refused_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.format.spec.MAX_SEGMENTS", 3)
    path = tmp_path / "data"
    for number in range(3):
        with SplitWriter(path, mode="append") as writer:
            writer.write(b"%d" % number)
    writer = SplitWriter(path, mode="append")
    writer.write(b"one too many")
    with pytest.raises(ManifestError, match="3 segments, the limit"):
        writer.close()

    assert read(path) == [b"0", b"1", b"2"]
