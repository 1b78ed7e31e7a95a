"""Parts: invisible until one commit lists them, in the order of the list, each once; kept while they may be needed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import (
    DatasetNotFoundError,
    FormatError,
    ManifestError,
    PartWriter,
    SampleDataset,
    SchemaError,
    SplitDataLoader,
    SplitWriter,
    append,
    commit_parts,
    compact,
    delete,
    describe,
    merge,
    open_part,
    repair,
    verify,
    waiting_parts,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import WAITING_SECONDS, remove_abandoned
from splitdata.dataset.parts import commit_parts as module
from splitdata.dataset.parts.part_segment import PartSegment
from splitdata.dataset.writing.commit import add_segments
from splitdata.errors import ClosedError
from tests.dataset.record_kinds import tree_of

Descriptor = dict[str, Any]
WEEK = 7 * 24 * 3600


def part(path: Path, name: str, records: list[bytes] | None = None, **options: Any) -> Descriptor:
    """Write one part; by default three records that name it."""
    with open_part(path, name, bins=2, durability="none", **options) as writer:
        writer.write_many(records if records is not None else [f"{name}/{number}".encode() for number in range(3)])
    return writer.descriptor


def records_of(*names: str) -> list[bytes]:
    return [f"{name}/{number}".encode() for name in names for number in range(3)]


def read(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return list(loader)


def age(path: Path, seconds: float) -> None:
    """Let everything in a dataset be older."""
    then = time.time() - seconds
    for one in [*path.rglob("*"), path]:
        os.utime(one, (then, then))


# -- what is visible -----------------------------------------------------------------------------


def test_sealed_part_is_invisible_until_its_commit(tmp_path: Path) -> None:
    descriptor = part(tmp_path, "a")

    with pytest.raises(DatasetNotFoundError, match="parts of one wait here"):
        SplitDataLoader(tmp_path)
    assert waiting_parts(tmp_path) == [descriptor]

    report = commit_parts(tmp_path, [descriptor])

    assert read(tmp_path) == records_of("a")
    assert (report.positions, report.num_records, report.num_committed) == (range(3), 3, 1)
    assert waiting_parts(tmp_path) == []
    assert verify(tmp_path).is_intact


def test_order_of_the_list_decides_positions_whoever_was_first(tmp_path: Path) -> None:
    with SplitWriter(tmp_path, bins=2) as writer:
        writer.write(b"before")
    described = {name: part(tmp_path, name) for name in ("b", "c", "a")}

    report = commit_parts(tmp_path, [described[name] for name in "abc"])

    assert read(tmp_path) == [b"before", *records_of("a", "b", "c")]
    assert report.positions == range(1, 10)
    assert describe(tmp_path).generation == 2


def test_same_list_twice_is_a_no_op(tmp_path: Path) -> None:
    descriptors = [part(tmp_path, "a"), part(tmp_path, "b"), part(tmp_path, "empty", [])]
    first = commit_parts(tmp_path, descriptors, metadata={"made": "here"})
    before = tree_of(tmp_path)

    again = commit_parts(tmp_path, descriptors, metadata={"made": "here"})

    assert tree_of(tmp_path) == before
    assert (first.num_committed, again.num_committed) == (2, 0)
    assert (again.num_there, again.positions, again.generation) == (2, range(6, 6), first.generation)


def test_part_written_twice_counts_once_and_the_other_attempt_goes(tmp_path: Path) -> None:
    one, other = part(tmp_path, "a", [b"one"]), part(tmp_path, "a", [b"other"])

    report = commit_parts(tmp_path, [other, one, part(tmp_path, "b")])

    assert read(tmp_path) == [b"other", *records_of("b")]
    assert report.num_doubles == 1
    assert not describe(tmp_path).unlisted_segments


def test_late_attempt_at_a_committed_part_adds_nothing(tmp_path: Path) -> None:
    commit_parts(tmp_path, [part(tmp_path, "a")])
    late = part(tmp_path, "a")

    report = commit_parts(tmp_path, [late])

    assert read(tmp_path) == records_of("a")
    assert (report.num_committed, report.num_there) == (0, 1)
    assert not describe(tmp_path).unlisted_segments


def test_late_attempt_adds_nothing_after_small_segments_were_folded_and_records_deleted(tmp_path: Path) -> None:
    commit_parts(tmp_path, [part(tmp_path, str(number)) for number in range(40)])
    with SplitWriter(tmp_path, mode="append", durability="none") as writer:
        writer.write(b"last")
    delete(tmp_path, positions=[4])
    compact(tmp_path)
    with SplitDataLoader(tmp_path) as loader:
        assert (len(loader), loader[3], loader[120]) == (121, b"1/0", b"last")

    report = commit_parts(tmp_path, [part(tmp_path, "1")])

    assert (report.num_committed, report.num_records) == (0, 121)


def test_other_records_under_the_name_of_a_committed_part_are_refused(tmp_path: Path) -> None:
    commit_parts(tmp_path, [part(tmp_path, "a")])
    other = part(tmp_path, "a", [b"of another job"])
    before = tree_of(tmp_path)

    with pytest.raises(ManifestError, match=r"has a part 'a' already, with 3 records.*need other names"):
        commit_parts(tmp_path, [other])

    assert tree_of(tmp_path) == before


def test_rival_that_commits_the_same_parts_meanwhile_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptors = [part(tmp_path, "a"), part(tmp_path, "b")]
    sync = PartSegment.sync
    calls = []

    def overtaken(self: PartSegment, **options: Any) -> None:
        calls.append(self.id)
        if len(calls) == 1:
            commit_parts(tmp_path, [descriptors[0]])
        sync(self, **options)

    monkeypatch.setattr(PartSegment, "sync", overtaken)

    report = commit_parts(tmp_path, descriptors)

    assert read(tmp_path) == records_of("a", "b")
    assert (report.num_committed, report.num_there) == (1, 1)


def test_writer_that_appends_meanwhile_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = [part(tmp_path, "a"), part(tmp_path, "b")]
    sync = PartSegment.sync
    calls: list[str] = []

    def overtaken(self: PartSegment, **options: Any) -> None:
        sync(self, **options)
        calls.append(self.id)
        if len(calls) == 2:
            with SplitWriter(tmp_path, mode="append", durability="none") as writer:
                writer.write(b"rival")

    monkeypatch.setattr(PartSegment, "sync", overtaken)

    report = commit_parts(tmp_path, descriptors)

    assert read(tmp_path) == [b"rival", *records_of("a", "b")]
    assert report.positions == range(1, 7)


# -- what parts may hold -------------------------------------------------------------------------


def test_samples_keys_and_metadata_of_parts_are_those_of_one_writer(tmp_path: Path) -> None:
    samples = [{"image": np.arange(number, dtype=np.uint8), "label": number} for number in range(6)]
    samples[4] = {"text": "of another schema"}
    descriptors = []
    for number in range(2):
        with open_part(tmp_path, str(number), codec="sample", metadata={"from": number, str(number): True}) as writer:
            half = range(3 * number, 3 * number + 3)
            writer.write_samples([samples[one] for one in half], keys=[f"key {one}" for one in half])
        descriptors.append(writer.descriptor)

    commit_parts(tmp_path, descriptors)

    with SampleDataset(tmp_path) as dataset:
        assert [dataset[number].keys() for number in range(6)] == [one.keys() for one in samples]
        assert dataset[5]["label"] == 5
        assert dataset.records.find("key 4") == 4
        assert dataset.records.metadata == {"from": 0, "0": True, "1": True, "record_codec": "sample"}
    assert verify(tmp_path).is_intact


def test_small_records_are_grouped_and_a_long_one_among_them_leaves_one_segment(tmp_path: Path) -> None:
    small = [b"%d" % number for number in range(5000)]
    descriptors = [part(tmp_path, "a", small), part(tmp_path, "b", [*small, bytes(17 << 20), *small])]

    commit_parts(tmp_path, descriptors)

    found = describe(tmp_path)
    assert (found.num_segments, found.num_records) == (2, 15001)
    assert read(tmp_path)[:10001] == [*small, *small, bytes(17 << 20)]


def test_parts_of_different_codecs_or_schemas_are_refused(tmp_path: Path) -> None:
    plain = part(tmp_path, "plain")
    with open_part(tmp_path, "typed", schema={"label": "int"}) as writer:
        writer.write_sample({"label": 1})
    with open_part(tmp_path, "other", schema={"label": "str"}) as other:
        other.write_sample({"label": "1"})

    with pytest.raises(ValueError, match="cannot be in one dataset"):
        commit_parts(tmp_path, [plain, writer.descriptor])
    with pytest.raises(SchemaError):
        commit_parts(tmp_path, [writer.descriptor, other.descriptor])
    commit_parts(tmp_path, [plain])
    with pytest.raises(ValueError, match="cannot be in one dataset"):
        commit_parts(tmp_path, [writer.descriptor])
    assert read(tmp_path) == records_of("plain")


def test_reproducible_parts_give_equal_files_whatever_came_before_them(tmp_path: Path) -> None:
    for folder, names in ((tmp_path / "x", "ab"), (tmp_path / "y", "ba")):
        described = {name: part(folder, name, reproducible=True) for name in names}
        commit_parts(folder, [described[name] for name in "ab"], reproducible=True)

    assert tree_of(tmp_path / "x") == tree_of(tmp_path / "y")


def test_reproducible_part_has_equal_files_after_an_attempt_that_was_killed(tmp_path: Path) -> None:
    for folder in (tmp_path / "x", tmp_path / "y"):
        if folder.name == "y":
            killed = open_part(folder, "a", bins=2, durability="none", reproducible=True)
            killed.write(b"lost")
            killed._flush()
            killed._release()
        commit_parts(folder, [part(folder, "a", reproducible=True)], reproducible=True)

    assert tree_of(tmp_path / "x") == tree_of(tmp_path / "y")


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"part": ""},
        {"part": "a\n"},
        {"part": 7},
        {"part": "x" * 201},
        {"segment": "../../../../../../../../etc/passwd"},
        {"segment": "A" * 32},
        {"segment": 3},
        {"records": -1},
        {"records": 3.0},
        {"records": True},
        {"records": 1 << 33},
        {"digest": "f" * 16},
        {"digest": 5},
        {"more": 1},
    ],
    ids=str,
)
def test_invalid_descriptor_is_refused_before_anything_is_looked_at(tmp_path: Path, change: Descriptor) -> None:
    descriptor = part(tmp_path, "a")
    before = tree_of(tmp_path)

    with pytest.raises((ValueError, TypeError)):
        commit_parts(tmp_path, [descriptor | change])

    assert tree_of(tmp_path) == before


@pytest.mark.parametrize(
    "change", [{"part": "b"}, {"records": 2}, {"digest": "0" * 16}, {"segment": "0" * 32}], ids=str
)
def test_descriptor_of_another_part_than_is_there_is_refused(tmp_path: Path, change: Descriptor) -> None:
    descriptor = part(tmp_path, "a")

    with pytest.raises(ManifestError, match="nothing was changed"):
        commit_parts(tmp_path, [descriptor | change])

    assert waiting_parts(tmp_path) == [descriptor]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["index", "000000.bin", "000001.bin", "keys", "part"])
@pytest.mark.parametrize("damage", [cut, Path.unlink], ids=["cut", "gone"])
def test_part_of_which_something_is_missing_is_refused(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    whole = part(tmp_path, "whole")
    with open_part(tmp_path, "a", bins=2, durability="none") as writer:
        writer.write_many([b"one", b"two"], keys=["1", "2"])
    damage(tmp_path / "segments" / writer.descriptor["segment"] / name)

    with pytest.raises(FormatError, match=r"write (it|the part) again"):
        commit_parts(tmp_path, [whole, writer.descriptor])

    assert not DatasetDirectory(tmp_path).generations()


@pytest.mark.parametrize("name", ["index", "part"])
def test_part_with_a_flipped_bit_in_what_describes_it_is_refused(tmp_path: Path, name: str) -> None:
    descriptor = part(tmp_path, "a")
    flip(tmp_path / "segments" / descriptor["segment"] / name)

    with pytest.raises(FormatError):
        commit_parts(tmp_path, [descriptor])


def test_part_that_is_still_written_has_no_descriptor_and_cannot_be_committed_alone(tmp_path: Path) -> None:
    with open_part(tmp_path, "a") as writer:
        writer.write(b"one")
        with pytest.raises(ClosedError, match="not sealed"):
            _ = writer.descriptor
        with pytest.raises(ValueError, match="committed with others"):
            writer.commit()
    assert commit_parts(tmp_path, [writer.descriptor]).num_records == 1


def test_part_whose_writer_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(writer: PartWriter) -> None:
        with writer:
            writer.write(b"one")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail(open_part(tmp_path / "data", "a"))

    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["", "a\x00", "x" * 201, None, b"a"])
def test_invalid_name_of_a_part_is_refused(tmp_path: Path, name: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="part_id must be"):
        open_part(tmp_path / "data", name)
    assert not (tmp_path / "data").exists()


# -- how long parts wait -------------------------------------------------------------------------


def close_a_writer(path: Path) -> None:
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(b"another")


def resume_a_writer(path: Path) -> None:
    with SplitWriter(path, mode="resume", durability="none") as writer:
        writer.write(b"another")


def adopt_orphans(path: Path) -> None:
    close_a_writer(path)
    assert repair(path, adopt=True).num_adopted == 0


def append_a_dataset(path: Path) -> None:
    close_a_writer(path)
    with SplitWriter(path.parent / "other", durability="none") as writer:
        writer.write(b"of the other")
    append([path.parent / "other"], path)


def clear_away(path: Path) -> None:
    close_a_writer(path)
    remove_abandoned(DatasetDirectory(path), seconds=0)
    assert not compact(path, erase=True).left


@pytest.mark.parametrize("other", [close_a_writer, resume_a_writer, adopt_orphans, append_a_dataset, clear_away])
def test_part_waits_whatever_others_do_in_the_directory(tmp_path: Path, other: Callable[[Path], None]) -> None:
    path = tmp_path / "data"
    descriptor = part(path, "a")
    age(path, WEEK - 3600)

    other(path)
    before = read(path)
    commit_parts(path, [descriptor])

    assert read(path) == [*before, *records_of("a")]


def test_part_that_nobody_commits_is_reclaimed_after_a_week(tmp_path: Path) -> None:
    descriptor = part(tmp_path, "a")
    close_a_writer(tmp_path)
    age(tmp_path, WAITING_SECONDS + 60)

    close_a_writer(tmp_path)

    assert waiting_parts(tmp_path) == []
    with pytest.raises(ManifestError, match="write it again"):
        commit_parts(tmp_path, [descriptor])


def test_part_that_is_taken_for_a_commit_is_young_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = part(tmp_path, "a")
    close_a_writer(tmp_path)
    age(tmp_path, WAITING_SECONDS + 60)
    publish = add_segments

    def cleared(directory: DatasetDirectory, segments: Any, base: Any, **options: Any) -> Any:
        for one in segments:
            one.sync(first_position=0, durable=False, is_first_commit=False)
        remove_abandoned(directory, seconds=0)
        return publish(directory, segments, base, **options)

    monkeypatch.setattr(module, "add_segments", cleared)
    commit_parts(tmp_path, [descriptor])

    assert read(tmp_path) == [b"another", *records_of("a")]


def test_part_of_a_dataset_that_was_replaced_is_refused(tmp_path: Path) -> None:
    close_a_writer(tmp_path)
    descriptor = part(tmp_path, "a")
    with SplitWriter(tmp_path, mode="overwrite", durability="none") as writer:
        writer.write(b"new")

    with pytest.raises(ManifestError, match="write it again"):
        commit_parts(tmp_path, [descriptor])

    assert read(tmp_path) == [b"new"]


def test_part_of_a_replaced_dataset_is_refused_though_it_could_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_a_writer(tmp_path)
    descriptor = part(tmp_path, "a")
    with monkeypatch.context() as patch:
        patch.setattr("splitdata.dataset.writing.commit.remove_unlisted", lambda *_, **__: None)
        with SplitWriter(tmp_path, mode="overwrite", durability="none") as writer:
            writer.write(b"new")

    with pytest.raises(ManifestError, match="the dataset was replaced since part"):
        commit_parts(tmp_path, [descriptor])

    assert read(tmp_path) == [b"new"]


def test_what_a_killed_writer_of_a_part_has_left_is_never_adopted(tmp_path: Path) -> None:
    close_a_writer(tmp_path)
    killed = open_part(tmp_path, "a", bins=1, durability="none")
    killed.write_many([b"whole"] * 3)
    killed._flush()
    killed._session._segment.finish_groups()  # type: ignore[union-attr]
    killed._release()

    report = repair(tmp_path, adopt=True)

    assert (report.num_adopted, report.num_adoptable) == (0, 0)
    assert read(tmp_path) == [b"another"]


def test_parts_of_merged_datasets_keep_their_names_to_themselves(tmp_path: Path) -> None:
    for name in ("x", "y"):
        commit_parts(tmp_path / name, [part(tmp_path / name, "same", [name.encode()])])
    merge([tmp_path / "x", tmp_path / "y"], tmp_path / "both")

    commit_parts(tmp_path / "both", [part(tmp_path / "both", "same", [b"third"])])

    assert read(tmp_path / "both") == [b"x", b"y", b"third"]


def test_copied_directory_is_committed_as_the_original(tmp_path: Path) -> None:
    descriptor = part(tmp_path / "x", "a")
    shutil.copytree(tmp_path / "x", tmp_path / "y")

    commit_parts(tmp_path / "y", [descriptor])

    assert read(tmp_path / "y") == records_of("a")
