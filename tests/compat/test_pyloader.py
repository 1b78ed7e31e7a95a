"""The interface of PyLoader: its documented use, each name of it, and each fault that it had."""

from __future__ import annotations

import json
import logging
import os
import pickle
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import ClosedError, WorkerCrashedError
from splitdata.compat.pyloader import (
    DataCollator,
    DataLoader,
    DataReader,
    Dataset,
    JsonLineDataReader,
    NumpyDataCollator,
    TextDataset,
)
from splitdata.compat.pyloader.chunk_stream import ChunkPlan, ChunkStream
from tests.command import ROOT, run_python

# The documented workflow, with another import; on standard input there is no file to import again.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from typing import Any, Dict, List
from splitdata.compat.pyloader import DataReader
from splitdata.compat.pyloader import Dataset
from splitdata.compat.pyloader import DataCollator
from splitdata.compat.pyloader import DataLoader

class TheDataReader(DataReader):

    def __init__(self, batch_size=4, shuffle=False, random_seed=42):
        super(TheDataReader, self).__init__(batch_size, shuffle=shuffle, random_seed=random_seed)

    def read_file(self, path):
        with open(path) as file:
            words = file.read().split()
        return {{"word": words}}, len(words)

class TheDataset(Dataset):

    def batch_encode(self, batch_data: Dict[str, List]) -> Dict[str, List]:
        return {{"number": [int(word) for word in batch_data["word"]]}}

class TheDataCollator(DataCollator):

    def collate_batch(self) -> Dict[str, Any]:
        return {{"number": sum(self.batch["number"])}}

train_loader = DataLoader(
    TheDataReader(batch_size=16, shuffle=True), TheDataset(), TheDataCollator(), "data",
    num_epoch=5, max_queue_size=10, shuffle=True
)
total = 0
for batch_step, inputs in enumerate(train_loader):
    for k, v in inputs.items():
        total += v
print(batch_step + 1, total, train_loader.get_epoch())
"""


class Numbers(DataReader):
    """Reads the numbers of a file."""

    def read_file(self, path: str) -> Any:
        numbers = json.loads(Path(path).read_text())
        return {"x": numbers}, len(numbers)


class Same(Dataset):
    def batch_encode(self, batch_data: Any) -> Any:
        return batch_data


class Plain(DataCollator):
    def collate_batch(self, batch: Any) -> Any:
        return batch["x"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of 10, 7 and 3 numbers, in this order by their names."""
    place = tmp_path / "data"
    (place / "deeper").mkdir(parents=True)
    for name, start, stop in (("a.json", 0, 10), ("b.json", 10, 17), ("deeper/c.json", 17, 20)):
        (place / name).write_text(json.dumps([*range(start, stop)]))
    (place / ".hidden").write_text("no JSON")
    return place


def batches_of(folder: Path, *, batch_size: int = 4, num_workers: int = 0, **options: Any) -> list[list[int]]:
    reader = Numbers(batch_size, shuffle=bool(options.get("shuffle")))
    with DataLoader(reader, Same(), Plain(), folder, num_workers=num_workers, **options) as loader:
        return list(loader)


def flat(batches: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


# -- the documented use ------------------------------------------------------------------------------------


def test_documented_workflow_runs_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(3):
        (tmp_path / "data" / f"{number}.txt").write_text(" ".join(map(str, range(20))))
    ended = run_python("-", cwd=tmp_path, text_in=PROGRAM)

    assert (ended.stdout, ended.stderr) == ("30 2850 5\n", "")
    assert [one.name for one in tmp_path.iterdir()] == ["data"]


def test_text_becomes_arrays_through_the_classes_that_come_with_it(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("<pad>\t9\na\nb\nbeyond\n")
    (tmp_path / "data").mkdir()
    lines = [{"input_text": "a b", "label": 1}, {"input_text": "b beyond c a", "label": 0}]
    (tmp_path / "data" / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "\n")
    dataset = TextDataset(tmp_path / "vocab.txt", max_seq_len=3, max_vocab_size=3)

    loader = DataLoader(JsonLineDataReader(), dataset, NumpyDataCollator(), str(tmp_path / "data"))
    [batch] = loader

    assert {name: (value.dtype.name, value.tolist()) for name, value in batch.items()} == {
        "input_ids": ("float64", [[1, 2, 0], [2, 0, 0]]),
        "attention_mask": ("float64", [[1, 1, 0], [1, 1, 1]]),
        "label": ("int64", [1, 0]),
    }


def test_batches_come_in_the_order_of_the_names_and_never_cross_files(folder: Path) -> None:
    epoch = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10, 11, 12, 13], [14, 15, 16], [17, 18, 19]]

    assert batches_of(folder, num_epoch=2) == epoch * 2


