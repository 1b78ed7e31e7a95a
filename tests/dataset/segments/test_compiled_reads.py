"""The compiled reads: the same records, and the same errors, as Python alone has for them.

dataset ─┬─ compiled ─> records, or type and text of the error ─┐
         └─ python ───> records, or type and text of the error ─┴─ equal
"""

from __future__ import annotations

import gc
import threading
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import ClosedError, SplitDataLoader, SplitWriter, delete
from splitdata._compiled import speedups
from splitdata.dataset.segments.group_reader import GroupReader
from splitdata.dataset.segments.mapped_bins import MappedBins
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.format import spec
from tests.dataset.record_kinds import GROUPED_KINDS, KINDS, RecordKind, overwrite, place_of, segments_of
from tests.paths import PATHS, needs_compiled, take_path

pytestmark = needs_compiled

ALL_KINDS = [kind for kind in (*KINDS, *GROUPED_KINDS) if kind.name != "large"]
BY_NAME = pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)


def walked(records: Iterator[Any]) -> list[bytes | str]:
    """Return all records of a walk, with the errors in their places."""
    found: list[bytes | str] = []
    while True:
        try:
            found.append(bytes(next(records)))
        except StopIteration:
            return found
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")


def one(reader: SplitDataLoader, position: Any) -> Any:
    return outcome(lambda: reader[position])


WAYS: dict[str, Callable[[SplitDataLoader, Any], Any]] = {
    "one": lambda reader, positions: [one(reader, position) for position in positions],
    "one, from the end": lambda reader, positions: [one(reader, position - len(reader)) for position in positions],
    "as one": one,
    "list": lambda reader, positions: reader[positions],
    "views": lambda reader, positions: list(map(bytes, reader.views(positions))),
    "gather": lambda reader, positions: reader.gather(positions).tolist(),
    "walk": lambda reader, _: walked(iter(reader)),
    "walk of bins": lambda reader, _: walked(reader.iterate_binwise()),
    "walk of views": lambda reader, _: walked(reader.iterate_binwise(as_views=True)),
    "shuffled walk": lambda reader, _: walked(reader.iterate_binwise(shuffle=True, seed=3)),
}


def outcome(read: Callable[[], Any]) -> Any:
    """Return what a call returns, or type and text of what it raises."""
    try:
        return read()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def outcomes(path: Path | list[Path], positions: Any, **options: Any) -> dict[str, Any]:
    """Return what each way of reading makes of a dataset."""
    with SplitDataLoader(path, io="mmap", **options) as reader:
        # Each opens the bins that it needs.
        outcome(lambda: list(reader))
        return {name: outcome(partial(way, reader, positions)) for name, way in WAYS.items()}


def both(path: Path | list[Path], positions: Any, **options: Any) -> dict[str, Any]:
    """Return that of the compiled path, which must be that of Python."""
    found = {}
    for name in PATHS:
        with pytest.MonkeyPatch.context() as patch:
            take_path(patch, name)
            found[name] = outcomes(path, positions, **options)
    assert found["compiled"] == found["python"]
    return found["compiled"]


def orders(count: int) -> list[list[int]]:
    generator = np.random.default_rng(count)
    return [
        list(range(count)),
        generator.permutation(count).tolist(),
        generator.integers(0, count, 33).tolist(),
        [count - 1],
    ]


@BY_NAME
@pytest.mark.parametrize(
    "options", [{}, {"verify": False}, {"max_record_bytes": 60}], ids=["", "unverified", "limited"]
)
def test_every_kind_of_record_is_read_alike(kind: RecordKind, options: dict[str, Any], tmp_path: Path) -> None:
    kind.write_sealed(tmp_path / "d")

    for positions in orders(len(kind.records))[2 if options else 0 :]:
        found = both(tmp_path / "d", positions, **options)
        if "max_record_bytes" not in options:
            assert found["list"] == [kind.records[position] for position in positions]


@pytest.mark.parametrize("group", [1, 4])
def test_records_of_several_segments_and_deleted_ones_are_read_alike(group: int, tmp_path: Path) -> None:
    records = [b"%05d" % number * 3 for number in range(150)]
    for start in (0, 61):
        with SplitWriter(tmp_path / "d", mode="append", group=group, bins=3, durability="none") as writer:
            writer.write_many(records[start : 61 if start == 0 else None])
    delete(tmp_path / "d", positions=[5, 70])

    live = [position for position in range(150) if position not in (5, 70)]
    assert both(tmp_path / "d", live)["list"] == [records[position] for position in live]
    assert both(tmp_path / "d", [6, 70])["list"].startswith("RecordDeletedError")
    assert both([tmp_path / "d", tmp_path / "d"], [149, 151])["list"] == [records[149], records[1]]


