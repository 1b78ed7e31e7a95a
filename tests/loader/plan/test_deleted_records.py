"""Loaders and deleted records: refused, left out, replaced; the order follows from what is left, and states resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    DistributedLoader,
    HashSplit,
    RecordDeletedError,
    RecordOptions,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    Window,
    delete,
)
from splitdata.loader.plan.selection import Selection

GONE = [0, 5, 6, 7, 40, 99]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    with SplitWriter(path, bins=4, durability="none") as writer:
        writer.write_many([b"%03d" % number for number in range(100)])
    delete(path, positions=GONE)
    return path


def loader(path: Any, **options: Any) -> DistributedLoader:
    given: dict[str, Any] = {
        "batch_size": 8,
        "shuffle": "global",
        "seed": 3,
        "rank": 0,
        "world_size": 1,
        "tail": "keep",
    }
    options.setdefault("records", RecordOptions(skip_deleted=True))
    return DistributedLoader(path, collate_fn=list, **(given | options))


def numbers(batches: Any) -> list[int]:
    return [int(bytes(record)) for batch in batches for record in batch]


LEFT = [number for number in range(100) if number not in GONE]


@pytest.mark.parametrize("shuffle", [False, "global", "bins", Window(16)])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_deleted_records_take_no_part_and_every_other_comes_once(data: Path, shuffle: Any, num_workers: int) -> None:
    with loader(data, shuffle=shuffle, num_workers=num_workers) as made:
        first = numbers(made)
        assert sorted(first) == LEFT
        assert len(made) == -(-len(LEFT) // 8)
    with loader(data, shuffle=shuffle) as again:
        assert numbers(again) == first


def test_without_the_option_a_deleted_record_is_an_error_and_can_be_replaced(data: Path) -> None:
    with loader(data, records=RecordOptions()) as made, pytest.raises(RecordDeletedError):
        list(made)
    with loader(data, records=RecordOptions(on_error="skip")) as made:
        assert set(numbers(made)) <= set(LEFT)
        assert sorted(one.record for one in made.skipped) == GONE


def test_ranks_share_what_is_left(data: Path) -> None:
    shares = []
    for rank in range(3):
        with loader(data, rank=rank, world_size=3, tail="keep", batch_size=4) as made:
            shares.append(numbers(made))
    assert sorted(number for share in shares for number in share) == LEFT


def test_state_resumes_and_that_of_other_deleted_records_is_refused(data: Path) -> None:
    with loader(data) as whole:
        expected = numbers(whole)
    with loader(data) as begun:
        batches = iter(begun)
        head = numbers([next(batches) for _ in range(5)])
        state = begun.state_dict()
    with loader(data) as resumed:
        resumed.load_state_dict(state)
        assert head + numbers(resumed) == expected

    delete(data, positions=[50])
    with loader(data) as other, pytest.raises(StateMismatchError, match="deleted"):
        other.load_state_dict(state)
    # What the job had open is there still.
    with loader(SplitDataLoader(data, generation=state["generation"])) as then:
        then.load_state_dict(state)
        assert head + numbers(then) == expected


def test_run_goes_on_behind_a_deletion_with_bad_records_replaced(data: Path) -> None:
    options = {"records": RecordOptions(on_error="skip")}
    with loader(data, **options) as begun:
        batches = iter(begun)
        head = numbers([next(batches) for _ in range(5)])
        state = begun.state_dict()
        tail = numbers(batches)
    gone = next(number for number in tail if number not in GONE)
    delete(data, positions=[gone])
    with loader(data, **options) as resumed:
        resumed.load_state_dict(state)
        after = numbers(resumed)

    assert len(after) == len(tail)
    assert gone not in after
    assert sum(one != two for one, two in zip(after, tail, strict=True)) <= 6
    assert head


SUBSETS: dict[str, Any] = {
    "all": None,
    "slice": slice(3, 60),
    "slice backwards": slice(None, None, -1),
    "step": slice(1, 90, 3),
    "range": range(5, 50),
    "empty": slice(0, 0),
    "array": np.array([7, 8, 9, 7, 99, 1]),
    "mask": np.arange(100) % 3 == 0,
    "share": HashSplit(0.0, 0.5),
}


@pytest.mark.parametrize("name", SUBSETS)
def test_selection_is_the_subset_without_what_was_deleted_in_its_order(name: str) -> None:
    subset = SUBSETS[name]
    whole = Selection(subset, 100)
    left = Selection(subset, 100, np.array(GONE))
    expected = [record for record in whole.all_records().tolist() if record not in GONE]

    assert left.all_records().tolist() == expected
    assert len(left) == len(expected)
    places = np.random.default_rng(0).permutation(len(left))
    assert left.records(places).tolist() == [expected[place] for place in places]
    assert (left.digest == whole.digest) == (len(left) == len(whole))
    assert left.digest == Selection(subset, 100, np.array(GONE)).digest


def test_selection_of_which_nothing_was_deleted_has_the_digest_that_it_had() -> None:
    assert Selection(slice(10, 40), 100, np.array([5, 40])).digest == Selection(slice(10, 40), 100).digest
    assert Selection(None, 100, np.array([5])).digest != Selection(None, 100, np.array([6])).digest


def test_dataset_that_does_not_know_deletion_is_refused() -> None:
    with pytest.raises(ValueError, match="skip_deleted needs a dataset"):
        loader([b"001", b"002"])


def test_sampler_decides_itself(data: Path) -> None:
    with pytest.raises(ValueError, match="leave out skip_deleted"):
        loader(data, sampler=range(10), shuffle=False)