def test_shuffled_order_depends_on_the_seed_and_the_epoch_and_not_on_workers(folder: Path) -> None:
    options = {"num_epoch": 3, "shuffle": True, "batch_size": 1}
    states = random.getstate(), pickle.dumps(np.random.get_state())
    in_thread, in_processes, other = (
        [one for [one] in batches_of(folder, num_workers=num, random_seed=seed, max_queue_size=2, **options)]
        for num, seed in ((0, 42), (2, 42), (0, 7))
    )
    epochs = [in_thread[start : start + 20] for start in (0, 20, 40)]

    assert in_thread == in_processes != other
    assert [sorted(epoch) for epoch in epochs] == [[*range(20)]] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3
    # The samples of one file, too, are in another order in each epoch.
    assert len({tuple(number for number in epoch if number < 10) for epoch in epochs}) == 3
    assert states == (random.getstate(), pickle.dumps(np.random.get_state()))


def test_files_come_in_another_order_in_each_epoch() -> None:
    plan = ChunkPlan([f"{number:02}" for number in range(20)], 2, True, 42, Numbers(), Same(), None)
    paths = [path for _, path in plan.chunks()]

    assert sorted(paths[:20]) == sorted(paths[20:]) == [*plan.files]
    assert paths[:20] != paths[20:]
    assert paths[:20] != [*plan.files]


def test_iterator_goes_on_after_a_break_and_begins_again_after_its_end(folder: Path) -> None:
    with DataLoader(Numbers(10), Same(), Plain(), folder, num_epoch=2, num_workers=0) as loader:
        assert loader.get_epoch() == 0
        assert (len(loader.get_batch()), loader.get_epoch()) == (10, 1)
        for batch in loader:
            assert len(batch) == 7
            break
        assert [len(batch) for batch in loader] == [3, 10, 7, 3]
        assert loader.get_epoch() == 2
        with pytest.raises(StopIteration):
            loader.get_batch()
        assert [len(batch) for batch in loader] == [10, 7, 3] * 2


@pytest.mark.parametrize("takes", ["an argument", "none"])
def test_both_documented_forms_of_collate_batch_are_taken(folder: Path, takes: str) -> None:
    class FromAttribute(DataCollator):
        def collate_batch(self) -> Any:
            return self.batch["x"]

    collator = Plain() if takes == "an argument" else FromAttribute()

    assert flat(DataLoader(Numbers(100), Same(), collator, folder, num_workers=0)) == [*range(20)]


def test_tensors_of_torch_are_made_in_the_process_of_the_loop(folder: Path) -> None:
    torch = pytest.importorskip("torch")

    class TorchDataCollator(DataCollator):
        def collate_batch(self, batch: Any) -> Any:
            return {"x": torch.tensor(batch["x"]), "process": os.getpid()}

    batches = list(DataLoader(Numbers(100), Same(), TorchDataCollator(), folder, num_workers=1))

    assert torch.cat([batch["x"] for batch in batches]).tolist() == [*range(20)]
    assert {batch["process"] for batch in batches} == {os.getpid()}


@pytest.mark.time_limit(300)
def test_tensors_of_tensorflow_are_made_in_the_process_of_the_loop(folder: Path) -> None:
    tf = pytest.importorskip("tensorflow", reason="needs tensorflow 2, which is large")

    class TFDataCollator(DataCollator):
        def collate_batch(self, batch: Any) -> Any:
            return {"x": tf.convert_to_tensor(np.array(batch["x"]))}

    batches = list(DataLoader(Numbers(100), Same(), TFDataCollator(), folder, num_epoch=2, num_workers=2))

    assert tf.concat([batch["x"] for batch in batches], axis=0).numpy().tolist() == [*range(20)] * 2


