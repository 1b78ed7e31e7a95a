"""`filter_records`, `sample`, `rebin`: every kind of dataset; called again they go on, or do nothing."""

from __future__ import annotations

from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    DatasetExistsError,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    append,
    convert,
    delete,
    describe,
    filter_records,
    rebin,
    sample,
    verify,
)
from splitdata.conversion import conversion_log
from splitdata.conversion.sources.records.dataset_source import DatasetSource
from splitdata.order.hash_sample import hash_sample
from tests.dataset.merging.two_datasets import TOOL_KINDS, Content, TwoDatasets, contents_of
from tests.dataset.record_kinds import RecordKind, tree_of


def write(path: Path, records: list[bytes], keys: list[str] | None = None, **options: Any) -> Path:
    with SplitWriter(path, mode="append", durability="none", **options) as writer:
        writer.write_many(records, keys=keys)
    return path


def live(path: Path) -> list[Content]:
    return [one for one in contents_of(path) if one is not None]


@pytest.mark.parametrize("kind", TOOL_KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_rebinned_sampled_and_filtered_and_deleted_records_are_left_out(
    tmp_path: Path, kind: RecordKind
) -> None:
    two = TwoDatasets.written(kind, tmp_path)
    append([two.second], two.first)
    source, expected = two.first, live(two.first)
    before = tree_of(source)
    group = 1 if kind.name == "large" else 4

    report = rebin(source, tmp_path / "rebinned", bins=3, group=group, compression="zstd")
    sampled = sample(source, tmp_path / "sampled", 7, seed=1)
    kept = [content for number, content in enumerate(expected) if number % 3 == 0]
    numbers = count()
    filter_records(source, tmp_path / "filtered", lambda _: next(numbers) % 3 == 0)

    assert (report.num_records, report.skipped) == (len(expected), {"deleted record": 2})
    assert contents_of(tmp_path / "rebinned") == expected
    assert contents_of(tmp_path / "filtered") == kept
    found = contents_of(tmp_path / "sampled")
    assert (len(found), sampled.num_records) == (7, 7)
    assert [one for one in expected if one in found] == found or len(set(expected)) < len(expected)
    for name in ("rebinned", "sampled", "filtered"):
        assert verify(tmp_path / name).is_intact
    described = describe(tmp_path / "rebinned")
    assert {segment.group for segment in described.segments} <= {group, 1}
    assert tree_of(source) == before


def test_copies_are_stored_as_the_dataset_is_unless_said_otherwise(tmp_path: Path) -> None:
    texts = [b"some text that compresses, number %d" % number * 3 for number in range(2000)]
    source = write(tmp_path / "a", texts, compression="zstd", group=1)
    grouped = write(tmp_path / "g", texts, group=16)

    rebin(source, tmp_path / "b")
    rebin(source, tmp_path / "c", compression="none", group=8, bins=2)
    rebin(grouped, tmp_path / "d")

    same, other = describe(tmp_path / "b"), describe(tmp_path / "c")
    assert same.segments[0].group == 1
    assert abs(same.stored_bytes - describe(source).stored_bytes) < 0.2 * same.stored_bytes
    assert (other.segments[0].group, other.stored_bytes > other.raw_bytes, other.num_bins) == (8, True, 2)
    assert describe(tmp_path / "d").segments[0].group == 16
    assert same.fingerprint == other.fingerprint == describe(source).fingerprint


def test_interrupted_call_goes_on_in_one_segment_and_a_finished_one_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a", [b"%d" % number for number in range(500)], [f"k{n}" for n in range(500)])
    delete(source, positions=[3, 200, 499])
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 1000)

    def fails(record: bytes) -> bool:
        if record == b"321" and not (tmp_path / "mended").exists():
            raise RuntimeError(record)
        return True

    with pytest.raises(RuntimeError):
        filter_records(source, tmp_path / "b", fails)
    num_before = len(SplitDataLoader(tmp_path / "b"))
    assert 0 < num_before < 320
    (tmp_path / "mended").touch()
    report = filter_records(source, tmp_path / "b", fails)

    assert (report.num_resumed, report.num_records) == (num_before, 497 - num_before)
    assert contents_of(tmp_path / "b") == live(source)
    assert filter_records(source, tmp_path / "b", fails).was_finished
    with pytest.raises(StateMismatchError):
        filter_records(source, tmp_path / "b", lambda record: True)


def test_resumable_copies_in_groups_are_one_segment_however_often_they_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a", [b"%d" % number for number in range(1000)])
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 700)

    rebin(source, tmp_path / "b", group=16)

    assert [segment.group for segment in describe(tmp_path / "b").segments] == [16]
    assert describe(tmp_path / "b").generation > 20
    assert contents_of(tmp_path / "b") == contents_of(source)


def test_place_that_holds_something_else_is_refused_and_dry_run_writes_nothing(tmp_path: Path) -> None:
    source, other = write(tmp_path / "a", [b"1", b"2"]), write(tmp_path / "b", [b"3"])
    with pytest.raises(DatasetExistsError):
        rebin(source, other)
    with pytest.raises(ValueError, match="0 records or more"):
        sample(source, tmp_path / "c", -1)
    assert sample(source, tmp_path / "c", 1, dry_run=True).num_records == 1
    assert not (tmp_path / "c").exists()
    assert sample(source, tmp_path / "c", 0).num_records == 0


def test_conversion_of_a_dataset_leaves_deleted_records_out(tmp_path: Path) -> None:
    source = write(tmp_path / "a", [b"1", b"2", b"3"])
    delete(source, positions=[1])
    assert convert(str(source), tmp_path / "b").skipped == {"deleted record": 1}
    assert live(tmp_path / "b") == [(b"1", None), (b"3", None)]


@pytest.mark.parametrize("has_keys", [False, True])
def test_dataset_as_a_source_goes_on_behind_every_record(tmp_path: Path, has_keys: bool) -> None:
    keys = [f"k{number}" for number in range(9)] if has_keys else None
    path = write(tmp_path / "a", [b"%d" % number for number in range(9)], keys)
    delete(path, positions=[0, 4, 5])
    source = DatasetSource(str(path), 9)
    expected = list(source)
    for number in range(1, len(expected) + 1):
        records = iter(source)
        for _ in range(number):
            next(records)
        position = source.position()
        assert list(source.records_from(position)) == expected[number:]
        assert source.skipped == {"deleted record": 3}
    # As versions before this one have stored it, of a dataset without deleted records.
    whole = DatasetSource(str(write(tmp_path / "b", [b"1", b"2", b"3"])), 3)
    assert list(whole.records_from({"record": 1})) == [b"2", b"3"]


def test_sample_is_part_of_a_larger_one_and_every_number_is_equally_likely() -> None:
    numbers = np.arange(200_000, dtype=np.int64)[::2]
    small, large = hash_sample(numbers, 100, 5), hash_sample(numbers, 1000, 5)
    assert (len(small), len(large)) == (100, 1000)
    assert set(small.tolist()) <= set(large.tolist()) <= set(numbers.tolist())
    assert (np.diff(large) > 0).all()
    assert hash_sample(numbers, 100, 6).tolist() != small.tolist()
    assert hash_sample(range(5), 9, 0).tolist() == [0, 1, 2, 3, 4]
    assert hash_sample(range(5), 0, 0).tolist() == []
    seen = Counter(number for seed in range(4000) for number in hash_sample(range(10), 3, seed).tolist())
    # 1200 each, and 5 standard deviations.
    assert all(abs(times - 1200) < 145 for times in seen.values())
    assert len(seen) == 10
