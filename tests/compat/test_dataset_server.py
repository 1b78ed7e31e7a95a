"""The interface of dataset_server: each parameter, its documented use, and each fault that it had.

Most run without workers; what workers are for is told to them, and that is shown by `options_of`.
"""

from __future__ import annotations

import inspect
import math
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import CacheError, ClosedError, WorkerCrashedError, WorkerError
from splitdata.compat import dataset_server
from splitdata.compat.dataset_server import AsyncDataLoader, DataLoader
from splitdata.loader.distributed_loader import DistributedLoader
from tests.command import ROOT, run_python
from tests.compat.datasets import (
    Broken,
    Counted,
    Drawing,
    Environment,
    Failing,
    Growing,
    Numbered,
    read_indices,
)

# The documented use with another import, of a class that only this program knows. Before the first import a hook
# begins to note what is asked of the network, and which files are made.
PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import numpy
noted = []
def note(event, args):
    if event.startswith("socket.") or (event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax")):
        noted.append((event, args))
sys.addaudithook(note)

from splitdata.compat.dataset_server import AsyncDataLoader, DataLoader

class Photos:
    def __init__(self, folder, size):
        self.size = size
    def __len__(self):
        return self.size
    def __getitem__(self, index):
        return numpy.full(4, index), index

class SuitableDataset(Photos):
    def __init__(self, **kwargs):
        super().__init__(kwargs["param1"], kwargs["param2"])

params = {{"param1": "photos", "param2": 9}}
async_dataloader = DataLoader(
    dataset_class=SuitableDataset, dataset_params=params, batch_size=4, nb_worker=1, shuffle=True,
)
for epoch in range(2):
    print(sorted(label for images, labels in async_dataloader for label in labels.tolist()))

async_dataloader = AsyncDataLoader(
    dataset_class=SuitableDataset, dataset_params=params, batch_size=4, nb_servers=1, shuffle=False,
)
for images, labels in async_dataloader:
    print(images.shape, labels)
print(noted)
"""


def labels_of(loader: DataLoader) -> list[int]:
    """Return the last field of each sample of the next epoch, in order."""
    return [label for batch in loader for label in batch[-1].tolist()]


def options_of(monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> dict[str, Any]:
    """Return the options of the DistributedLoader that a loader with 2 workers stands on; none is started."""
    given: dict[str, Any] = {}

    def noting(dataset: Any, **options: Any) -> DistributedLoader:
        given.update(options)
        return DistributedLoader(dataset)

    monkeypatch.setattr(dataset_server, "DistributedLoader", noting)
    DataLoader(Numbered, {"size": 9}, 4, 2, **parameters)
    return given


# -- the documented use ------------------------------------------------------------------------------------


def test_documented_examples_run_from_standard_input_and_ask_nothing_of_network_or_home(tmp_path: Path) -> None:
    ended = run_python("-", cwd=tmp_path, text_in=PROGRAM)

    whole = "[0, 1, 2, 3, 4, 5, 6, 7, 8]"
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        whole,
        whole,
        "(4, 4) [0 1 2 3]",
        "(4, 4) [4 5 6 7]",
        "(1, 4) [8]",
        "[]",
    ]
    assert list(tmp_path.iterdir()) == []


def test_signatures_are_the_documented_ones() -> None:
    required = inspect.Parameter.empty
    assert {
        name: one.default
        for name, one in inspect.signature(DataLoader).parameters.items()
        if one.kind is one.POSITIONAL_OR_KEYWORD
    } == {
        "dataset_class": required,
        "dataset_params": required,
        "batch_size": required,
        "nb_worker": required,
        "max_minibatch_length": None,
        "max_queue_size": 20,
        "prefetch_time": None,
        "shuffle": False,
        "device": None,
        "pin_memory": False,
        "gpu_indices": None,
        "nearby_shuffle": 0,
        "cache_setting": None,
        "rotation_setting": None,
        "use_threading": False,
        "collate_fn": None,
    }
    assert list(inspect.signature(AsyncDataLoader).parameters) == [
        "dataset_class",
        "dataset_params",
        "batch_size",
        "nb_servers",
        "shuffle",
    ]


# -- batches and epochs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "batch_size"), [(0, 3), (1, 3), (3, 3), (7, 3), (10, 3), (2, 1)])
def test_length_is_the_number_of_batches_and_epochs_follow_each_other(size: int, batch_size: int) -> None:
    loader = DataLoader(Numbered, {"size": size}, batch_size, 0)

    for _ in range(3):
        batches = list(loader)
        assert len(batches) == len(loader) == math.ceil(size / batch_size)
        assert [label for _, labels in batches for label in labels.tolist()] == list(range(size))
        # Also where the last has one sample.
        assert all(type(batch) is list and batch[0].shape == (len(batch[1]), 2, 3) for batch in batches)


def test_array_without_a_list_around_it_is_batched_as_an_array() -> None:
    """Comparing one with the text of an epoch's end raised ValueError."""
    (batch,) = DataLoader(np.arange, {"stop": 6}, 6, 0)

    assert batch.tolist() == [0, 1, 2, 3, 4, 5]


def test_loader_is_its_own_iterator_and_begins_the_next_epoch_behind_the_end() -> None:
    loader = DataLoader(Numbered, {"size": 3}, 2, 0)

    assert iter(loader) is loader
    assert [next(loader)[1].tolist() for _ in range(2)] == [[0, 1], [2]]
    with pytest.raises(StopIteration):
        next(loader)
    assert next(loader)[1].tolist() == [0, 1]


def test_epoch_behind_a_break_begins_anew() -> None:
    loader = DataLoader(Numbered, {}, 2, 0, shuffle=True)
    for _ in loader:
        break

    assert sorted(labels_of(loader)) == list(range(10))


def test_closed_loader_refuses_and_closes_twice() -> None:
    with DataLoader(Numbered, {}, 2, 0) as loader:
        next(loader)
    loader.close()

    for use in (iter, next):
        with pytest.raises(ClosedError):
            use(loader)

    with DataLoader(Numbered, {}, 2, 0) as unused:
        pass
    with pytest.raises(ClosedError):
        iter(unused)


def test_order_is_another_one_in_each_epoch_and_the_same_in_each_run() -> None:
    loader, again, other = (DataLoader(Numbered, {"size": 50}, 8, 0, shuffle=True, seed=seed) for seed in (0, 0, 1))
    epochs = [labels_of(loader) for _ in range(3)]

    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in [*epochs, list(range(50))]}) == 4
    assert labels_of(again) == epochs[0] != labels_of(other)