def test_collator_that_says_so_runs_in_the_worker_and_one_that_replaces_its_method_does_not(folder: Path) -> None:
    class InWorker(DataCollator):
        collate_in_worker = True

        def collate_batch(self, batch: Any) -> Any:
            return os.getpid()

    class Here(InWorker):
        def collate_batch(self, batch: Any) -> Any:
            return os.getpid()

    for collator, is_here in ((InWorker(), False), (Here(), True)):
        processes = set(DataLoader(Numbers(100), Same(), collator, folder, num_workers=1))
        assert (processes == {os.getpid()}) is is_here


# -- readers, encoders, collators by themselves ------------------------------------------------------------


def test_reader_by_itself_cuts_a_file_into_batches(folder: Path) -> None:
    reader = Numbers(batch_size=4)
    assert (len(reader), reader.n_sample, reader.n_batch) == (0, 0, 0)
    reader.load(str(folder / "a.json"))

    assert (len(reader), reader.n_sample, reader.n_batch) == (10, 10, 3)
    assert reader.get_batch(2) == reader.get_batch(-1) == ({"x": [8, 9]}, 2)
    with pytest.raises(IndexError):
        reader.get_batch(3)
    reader.load("no file", read_fn=lambda path: ({"x": [path]}, 1))
    assert reader.get_batch(0) == ({"x": ["no file"]}, 1)


def test_shuffled_reader_keeps_the_values_of_a_sample_together() -> None:
    reader = DataReader(batch_size=100, shuffle=True)
    reader.load("data", read_fn=lambda path: ({"x": list(np.arange(50)), "y": [-x for x in range(50)]}, 50))
    batch, size = reader.get_batch(0)

    assert size == 50
    assert batch["x"] != [*range(50)]
    assert [-x for x in batch["x"]] == batch["y"]


def test_defaults_are_those_of_the_package() -> None:
    assert [DataReader().batch_size, JsonLineDataReader().batch_size] == [16, 4]
    assert (TextDataset().max_seq_len, TextDataset().max_vocab_size) == (100, 30000)
    assert DataReader().random_seed == 42
    assert not DataReader().shuffle


def test_lists_of_different_lengths_are_refused_and_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="some file: 'y' has 1 values for 2 samples"):
        DataReader().load("some file", read_fn=lambda path: ({"x": [1, 2], "y": [1]}, 2))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "line 2 of .* is not JSON"),
        ('{"a": 1} 2', "line 2 of .* is not JSON"),
        ("[1]", "line 2 of .* is no JSON object"),
        ('{"b": 1}', "line 2 .* names"),
    ],
)
def test_line_that_does_not_fit_is_named(tmp_path: Path, line: str, text: str) -> None:
    (tmp_path / "x.jsonl").write_text(f'{{"a": 1}}\n{line}\n')

    with pytest.raises(ValueError, match=text):
        JsonLineDataReader().load(str(tmp_path / "x.jsonl"))


def test_text_without_a_vocabulary_is_numbers_and_a_list_of_dicts_is_taken() -> None:
    samples = [{"input_text": "5 6", "label": 0.5}, {"input_text": "7", "label": 1}]

    assert TextDataset(max_seq_len=2).batch_encode(samples) == {
        "input_ids": [[5, 6], [7, 0]],
        "attention_mask": [[1, 1], [1, 0]],
        "label": [0.5, 1],
    }


def test_vocabulary_with_a_word_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\na\n")

    with pytest.raises(ValueError, match="the word 'a' twice"):
        TextDataset(tmp_path / "vocab.txt")


