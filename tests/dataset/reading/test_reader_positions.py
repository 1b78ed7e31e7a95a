"""Records by position: one, many, views, rows, sizes, ranges, prefetch."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitdata import RecordTooLargeError, SplitDataLoader, SplitWriter
from splitdata.dataset.segments.segment_reader import SegmentReader
from splitdata.format import spec
from splitdata.storage.file_source import MappedSource
from tests.dataset.disk import written

Io = Literal["mmap", "pread"]
COUNT = 100
RECORDS = [b"<%d>" % number * (number % 5) + b"." * (900 * (number % 13 == 5)) for number in range(COUNT)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three segments: plain, compressed, aligned."""
    path = tmp_path_factory.mktemp("positions") / "data"
    bounds = [(0, 40, {"bins": 7}), (40, 70, {"compression": "zstd", "bins": 2}), (70, 100, {"alignment": 64})]
    for start, stop, options in bounds:
        with SplitWriter(path, mode="append", durability="none", **options) as writer:  # type: ignore[arg-type]
            writer.write_many(RECORDS[start:stop])
    return path


@pytest.fixture(params=["mmap", "pread"])
def loader(request: pytest.FixtureRequest, path: Path) -> Iterator[SplitDataLoader]:
    with SplitDataLoader(path, io=request.param) as opened:
        yield opened


def test_every_position_from_both_ends(loader: SplitDataLoader) -> None:
    assert len(loader) == COUNT
    for index in range(-COUNT, COUNT):
        record = loader[index]
        assert record == RECORDS[index]
        assert type(record) is bytes


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, np.uint64])
def test_numpy_integers_are_positions(loader: SplitDataLoader, kind: Any) -> None:
    assert loader[kind(5)] == RECORDS[5]
    without_dimension: Any = np.array(5, kind)
    assert loader[without_dimension] == RECORDS[5]


@pytest.mark.parametrize("index", [COUNT, -COUNT - 1, 10**30, -(10**30), np.uint64(2**64 - 1)], ids=str)
def test_position_out_of_range_is_an_index_error(loader: SplitDataLoader, index: int) -> None:
    with pytest.raises(IndexError, match="100 records"):
        loader[index]
    with pytest.raises(IndexError):
        loader.view(index)
    with pytest.raises(IndexError):
        loader.read_range(index, 0, 1)
    with pytest.raises(IndexError):
        loader.sizes[index]


@pytest.mark.parametrize("index", [True, np.bool_(False), 1.0, "1", None, b"1", {1}, {}, ...], ids=repr)
def test_what_is_no_integer_is_a_type_error(loader: SplitDataLoader, index: Any) -> None:
    with pytest.raises(TypeError, match="integer"):
        loader[index]
    with pytest.raises(TypeError):
        loader.view(index)


SLICES = st.builds(
    slice, *[st.none() | st.integers(-COUNT - 5, COUNT + 5)] * 2, st.none() | st.sampled_from([1, -1, 3, -7, 200])
)


@given(where=SLICES)
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_slices_are_lists_of_records(path: Path, io: Io, where: slice) -> None:
    with SplitDataLoader(path, io=io) as loader:
        assert loader[where] == RECORDS[where]
        assert loader.sizes[where].tolist() == [len(record) for record in RECORDS[where]]


@given(positions=st.lists(st.integers(-COUNT, COUNT - 1), max_size=40))
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_lists_and_arrays_come_in_the_order_asked_with_repeats(path: Path, io: Io, positions: list[int]) -> None:
    expected = [RECORDS[position] for position in positions]
    with SplitDataLoader(path, io=io) as loader:
        assert loader[positions] == expected
        assert loader[np.array(positions, np.int32)] == expected
        assert loader[tuple(positions)] == expected
        assert loader.__getitems__(positions) == expected


def test_range_is_a_sequence_of_positions(loader: SplitDataLoader) -> None:
    assert loader[range(90, 0, -30)] == [RECORDS[90], RECORDS[60], RECORDS[30]]


@pytest.mark.parametrize("empty", [[], (), np.empty(0, np.int64), np.empty(0), slice(5, 5), range(0)], ids=repr)
def test_no_positions_give_no_records(loader: SplitDataLoader, empty: Any) -> None:
    assert loader[empty] == []
    assert loader.gather(empty).shape == (0, 0)
    loader.prefetch(empty)


