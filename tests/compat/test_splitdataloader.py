"""The interface of splitdataloader 0.0.1: its documented use, and each fault that it had."""

from __future__ import annotations

import inspect
import os
import pickle
import random
import signal
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import splitdata
from splitdata import (
    ClosedError,
    CorruptRecordError,
    DatasetExistsError,
    WorkerCrashedError,
    describe,
    verify,
)
from splitdata.compat.splitdataloader import MpQItr, SplitDataLoader, write_split_data
from splitdata.format import spec
from tests.command import ROOT, run_python

RECORDS = [b"record %d" % number * (number % 3) for number in range(100)]

# Each of the documented examples, with another import; on standard input there is no file to import again.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from collections.abc import Iterator
from splitdata.compat.splitdataloader import MpQItr, SplitDataLoader, write_split_data

class BatchType:
    def __init__(self, records):
        self.records = records

def example_writer(source):
    write_split_data("tmp/training_data", source, splits=128)

def batch_generator(size) -> Iterator[BatchType]:
    records = []
    for data in SplitDataLoader("tmp/training_data").iterate_binwise(shuffle=True):
        records.append(data)
        if len(records) == size:
            yield BatchType(records)
            records = []

example_writer(b"%d" % n for n in range(300))
loader = SplitDataLoader("tmp/training_data")
print(len(loader), loader[2], len(set(loader.iterate_binwise(shuffle=True))))
queued_batch_iterator = MpQItr[BatchType](batch_generator, size=100)
for epoch in range(2):
    batches = [batch.records for batch in queued_batch_iterator]
    print(len(batches), len(set(sum(batches, []))))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_split_data(tmp_path / "data", RECORDS, splits=8)
    return tmp_path / "data"


# -- the documented use ------------------------------------------------------------------------------------


def test_documented_examples_run_from_standard_input(tmp_path: Path) -> None:
    ended = run_python("-", cwd=tmp_path, text_in=PROGRAM)

    assert (ended.stdout, ended.stderr) == ("300 b'2' 300\n3 300\n3 300\n", "")
    assert [one.name for one in tmp_path.iterdir()] == ["tmp"]


def test_signatures_are_those_of_the_package() -> None:
    old = pytest.importorskip("splitdataloader", reason="the package itself")

    def arguments(function: object) -> list[tuple[str, object]]:
        found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]  # whatever is callable
        return [(one.name, one.default) for one in found]

    assert arguments(write_split_data) == arguments(old.write_split_data)
    assert arguments(SplitDataLoader.iterate_binwise)[:2] == arguments(old.SplitDataLoader.iterate_binwise)
    assert arguments(MpQItr) == arguments(old.MpQItr)


@pytest.mark.parametrize("shuffle", [False, True])
def test_records_are_read_as_by_the_package_itself(tmp_path: Path, shuffle: bool) -> None:
    old = pytest.importorskip("splitdataloader", reason="the package itself")
    for folder, write in (("old", old.write_split_data), ("new", write_split_data)):
        write(str(tmp_path / folder), RECORDS, splits=8, shuffle=shuffle)
        write(str(tmp_path / folder), [b"more"], splits=8)
    theirs = old.SplitDataLoader(str(tmp_path / "old"))

    for folder in ("old", "new"):
        ours = SplitDataLoader(str(tmp_path / folder))
        assert len(ours) == len(theirs) == 101
        assert [ours[k] for k in range(101)] == [theirs[k] for k in range(101)]
        assert Counter(ours.iterate_binwise()) == Counter(theirs.iterate_binwise())
    assert list(SplitDataLoader(tmp_path / "old").iterate_binwise()) == list(theirs.iterate_binwise())


def test_record_k_lies_in_bin_k_modulo_splits(path: Path) -> None:
    loader = SplitDataLoader(path)

    assert list(loader.iterate_binwise()) == [RECORDS[k] for b in range(8) for k in range(b, 100, 8)]


def test_reader_is_the_one_of_the_library() -> None:
    assert SplitDataLoader is splitdata.SplitDataLoader


# -- faults of writing -------------------------------------------------------------------------------------


def test_place_of_a_record_may_be_beyond_4_gib() -> None:
    assert spec.PLACE_MASK * spec.FRAME_UNIT > 1 << 40