def test_numpy_collator_keeps_names_that_are_part_of_the_word_label() -> None:
    batch = NumpyDataCollator().collate_batch({"l": [1], "a": [[2, 3]], "bel": [4.5], "label": [0.5], "none": None})  # type: ignore[dict-item]  # as the package took it

    assert {name: value.tolist() for name, value in batch.items()} == {
        "l": [1],
        "a": [[2, 3]],
        "bel": [4.5],
        "label": [0.5],
    }
    assert {value.dtype.name for value in batch.values()} == {"float64"}


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], [3, 4]], [[1.5, True], [np.float32(1.1), 2**60]], [[], []], [[[1], [2]], [[3], [4]]], [[None, 1]],
        [["1.5"], [b"2"]], [[1], [2, 3]], [[1, [2]]], [["x"]], [[1j]], [(1, 2), [3, 4]], [[np.arange(2)] * 2],
        [[[1], 2]], [[2**70]],
    ],
)  # fmt: skip
def test_numpy_collator_of_nested_lists_gives_what_numpy_gives(values: list[Any]) -> None:
    try:
        expected: Any = np.array(values, np.float64)
    except (TypeError, ValueError) as error:
        with pytest.raises(type(error)):
            NumpyDataCollator().collate_batch({"a": values})
        return
    got = NumpyDataCollator().collate_batch({"a": values})["a"]
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, expected, strict=True)


def test_classes_that_define_nothing_say_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="read_file"):
        DataReader().load("x")
    with pytest.raises(NotImplementedError, match="batch_encode"):
        Dataset().batch_encode({})
    with pytest.raises(TypeError, match="collate_batch"):
        DataCollator()  # type: ignore[abstract]  # that is the error


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"datareader": "x"}, TypeError),
        ({"dataset": "x"}, TypeError),
        ({"datacollator": "x"}, TypeError),
        ({"max_queue_size": 0}, ValueError),
        ({"num_epoch": -1}, ValueError),
        ({"num_workers": -1}, ValueError),
        ({"max_bytes": 0}, ValueError),
        ({"root_dir": "no such folder"}, FileNotFoundError),
    ],
)
def test_argument_that_is_invalid_is_refused_at_once(
    folder: Path, change: dict[str, Any], error: type[Exception]
) -> None:
    given: dict[str, Any] = {"datareader": Numbers(), "dataset": Same(), "datacollator": Plain(), "root_dir": folder}

    with pytest.raises(error):
        DataLoader(**(given | change))


def test_folder_without_files_and_link_to_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file to read"):
        DataLoader(Numbers(), Same(), Plain(), tmp_path)
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="link to nothing"):
        DataLoader(Numbers(), Same(), Plain(), tmp_path)


