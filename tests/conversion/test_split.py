"""`split`: every record in one part, by position or key, as copies or views; which part that is never changes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    DatasetExistsError,
    DistributedLoader,
    RecordOptions,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    append,
    compact,
    delete,
    describe,
    merge,
    repair,
    split,
    verify,
)
from tests.dataset.merging.two_datasets import SMALL_TOOL_KINDS, TwoDatasets, contents_of
from tests.dataset.record_kinds import RecordKind, tree_of

SHARES = {"train": 0.6, "val": 0.3, "test": 0.1}


def write(path: Path, records: list[bytes], keys: list[str] | None = None, **options: Any) -> Path:
    with SplitWriter(path, mode="append", durability="none", **options) as writer:
        writer.write_many(records, keys=keys)
    return path


def numbers_in(path: Path) -> set[int]:
    with SplitDataLoader(path) as loader:
        return {int(record) for record in loader.iterate(skip_deleted=True)}


@pytest.mark.parametrize("views", [False, True], ids=["copies", "views"])
@pytest.mark.parametrize("kind", SMALL_TOOL_KINDS, ids=lambda kind: kind.name)
def test_parts_of_every_kind_hold_each_record_once_in_order(tmp_path: Path, kind: RecordKind, views: bool) -> None:
    two = TwoDatasets.written(kind, tmp_path)
    append([two.second], two.first)
    before, contents = tree_of(two.first), contents_of(two.first)

    report = split(two.first, tmp_path / "parts", SHARES, views=views, by_key=kind.has_keys)
    again = split(two.first, tmp_path / "parts", SHARES, views=views, by_key=kind.has_keys)

    live = [one for one in contents if one is not None]
    assert (report.num_left_out, sum(part.num_records for part in report.parts)) == (0, len(live))
    found = []
    for part in report.parts:
        held = contents_of(Path(part.path))
        if views:
            # Where one is, all others are deleted: positions stay.
            assert all(one is None or one == contents[number] for number, one in enumerate(held))
        of_part = [one for one in held if one is not None]
        assert len(of_part) == part.num_records
        found += of_part
        assert verify(part.path).is_intact
        assert repair(part.path).is_whole
    assert sorted(found, key=repr) == sorted(live, key=repr)
    assert again == report
    assert tree_of(two.first) == before


def test_record_stays_in_its_part_when_others_are_appended(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [b"%d" % number for number in range(300)])
    split(path, tmp_path / "few", SHARES)
    write(path, [b"%d" % number for number in range(300, 400)])
    split(path, tmp_path / "many", SHARES)

    for name in SHARES:
        few, many = numbers_in(tmp_path / "few" / name), numbers_in(tmp_path / "many" / name)
        assert few == {number for number in many if number < 300}
        assert len(many) > len(few)
    with pytest.raises(StateMismatchError):
        split(path, tmp_path / "few", SHARES)


def test_record_stays_in_the_part_of_its_key_wherever_it_stands(tmp_path: Path) -> None:
    numbers = list(range(300))
    one = write(tmp_path / "a", [b"%d" % n for n in numbers], [f"key {n}" for n in numbers])
    other = write(tmp_path / "b", [b"%d" % n for n in reversed(numbers)], [f"key {n}" for n in reversed(numbers)])
    split(one, tmp_path / "x", SHARES, by_key=True)
    split(other, tmp_path / "y", SHARES, by_key=True, views=True)

    for name, share in SHARES.items():
        assert numbers_in(tmp_path / "x" / name) == numbers_in(tmp_path / "y" / name)
        assert abs(len(numbers_in(tmp_path / "x" / name)) - 300 * share) < 40
    write(one, [b"1"])
    with pytest.raises(ValueError, match=r"record 300 of .* has no key"):
        split(one, tmp_path / "z", SHARES, by_key=True)


def test_view_costs_links_and_is_trained_from_compacted_and_merged_as_any_dataset(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [b"%03d" % number * 100 for number in range(200)], group=1, bins=2)
    split(path, tmp_path / "parts", {"train": 0.8, "val": 0.2}, views=True)
    train, val = tmp_path / "parts" / "train", tmp_path / "parts" / "val"

    bins = sorted(path.rglob("*.bin"))
    for one, other in zip(bins, sorted(val.rglob("*.bin")), strict=True):
        assert one.samefile(other)
    with SplitDataLoader(train) as loader:
        expected = sorted(loader.iterate(skip_deleted=True))
    options = RecordOptions(skip_deleted=True)
    with DistributedLoader(str(train), batch_size=16, collate_fn=list, records=options) as batches:
        assert sorted(bytes(record) for batch in batches for record in batch) == expected
    compact(val, erase=True)
    assert sum(file.stat().st_size for file in val.rglob("*.bin")) < 0.5 * sum(map(os.path.getsize, bins))
    assert verify(path).is_intact
    assert describe(path).num_records == 200
    merge([train, val], tmp_path / "both")
    with SplitDataLoader(tmp_path / "both") as loader:
        assert sorted(loader.iterate(skip_deleted=True)) == sorted(b"%03d" % number * 100 for number in range(200))


def test_shares_and_places_that_make_no_sense_are_refused_and_nothing_is_made(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [b"1"])
    for shares, words in (
        ({}, "at least one part"),
        ({"a": 0.0}, "above 0"),
        ({"a": 0.7, "b": 0.7}, "more than 1"),
        ({"../a": 0.5}, "name of a part"),
        ({"a": float("nan")}, "above 0"),
    ):
        with pytest.raises(ValueError, match=words):
            split(path, tmp_path / "parts", shares)
    assert split(path, tmp_path / "parts", {"a": 0.5}, dry_run=True).is_dry_run
    assert not (tmp_path / "parts").exists()
    with pytest.raises(DatasetExistsError, match="is a dataset"):
        split(write(tmp_path / "b", [b"2"]), path, {"a": 1.0})
    write(tmp_path / "parts" / "a", [b"3"])
    for views in (False, True):
        with pytest.raises(DatasetExistsError):
            split(path, tmp_path / "parts", {"a": 1.0}, views=views)


def test_decimal_shares_that_add_up_to_one_leave_no_record_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [b"%d" % number for number in range(100)])
    shares = {f"part{number}": 0.1 for number in range(10)}
    assert sum(shares.values()) != 1
    assert split(path, tmp_path / "parts", shares, dry_run=True).num_left_out == 0
    assert split(path, tmp_path / "parts", {"a": 0.5}, dry_run=True).num_left_out > 20


def test_deleted_records_are_in_no_part(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [b"%d" % number for number in range(100)])
    delete(path, positions=np.arange(50))
    for views in (False, True):
        split(path, tmp_path / f"parts {views}", SHARES, views=views)
        found = set().union(*(numbers_in(tmp_path / f"parts {views}" / name) for name in SHARES))
        assert found == set(range(50, 100))
