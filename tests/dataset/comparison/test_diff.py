"""`diff`: every kind of dataset against every change, in memory and in parts, against a plain comparison of lists."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitdata import (
    DatasetNotFoundError,
    DiffReport,
    SplitDataLoader,
    SplitWriter,
    append,
    delete,
    diff,
    encode_sample,
    merge,
)
from splitdata.dataset.comparison import moved, row_store
from splitdata.dataset.comparison.moved import Runs, moved_runs
from splitdata.dataset.segments.segment_reader import SegmentReader
from tests.dataset.merging.two_datasets import TOOL_KINDS, TwoDatasets
from tests.dataset.record_kinds import RecordKind, overwrite, place_of


def write(path: Path, records: list[bytes], keys: list[str] | None = None, **options: Any) -> Path:
    with SplitWriter(path, mode="append", durability="none", **options) as writer:
        writer.write_many(records, keys=keys)
    return path


def counts(report: DiffReport) -> tuple[int, int, int, int, int]:
    return report.num_added, report.num_removed, report.num_changed, report.num_moved, report.num_same


def listed(report: DiffReport, kind: str) -> list[tuple[int | None, int | None]]:
    return [(one.position_a, one.position_b) for one in report.differences if one.kind == kind]


@pytest.mark.parametrize("kind", TOOL_KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_equal_to_itself_written_in_other_ways_and_deletions_are_removals(
    tmp_path: Path, kind: RecordKind
) -> None:
    two = TwoDatasets.written(kind, tmp_path)
    count = len(kind.records)
    kind.write_sealed(tmp_path / "one")
    # The same records in other segments, bins, groups.
    with kind.writer(tmp_path / "other", mode="create") as writer:
        kind.write(writer, 0, count // 2)
        writer.commit()
        kind.write(writer, count // 2, count)
    merge([two.first, two.second], tmp_path / "merged")

    assert counts(diff(tmp_path / "one", tmp_path / "other")) == (0, 0, 0, 0, count)
    report = diff(tmp_path / "one", tmp_path / "merged")
    is_empty = not any(kind.records) and not kind.has_keys
    assert counts(report) == (0, 2, 0, 0, count - 2)
    assert is_empty or listed(report, "removed") == [(1, None), (count // 3, None)]
    assert report.by == ("key" if kind.has_keys else "content")
    assert diff(tmp_path / "merged", tmp_path / "one").num_added == 2


@pytest.mark.parametrize("by_key", [False, True], ids=["content", "key"])
@pytest.mark.parametrize("in_parts", [False, True], ids=["in memory", "in parts"])
def test_record_added_removed_changed_and_moved_is_each_told(
    tmp_path: Path, by_key: bool, in_parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if in_parts:
        monkeypatch.setattr(row_store, "PART_BYTES", 256)
    before = [(f"key {number}", b"record %d" % number) for number in range(200)]
    after = list(before)
    after[20] = ("key 20", b"changed")
    del after[50]
    after.insert(90, ("new", b"new"))
    after.append(after.pop(150))
    a = write(tmp_path / "a", [one for _, one in before], [key for key, _ in before] if by_key else None)
    b = write(tmp_path / "b", [one for _, one in after], [key for key, _ in after] if by_key else None, bins=3)

    report = diff(a, b)

    assert counts(report) == (1, 1, 1, 1, 197)
    assert not report.is_equal
    assert listed(report, "removed") == [(50, None)]
    assert listed(report, "added") == [(None, 90)]
    assert listed(report, "changed") == [(20, 20)]
    assert listed(report, "moved") == [(150, 199)]
    assert {one.key for one in report.differences} == ({"key 50", "new", "key 20", "key 150"} if by_key else {None})
    assert counts(diff(a, b, limit=0)) == counts(report)
    assert diff(a, b, limit=0).differences == ()


def test_no_payload_is_read_where_frames_have_the_hash(tmp_path: Path) -> None:
    records = [b"%07d" % number * 100 for number in range(100)]
    a, b = (write(tmp_path / name, records, group=1, bins=bins) for name, bins in (("a", 1), ("b", 4)))
    path, offset = place_of(b, 7)
    # What is damaged but not looked at is `verify`'s to find.
    overwrite(path, offset + 40, b"\xff")

    assert diff(a, b).is_equal
    assert SplitDataLoader(b, verify=False)[7] != records[7]


def test_segments_that_both_begin_or_end_with_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [write(tmp_path / str(number), [b"%d %d" % (number, n) for n in range(9)]) for number in range(4)]
    merge([parts[0], parts[1], parts[3]], tmp_path / "a")
    merge([parts[0], parts[2], parts[3]], tmp_path / "b")
    delete(tmp_path / "a", positions=[20])
    delete(tmp_path / "b", positions=[20])

    report = diff(tmp_path / "a", tmp_path / "b")
    assert (report.num_unread, *counts(report)) == (17, 0, 0, 9, 0, 17)
    append([parts[2]], tmp_path / "a")
    append([parts[1]], tmp_path / "b")
    report = diff(tmp_path / "a", tmp_path / "b")
    # 1 3 2 and 2 3 1, with one of 3 deleted: what is left in order is 9 records.
    assert (report.num_unread, *counts(report)) == (9, 0, 0, 0, 17, 18)
    monkeypatch.setattr(SegmentReader, "raw_hashes", None)
    assert diff(tmp_path / "a", tmp_path / "a").is_equal


def test_records_that_occur_several_times_are_matched_as_often_as_both_have_them(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [b"x", b"y", b"x", b"x"])
    b = write(tmp_path / "b", [b"x", b"y", b"z", b"z", b"x"])
    report = diff(a, b)
    assert counts(report) == (1, 0, 1, 0, 3)
    assert listed(report, "changed") == [(3, 3)]
    assert listed(report, "added") == [(None, 2)]


def test_samples_of_equal_content_are_equal_whatever_numbers_their_schemas_have(tmp_path: Path) -> None:
    samples = [{"image": np.arange(3)}, {"text": "x"}, {"more": 1.5}]
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        with SplitWriter(tmp_path / name) as writer:
            # The first ones decide which number a schema has.
            writer.write_samples(samples[number] for number in (*order, 0, 1, 2))
    report = diff(tmp_path / "a", tmp_path / "b")
    assert counts(report)[:3] == (0, 0, 0)
    with SplitWriter(tmp_path / "c", codec="sample") as writer:
        writer.write_many([encode_sample(samples[number]) for number in (0, 1, 2, 0, 1, 2)])
    assert diff(tmp_path / "a", tmp_path / "c").num_changed == 0


def test_shuffle_of_more_runs_than_are_sorted_counts_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved, "_MOST_RUNS", 2)
    a = write(tmp_path / "a", [b"0", b"1", b"2", b"3"])
    b = write(tmp_path / "b", [b"0", b"3", b"2", b"1"])
    assert counts(diff(a, b)) == (0, 0, 0, 2, 2)


def test_dataset_that_is_not_there_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    a = write(tmp_path / "a", [b"0"])
    with SplitWriter(tmp_path / "b"):
        pass
    with pytest.raises(DatasetNotFoundError):
        diff(a, tmp_path / "no")
    with pytest.raises(ValueError, match="limit"):
        diff(a, a, limit=-1)
    assert counts(diff(a, tmp_path / "b")) == (0, 1, 0, 0, 0)
    assert diff(tmp_path / "b", tmp_path / "b").is_equal


def test_progress_ends_with_all_records(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", [b"0"] * 9), write(tmp_path / "b", [b"1"] * 5)
    seen: list[tuple[int, int]] = []
    diff(a, b, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (14, 14)


def longest_ascending(values: list[int]) -> int:
    best: list[int] = []
    for place, value in enumerate(values):
        best.append(1 + max((best[other] for other in range(place) if values[other] < value), default=0))
    return max(best, default=0)


@given(st.permutations(range(12)), st.integers(1, 12))
def test_as_few_records_as_can_be_are_said_to_have_moved(order: list[int], step: int) -> None:
    places = np.array(order, np.int64)
    runs = Runs(places[start : start + step] for start in range(0, len(places), step))
    has_moved = moved_runs(runs)

    assert runs.lengths.sum() == len(order)
    kept = [one for one, number in zip(order, runs.of(np.arange(len(order))), strict=True) if not has_moved[number]]
    assert kept == sorted(kept)
    assert len(kept) == longest_ascending(order)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 5), max_size=20), st.lists(st.integers(0, 5), max_size=20))
def test_counts_agree_with_lists(tmp_path_factory: pytest.TempPathFactory, one: list[int], other: list[int]) -> None:
    folder = tmp_path_factory.mktemp("diff")
    a, b = (write(folder / name, [b"%d" % value for value in values]) for name, values in (("a", one), ("b", other)))
    report = diff(a, b)

    both = (Counter(one) & Counter(other)).total()
    assert report.num_removed + report.num_changed == len(one) - both
    assert report.num_added + report.num_changed == len(other) - both
    assert report.num_same + report.num_moved == both
    assert report.is_equal == (one == other)


def test_segments_of_which_other_records_were_deleted_are_looked_at(tmp_path: Path) -> None:
    write(tmp_path / "a", [b"%d" % number for number in range(6)])
    merge([tmp_path / "a"], tmp_path / "b")
    delete(tmp_path / "b", positions=[2])
    one_deleted = diff(tmp_path / "a", tmp_path / "b")
    # As many in both, and not the same.
    delete(tmp_path / "a", positions=[4])
    another_deleted = diff(tmp_path / "a", tmp_path / "b")

    assert counts(one_deleted) == (0, 1, 0, 0, 5)
    assert listed(one_deleted, "removed") == [(2, None)]
    assert (another_deleted.num_added, another_deleted.num_removed, another_deleted.num_same) == (1, 1, 4)