POSITIONS: list[Any] = [
    [],
    [80],
    [-81],
    [-1, 0],
    [True, 2],
    [True] * 80,
    [0.5],
    [2**63],
    [-(2**70)],
    ["1"],
    [None],
    [[1, 2]],
    (1, 2),
    range(5, 1, -2),
    slice(3, 30, 7),
    array("q", [1, 2]),
    b"12345678",
    np.arange(80) % 2 == 0,
    np.arange(3, dtype=np.int32),
    np.arange(3, dtype=np.uint64),
    np.zeros(3),
    np.arange(8)[::2],
    np.arange(4).reshape(2, 2),
    np.int64(3),
    [np.int64(3), 4],
    "text",
]


def test_empty_rows_and_wrong_positions_are_answered_alike(tmp_path: Path) -> None:
    KINDS[0].write_sealed(tmp_path / "d")

    for given in POSITIONS:
        both(tmp_path / "d", given)


def test_closed_reader_is_closed_for_both_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KINDS[0].write_sealed(tmp_path / "d")
    for name in PATHS:
        take_path(monkeypatch, name)
        reader = SplitDataLoader(tmp_path / "d", io="mmap")
        list(reader)
        reader.close()
        for index in (0, [0, 1], np.arange(2)):
            with pytest.raises(ClosedError):
                reader[index]


def test_records_that_came_later_are_shown_by_refresh_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    KINDS[0].write_sealed(tmp_path / "d")
    for name in PATHS:
        take_path(monkeypatch, name)
        with SplitDataLoader(tmp_path / "d", io="mmap") as reader:
            count = len(reader)
            assert reader[count - 1] == reader[[count - 1]][0]
            with SplitWriter(tmp_path / "d", mode="append", durability="none") as writer:
                writer.write(b"later")
            assert outcome(partial(reader.__getitem__, count)).startswith("IndexError")
            assert outcome(partial(reader.__getitem__, [count])).startswith("IndexError")
            reader.refresh()
            assert reader[count] == reader[[count]][0] == b"later"


# Where in frame and entry, and what is put there; a frame of the middle of the data.
DAMAGES = [
    *(("frame", place) for place in (8, 15, *range(16, 32), 32, 33, 36, 40, 44, 79)),
    *(("entry", place) for place in (*range(16), 16, 20)),
]