@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_nearby_shuffle_moves_no_sample_further_than_it_says(size: int) -> None:
    labels = labels_of(DataLoader(Numbered, {"size": size}, 8, 0, shuffle=True, nearby_shuffle=4))

    assert sorted(labels) == list(range(size))
    assert max(abs(label - place) for place, label in enumerate(labels)) <= 4
    assert size < 40 or labels != list(range(40))


def test_nearby_shuffle_without_shuffle_leaves_write_order() -> None:
    assert labels_of(DataLoader(Numbered, {}, 3, 0, nearby_shuffle=4)) == list(range(10))


def test_collate_fn_makes_the_batch_as_it_is_handed_out() -> None:
    loader = DataLoader(Numbered, {"size": 3}, 2, 0, collate_fn=lambda samples: tuple(label for _, label in samples))

    assert list(loader) == [(0, 1), (2,)]


@pytest.mark.parametrize("use_threading", [False, True])
def test_batches_are_the_same_with_and_without_threading(use_threading: bool) -> None:
    assert labels_of(DataLoader(Numbered, {}, 3, 0, use_threading=use_threading)) == list(range(10))


def test_random_state_of_the_user_stays_and_samples_draw_their_own() -> None:
    before = random.getstate(), repr(np.random.get_state())
    loader = DataLoader(Drawing, {}, 3, 0, shuffle=True)
    drawn = [batch[1].tolist() for _ in range(2) for batch in loader]

    assert (random.getstate(), repr(np.random.get_state())) == before
    assert len({x for labels in drawn for x in labels}) == 20


