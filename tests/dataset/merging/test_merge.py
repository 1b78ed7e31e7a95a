"""`merge` and `append`: every kind of dataset, end to end, by links; what does not go together is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from splitdata import (
    DatasetExistsError,
    DatasetNotFoundError,
    DuplicateKeyError,
    FormatError,
    MissingBinError,
    SampleDataset,
    SchemaError,
    SplitDataLoader,
    SplitWriter,
    append,
    compact,
    delete,
    describe,
    merge,
    repair,
    verify,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.segments.record_reader import RecordReader
from splitdata.dataset.segments.segment_reader import SegmentReader
from splitdata.storage import files
from tests.dataset.merging.two_datasets import TOOL_KINDS, TwoDatasets, contents_of
from tests.dataset.record_kinds import RecordKind, overwrite, segments_of, tree_of
from tests.faults.file_faults import fast_folder


def write(path: Path, records: list[bytes], keys: list[str] | None = None, **options: Any) -> Path:
    with SplitWriter(path, mode="append", durability="none", **options) as writer:
        writer.write_many(records, keys=keys)
    return path


def no_links(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


@pytest.mark.parametrize("kind", TOOL_KINDS, ids=lambda kind: kind.name)
def test_merge_and_append_of_every_kind_have_all_records_in_order_and_inputs_stay(
    tmp_path: Path, kind: RecordKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = TwoDatasets.written(kind, tmp_path)
    expected = [*contents_of(two.first), *contents_of(two.second)]
    before = tree_of(two.first), tree_of(two.second)
    with monkeypatch.context() as patch:
        for reader in (SegmentReader, RecordReader):
            # No record is read, however it is stored.
            patch.setattr(reader, "locate" if reader is RecordReader else "get", no_links)
        merged = merge([two.first, two.second], tmp_path / "merged")
        extended = append([two.second], merge([two.first], tmp_path / "extended").path)

    assert (merged.num_linked, merged.num_rewritten, merged.positions) == (3, 0, range(len(expected)))
    assert extended.positions == range(len(contents_of(two.first)), len(expected))
    for path in (tmp_path / "merged", tmp_path / "extended"):
        assert contents_of(path) == expected
        assert verify(path).is_intact
        mended = repair(path)
        assert (mended.is_whole, mended.actions, mended.notes) == (True, (), ())
    assert (tree_of(two.first), tree_of(two.second)) == before
    with SplitDataLoader([two.first, two.second]) as both, SplitDataLoader(tmp_path / "merged") as one:
        assert one.fingerprint == both.fingerprint
        assert one.metadata == {name: value for name, value in one.metadata.items() if name != "source"}


def test_files_are_links_but_for_the_index_which_says_where_the_segment_begins(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [b"1"] * 5, bins=2), write(tmp_path / "b", [b"2"] * 5, bins=2)
    merge([first, second], tmp_path / "c")

    info, paths = segments_of(second)[0]
    there = DatasetDirectory(tmp_path / "c").paths.segment(info.id)
    assert Path(paths.bin(1)).samefile(there.bin(1))
    assert not Path(paths.index).samefile(there.index)
    header = DatasetDirectory(tmp_path / "c").index_header(info.id)
    assert header is not None
    assert (header.first_position, header.awaits_first_commit) == (5, False)


def test_other_file_systems_get_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "a", [b"record %d" % n for n in range(50)], [f"k{n}" for n in range(50)], bins=2)
    delete(first, keys=["k7"])
    monkeypatch.setattr(files, "link", no_links)
    # Manifests are published without a name, and linked through the system itself.
    report = merge([first], tmp_path / "b")

    assert report.num_copied_bytes > report.num_bytes
    info, paths = segments_of(first)[0]
    there = DatasetDirectory(tmp_path / "b").paths.segment(info.id)
    assert not Path(paths.bin(0)).samefile(there.bin(0))
    assert contents_of(tmp_path / "b") == contents_of(first)
    assert verify(tmp_path / "b").is_intact


def test_dataset_on_another_real_file_system_is_copied_and_appended_to_both_ways(tmp_path: Path) -> None:
    with fast_folder(tmp_path) as other:
        if other.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one file system only")
        first, second = write(tmp_path / "a", [b"1"] * 9, bins=2), write(other / "b", [b"2"] * 9, bins=2)
        there = merge([first, second], other / "c")
        here = append([other / "c"], write(tmp_path / "d", [b"0"]))
        # Of the first dataset all, of the second the index.
        assert there.num_copied_bytes > segments_of(first)[0][0].stored_bytes
        for path, expected in ((there.path, b"111111111222222222"), (here.path, b"0111111111222222222")):
            assert b"".join(one[0] for one in contents_of(Path(path)) if one) == expected
            assert verify(path).is_intact


def test_damage_of_one_dataset_is_repaired_without_a_change_in_the_other(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [b"record %d" % n for n in range(50)], bins=2)
    merge([first], tmp_path / "b")
    info, _ = segments_of(first)[0]
    there = Path(DatasetDirectory(tmp_path / "b").paths.segment(info.id).bin(0))
    # A header, which both have, is mended in one of them.
    overwrite(there, 20, b"\xff")
    damaged = tree_of(first)

    repair(tmp_path / "b")

    assert verify(tmp_path / "b").is_intact
    assert tree_of(first) == damaged
    assert not verify(first).is_intact


def test_each_dataset_is_compacted_and_removed_without_the_other(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [b"record %d" % n for n in range(50)], bins=2)
    merge([first], tmp_path / "b")
    delete(first, positions=[3])
    compact(first, erase=True)
    with SplitWriter(first, mode="overwrite") as writer:
        writer.write(b"other")

    assert contents_of(tmp_path / "b") == [(b"record %d" % n, None) for n in range(50)]
    assert verify(tmp_path / "b").is_intact


def test_second_call_finds_all_there_and_a_grown_source_adds_what_is_new(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [b"1"] * 3), write(tmp_path / "b", [b"2"] * 4)
    dest = tmp_path / "c"
    merge([first, second], dest)
    before = tree_of(dest)

    again = merge([first, second], dest)
    nothing = append([second], dest)
    assert (again.num_there, nothing.num_there, len(again.positions), len(nothing.positions)) == (2, 1, 0, 0)
    assert tree_of(dest) == before

    write(second, [b"3"] * 2)
    more = append([first, second], dest)
    assert (more.num_there, more.num_linked, more.positions) == (2, 1, range(7, 9))
    assert [one and one[0] for one in contents_of(dest)] == [b"1"] * 3 + [b"2"] * 4 + [b"3"] * 2


def test_dataset_given_twice_is_there_twice_and_can_be_merged_with_that_again(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [b"record %d" % n for n in range(9)], bins=2)
    twice = merge([first, first], tmp_path / "b")
    often = merge([tmp_path / "b", first, tmp_path / "b"], tmp_path / "c")

    assert (twice.num_linked, twice.num_rewritten, often.num_records) == (1, 1, 45)
    assert contents_of(tmp_path / "c") == contents_of(first) * 5
    assert verify(tmp_path / "c").is_intact
    assert merge([tmp_path / "b", first, tmp_path / "b"], tmp_path / "c").num_there == 5


@pytest.mark.parametrize("kind", [one for one in TOOL_KINDS if one.name != "large"], ids=lambda kind: kind.name)
def test_open_segment_is_merged_as_committed_and_appended_only_when_sealed(tmp_path: Path, kind: RecordKind) -> None:
    killed, dest = tmp_path / "a", tmp_path / "c"
    kind.write_open(killed, uncommitted=8)
    expected = contents_of(killed)
    assert 0 < len(expected) < len(kind.records)
    before = tree_of(killed)

    report = merge([killed], dest)

    assert report.num_rewritten == len([info for info, _ in segments_of(killed) if not info.is_sealed])
    assert contents_of(dest) == expected
    assert verify(dest).is_intact
    assert tree_of(killed) == before
    if not report.num_rewritten:
        return
    write_empty = tmp_path / "d"
    with kind.writer(write_empty):
        pass
    with pytest.raises(FormatError, match="is open: a writer is at work"):
        append([killed], write_empty)
    assert compact(killed).num_sealed == 1
    assert append([killed], write_empty).num_records == len(expected)
    assert contents_of(write_empty) == expected


def test_keys_that_occur_in_two_datasets_are_named_unless_allowed(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [b"1"] * 3, ["a", "b", "c"])
    second = write(tmp_path / "b", [b"2"] * 3, ["c", "d", "b\x1b"])
    with pytest.raises(DuplicateKeyError, match=r"1 keys occur in two of the datasets: 'c'") as caught:
        merge([first, second], tmp_path / "c")
    assert (caught.value.key, caught.value.numbers) == ("c", (2, 3))
    assert not (tmp_path / "c").exists()

    merge([first], tmp_path / "c")
    before = tree_of(tmp_path / "c")
    with pytest.raises(DuplicateKeyError, match="'c'"):
        append([second], tmp_path / "c")
    assert tree_of(tmp_path / "c") == before

    append([second], tmp_path / "c", allow_duplicate_keys=True)
    with SplitDataLoader(tmp_path / "c") as loader:
        assert loader.find("c") == 3
        assert loader.find("a") == 0


def test_key_of_a_deleted_record_and_one_that_is_twice_in_one_dataset_are_no_error(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [b"1"], ["a"]), write(tmp_path / "b", [b"2"], ["a"])
    write(second, [b"3"], ["b"])
    write(second, [b"4"], ["b"])
    delete(second, positions=[0])

    merge([first, second], tmp_path / "c")

    with SplitDataLoader(tmp_path / "c") as loader:
        assert (loader.find("a"), loader.find("b")) == (0, 3)


def test_shared_key_among_many_is_found_whatever_batches_they_come_in(tmp_path: Path) -> None:
    keys = [f"key {number}" for number in range(3000)]
    first = write(tmp_path / "a", [b""] * 3000, keys)
    second = write(tmp_path / "b", [b""] * 3001, [f"other {number}" for number in range(3000)] + ["key 1234"])

    with pytest.raises(DuplicateKeyError, match="1 keys occur in two of the datasets: 'key 1234'"):
        merge([first, second], tmp_path / "c")
    with pytest.raises(DuplicateKeyError, match="more than 10 keys occur"):
        merge([first, first], tmp_path / "c")


def test_datasets_that_do_not_go_together_are_refused_and_nothing_is_made(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", [b"1"])
    for name, schema in (("x", {"x": np.float32(0)}), ("y", {"y": np.float32(0)})):
        with SplitWriter(tmp_path / name, schema=schema) as writer:
            writer.write_sample({name: np.float32(1)})
    dest = tmp_path / "dest"
    with pytest.raises(ValueError, match="codec"):
        merge([plain, tmp_path / "x"], dest)
    with pytest.raises(SchemaError):
        merge([tmp_path / "x", tmp_path / "y"], dest)
    with pytest.raises(DatasetNotFoundError):
        merge([plain, tmp_path / "no"], dest)
    with pytest.raises(DatasetNotFoundError):
        append([plain], dest)
    with pytest.raises(ValueError, match="cannot be appended to itself"):
        append([plain], plain)
    with pytest.raises(TypeError, match="as a list"):
        merge(str(plain), dest)
    with pytest.raises(ValueError, match="at least one"):
        merge([], dest)
    assert not dest.exists()
    with pytest.raises(DatasetExistsError, match="append"):
        merge([plain], tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(DatasetExistsError):
        merge([plain], tmp_path / "full")


def test_missing_bin_or_damaged_index_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [b"record"] * 9, bins=3)
    _, paths = segments_of(first)[0]
    index = Path(paths.index).read_bytes()
    overwrite(Path(paths.index), 40, b"\xff")
    with pytest.raises(FormatError, match="header of the index is damaged"):
        merge([first], tmp_path / "c")
    Path(paths.index).write_bytes(index)
    Path(paths.bin(1)).unlink()
    with pytest.raises(MissingBinError, match=r"000001\.bin is missing"):
        merge([first], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_metadata_are_joined_and_what_differs_is_reported(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [b"1"], metadata={"who": "me", "n": 1, "source": {"kind": "lines"}})
    second = write(tmp_path / "b", [b"2"], metadata={"who": "you", "more": 2, "conversion": {}})

    report = merge([first, second], tmp_path / "c")

    assert describe(tmp_path / "c").metadata == {"who": "me", "n": 1, "more": 2}
    assert report.metadata_left_out == ("who",)


def test_declared_schema_and_schemas_of_every_dataset_are_carried(tmp_path: Path) -> None:
    for name in "ab":
        with SplitWriter(tmp_path / name, schema={"x": np.float32(0)}) as writer:
            writer.write_samples({"x": np.float32(number)} for number in range(3))
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "c")

    with SampleDataset(tmp_path / "c") as dataset:
        assert [float(dataset[number]["x"]) for number in range(6)] == [0, 1, 2, 0, 1, 2]
    with pytest.raises(SchemaError), SplitWriter(tmp_path / "c", mode="append", codec="sample") as writer:
        writer.write_sample({"y": 1})


def test_dry_run_reports_the_same_and_changes_nothing(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [b"1"] * 3), write(tmp_path / "b", [b"2"] * 4)
    planned = merge([first, second], tmp_path / "c", dry_run=True)
    assert (planned.num_records, planned.num_linked, planned.is_dry_run) == (7, 2, True)
    assert not (tmp_path / "c").exists()

    merge([first], tmp_path / "c")
    before = tree_of(tmp_path / "c")
    planned = append([second], tmp_path / "c", dry_run=True)
    assert (planned.positions, planned.num_records) == (range(3, 7), 7)
    assert tree_of(tmp_path / "c") == before


def test_writer_at_work_in_the_destination_goes_on_behind_what_was_appended(tmp_path: Path) -> None:
    first, dest = write(tmp_path / "a", [b"1"] * 3), tmp_path / "c"
    with SplitWriter(dest) as writer:
        writer.write(b"before")
        writer.commit()
        writer.write(b"behind")
        append([first], dest)
    assert [one and one[0] for one in contents_of(dest)] == [b"before", *[b"1"] * 3, b"behind"]
    assert verify(dest).is_intact


def test_dataset_without_records_adds_nothing(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "a"):
        pass
    report = merge([tmp_path / "a", tmp_path / "a"], tmp_path / "c")
    assert (report.num_records, contents_of(tmp_path / "c")) == (0, [])


def test_progress_counts_the_bytes_of_all_bins(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a", [b"1"] * 3), write(tmp_path / "b", [b"2"] * 4)
    seen: list[tuple[int, int]] = []
    report = merge([first, second], tmp_path / "c", progress=lambda done, total: seen.append((done, total)))
    assert [total for _, total in seen] == [report.num_bytes] * 2
    assert seen[-1][0] == report.num_bytes
