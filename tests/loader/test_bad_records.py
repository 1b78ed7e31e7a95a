"""Records that cannot be read or transformed: named in the error, or replaced by others that are computed."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from splitdata.loader.distributed_loader import DistributedLoader

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
                on_error="skip",
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
    loader = DistributedLoader(Damaged(), batch_size=4, on_error="skip")
    first, second = numbers(loader), numbers(loader)

    assert first != second
    assert [(one.record, one.epoch, one.position) for one in loader.skipped] == [
        (record, epoch, record) for epoch in range(2) for record in sorted(BAD)
    ]
    assert [one.replacement for one in loader.skipped[:3]] == [first[record] for record in sorted(BAD)]
    assert "bad sector" in loader.skipped[0].error


def test_replacements_come_from_the_subset() -> None:
    loader = DistributedLoader(Damaged(), batch_size=4, on_error="skip", subset=[3, 5])

    assert numbers(loader) == [5, 5]


@pytest.mark.parametrize("options", [{"sampler": [3, 5]}, {"batch_sampler": lambda epoch: [[3], [5]]}])
def test_replacements_are_records_that_the_sampler_gives(options: dict[str, Any]) -> None:
    loader = DistributedLoader(Damaged(), on_error="skip", **options)

    assert [numbers(loader) for _ in range(8)] == [[5, 5]] * 8


def test_sampler_of_nothing_in_epoch_0_leaves_nothing_to_replace_with() -> None:
    loader = DistributedLoader(Damaged(), on_error="skip", sampler=lambda epoch: [3] * epoch)

    assert numbers(loader) == []
    with pytest.raises(RuntimeError, match="the sampler gave none in epoch 0"):
        numbers(loader)


def test_dataset_that_is_bad_throughout_is_an_error_and_no_endless_search() -> None:
    loader = DistributedLoader(Damaged(frozenset(range(20))), batch_size=4, on_error="skip")

    with pytest.raises(RuntimeError, match="record 0 and 99 others") as caught:
        list(loader)
    assert isinstance(caught.value.__cause__, OSError)


def test_validation_fails_before_a_worker_is_started() -> None:
    loader = DistributedLoader(Damaged(), batch_size=4, num_workers=2, validate=True)

    with pytest.raises(OSError, match="bad sector") as caught:
        iter(loader)
    assert any("before any worker was started" in note for note in caught.value.__notes__)


def test_log_of_a_very_bad_dataset_ends_after_ten_records(caplog: pytest.LogCaptureFixture) -> None:
    loader = DistributedLoader(Damaged(frozenset(range(0, 20, 2))), batch_size=4, on_error="skip")
    with caplog.at_level(logging.WARNING, logger="splitdata"):
        for _ in range(3):
            list(loader)

    assert len(caplog.records) == 11
    assert "not logged" in caplog.text
    assert len(loader.skipped) == 30
