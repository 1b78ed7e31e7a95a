"""Records that cannot be read or transformed: named in the error, or replaced by others that are computed."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from splitdata.errors import TooManySkippedError
from splitdata.loader.distributed_loader import DistributedLoader
from splitdata.loader.option_groups import RecordOptions
from splitdata.loader.plan.steps import Part, SkippedRecord, StepRequest
from splitdata.loader.rotation.rotation_options import Rotation
from splitdata.loader.samples.skips import Skip, SkipLog
from tests.loader.grouped import grouped

BAD = frozenset({3, 11, 12})


class Damaged:
    """Numbers, some of which cannot be read."""

    def __init__(self, bad: frozenset[int] = BAD) -> None:
        self._bad = bad

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> int:
        if index in self._bad:
            raise OSError(f"bad sector under {index}")
        return index


def fail_on_bad(record: int) -> int:
    if record in BAD:
        raise ValueError(f"cannot decode {record}")
    return record


def numbers(loader: DistributedLoader) -> list[int]:
    return [int(number) for batch in loader for number in batch]


def test_record_that_cannot_be_read_raises_its_error_with_what_was_read() -> None:
    loader = DistributedLoader(Damaged(), batch_size=4)

    with pytest.raises(OSError, match="bad sector under 3") as caught:
        list(loader)
    assert any("records 0, 1, 2, 3 were read for epoch 0" in note for note in caught.value.__notes__)
    assert loader.position == (0, 0)


def test_transform_that_fails_raises_its_error_with_the_record() -> None:
    loader = DistributedLoader(Damaged(frozenset()), batch_size=4, transform=fail_on_bad, shuffle="global")

    with pytest.raises(ValueError, match="cannot decode") as caught:
        list(loader)
    bad = str(caught.value).split()[-1]
    assert f"raised by the transform of record {bad} in epoch 0" in caught.value.__notes__


def test_collate_that_fails_names_step_and_record() -> None:
    def grow(record: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.zeros(3 if record == 6 else 2)

    with pytest.raises(ValueError, match=r"shape \(2,\).*\(3,\).*record 6") as caught:
        list(DistributedLoader(Damaged(frozenset()), batch_size=4, transform=grow))
    assert any("step 1 of epoch 0, records 4, 5, 6, 7" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("kind", ["read", "transform"])
def test_bad_records_are_replaced_and_nothing_else_shifts(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    def run(batch_size: int, world_size: int = 1) -> list[list[int]]:
        dataset = Damaged() if kind == "read" else Damaged(frozenset())
        loaders = [
            DistributedLoader(
                dataset,
                batch_size=batch_size,
                transform=fail_on_bad,
                records=RecordOptions(on_error="skip"),
                rank=rank,
                world_size=world_size,
            )
            for rank in range(world_size)
        ]
        return [numbers(loader) for loader in loaders]

    with caplog.at_level(logging.WARNING, logger="splitdata"):
        (found,) = run(4)

    assert [place for place, number in enumerate(found) if number != place] == sorted(BAD)
    assert BAD.isdisjoint(found)
    assert run(7) == [found]
    assert run(1, 2) == [found[0::2], found[1::2]]
    assert "record 3 was replaced by record" in caplog.text


def test_replacements_are_listed_and_counted_and_differ_between_epochs() -> None:
    loader = DistributedLoader(Damaged(), batch_size=4, records=RecordOptions(on_error="skip"))
    first, second = numbers(loader), numbers(loader)

    assert first != second
    assert [(one.record, one.epoch, one.position) for one in loader.skipped] == [
        (record, epoch, record) for epoch in range(2) for record in sorted(BAD)
    ]
    assert [one.replacement for one in loader.skipped[:3]] == [first[record] for record in sorted(BAD)]
    assert "bad sector" in loader.skipped[0].error


def test_replacements_come_from_the_subset() -> None:
    loader = DistributedLoader(Damaged(), batch_size=4, records=RecordOptions(on_error="skip", subset=[3, 5]))

    assert numbers(loader) == [5, 5]


@pytest.mark.parametrize("options", [{"sampler": [3, 5]}, {"batch_sampler": lambda epoch: [[3], [5]]}])
def test_replacements_are_records_that_the_sampler_gives(options: dict[str, Any]) -> None:
    loader = DistributedLoader(Damaged(), **grouped(on_error="skip", **options))

    assert [numbers(loader) for _ in range(8)] == [[5, 5]] * 8


def test_sampler_of_nothing_in_epoch_0_leaves_nothing_to_replace_with() -> None:
    loader = DistributedLoader(Damaged(), records=RecordOptions(on_error="skip"), sampler=lambda epoch: [3] * epoch)

    assert numbers(loader) == []
    with pytest.raises(TooManySkippedError, match="the sampler gave none in epoch 0"):
        numbers(loader)


def test_dataset_that_is_bad_throughout_is_an_error_and_no_endless_search() -> None:
    loader = DistributedLoader(Damaged(frozenset(range(20))), batch_size=4, records=RecordOptions(on_error="skip"))

    with pytest.raises(TooManySkippedError, match="record 0 and 99 others") as caught:
        list(loader)
    assert isinstance(caught.value.__cause__, OSError)


def test_log_of_a_very_bad_dataset_ends_after_ten_records(caplog: pytest.LogCaptureFixture) -> None:
    loader = DistributedLoader(
        Damaged(frozenset(range(0, 20, 2))), batch_size=4, records=RecordOptions(on_error="skip")
    )
    with caplog.at_level(logging.WARNING, logger="splitdata"):
        for _ in range(3):
            list(loader)

    assert len(caplog.records) == 11
    assert "not logged" in caplog.text
    assert len(loader.skipped) == 30


# -- the budget ----------------------------------------------------------------------------------


def handed_out(loader: DistributedLoader) -> tuple[int, str]:
    """Return how many batches came before the error, and what that says."""
    number = 0
    try:
        for _ in loader:
            number += 1
    except TooManySkippedError as error:
        return number, str(error)
    raise AssertionError("the budget was kept")


@pytest.mark.parametrize(
    ("max_records", "num_bad", "is_error"),
    [
        (0, 1, True),
        (3, 3, False),
        (3, 4, True),
        (0.0, 1, True),
        (0.15, 3, False),
        (0.15, 4, True),
        # In decimals, as it is written: 0.35 of 20 are 7, and in floats a little less.
        (0.35, 7, False),
        (0.35, 8, True),
        (None, 10, False),
        (None, 11, True),
        (1.0, 19, False),
        (np.int64(3), 4, True),
        (np.float32(0.25), 5, False),
        (np.float32(0.25), 6, True),
    ],
)
def test_budget_is_exact(max_records: float | None, num_bad: int, is_error: bool) -> None:
    bad = frozenset(range(19, 19 - num_bad, -1))
    loader = DistributedLoader(
        Damaged(bad), batch_size=4, records=RecordOptions(on_error="skip" if max_records is None else Skip(max_records))
    )
    if is_error:
        number, text = handed_out(loader)
        # Those that are allowed are handed out.
        assert number == (20 - num_bad + int(num_bad - 1)) // 4
        assert f"{num_bad} records of epoch 0 could not be read" in text
    else:
        assert len(numbers(loader)) == 20
        assert len(loader.skipped) == num_bad


def test_step_in_messages_names_its_first_records_and_how_many_more() -> None:
    for count, said in ((1, "record 0"), (4, "records 0, 1, 2, 3"), (7, "records 0, 1, 2, 3 and 3 more")):
        numbers = np.arange(count)
        assert str(StepRequest(0, 5, (Part(2, numbers, numbers),))) == f"step 5 of epoch 2, {said}"


def test_error_of_the_budget_names_count_budget_and_the_first_records() -> None:
    loader = DistributedLoader(Damaged(), batch_size=4, records=RecordOptions(on_error=Skip(max_records=0.1)))
    number, text = handed_out(loader)

    assert number == 3
    assert "3 records of epoch 0 could not be read or transformed on rank 0, " in text
    assert "on rank 0, and Skip(max_records=0.1) allows 2 of 20: " in text
    assert "record 3 (OSError: bad sector under 3); record 11 (OSError: bad sector under 11); record 12 (" in text
    assert [one.record for one in loader.skipped] == [3, 11]
    assert loader.position == (0, 12)


@pytest.mark.parametrize("way", ["in process", "threads", "processes", "any order"])
def test_budget_counts_over_all_workers_and_each_epoch_by_itself(way: str) -> None:
    options: dict[str, Any] = {
        "in process": {},
        "threads": {"num_workers": 3, "kind": "thread", "prefetch_epochs": True},
        "processes": {"num_workers": 2, "start_method": "fork"},
        "any order": {"num_workers": 3, "kind": "thread", "in_order": False},
    }[way]
    options |= {"batch_size": 2, "shuffle": "global"}
    with DistributedLoader(Damaged(), **grouped(on_error=Skip(3), **options)) as loader:
        for _ in range(3):
            assert len(numbers(loader)) == 20
        assert len(loader.skipped) == 9
    with DistributedLoader(Damaged(), **grouped(on_error=Skip(2), **options)) as loader:
        number, text = handed_out(loader)
        assert "3 records of epoch 0" in text
        if way != "any order":
            # The same again: nothing that was refused is handed out.
            with pytest.raises(TooManySkippedError):
                list(loader.resume())
            assert loader.position == (0, 2 * number)


@pytest.mark.parametrize(
    ("options", "of"),
    [
        ({"rank": 1, "world_size": 2}, 10),
        ({"rank": 1, "world_size": 3}, 7),
        ({"rank": 1, "world_size": 3, "tail": "drop", "batch_size": 4}, 4),
        ({"partition": "contiguous", "rank": 2, "world_size": 3}, 6),
        ({"num_steps": 4, "batch_size": 3}, 12),
        ({"batch_sampler": [[0, 1, 2], [3], [5, 6]], "rank": 1, "world_size": 2}, 1),
        ({"sampler": [3, 4, 5]}, 3),
        ({"subset": [3, 5]}, 2),
        ({"rotation": Rotation(times=3, size=5)}, 20),
    ],
)
def test_share_is_of_the_records_of_this_rank(options: dict[str, Any], of: int) -> None:
    loader = DistributedLoader(Damaged(frozenset({3, 4, 16})), **grouped(on_error=Skip(0.0), **options))

    assert f"allows 0 of {of}: " in handed_out(loader)[1]


def test_count_goes_on_in_an_epoch_and_begins_anew_with_a_state_or_another_epoch() -> None:
    loader = DistributedLoader(Damaged(), batch_size=4, records=RecordOptions(on_error=Skip(max_records=1)))
    assert handed_out(loader)[0] == 2
    with pytest.raises(TooManySkippedError, match="2 records"):
        list(loader.resume())
    loader.load_state_dict(loader.state_dict())
    with pytest.raises(TooManySkippedError, match=r"2 records of epoch 0.*: record 11 .*; record 12"):
        list(loader)
    loader.set_epoch(5)
    with pytest.raises(TooManySkippedError, match="2 records of epoch 5"):
        list(loader)

    larger = DistributedLoader(Damaged(), batch_size=4, records=RecordOptions(on_error=Skip(max_records=2)))
    loader.set_epoch(0)
    handed_out(loader)
    larger.load_state_dict(loader.state_dict())
    assert len(numbers(larger)) == 12


def test_batch_that_is_made_again_after_an_interrupt_is_counted_once() -> None:
    skipped = (SkippedRecord(3, 0, 3, 5, "OSError: bad"),)
    log = SkipLog(Skip(1))
    log.begin(0, 0, lambda: 20)
    log.note(skipped)
    log.note(skipped)

    assert log.listed == list(skipped)
    with pytest.raises(TooManySkippedError, match="2 records") as caught:
        log.note((SkippedRecord(4, 0, 4, 5, "OSError: bad"),))
    assert caught.value.num_skipped == 2


@pytest.mark.parametrize(
    ("max_records", "words"),
    [
        (-1, "int of 0 or more, or a float from 0.0 to 1.0"),
        (1.5, "float from 0.0 to 1.0"),
        (float("nan"), "float from 0.0 to 1.0"),
        (True, "a number of records, or a share"),
        ("5%", "a number of records, or a share"),
    ],
)
def test_budget_that_makes_no_sense_is_refused(max_records: float, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        Skip(max_records)