def test_prefetch_time_is_waited_for_when_the_loader_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)

    DataLoader(Numbered, {}, 3, 0, prefetch_time=7)
    assert waited == [7]
    DataLoader(Numbered, {}, 3, 0)
    assert waited == [7]


# -- workers -----------------------------------------------------------------------------------------------


def test_parameters_of_workers_reach_them(monkeypatch: pytest.MonkeyPatch) -> None:
    options = options_of(monkeypatch, max_queue_size=7, max_minibatch_length=1000, gpu_indices=[1, 0])

    assert options["num_workers"] == 2
    assert options["workers"].prefetch == 7
    assert options["workers"].max_bytes == 2 * 7 * 1000
    assert options["workers"].gpu_indices == [1, 0]
    # Ranks of a job each read everything, as they did.
    assert (options["rank"], options["world_size"]) == (0, 1)


def test_memory_is_chosen_where_no_length_is_given_and_never_more_than_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert options_of(monkeypatch)["workers"].max_bytes is None
    assert options_of(monkeypatch, max_minibatch_length=1 << 50)["workers"].max_bytes <= 1 << 30


def test_gpu_indices_are_one_for_each_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with DataLoader(Environment, {"size": 4}, 2, 2, gpu_indices=[5, 3]) as loader:
        assert [sorted(set(gpus.tolist())) for gpus, _ in loader] == [[5], [3]]

    with pytest.raises(ValueError, match="gpu_indices needs one number for each worker"):
        DataLoader(Environment, {"size": 4}, 2, 1, gpu_indices=[5, 3])


def test_batch_larger_than_the_first_and_than_its_room_arrives() -> None:
    with DataLoader(Growing, {"size": 6}, 1, 1, max_minibatch_length=9000, max_queue_size=1) as loader:
        assert [batch[0].shape for batch in loader] == [(1, 1024 * n) for n in range(1, 7)]


def test_more_workers_than_samples_read_each_once() -> None:
    with DataLoader(Numbered, {"size": 2}, 1, 3) as loader:
        assert [labels_of(loader) for _ in range(2)] == [[0, 1], [0, 1]]


@pytest.mark.parametrize(("how", "error"), [("raise", OSError), ("exit", WorkerError), ("kill", WorkerCrashedError)])
def test_worker_that_fails_is_an_error_of_the_loop(how: str, error: type[Exception]) -> None:
    with DataLoader(Failing, {"how": how}, 3, 1) as loader:
        with pytest.raises(error) as raised:
            labels_of(loader)
        if how == "raise":
            assert "__getitem__" in str(raised.value.__cause__)
            assert "sample 5 of Failing" in str(raised.value.__notes__)


def test_dataset_that_cannot_be_made_raises_what_its_constructor_raised() -> None:
    with pytest.raises(FileNotFoundError, match="no such photos"):
        DataLoader(Broken, {}, 4, 1)


# -- cache -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("endless", [math.inf, float("inf"), np.inf])
def test_cache_that_is_never_updated_is_read_after_a_restart(tmp_path: Path, endless: float) -> None:
    log, setting = tmp_path / "log", {"prefix": str(tmp_path / "train"), "update_frequency": endless}
    drawn = []
    for _ in range(2):
        with DataLoader(Counted, {"log": str(log)}, 3, 0, shuffle=True, cache_setting=setting) as loader:
            drawn += [{i: x for batch in loader for i, x in zip(*map(list, batch), strict=True)} for _ in range(3)]

    assert sorted(read_indices(log)) == list(range(10))
    assert all(epoch == drawn[0] for epoch in drawn)


def test_cache_is_made_anew_every_so_many_epochs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    setting = {"prefix": str(tmp_path / "train_"), "update_frequency": 2}
    loader = DataLoader(Counted, {"log": str(log)}, 3, 0, cache_setting=setting)
    drawn, reads = [], []
    for _ in range(5):
        drawn.append(tuple(x for batch in loader for x in batch[1].tolist()))
        reads.append(len(read_indices(log)))
    loader.close()

    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]
    assert len(set(drawn)) == 3
    assert reads == [10, 10, 20, 20, 30]


