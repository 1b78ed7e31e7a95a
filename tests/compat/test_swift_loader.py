"""The interface of swift_loader: each keyword, its documented use, and each fault that it had.

Most run without workers (`in_process`): what workers are for is told to them, and that is shown by `options_of`.
"""

from __future__ import annotations

import inspect
import json
import logging
import pickle
import random
import tempfile
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import ClosedError, WorkerCrashedError, WorkerError
from splitdata.compat import swift_loader
from splitdata.compat.swift_loader import SwiftLoader
from splitdata.loader.distributed_loader import DistributedLoader
from tests.command import ROOT, run_python
from tests.compat.datasets import Broken, Counted, Drawing, Failing, Growing, Numbered, read_indices
from tests.stable_ids import stable_id

# The documented use with another import. Nobody closes the loaders, and temporary files would lie in this folder.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import tempfile
tempfile.tempdir = "."
import numpy
from splitdata.compat.swift_loader import SwiftLoader

class Dataset:
    def __init__(self, size):
        self.size = size
    def __len__(self):
        return self.size
    def __getitem__(self, index):
        return numpy.full(4, index), [index, index / 2]

nb_gpu = 2
dataset_kwargs = {{"size": 16}}
kwargs = {{"seed_numer": 5, "nearby_shuffle": 0}}
loaders = []
for consumer_index in range(nb_gpu):
    loader = SwiftLoader(
        dataset_class=Dataset,
        dataset_kwargs=dataset_kwargs,
        batch_size=3,
        nb_consumer=nb_gpu,
        worker_per_consumer=1,
        shuffle=True,
        **kwargs,
    )
    loader.start(consumer_index)
    loaders.append(loader)
for epoch in range(2):
    labels = [label for loader in loaders for data, target in loader for label in target[0].tolist()]
    print(sorted(labels) == list(range(16)), labels == list(range(16)), [len(loader) for loader in loaders])
"""


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let loaders do without the workers that they ask for."""

    def without_workers(dataset: Any, **options: Any) -> DistributedLoader:
        return DistributedLoader(dataset, **options | {"num_workers": 0})

    monkeypatch.setattr(swift_loader, "DistributedLoader", without_workers)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def started(
    size: int = 10, *, consumer: int = 0, device: Any = None, to_device: Any = None, **keywords: Any
) -> SwiftLoader:
    """Return a loader of numbers, by threes and in write order if nothing else is said."""
    given: dict[str, Any] = {
        "dataset_class": Numbered,
        "dataset_kwargs": {"size": size},
        "batch_size": 3,
        "nb_consumer": 1,
        "worker_per_consumer": 1,
        "shuffle": False,
    }
    loader = SwiftLoader(**given | keywords)
    loader.start(consumer, device, to_device)
    return loader


def labels_of(loader: SwiftLoader) -> list[int]:
    """Return the labels of the next epoch, in order."""
    return [label for batch in loader for label in batch[-1].tolist()]


def options_of(monkeypatch: pytest.MonkeyPatch, **keywords: Any) -> dict[str, Any]:
    """Return the options of the DistributedLoader that a started loader stands on."""
    given: dict[str, Any] = {}

    def noting(dataset: Any, **options: Any) -> DistributedLoader:
        given.update(options)
        return DistributedLoader(dataset)

    monkeypatch.setattr(swift_loader, "DistributedLoader", noting)
    started(**keywords).close()
    return given


# -- the documented use ------------------------------------------------------------------------------------


def test_documented_example_runs_from_standard_input_and_ends_without_close(tmp_path: Path) -> None:
    ended = run_python("-", cwd=tmp_path, text_in=PROGRAM)

    assert (ended.stdout, ended.stderr) == ("True False [3, 3]\n" * 2, "")
    assert list(tmp_path.iterdir()) == []


def test_signature_has_the_documented_keywords_and_defaults() -> None:
    parameters = inspect.signature(SwiftLoader).parameters
    required = inspect.Parameter.empty

    assert {name: one.default for name, one in parameters.items()} == {
        "dataset_class": required,
        "dataset_kwargs": required,
        "batch_size": required,
        "nb_consumer": required,
        "worker_per_consumer": required,
        "shuffle": True,
        "seed": None,
        "seed_numer": None,
        "data_queue_size": 10,
        "message_queue_size": 10,
        "collate_fn": None,
        "logger": None,
        "batch_encoder": None,
        "batch_decoder": None,
        "nearby_shuffle": None,
        "benchmark": True,
        "benchmark_file": None,
        "validate": True,
        "multithread": False,
        "max_nb_batch_on_device": 1,
        "max_buffer_size": None,
    }
    assert list(inspect.signature(SwiftLoader.start).parameters)[1:] == ["consumer_index", "device", "to_device"]