def test_second_call_adds_as_documented_and_the_own_function_refuses(path: Path) -> None:
    write_split_data(path, [b"more"])

    assert SplitDataLoader(path)[:] == [*RECORDS, b"more"]
    with pytest.raises(DatasetExistsError, match="mode='append'"):
        splitdata.write_split_data(path, [b"more"])


@pytest.mark.parametrize("splits", [1, 3, 256])
def test_call_with_another_number_of_bins_adds(path: Path, splits: int) -> None:
    write_split_data(path, RECORDS, splits=splits)

    assert list(SplitDataLoader(path)) == RECORDS * 2
    assert not verify(path).findings


def test_start_clean_replaces_a_dataset_once_the_new_one_is_whole(path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_split_data(path, failing(), start_clean=True)
    assert list(SplitDataLoader(path)) == RECORDS

    write_split_data(path, [b"new"], start_clean=True)
    assert list(SplitDataLoader(path)) == [b"new"]


@pytest.mark.parametrize("start_clean", [False, True])
def test_folder_of_something_else_is_left_alone(tmp_path: Path, start_clean: bool) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")

    with pytest.raises(DatasetExistsError, match="not splitdata's"):
        write_split_data(tmp_path, RECORDS, start_clean=start_clean)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("start_clean", [False, True])
def test_directory_of_the_package_is_read_and_never_written(tmp_path: Path, start_clean: bool) -> None:
    (tmp_path / "index.dat").write_bytes(struct.pack("<III", 0, 0, 3))
    (tmp_path / "bin00000000.dat").write_bytes(struct.pack("<I", 3) + b"abc")

    with pytest.raises(DatasetExistsError, match="splitdata write"):
        write_split_data(tmp_path, RECORDS, start_clean=start_clean)
    assert list(SplitDataLoader(tmp_path)) == [b"abc"]


def test_iterable_that_fails_leaves_what_was_there_and_the_next_call_adds(path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield from [b"lost"] * 50
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_split_data(path, failing())
    write_split_data(path, [b"more"])

    loader = SplitDataLoader(path)
    assert list(loader) == [*RECORDS, b"more"]
    assert Counter(loader.iterate_binwise()) == Counter(loader)


@pytest.mark.skipif(os.name == "nt", reason="ends a process by SIGKILL")
def test_writer_that_is_killed_leaves_index_and_bins_agreeing(path: Path) -> None:
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from splitdata.compat.splitdataloader import write_split_data
def records():
    for number in range(100):
        yield bytes(1 << 20)
    os.kill(os.getpid(), 9)
write_split_data({str(path)!r}, records(), splits=4)
"""
    assert run_python("-c", program).returncode == -signal.SIGKILL
    write_split_data(path, [b"more"])

    loader = SplitDataLoader(path)
    assert len(loader) == 101
    assert Counter(loader.iterate_binwise()) == Counter(loader)


def test_files_are_not_opened_for_each_record(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from splitdata.compat.splitdataloader import SplitDataLoader, write_split_data
num_opens = 0
def count(event, arguments):
    global num_opens
    num_opens += event == "open" and "data" in str(arguments[0])
sys.addaudithook(count)
write_split_data("data", [b"abc"] * 5000, splits=4)
loader = SplitDataLoader("data")
records = [loader[k] for k in range(5000)]
print(len(records), num_opens < 200)
"""
    ended = run_python("-c", program, cwd=tmp_path)

    assert (ended.stdout, ended.stderr) == ("5000 True\n", "")


# -- faults of reading -------------------------------------------------------------------------------------


def test_loader_is_a_sequence(path: Path) -> None:
    loader = SplitDataLoader(path)

    assert list(loader) == RECORDS
    assert (loader[-1], loader[3:5], loader[[7, 3]]) == (RECORDS[-1], RECORDS[3:5], [RECORDS[7], RECORDS[3]])
    for outside in (100, -101):
        with pytest.raises(IndexError):
            loader[outside]


def test_bin_that_was_cut_off_is_an_error_and_never_a_short_record(tmp_path: Path) -> None:
    write_split_data(tmp_path / "new", [b"x" * 100], splits=1)
    [new_bin] = (tmp_path / "new").rglob("000000.bin")
    os.truncate(new_bin, 78)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "index.dat").write_bytes(struct.pack("<III", 0, 0, 100) * 2)
    (tmp_path / "old" / "bin00000000.dat").write_bytes(struct.pack("<I", 100) + b"x" * 46)

    for folder in ("old", "new"):
        loader = SplitDataLoader(tmp_path / folder)
        with pytest.raises(splitdata.FormatError):
            loader[0]
        with pytest.raises(splitdata.FormatError):
            next(loader.iterate_binwise())


@pytest.mark.parametrize("num_left", [0, 1, 3])
def test_length_that_was_cut_off_is_a_damaged_record(tmp_path: Path, num_left: int) -> None:
    (tmp_path / "index.dat").write_bytes(struct.pack("<III", 0, 0, 3))
    (tmp_path / "bin00000000.dat").write_bytes((struct.pack("<I", 3) + b"abc")[:num_left])

    with pytest.raises(CorruptRecordError):
        SplitDataLoader(tmp_path)[0]


def test_dataset_in_a_sub_folder_is_not_mixed_in(path: Path) -> None:
    write_split_data(path / "val", [b"of another dataset"])

    assert Counter(SplitDataLoader(path).iterate_binwise()) == Counter(RECORDS)
    assert list(SplitDataLoader(path / "val")) == [b"of another dataset"]


def test_shuffled_order_can_be_repeated_and_leaves_the_random_states_alone(path: Path) -> None:
    loader = SplitDataLoader(path)
    states = random.getstate(), pickle.dumps(np.random.get_state())

    first, again, later = (list(loader.iterate_binwise(True, 5, epoch=epoch)) for epoch in (0, 0, 1))
    list(loader.iterate_binwise(shuffle=True))
    write_split_data(path, [b"more"], shuffle=True)

    assert first == again != later
    assert Counter(first) == Counter(later) == Counter(RECORDS)
    assert states == (random.getstate(), pickle.dumps(np.random.get_state()))


def test_description_names_the_number_of_bins(path: Path) -> None:
    assert [segment.num_bins for segment in describe(path).segments] == [8]


# -- faults of the queue -----------------------------------------------------------------------------------


def test_next_goes_on_with_one_run_and_iter_begins_anew() -> None:
    with MpQItr(range, 3) as batches:
        assert [next(batches, None) for _ in range(5)] == [0, 1, 2, None, None]
        # The loop that its users wrote by hand.
        assert list(batches) == [0, 1, 2]
        assert next(batches) == 0


def test_each_fault_of_a_generator_is_an_error_and_never_a_shorter_epoch() -> None:
    def raising() -> Iterator[object]:
        yield 1
        raise ValueError("from the generator")

    def leaving() -> Iterator[object]:
        yield 1
        raise SystemExit(3)

    def killed() -> Iterator[object]:
        yield 1
        os.kill(os.getpid(), signal.SIGKILL)

    def unpicklable() -> Iterator[object]:
        yield 1
        yield lambda: 2
        yield 3

    for function, error, text in (
        (raising, ValueError, "from the generator"),
        (leaving, WorkerCrashedError, "exit"),
        (killed, WorkerCrashedError, "SIGKILL"),
        (unpicklable, Exception, "pickle"),
    ):
        if function is killed and os.name == "nt":
            continue
        run = iter(MpQItr[object](function))
        assert next(run) == 1
        with pytest.raises(error, match=text):
            next(run)


def test_early_break_and_close_leave_no_process() -> None:
    batches = MpQItr(range, 1000)
    for number in batches:
        if number == 3:
            break
    next(batches)
    batches.close()

    with pytest.raises(ClosedError):
        iter(batches)


def test_arrays_of_a_run_are_in_shared_memory_and_its_random_numbers_are_its_own() -> None:
    def drawn() -> Iterator[np.ndarray[tuple[int], np.dtype[np.float64]]]:
        yield np.random.random(10_000)

    batches = MpQItr(drawn)
    [first], [second] = batches, batches

    assert (first != second).all()
    assert not first.flags.owndata


def test_copy_of_an_iterator_runs_by_itself() -> None:
    copied = pickle.loads(pickle.dumps(MpQItr(range, 2)))

    assert [next(copied), next(copied)] == [0, 1]
    copied.close()