@pytest.mark.parametrize(
    "positions",
    [[0.0], [True, 0], np.array([1.5]), ["1"], [[1, 2], [3, 4]], [None], np.array([[1]])],
    ids=repr,
)
def test_sequences_of_what_is_no_integer_are_type_errors(loader: SplitDataLoader, positions: Any) -> None:
    for action in (loader.__getitem__, loader.__getitems__, loader.gather, loader.prefetch):
        with pytest.raises(TypeError, match="integers"):
            action(positions)


@pytest.mark.parametrize("positions", [[0, COUNT], [-COUNT - 1], np.array([2**64 - 1], np.uint64), [2**63]], ids=repr)
def test_one_position_out_of_range_refuses_the_batch(loader: SplitDataLoader, positions: Any) -> None:
    for action in (loader.__getitem__, loader.gather, loader.prefetch):
        with pytest.raises(IndexError, match="out of range"):
            action(positions)


# -- views -------------------------------------------------------------------------------------


def test_views_equal_the_records_and_are_read_only(loader: SplitDataLoader) -> None:
    for index in range(-COUNT, COUNT):
        view = loader.view(index)
        assert bytes(view) == RECORDS[index]
        assert view.readonly
        assert view.contiguous
    views = loader.views(range(-COUNT, COUNT))
    assert views == RECORDS * 2
    assert all(view.readonly for view in views)


def test_view_is_valid_after_close_and_after_the_loader_is_gone(path: Path) -> None:
    loader = SplitDataLoader(path)
    views = [loader.view(index) for index in range(COUNT)]
    loader.close()
    del loader
    gc.collect()

    assert [bytes(view) for view in views] == RECORDS


def test_view_shares_memory_with_the_map(path: Path) -> None:
    loader = SplitDataLoader(path, io="mmap")
    first, again = np.frombuffer(loader.view(6), np.uint8), np.frombuffer(loader.views([6] * 20)[11], np.uint8)
    segment = loader._snapshot.segment(0)
    assert isinstance(segment, SegmentReader)
    source = segment.files.bin(6)

    assert isinstance(source, MappedSource)
    assert len(first) == len(RECORDS[6])
    assert np.shares_memory(first, again)
    assert np.shares_memory(first, np.frombuffer(source.data, np.uint8))


# -- gather ------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("size", [0, 1, 100, 5000])
def test_gather_makes_rows_of_records_of_one_size(tmp_path: Path, size: int, compression: Any) -> None:
    records = [bytes([number]) * size for number in range(50)]
    with SplitWriter(tmp_path / "data", bins=3, compression=compression) as writer:
        writer.write_many(records)
    loader = SplitDataLoader(tmp_path / "data")
    rows = loader.gather([7, -1, 7])

    assert rows.dtype == np.uint8
    assert rows.shape == (3, size)
    assert [row.tobytes() for row in rows] == [records[7], records[49], records[7]]
    assert rows.flags.owndata
    assert rows.flags.writeable
    assert loader.gather(slice(10, 0, -5)).tobytes() == records[10] + records[5]


def test_gather_of_several_sizes_is_a_value_error(loader: SplitDataLoader) -> None:
    with pytest.raises(ValueError, match="0 to 6 bytes"):
        loader.gather([0, 2])


# -- sizes -------------------------------------------------------------------------------------


def test_sizes_are_lengths_by_position(loader: SplitDataLoader) -> None:
    expected = [len(record) for record in RECORDS]

    assert len(loader.sizes) == COUNT
    assert list(loader.sizes) == expected
    assert [loader.sizes[index] for index in range(-COUNT, COUNT)] == expected * 2
    assert type(loader.sizes[3]) is int
    assert np.asarray(loader.sizes).tolist() == expected
    assert np.asarray(loader.sizes).dtype == np.int64
    assert np.asarray(loader.sizes, np.float32).tolist() == expected
    assert sum(loader.sizes) == sum(expected)