def test_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="seed_number"):
        SwiftLoader(Numbered, {}, 3, 1, 1, seed_number=3)  # type: ignore[call-arg]  # what is tested


class Iterating:
    """Can only be gone through."""

    def __iter__(self) -> Iterator[int]:
        return iter(range(3))


class Together(Numbered):
    """Reads several samples at once."""

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [(np.zeros(1), 100 + index) for index in indices]


# -- consumers and epochs ----------------------------------------------------------------------------------


def test_consumers_of_one_process_have_stretches_in_write_order_without_shuffle() -> None:
    with started(11, nb_consumer=2) as first, started(11, nb_consumer=2, consumer=1, worker_per_consumer=2) as second:
        for _ in range(2):
            assert labels_of(first) == list(range(6))
            assert labels_of(second) == list(range(6, 11))
        assert len(first) == len(second) == 2


def test_epochs_have_orders_of_their_own_and_seeds_decide_them(in_process: None) -> None:
    keywords: dict[str, Any] = {"size": 60, "shuffle": True}
    loader, again, other = (started(**keywords, seed=seed) for seed in (7, 7, 8))
    epochs = [labels_of(loader) for _ in range(3)]

    assert all(sorted(epoch) == list(range(60)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, list(range(60))]}) == 4
    assert labels_of(again) == epochs[0] == labels_of(started(**keywords, seed_numer=7))
    assert labels_of(other) != epochs[0]


def test_loader_without_a_seed_takes_the_time(in_process: None, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    for seconds in (1.5, 1.5, 2.5):
        monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
        orders.append(labels_of(started(60, shuffle=True)))

    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("given", "furthest"), [({}, 15), ({"nearby_shuffle": 4}, 4), ({"nearby_shuffle": 0}, 300)])
def test_nearby_shuffle_is_five_batches_if_nothing_is_said(
    in_process: None, given: dict[str, int], furthest: int
) -> None:
    labels = labels_of(started(300, shuffle=True, **given))
    moved = max(abs(label - place) for place, label in enumerate(labels))

    assert sorted(labels) == list(range(300))
    assert furthest / 3 < moved <= furthest


@pytest.mark.parametrize("size", [1, 2, 3])
def test_datasets_of_few_records_are_shuffled(in_process: None, size: int) -> None:
    for nearby_shuffle in (0, 1, 15):
        loader = started(size, shuffle=True, nearby_shuffle=nearby_shuffle)
        assert [sorted(labels_of(loader)) for _ in range(3)] == [list(range(size))] * 3


def test_epoch_behind_a_break_has_nothing_of_the_broken_one(in_process: None) -> None:
    loader = started()
    for _ in loader:
        break

    assert labels_of(loader) == list(range(10))


def test_loader_is_its_own_iterator(in_process: None) -> None:
    loader = started(4)

    assert iter(loader) is loader
    assert [next(loader)[1].tolist() for _ in range(2)] == [[0, 1, 2], [3]]
    with pytest.raises(StopIteration):
        next(loader)
    assert next(loader)[1].tolist() == [0, 1, 2]


def test_use_before_start_and_a_second_start_are_runtime_errors(in_process: None) -> None:
    loader = SwiftLoader(Numbered, {}, 3, 2, 1)

    for use in (len, iter, next):
        with pytest.raises(RuntimeError, match=r"start\(\) has not been called yet"):
            use(loader)
    for wrong in (2, -1):
        with pytest.raises(ValueError, match="consumer_index must be"):
            loader.start(wrong)
    loader.start(1)
    with pytest.raises(RuntimeError, match=r"start\(\) has been called already"):
        loader.start(0)
    with loader:
        pass
    loader.close()
    with pytest.raises(ClosedError):
        iter(loader)


def test_loader_that_was_never_started_closes(in_process: None) -> None:
    with SwiftLoader(Numbered, {}, 3, 1, 1) as loader:
        pass

    with pytest.raises(RuntimeError, match="closed"):
        loader.start(0)