# -- faults ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 2])
def test_reader_that_raises_is_an_exception_behind_the_batches_before_it(folder: Path, num_workers: int) -> None:
    (folder / "b.json").write_text("[1, 2")
    loader = DataLoader(Numbers(5), Same(), Plain(), folder, num_workers=num_workers)

    assert [next(loader), next(loader)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    with pytest.raises(json.JSONDecodeError) as caught:
        next(loader)
    assert "read_file" in "".join(map(str, [caught.getrepr(), caught.value.__cause__]))
    with pytest.raises(ClosedError):
        next(loader)
    loader.close()


@pytest.mark.skipif(os.name == "nt", reason="ends a process by SIGKILL")
def test_worker_that_is_killed_is_an_error_and_no_endless_wait(folder: Path) -> None:
    class Killed(Dataset):
        def batch_encode(self, batch_data: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerCrashedError, match="SIGKILL"):
        next(DataLoader(Numbers(), Killed(), Plain(), folder, num_workers=1))


def test_slow_reader_does_not_end_the_epochs_early(folder: Path) -> None:
    class Slow(Numbers):
        def read_file(self, path: str) -> Any:
            time.sleep(0.02)
            return super().read_file(path)

    loader = DataLoader(Slow(100), Same(), Plain(), folder, num_epoch=3, num_workers=0)

    assert Counter(flat(loader)) == Counter([*range(20)] * 3)


def test_dataset_that_cannot_be_sent_is_used_by_a_thread_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Locked(Dataset):
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def batch_encode(self, batch_data: Any) -> Any:
            with self.lock:
                return batch_data

    with caplog.at_level(logging.WARNING, "splitdata"):
        batches = list(DataLoader(Numbers(100), Locked(), Plain(), folder))

    assert flat(batches) == [*range(20)]
    assert "by a thread" in caplog.text


def test_no_more_files_are_read_ahead_than_max_queue_size(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02}").write_text("[1]")
    read: list[str] = []

    class Noting(Numbers):
        def read_file(self, path: str) -> Any:
            read.append(path)
            return super().read_file(path)

    with DataLoader(Noting(), Same(), Plain(), tmp_path, max_queue_size=3, num_workers=0) as loader:
        next(loader)
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            # The one that is in use, those that wait, and none that is begun before there is room.
            assert len(read) <= 1 + 3
            time.sleep(0.01)
        assert len(list(loader)) == 19


def test_worker_goes_on_with_a_long_file_while_the_loop_is_at_another(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name in "ab":
        (tmp_path / "data" / name).write_text(json.dumps([name] * 300))
    done = tmp_path / "done"

    class Telling(Dataset):
        num_batches = 0

        def batch_encode(self, batch_data: Any) -> Any:
            if batch_data["x"] == ["b"]:
                self.num_batches += 1
                if self.num_batches == 300:
                    done.touch()
            return batch_data

    with DataLoader(Numbers(1), Telling(), Plain(), tmp_path / "data", max_queue_size=2, num_workers=2) as loader:
        next(loader)
        deadline = time.monotonic() + 60
        while not done.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert len(list(loader)) == 599


def test_interrupt_before_a_worker_was_asked_does_not_make_the_loop_wait(folder: Path) -> None:
    plan = ChunkPlan([str(folder / name) for name in ("a.json", "b.json")], 2, False, 42, Numbers(100), Same(), None)
    stream = ChunkStream(plan, num_workers=0, max_files=1, max_bytes=None)
    stream._ask = lambda worker_id, num_groups: None  # type: ignore[method-assign]  # what Ctrl-C leaves undone
    stream.first()
    stream.drop_first()
    del stream._ask

    assert len(stream.first()["x"]) == 7
    stream.close()


def test_batches_that_wait_are_bounded_in_bytes(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / str(number)).write_text("[1]")
    made: list[str] = []

    class Large(DataReader):
        def read_file(self, path: str) -> Any:
            made.append(path)
            return {"x": [np.zeros(1 << 20, np.uint8)]}, 1

    with DataLoader(Large(), Same(), Plain(), tmp_path, num_workers=0, max_bytes=2 << 20) as loader:
        next(loader)
        time.sleep(0.2)
        assert len(made) <= 5
        assert len(list(loader)) == 7


def test_batch_whose_collator_fails_is_not_lost(folder: Path) -> None:
    class Once(Plain):
        num_failures = 1

        def collate_batch(self, batch: Any) -> Any:
            self.num_failures -= 1
            if self.num_failures == 0:
                raise RuntimeError("once")
            return super().collate_batch(batch)

    with DataLoader(Numbers(100), Same(), Once(), folder, num_workers=0) as loader:
        with pytest.raises(RuntimeError, match="once"):
            next(loader)
        assert flat(loader) == [*range(20)]


def test_group_that_an_interrupt_has_lost_is_an_error_and_no_gap(folder: Path) -> None:
    plan = ChunkPlan([str(folder / "a.json")], 1, False, 42, Numbers(1), Same(), None)
    stream = ChunkStream(plan, num_workers=0, max_files=2, max_bytes=None)
    # What Ctrl-C leaves that comes between receiving a reply and taking note of it.
    stream._pool.receive(0)

    with pytest.raises(ClosedError, match="lost"):
        stream.first()
    stream.close()


def test_closed_loader_says_so(folder: Path) -> None:
    loader = DataLoader(Numbers(), Same(), Plain(), folder, num_workers=0)
    next(loader)
    loader.close()

    with pytest.raises(ClosedError):
        next(loader)


def test_import_changes_no_logging_and_starts_nothing() -> None:
    program = "import logging, sys, threading\nimport splitdata.compat.pyloader\n"
    program += "print(logging.root.handlers, threading.active_count(), 'torch' in sys.modules)"

    assert run_python("-c", program, cwd=ROOT).stdout == "[] 1 False\n"
