"""peek: the batch with which the next iterator begins, as the loop gets it; nothing is used up, started or fixed."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from splitdata.errors import ClosedError
from splitdata.loader.cache.cache_options import Cache
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import RecordOptions, WorkerOptions
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.order.window import Window
from tests.loader.counting import Counting, calls, write_numbers
from tests.loader.grouped import grouped
from tests.loader.resume_harness import noisy

pytestmark = pytest.mark.usefixtures("leaves_nothing_behind")

# Options of a loader.
Options: TypeAlias = dict[str, Any]

NUM_RECORDS = 24

MODES: dict[str, Options] = {
    "in order": {},
    "global": {"shuffle": "global"},
    "window": {"shuffle": Window(7)},
    "bins": {"shuffle": "bins"},
    "rotation": {"shuffle": "global", "rotation": Rotation(times=2, size=5)},
    "num_steps": {"shuffle": "global", "num_steps": 5},
    "contiguous": {"partition": "contiguous"},
    "sampler": {"sampler": lambda epoch: np.random.default_rng(epoch).integers(0, NUM_RECORDS, 20)},
    "batch sampler": {"batch_sampler": lambda epoch: [[epoch, 1], [2, 3, 4], [5], [6, 7]], "batch_size": 1},
    "threads": {"num_workers": 2, "kind": "thread", "shuffle": "global", "prefetch_epochs": True},
    "processes": {"num_workers": 2, "start_method": "fork", "shuffle": "global"},
    "rotation with processes": {"num_workers": 1, "start_method": "fork", "rotation": Rotation(times=2, size=5)},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_numbers(tmp_path_factory.mktemp("peek") / "data", NUM_RECORDS)


def make(path: Path, **options: Any) -> DistributedLoader:
    given: Options = {"batch_size": 4, "transform": noisy, "collate_fn": list} | options
    return DistributedLoader(path, **grouped(**given))


@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("mode", MODES)
def test_peek_is_the_next_batch_wherever_training_stands_and_changes_nothing(
    path: Path, mode: str, rank: int | None
) -> None:
    ranks: Options = {} if rank is None else {"rank": rank, "world_size": 2}
    with make(path, **MODES[mode], **ranks) as loader, make(path, **MODES[mode], **ranks) as untouched:
        for epoch in range(3):
            state = json.dumps(loader.state_dict())
            peeked = [loader.peek() for _ in range(2)]
            assert json.dumps(loader.state_dict()) == state
            expected = list(untouched)
            assert peeked == [expected[0]] * 2
            found = []
            for batch in loader:
                found.append(batch)
                # In mid-epoch the next iterator begins the next epoch, and the loop does not notice.
                if len(found) == 2:
                    loader.peek()
            assert found == expected, epoch


def test_peek_after_load_seek_and_break_is_what_iter_begins_with(path: Path) -> None:
    loader = make(path, shuffle="global")
    loader.seek(3)
    assert loader.peek() == next(iter(loader))
    loader.load_state_dict(loader.state_dict())
    assert loader.peek() == next(iter(loader))
    # Broken off: the next epoch.
    assert loader.position == (0, 20)
    assert loader.peek() == next(iter(loader))
    assert loader.position == (1, 4)


def test_peek_starts_no_worker_and_calls_no_worker_init(path: Path) -> None:
    def refuse(worker_id: int) -> None:
        raise AssertionError(worker_id)

    loader = make(path, num_workers=2, init_fn=refuse, start_method="fork", transform=whereabouts)
    threads = threading.active_count()

    assert loader.peek() == [(os.getpid(), threading.get_ident())] * 4
    assert multiprocessing.active_children() == []
    assert threading.active_count() == threads
    assert loader.stats().num_batches == 0


def whereabouts(record: bytes) -> tuple[int, int]:
    return os.getpid(), threading.get_ident()


def test_peek_fixes_no_rank(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    loader = make(path)
    assert [number for number, _ in loader.peek()] == [0, 1, 2, 3]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert [number for number, _ in loader.peek()] == [1, 3, 5, 7]
    assert [number for batch in loader for number, _ in batch] == list(range(1, NUM_RECORDS, 2))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_peek_leaves_the_cache_alone_and_has_its_randomness(
    path: Path,
    tmp_path: Path,
    num_workers: int,
) -> None:
    folder = tmp_path / "cache"
    loader = DistributedLoader(
        path,
        batch_size=4,
        transform=Counting(tmp_path / "log"),
        num_workers=num_workers,
        workers=WorkerOptions(kind="thread"),
        cache=Cache(folder, refresh_every=2),
    )
    with loader:
        for epoch in range(4):
            num_calls = calls(tmp_path / "log").total()
            peeked = loader.peek()
            assert calls(tmp_path / "log").total() == num_calls + 4
            if not epoch:
                assert not folder.exists() or not list(folder.iterdir())
            first, *_ = list(loader)
            assert (peeked["number"].tolist(), peeked["noise"]) == (first["number"].tolist(), first["noise"])


def test_peek_is_collated_as_batches_are(path: Path) -> None:
    torch = pytest.importorskip("torch")
    options: Options = {"transform": lambda record: {"x": np.float32(record[0])}, "collate_fn": None}
    for more in ({}, {"as_tensors": True}, {"device": "cpu"}, {"to_device": lambda batch, device: [batch["x"].sum()]}):
        loader = make(path, **options, **more)
        peeked, first = loader.peek(), next(iter(loader))
        assert type(peeked) is type(first)
        if isinstance(peeked, dict):
            assert type(peeked["x"]) is type(first["x"])
            assert torch.equal(torch.as_tensor(peeked["x"]), torch.as_tensor(first["x"]))


def test_peek_of_a_bad_record_replaces_it_and_counts_nothing() -> None:
    def fail(record: int) -> int:
        if record == 2:
            raise ValueError("bad")
        return record

    loader = DistributedLoader(range(8), batch_size=4, transform=fail, records=RecordOptions(on_error="skip"))
    peeked = loader.peek().tolist()
    assert loader.skipped == []
    assert next(iter(loader)).tolist() == peeked
    assert [one.record for one in loader.skipped] == [2]
    with pytest.raises(ValueError, match="bad"):
        DistributedLoader(range(8), batch_size=4, transform=fail).peek()


def test_peek_where_there_is_nothing_to_see_is_an_error() -> None:
    with pytest.raises(ValueError, match="epoch 0 has no batch to look at"):
        DistributedLoader([]).peek()
    loader = DistributedLoader(range(3))
    loader.close()
    with pytest.raises(ClosedError, match="is closed"):
        loader.peek()