@pytest.mark.parametrize("name", ["nb_consumer", "worker_per_consumer"])
@pytest.mark.parametrize("kind", [ValueError, AssertionError])
def test_numbers_of_consumers_and_workers_are_checked(name: str, kind: type[Exception]) -> None:
    for wrong in (0, -1, 1.5, None):
        with pytest.raises(kind, match=f"{name} must be"):
            SwiftLoader(Numbered, {}, 3, **{"nb_consumer": 1, "worker_per_consumer": 1, name: wrong})  # type: ignore[arg-type]  # what is tested


def test_dataset_is_there_for_its_length(in_process: None) -> None:
    loader = started(7)

    assert len(loader.dataset) == 7
    assert type(loader.dataset) is Numbered


@pytest.mark.parametrize("made", [object, Iterating], ids=stable_id)
@pytest.mark.parametrize("validate", [False, True])
def test_what_is_no_dataset_is_named(made: type, validate: bool) -> None:
    with pytest.raises(TypeError, match=f"a dataset has a length.*; {made.__name__} has no __len__"):
        started(dataset_class=made, dataset_kwargs={}, validate=validate)


def test_own_way_to_read_several_samples_is_used(in_process: None) -> None:
    assert labels_of(started(dataset_class=Together)) == [100 + number for number in range(10)]


@pytest.mark.parametrize("size", [0, 1, 2])
def test_dataset_smaller_than_a_batch_or_than_the_consumers_is_no_fault(in_process: None, size: int) -> None:
    loaders = [started(size, nb_consumer=2, consumer=consumer, validate=size > 0) for consumer in range(2)]

    assert {len(loader) for loader in loaders} == {min(size, 1)}
    assert {label for loader in loaders for label in labels_of(loader)} == set(range(size))


# -- batches -----------------------------------------------------------------------------------------------


class Nested(Numbered):
    """Samples as nested lists, tuples and numbers."""

    def __getitem__(self, index: int) -> Any:
        return (np.full(2, index), [index, (index / 2, np.full((1, 3), index))])


@pytest.mark.parametrize("keywords", [{}, {"batch_encoder": pickle.dumps}, {"batch_decoder": pickle.loads}])
def test_batches_are_nested_lists_also_when_they_are_encoded(in_process: None, keywords: dict[str, Any]) -> None:
    (batch,) = started(2, dataset_class=Nested, **keywords)

    assert [type(part) for part in (batch, batch[1], batch[1][1])] == [list] * 3
    assert batch[0].tolist() == [[0, 0], [1, 1]]
    assert batch[1][0].tolist() == [0, 1]
    assert (batch[1][1][0].dtype, batch[1][1][1].shape) == (np.float64, (2, 1, 3))


def test_collate_fn_makes_the_batch_as_it_is_handed_out(in_process: None) -> None:
    batches = list(started(4, collate_fn=lambda samples: {"n": tuple(label for _, label in samples)}))

    assert batches == [{"n": (0, 1, 2)}, {"n": (3,)}]


def test_later_batches_may_be_larger_than_the_first_with_the_smallest_queue() -> None:
    with started(
        6, dataset_class=Growing, batch_size=1, data_queue_size=1, message_queue_size=1, max_buffer_size=1
    ) as loader:
        assert [batch[0].shape for batch in loader] == [(1, 1024 * n) for n in range(1, 7)]


def labels_as_text(batch: Any) -> bytes:
    return json.dumps([part.tolist() for part in batch]).encode()


@pytest.mark.parametrize("multithread", [False, True])
def test_encoder_runs_in_the_worker_and_the_decoder_here(multithread: bool) -> None:
    threads = set()

    def decode(encoded: bytes) -> Any:
        threads.add(threading.current_thread() is threading.main_thread())
        return json.loads(encoded)

    with started(20, batch_encoder=labels_as_text, batch_decoder=decode, multithread=multithread) as loader:
        threads.clear()
        labels = [label for batch in loader for label in batch[1]]
        assert labels == list(range(20))

    assert threads == {not multithread}


@pytest.mark.parametrize("multithread", [False, True])
def test_error_of_the_decoder_comes_in_the_place_of_its_batch(in_process: None, multithread: bool) -> None:
    def decode(encoded: bytes) -> Any:
        batch = pickle.loads(encoded)
        if 5 in batch[1]:
            raise UnicodeError("not decodable")
        return batch

    with started(batch_decoder=decode, multithread=multithread) as loader:
        assert next(loader)[1].tolist() == [0, 1, 2]
        with pytest.raises(UnicodeError, match="not decodable"):
            next(loader)
        assert next(iter(loader))[1].tolist() == [0, 1, 2]


