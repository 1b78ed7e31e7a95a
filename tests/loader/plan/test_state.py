"""States: small, plain, the same on every rank, and refused where they do not belong."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter
from splitdata.errors import StateMismatchError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import OrderOptions, RecordOptions
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.order.hash_split import HashSplit
from splitdata.order.window import Window
from tests.loader.grouped import grouped


def write(path: Path, numbers: range) -> SplitDataLoader:
    with SplitWriter(path, bins=3) as writer:
        for number in numbers:
            writer.write(b"%d" % number)
    return SplitDataLoader(path)


@pytest.fixture
def dataset(tmp_path: Path) -> SplitDataLoader:
    return write(tmp_path / "data", range(20))


def state_at(dataset: SplitDataLoader, num_batches: int, **options: Any) -> dict[str, Any]:
    loader = DistributedLoader(dataset, **grouped(batch_size=4, **options))
    iterator = iter(loader)
    for _ in range(num_batches):
        next(iterator)
    state: dict[str, Any] = json.loads(json.dumps(loader.state_dict()))
    return state


def test_state_is_small_json_and_equal_on_every_rank(dataset: SplitDataLoader) -> None:
    states = [
        state_at(dataset, 2, shuffle=Window(5), subset=range(3, 19), rank=rank, world_size=2) for rank in range(2)
    ]

    assert states[0] == states[1]
    assert len(json.dumps(states[0])) < 1024


def test_state_taken_before_anything_ran_fixes_no_rank(
    dataset: SplitDataLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = DistributedLoader(dataset, batch_size=4)
    loader.state_dict()
    loader.load_state_dict(loader.state_dict())
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert (loader.rank, loader.world_size) == (1, 2)


@pytest.mark.parametrize(
    ("options", "name", "saved", "here"),
    [
        ({"seed": 1}, "seed", "0", "1"),
        ({"shuffle": False}, "shuffle", "'global'", "False"),
        ({"shuffle": Window(3)}, "shuffle", "'global'", r"\['window', 3\]"),
        ({"subset": slice(10)}, "subset", "None", "'10 records from 0 by 1'"),
        ({"lanes": 2}, "lanes", "1", "2"),
        ({"num_steps": 7}, "num_steps", "None", "7"),
        ({"partition": "contiguous"}, "partition", "'strided'", "'contiguous'"),
    ],
)
def test_state_of_another_order_is_refused_with_both_sides(
    dataset: SplitDataLoader, options: dict[str, Any], name: str, saved: str, here: str
) -> None:
    state = state_at(dataset, 2, shuffle="global")
    given: dict[str, Any] = {"batch_size": 4, "shuffle": "global"} | options
    loader = DistributedLoader(dataset, **grouped(**given))

    with pytest.raises(StateMismatchError, match=rf"(?s){name} +saved: {saved}\n +here:  {here}"):
        loader.load_state_dict(state)
    assert loader.position == (0, 0)


def test_state_with_a_window_survives_json(dataset: SplitDataLoader) -> None:
    state = state_at(dataset, 2, shuffle=Window(5))
    loader = DistributedLoader(dataset, batch_size=4, shuffle=Window(5))
    loader.load_state_dict(state)

    assert loader.position == (0, 8)


def test_state_of_contiguous_ranks_loads_at_the_same_world_size_only(dataset: SplitDataLoader) -> None:
    state = state_at(dataset, 2, partition="contiguous", rank=1, world_size=2)
    same = DistributedLoader(dataset, batch_size=4, order=OrderOptions(partition="contiguous"), rank=0, world_size=2)
    same.load_state_dict(state)

    assert [batch.tolist() for batch in same_numbers(same)] == [[8, 9]]
    other = DistributedLoader(dataset, batch_size=4, order=OrderOptions(partition="contiguous"), rank=0, world_size=3)
    with pytest.raises(
        StateMismatchError, match="epoch 0 was begun by 2 and left before its end, and here world_size is 3"
    ):
        other.load_state_dict(state)
    assert other.position == (0, 0)


def same_numbers(loader: DistributedLoader) -> list[Any]:
    import numpy as np

    return [np.array([int(record) for record in batch]) for batch in loader]


def test_state_of_other_data_is_refused(dataset: SplitDataLoader, tmp_path: Path) -> None:
    state = state_at(dataset, 2)
    other = write(tmp_path / "other", range(1, 21))

    with pytest.raises(StateMismatchError, match=r"(?s)saved with other data.*fingerprint +saved: .*here: .*set_epoch"):
        DistributedLoader(other, batch_size=4).load_state_dict(state)


def test_single_record_that_was_appended_is_told_in_the_singular(dataset: SplitDataLoader, tmp_path: Path) -> None:
    state = state_at(dataset, 2)
    with SplitWriter(tmp_path / "data", mode="append") as writer:
        writer.write(b"20")

    with pytest.raises(StateMismatchError, match="1 record was appended since"):
        DistributedLoader(SplitDataLoader(tmp_path / "data"), batch_size=4).load_state_dict(state)


def test_state_from_before_an_append_tells_the_way_on(dataset: SplitDataLoader, tmp_path: Path) -> None:
    state = state_at(dataset, 2)
    with SplitWriter(tmp_path / "data", mode="append") as writer:
        writer.write_many([b"20", b"21"])
    grown = SplitDataLoader(tmp_path / "data")

    with pytest.raises(StateMismatchError) as caught:
        DistributedLoader(grown, batch_size=4).load_state_dict(state)
    text = str(caught.value)
    assert "2 records were appended since" in text
    assert f"generation={state['generation']}" in text
    assert "set_epoch(1)" in text

    then = SplitDataLoader(tmp_path / "data", generation=state["generation"])
    loader = DistributedLoader(then, batch_size=4)
    loader.load_state_dict(state)
    assert [int(record) for record in next(iter(loader))] == [8, 9, 10, 11]


@pytest.mark.parametrize("subset", [HashSplit(0, 0.5), slice(None, None, 2)])
def test_append_is_told_also_where_it_changes_the_subset(
    dataset: SplitDataLoader, tmp_path: Path, subset: HashSplit | slice
) -> None:
    state = state_at(dataset, 1, subset=subset)
    with SplitWriter(tmp_path / "data", mode="append") as writer:
        writer.write_many([b"new"] * 50)

    with pytest.raises(StateMismatchError, match="50 records were appended since"):
        DistributedLoader(tmp_path / "data", batch_size=4, records=RecordOptions(subset=subset)).load_state_dict(state)


@pytest.mark.parametrize("options", [{"num_steps": np.int64(3)}, {"lanes": np.int64(2)}, {"interleave": np.int32(2)}])
def test_ints_of_numpy_as_options_leave_a_state_that_is_json(dataset: SplitDataLoader, options: dict[str, Any]) -> None:
    rotation = Rotation(times=np.int64(2), size=np.int64(5))  # type: ignore[arg-type]
    loaders = [
        DistributedLoader(dataset, **grouped(batch_size=np.int64(4), shuffle=shuffle, rotation=rotation, **options))
        for shuffle in ("bins", Window(np.int64(5)))  # type: ignore[arg-type]
    ]

    for loader in loaders:
        assert json.loads(json.dumps(loader.state_dict())) == loader.state_dict()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "no state of a DistributedLoader: it is an empty dict. Where no state was saved, leave load_state_dict"),
        ([], "no state of a DistributedLoader: it is of type list. Pass the dict that state_dict"),
        (None, "it is of type NoneType. Pass the dict"),
        ({"_index": 3, "_sampler": 1}, "it has no 'splitdata_loader', but '_index', '_sampler'. Pass what state_dict"),
        ({"model": {}, "data": {"splitdata_loader": 1}}, "but 'model', 'data'. Pass its entry 'data', which is one"),
        ({"splitdata_loader": 99}, "version 99"),
        ({"splitdata_loader": 1, "epoch": 3}, "missing or unknown"),
    ],
)
def test_what_is_no_state_is_refused(dataset: SplitDataLoader, state: Any, words: str) -> None:
    with pytest.raises(StateMismatchError, match=words):
        DistributedLoader(dataset).load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "value"), [("epoch", -1), ("samples", "8"), ("lanes", 0), ("origin", True), ("generation", "4")]
)
def test_damaged_state_is_refused(dataset: SplitDataLoader, name: str, value: object) -> None:
    state = state_at(dataset, 2) | {name: value}

    with pytest.raises(StateMismatchError, match=f"damaged: {name} is"):
        DistributedLoader(dataset, batch_size=4).load_state_dict(state)


@pytest.mark.parametrize(
    ("options", "changes", "words"),
    [
        ({}, {"samples": 20}, "behind 20 samples of epoch 0, which has 20 .* beginning of epoch 1"),
        ({}, {"samples": 10**18}, "which has 20"),
        ({"tail": "drop"}, {"samples": 24}, "which has 20"),
        ({"subset": slice(7)}, {"samples": 8}, "which has 7"),
        ({"sampler": range(12)}, {"samples": 12}, "which has 12"),
        ({"num_steps": 3}, {"samples": 12}, "which has 12"),
        ({"num_steps": 3}, {"samples": 8, "origin": -9}, "stands 1 samples before the first"),
        ({"rotation": Rotation(times=3, size=4)}, {"samples": 60}, "which has 60"),
        ({"partition": "contiguous"}, {"samples": 20}, "which has 20"),
    ],
)
def test_state_beyond_the_data_is_refused_when_it_is_loaded(
    dataset: SplitDataLoader, options: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    state = state_at(dataset, 1, **options) | changes
    loader = DistributedLoader(dataset, **grouped(batch_size=4, **options))

    with pytest.raises(StateMismatchError, match=f"damaged: it stands .*{words}|damaged: it {words}"):
        loader.load_state_dict(state)
    assert loader.position == (0, 0)
    assert len(list(loader)) == len(loader)


def test_state_beyond_the_batches_of_a_batch_sampler_is_refused(dataset: SplitDataLoader) -> None:
    batches = [[0, 1], [2], [3, 4, 5]]
    loader = DistributedLoader(dataset, batch_sampler=batches)
    next(iter(loader))
    state = loader.state_dict()
    for number in (1, 2):
        loader.load_state_dict(state | {"samples": number})
        assert len(list(loader)) == 3 - number

    with pytest.raises(StateMismatchError, match="behind 3 batches of epoch 0, which has 3"):
        loader.load_state_dict(state | {"samples": 3})


@pytest.mark.parametrize("shuffle", [False, "global", Window(5), "bins"])
@pytest.mark.parametrize("worker_kind", ["process", "thread"])
def test_state_with_other_lanes_is_loaded_without_new_workers(
    dataset: SplitDataLoader,
    shuffle: object,
    worker_kind: str,
) -> None:
    options: dict[str, Any] = {"shuffle": shuffle, "num_workers": 1, "transform": where, "collate_fn": list}
    options |= {"kind": worker_kind, "start_method": "fork", "batch_size": 4}
    state = DistributedLoader(dataset, **grouped(rank=0, world_size=2, **options)).state_dict()
    assert state["lanes"] == 2
    with DistributedLoader(dataset, **grouped(**options)) as loader:
        before = {place for batch in loader for place in batch}
        loader.load_state_dict(state)
        after = {place for batch in loader for place in batch}
        assert loader.state_dict()["lanes"] == 2

    assert len(before) == 1
    assert after == before


def where(record: bytes) -> tuple[int, int]:
    """Return what tells the worker that a record went through."""
    return os.getpid(), threading.get_ident()


def test_sampler_that_gives_another_sequence_is_noticed(dataset: SplitDataLoader) -> None:
    state = state_at(dataset, 2, sampler=range(12))
    loader = DistributedLoader(dataset, batch_size=4, sampler=range(12))
    loader.load_state_dict(state)

    with pytest.raises(StateMismatchError, match=r"(?s)sampler +saved: '12 records"):
        DistributedLoader(dataset, batch_size=4, sampler=range(11, -1, -1)).load_state_dict(state)


def test_lanes_of_a_state_are_kept(dataset: SplitDataLoader) -> None:
    state = state_at(dataset, 1, shuffle="bins", rank=0, world_size=2)
    assert state["lanes"] == 2

    loader = DistributedLoader(dataset, batch_size=4, shuffle="bins")
    list(loader)
    loader.load_state_dict(state)
    assert loader.state_dict()["lanes"] == 2