def test_sizes_touch_no_bin(path: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(path, tmp_path / "copy")
    for one in (tmp_path / "copy").rglob("*.bin"):
        one.unlink()

    assert list(SplitDataLoader(tmp_path / "copy").sizes) == [len(record) for record in RECORDS]


@pytest.fixture
def tiny_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of 1,000 bytes are large, in blocks of 128; lengths of 3,000 do not fit an entry."""
    monkeypatch.setattr(spec, "LARGE_RECORD_BYTES", 1000)
    monkeypatch.setattr(spec, "BLOCK_BYTES", 128)
    monkeypatch.setattr(spec, "LENGTH_ESCAPE", 3000)
    monkeypatch.setattr("splitdata.format.compression._WORTHWHILE", 64)


@pytest.mark.usefixtures("tiny_limits")
@pytest.mark.parametrize("io", ["mmap", "pread"])
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_lengths_that_do_not_fit_an_entry_are_found_in_the_frame(tmp_path: Path, io: Io, compression: Any) -> None:
    """With the escape in reach: 4 GiB records behave like these."""
    sizes = [5, 999, 1000, 2999, 3000, 3001, 10_000, 0]
    records = [(b"%d " % size * size)[:size] for size in sizes]
    with SplitWriter(tmp_path / "data", bins=2, compression=compression) as writer:
        writer.write_many(records)
    loader = SplitDataLoader(tmp_path / "data", io=io)

    assert list(loader.sizes) == sizes
    assert [loader.sizes[index] for index in range(8)] == sizes
    assert loader.sizes[::-1].tolist() == sizes[::-1]
    assert loader[:] == list(loader) == records
    assert [bytes(view) for view in loader.iterate_binwise(as_views=True)] == records[::2] + records[1::2]


# -- read_range --------------------------------------------------------------------------------


@pytest.mark.usefixtures("tiny_limits")
@given(start=st.integers(0, 2800), length=st.integers(0, 2800))
@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_ranges_are_slices_of_small_large_and_compressed_records(
    tmp_path_factory: pytest.TempPathFactory, io: Io, start: int, length: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"ranges-{io}"
    text = b"".join(b"%d " % number for number in range(1000))
    records = [text[:500], text[:2600], b"", text[:128], text[:1024]]
    if not folder.exists():
        for compression in (None, "zstd"):
            with SplitWriter(folder, mode="append", compression=compression) as writer:
                writer.write_many(records)
    with SplitDataLoader(folder, io=io) as loader:
        for index in range(10):
            assert loader.read_range(index, start, start + length) == records[index % 5][start : start + length]


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 4), (-5, -1)])
def test_range_that_is_none_is_refused(loader: SplitDataLoader, start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="range"):
        loader.read_range(0, start, stop)


def test_range_of_a_large_record_reads_only_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from splitdata.storage import files

    record = np.random.default_rng(0).bytes(17 << 20)
    path = written(tmp_path / "data", [record])
    loader = SplitDataLoader(path, io="pread")
    total = 0
    real = files.read_at

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal total
        data = real(descriptor, length, offset)
        total += len(data)
        return data

    monkeypatch.setattr(files, "read_at", counted)

    assert loader.read_range(0, (5 << 20) - 3, (5 << 20) + 3) == record[(5 << 20) - 3 : (5 << 20) + 3]
    assert total < (2 << 20) + 1000


def test_compressed_record_above_the_readers_limit_is_refused(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", compression="zstd") as writer:
        writer.write_many([bytes(1000), bytes(1001), b"plain" * 1000, bytes(17 << 20)])
    loader = SplitDataLoader(tmp_path / "data", max_record_bytes=1000)

    assert loader[0] == bytes(1000)
    for index in (1, 3):
        with pytest.raises(RecordTooLargeError, match="the limit is 1000"):
            loader[index]


# -- prefetch ----------------------------------------------------------------------------------


def test_prefetch_of_anything_in_range_changes_nothing(loader: SplitDataLoader) -> None:
    for positions in ([5, 5, -1], slice(None), np.arange(COUNT), [], range(0, 50, 7)):
        loader.prefetch(positions)

    assert list(loader) == RECORDS


def test_copy_of_a_loader_reads_by_itself(loader: SplitDataLoader) -> None:
    other = copy.copy(loader)
    loader.close()

    assert list(other) == RECORDS
    assert other.generation == loader.generation