def test_buffer_says_how_many_batches_are_decoded_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {"batch_encoder": pickle.dumps, "multithread": True, "validate": False}

    for more, ahead in (({}, 10), ({"worker_per_consumer": 4}, 3), ({"worker_per_consumer": 9}, 2)):
        assert options_of(monkeypatch, **given | more)["workers"].device_batches == ahead
    assert options_of(monkeypatch, **given, max_buffer_size=5)["workers"].device_batches == 5


def test_encoder_that_returns_no_bytes_is_named(in_process: None) -> None:
    with pytest.raises(TypeError, match="batch_encoder must return bytes, it returned list"):
        started(batch_encoder=list)


# -- workers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "error"), [("raise", OSError), ("exit", WorkerError), ("kill", WorkerCrashedError)])
def test_worker_that_fails_is_an_error_of_the_loop(tmp_path: Path, how: str, error: type[Exception]) -> None:
    log = tmp_path / "run.json"
    with started(
        dataset_class=Failing, dataset_kwargs={"how": how}, logger={"path": str(log), "separate_sink": False}
    ) as loader:
        with pytest.raises(error) as raised:
            labels_of(loader)
        if how == "raise":
            assert "__getitem__" in str(raised.value.__cause__)

    assert type(raised.value).__name__ in log.read_text()


def test_queue_sizes_and_batches_on_the_device_reach_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for keywords, prefetch in (({}, 10), ({"data_queue_size": 4}, 4), ({"message_queue_size": 3}, 3)):
        assert options_of(monkeypatch, validate=False, **keywords)["workers"].prefetch == prefetch
    options = options_of(monkeypatch, validate=False, worker_per_consumer=3, max_nb_batch_on_device=2)

    assert (options["num_workers"], options["workers"].device_batches) == (3, 2)


# -- validation --------------------------------------------------------------------------------------------


def fail(_: Any) -> Any:
    raise ArithmeticError("not this one")


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"dataset_class": Broken, "dataset_kwargs": {}}, FileNotFoundError),
        ({"dataset_class": Failing, "dataset_kwargs": {"how": "raise", "bad": 2}}, OSError),
        ({"collate_fn": fail}, ArithmeticError),
        ({"batch_encoder": fail}, ArithmeticError),
        ({"batch_decoder": fail}, ArithmeticError),
        ({"batch_decoder": fail, "multithread": True}, ArithmeticError),
        ({"dataset_kwargs": {"size": 0}}, ValueError),
    ],
    ids=stable_id,
)
def test_validation_finds_what_a_first_batch_would(keywords: dict[str, Any], error: type[Exception]) -> None:
    given: dict[str, Any] = {"dataset_class": Numbered, "dataset_kwargs": {}, "batch_size": 3, "shuffle": False}

    with pytest.raises(error):
        SwiftLoader(**given | keywords, nb_consumer=1, worker_per_consumer=1)
    # Neither the dataset nor a batch is made before the start then.
    SwiftLoader(**given | keywords, nb_consumer=1, worker_per_consumer=1, validate=False)


def test_validation_reads_one_batch(tmp_path: Path) -> None:
    log = tmp_path / "log"
    SwiftLoader(Counted, {"log": str(log)}, 3, 1, 1, shuffle=False)

    assert read_indices(log) == [0, 1, 2]


def test_random_state_of_the_user_stays_and_samples_draw_their_own(in_process: None) -> None:
    before = random.getstate(), repr(np.random.get_state())
    loader = started(dataset_class=Drawing)
    drawn = {x for _ in range(2) for batch in loader for x in batch[1].tolist()}

    assert (random.getstate(), repr(np.random.get_state())) == before
    assert len(drawn) == 20


# -- device ------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "image label")  # as users write them


def mixed(samples: list[Any]) -> Any:
    images, labels = (np.array(column) for column in zip(*samples, strict=True))
    return {"pair": Pair(images, labels), "both": (labels, [labels]), "name": "a"}


@pytest.mark.parametrize("keywords", [{}, {"batch_encoder": pickle.dumps}], ids=stable_id)
@pytest.mark.parametrize("multithread", [False, True])
def test_batches_of_dicts_tuples_and_lists_go_to_the_device(
    in_process: None, torch: Any, keywords: dict[str, Any], multithread: bool
) -> None:
    with started(4, collate_fn=mixed, device="cpu", multithread=multithread, **keywords) as loader:
        batches = list(loader)

    assert len(batches) == 2
    for batch in batches:
        assert type(batch["pair"]) is Pair
        assert type(batch["both"]) is tuple
        tensors = [*batch["pair"], batch["both"][0], batch["both"][1][0]]
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors)