def test_cached_epochs_are_shuffled_anew(tmp_path: Path) -> None:
    setting = {"prefix": str(tmp_path / "train"), "update_frequency": 100}
    loader = DataLoader(Numbered, {"size": 40}, 8, 0, shuffle=True, cache_setting=setting)

    assert len({tuple(labels_of(loader)) for _ in range(4)}) == 4
    loader.close()


def test_cache_of_other_arguments_or_another_class_is_not_used(tmp_path: Path) -> None:
    setting = {"prefix": str(tmp_path / "train"), "update_frequency": math.inf}

    def total(dataset_class: type, **params: Any) -> float:
        with DataLoader(dataset_class, params, 10, 0, cache_setting=setting) as loader:
            return float(sum(batch[0].sum() for batch in loader))

    class Doubled(Numbered):
        def __getitem__(self, index: int) -> Any:
            image, label = super().__getitem__(index)
            return 2 * image, label

    assert total(Numbered, size=4) == 36
    assert total(Doubled, size=4) == 72
    assert total(Numbered, size=3) == 18


@pytest.mark.parametrize("kept", ["cache", "rotation"])
def test_samples_that_are_kept_draw_the_same_in_batches_of_any_size(tmp_path: Path, kept: str) -> None:
    drawn = []
    for batch_size in (1, 3, 7):
        prefix = str(tmp_path / f"by_{batch_size}")
        settings: dict[str, Any] = {
            "cache": {"cache_setting": {"prefix": prefix, "update_frequency": math.inf}},
            "rotation": {"rotation_setting": {"rotation": 2, "medium": "memory"}},
        }[kept]
        with DataLoader(Drawing, {}, batch_size, 0, **settings) as loader:
            drawn.append(dict(pair for batch in loader for pair in zip(*map(list, batch), strict=True)))

    assert drawn[0] == drawn[1] == drawn[2]


@pytest.mark.parametrize("medium", ["memory", "disk"])
def test_cache_and_rotation_work_together(tmp_path: Path, medium: str) -> None:
    log = tmp_path / "log"
    rotation = {"rotation": 2, "medium": medium, "prefix": str(tmp_path / "rotated"), "size": 4}
    cache = {"prefix": str(tmp_path / "train"), "update_frequency": math.inf}
    with DataLoader(
        Counted, {"log": str(log)}, 3, 0, shuffle=True, cache_setting=cache, rotation_setting=rotation
    ) as loader:
        for _ in range(2):
            indices = Counter(index for batch in loader for index in batch[0].tolist())
            assert indices == dict.fromkeys(range(10), 2)

    assert sorted(read_indices(log)) == list(range(10))


def test_cache_refuses_a_folder_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "train.samples").mkdir()
    (tmp_path / "train.samples" / "notes.txt").write_text("mine")

    with pytest.raises(CacheError):
        DataLoader(Numbered, {}, 3, 0, cache_setting={"prefix": tmp_path / "train", "update_frequency": 2})


def test_cache_of_a_dataset_that_cannot_be_told_from_others_wants_a_version(tmp_path: Path) -> None:
    class Opened(Numbered):
        def __init__(self, file: Any) -> None:
            super().__init__()

    setting = {"prefix": str(tmp_path / "train"), "update_frequency": 2}
    with Path(__file__).open() as file:
        with pytest.raises(ValueError, match="Name what is cached"):
            DataLoader(Opened, {"file": file}, 3, 0, cache_setting=setting)
        with DataLoader(Opened, {"file": file}, 3, 0, cache_setting=setting | {"version": "1"}) as loader:
            assert labels_of(loader) == list(range(10))