@pytest.mark.parametrize("kind", [KINDS[4], *GROUPED_KINDS[:1]], ids=lambda kind: kind.name)
def test_damaged_frames_and_entries_give_the_same_records_and_errors(kind: RecordKind, tmp_path: Path) -> None:
    path = tmp_path / "d"
    kind.write_sealed(path)
    number = 42
    ((info, paths),) = segments_of(path)
    frame_file, frame = place_of(path, number)
    entry = spec.INDEX_HEADER_BYTES + info.entry_bytes * (number // info.group)
    files = {"frame": (frame_file, frame), "entry": (Path(paths.index), entry)}
    num_errors = 0

    for where, place in DAMAGES:
        file, start = files[where]
        intact = file.read_bytes()[start + place]
        for value in (intact ^ 1, 0xFF):
            overwrite(file, start + place, bytes([value]))
            found = both(path, [number - 2, number, number + 1, number])
            num_errors += isinstance(found["list"], str)
            expected = [kind.records[n] for n in (number - 2, number, number + 1, number)]
            assert isinstance(found["list"], str) or found["list"] == expected
        overwrite(file, start + place, bytes([intact]))

    assert num_errors > len(DAMAGES)


@pytest.mark.parametrize("group", [1, 4])
def test_files_that_were_cut_give_the_same_records_and_errors(group: int, tmp_path: Path) -> None:
    path = tmp_path / "d"
    with SplitWriter(path, group=group, bins=2, durability="none") as writer:
        writer.write_many([b"%05d" % number * 20 for number in range(64)])
    ((_, paths),) = segments_of(path)

    for file in (Path(paths.index), Path(paths.bin(1))):
        intact = file.read_bytes()
        for length in (0, 63, 64, 128, 150, len(intact) // 2, len(intact) - 9, len(intact) - 1):
            file.write_bytes(intact[:length])
            both(path, list(range(64)))
            both(path, [0, 1, 62])
        file.write_bytes(intact)


@pytest.mark.parametrize("group", [1, 8])
def test_usual_records_are_read_by_the_compiled_path_alone(
    group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [b"%04d" % number * 9 for number in range(200)]
    with SplitWriter(tmp_path / "d", group=group, bins=2, durability="none") as writer:
        writer.write_many(records, keys=map(str, range(200)))
    take_path(monkeypatch, "compiled")

    with SplitDataLoader(tmp_path / "d", io="mmap") as reader:
        assert list(reader) == records

        def refuse(*_: Any, **__: Any) -> None:
            raise AssertionError("Python was asked")

        for owner, name in (
            (MappedBins, "find"),
            (RecordReader, "read"),
            (GroupReader, "get"),
            (MappedBins, "rows_at"),
        ):
            monkeypatch.setattr(owner, name, refuse)
        for order in orders(200):
            expected = [records[position] for position in order]
            assert [reader[position] for position in order] == expected
            assert reader[order] == expected
            assert list(map(bytes, reader.views(order))) == expected
            assert list(map(bytes, reader.gather(order))) == expected
        assert list(reader) == records


def test_views_stay_valid_when_their_files_are_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [b"%04d" % number * 9 for number in range(200)]
    with SplitWriter(tmp_path / "d", bins=2, durability="none") as writer:
        writer.write_many(records)
    take_path(monkeypatch, "compiled")

    with SplitDataLoader(tmp_path / "d", io="mmap") as reader:
        list(reader)
        views = reader.views(range(200))
        assert views[0].readonly
    gc.collect()

    assert list(map(bytes, views)) == records


def test_threads_read_while_files_are_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches that are long enough to let go of the GIL, from maps that another thread drops meanwhile."""
    generator = np.random.default_rng(1)
    records = [generator.bytes(700) for _ in range(3000)]
    with SplitWriter(tmp_path / "d", bins=4, durability="none", group=1) as writer:
        writer.write_many(records)
    take_path(monkeypatch, "compiled")
    is_over = threading.Event()

    with SplitDataLoader(tmp_path / "d", io="mmap") as reader:
        files = reader._snapshot.segment(0).files  # type: ignore[attr-defined]  # a segment with files

        def drop() -> None:
            while not is_over.is_set():
                for bin_index in range(4):
                    files.drop(bin_index)

        dropper = threading.Thread(target=drop)
        dropper.start()
        try:
            for seed in range(20):
                order = np.random.default_rng(seed).permutation(3000)
                expected = [records[position] for position in order.tolist()]
                assert reader[order] == expected
                assert list(map(bytes, reader.gather(order))) == expected
                assert list(map(bytes, reader.views(order))) == expected
        finally:
            is_over.set()
            dropper.join()


def test_arguments_that_make_no_sense_are_refused() -> None:
    compiled = speedups()
    assert compiled is not None
    for given in ((-1, 1, 1, 1), (1, 0, 0, 1), (1, 1, 2, 1), (1, 1, 1, 3), (1, 1, 1, 1 << 17), (1, 1 << 25, 1, 1)):
        with pytest.raises(ValueError, match="no segment"):
            compiled.frames(*given)
    frames = compiled.frames(5, 1, 1, 1)
    with pytest.raises(IndexError, match="bin 1 of 1"):
        frames.put(1, memoryview(b""), 0)
    with pytest.raises(TypeError):
        frames.put(0, 5, 0)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TypeError, match="4 arguments"):
        frames.records(np.arange(1))  # type: ignore[call-arg]  # wrong on purpose
    # No index, no bin, not a row of int64: nothing that a file holds, so that Python is asked.
    assert frames.records(np.arange(1), True, 10, 10) is None
    assert frames.records(np.arange(4, dtype=np.int32), True, 10, 10) is None
    assert frames.records(np.arange(4)[::2], True, 10, 10) is None
    assert frames.size(0) is None
    assert frames.getter(lambda number: b"%d" % number, True, 10)(7) == b"7"
    assert frames.getter(None, True, 10)(7) is None