@pytest.mark.parametrize("keywords", [{}, {"batch_encoder": pickle.dumps}], ids=stable_id)
@pytest.mark.parametrize("multithread", [False, True])
def test_own_to_device_gets_nested_lists_and_the_device(
    in_process: None, torch: Any, keywords: dict[str, Any], multithread: bool
) -> None:
    def to_device(batch: Any, device: Any) -> Any:
        return type(batch), batch[1].tolist(), torch.device(device)

    with started(4, device="cpu", to_device=to_device, multithread=multithread, **keywords) as loader:
        assert list(loader) == [(list, [0, 1, 2], torch.device("cpu")), (list, [3], torch.device("cpu"))]


def test_error_on_the_way_to_the_device_is_raised(in_process: None, torch: Any) -> None:
    def to_device(batch: Any, device: Any) -> Any:
        raise MemoryError("out of memory")

    with started(device="cpu", to_device=to_device) as loader, pytest.raises(MemoryError, match="out of memory"):
        next(loader)
    with pytest.raises(ValueError, match="no device that torch knows"):
        next(started(device="gpu7"))


# -- log and benchmark -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The present folder of a program; loggers of the program stay as they are."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    before = list(root.handlers), root.level, set(logging.Logger.manager.loggerDict)
    yield tmp_path
    assert (list(root.handlers), root.level, set(logging.Logger.manager.loggerDict)) == before


@pytest.mark.parametrize(
    ("logger", "name"),
    [
        ("run", "run_Dataloader-1.json"),
        ("logs/deep/run", "logs/deep/run_Dataloader-1.json"),
        ({"path": "run.log"}, "run_Dataloader-1.log"),
        ({"path": "run", "suffix": "a"}, "run_a_Dataloader-1.json"),
        ({"path": "run", "separate_sink": False}, "run.json"),
    ],
    ids=stable_id,
)
def test_log_has_lines_of_json_in_the_file_of_the_consumer(
    in_process: None, folder: Path, logger: Any, name: str
) -> None:
    with started(nb_consumer=2, consumer=1, logger=logger) as loader:
        for _ in range(2):
            labels_of(loader)

    lines = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "benchmark", "benchmark", "closed"]
    assert [line["epoch"] for line in lines[1:3]] == [0, 1]
    assert {line["logger"] for line in lines} == {"Dataloader-1"}
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1


def test_log_goes_to_standard_output_and_knows_levels(
    in_process: None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(logger={"stdout": True, "level": "info"}) as loader:
        labels_of(loader)

    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"] == "benchmark"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("logger", "error"), [({"file": "a"}, ValueError), ({"level": "loud"}, ValueError), (3, TypeError)], ids=str
)
def test_wrong_logger_is_refused(logger: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="logger"):
        SwiftLoader(Numbered, {}, 3, 1, 1, logger=logger)


@pytest.mark.parametrize("logger", [None, "run"])
def test_benchmark_is_written_to_its_file_for_each_epoch(in_process: None, folder: Path, logger: Any) -> None:
    with started(benchmark_file="figures.txt", logger=logger) as loader:
        for _ in range(2):
            labels_of(loader)

    text = (folder / "figures.txt").read_text()
    assert [line for line in text.splitlines() if line.startswith("epoch")] == ["epoch 0", "epoch 1"]
    assert "samples/s" in text


def test_without_benchmark_nothing_is_written_and_batches_come(
    in_process: None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with started(benchmark=False, benchmark_file="figures.txt") as loader:
        assert labels_of(loader) == list(range(10))

    assert list(folder.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_no_file_is_left_in_the_folder_of_temporary_ones(
    in_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    labels_of(started())

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"seed": 1, "seed_numer": 2}, "two names of one number"),
        ({"seed": -1}, "seed must be"),
        ({"nearby_shuffle": -1}, "nearby_shuffle must be 0 or more"),
        ({"data_queue_size": 0}, "data_queue_size must be 1 or more"),
        ({"message_queue_size": 0}, "message_queue_size must be 1 or more"),
        ({"max_nb_batch_on_device": 0}, "max_nb_batch_on_device must be 1 or more"),
        ({"max_buffer_size": 0}, "max_buffer_size must be 1 or more"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
    ],
    ids=stable_id,
)
def test_wrong_argument_is_refused_by_its_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        started(**wrong)