# -- rotation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("medium", ["memory", "disk"])
@pytest.mark.parametrize(("size", "batch_size", "times"), [(7, 3, 3), (9, 3, 3), (5, 4, 2), (2, 5, 3), (4, 1, 2)])
def test_rotation_uses_each_sample_so_often_in_an_epoch_of_exactly_its_length(
    tmp_path: Path, medium: str, size: int, batch_size: int, times: int
) -> None:
    log, folder = tmp_path / "log", tmp_path / "rotated"
    setting: dict[str, Any] = {"rotation": times, "medium": medium}
    if medium == "disk":
        setting |= {"prefix": f"{folder}/train", "size": 4}
    with DataLoader(Counted, {"log": str(log), "size": size}, batch_size, 0, rotation_setting=setting) as loader:
        for epoch in range(1, 3):
            batches = list(loader)
            indices = Counter(index for batch in batches for index in batch[0].tolist())
            assert len(batches) == len(loader) == math.ceil(size * times / batch_size)
            assert indices == dict.fromkeys(range(size), times)
            # Made once an epoch, with one draw.
            assert len({x for batch in batches for x in batch[1].tolist()}) == size
            assert len(read_indices(log)) == epoch * size

    # Its file had no name.
    assert medium == "memory" or list(folder.iterdir()) == []


def test_rotation_on_disk_lies_in_the_folder_of_its_prefix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    setting = {"rotation": 3, "medium": "disk", "size": 50}

    for prefix, folder in (("data/train", "data"), ("train", "."), ("data/", "data")):
        rotation = options_of(monkeypatch, rotation_setting=setting | {"prefix": prefix})["rotation"]
        assert (rotation.times, rotation.size, rotation.medium) == (3, 50, "disk")
        assert Path(rotation.path).resolve() == (tmp_path / folder).resolve()


# -- what is refused ---------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"cache_setting": {"prefix": "a"}}, ValueError, "cache_setting lacks 'update_frequency'"),
    ({"cache_setting": {"update_frequency": 2}}, ValueError, "cache_setting lacks 'prefix'"),
    ({"cache_setting": {"prefix": "a", "update_frequency": 1}}, ValueError, "update_frequency must be 2 or more"),
    ({"cache_setting": {"prefix": "a", "update_frequency": math.nan}}, ValueError, "update_frequency must be 2"),
    ({"cache_setting": {"prefix": "a", "update_frequency": 2, "side": "client"}}, ValueError, "'side'"),
    ({"cache_setting": "a"}, TypeError, "cache_setting must be a dict"),
    ({"rotation_setting": {"rotation": 3}}, ValueError, "rotation_setting lacks 'medium'"),
    ({"rotation_setting": {"rotation": 1, "medium": "memory"}}, ValueError, "rotation must be 2 or more"),
    ({"rotation_setting": {"rotation": 2, "medium": "tape"}}, ValueError, "medium must be 'memory' or 'disk'"),
    ({"rotation_setting": {"rotation": 2, "medium": "disk"}}, ValueError, "lacks 'prefix', 'size'"),
    ({"rotation_setting": 3}, TypeError, "rotation_setting must be a dict"),
    ({"dataset_params": [("size", 3)]}, TypeError, "dataset_params must be a dict"),
    ({"dataset_params": {3: 3}}, TypeError, "dataset_params must be a dict"),
    ({"dataset_class": Numbered()}, TypeError, "dataset_class must be a class"),
    ({"batch_size": 0}, ValueError, "batch_size must be 1 or more"),
    ({"nb_worker": -1}, ValueError, "nb_worker must be 0 or more"),
    ({"max_queue_size": 0}, ValueError, "max_queue_size must be 1 or more"),
    ({"nearby_shuffle": -1}, ValueError, "nearby_shuffle must be 0 or more"),
    ({"max_minibatch_length": 0}, ValueError, "max_minibatch_length must be 1 or more"),
    ({"collate_fn": 3}, TypeError, "collate_fn must be a function"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_wrong_argument_is_refused_by_its_name(wrong: dict[str, Any], error: type[Exception], message: str) -> None:
    right: dict[str, Any] = {"dataset_class": Numbered, "dataset_params": {}, "batch_size": 2, "nb_worker": 0}

    with pytest.raises(error, match=message):
        DataLoader(**right | wrong)


def test_async_loader_needs_a_server() -> None:
    with pytest.raises(ValueError, match="nb_servers must be 1 or more"):
        AsyncDataLoader(Numbered, {}, 2, nb_servers=0, shuffle=True)
