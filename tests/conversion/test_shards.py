"""Conversions shared by several processes: records and order of one, each once, nothing before all are there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from splitdata import (
    ConversionProgress,
    DatasetExistsError,
    DatasetNotFoundError,
    SourceError,
    SplitDataLoader,
    SplitWriter,
    UnfinishedError,
    commit_shards,
    convert,
    describe,
    verify,
    waiting_parts,
    write_shard,
)
from splitdata.conversion import work_units
from splitdata.conversion.work_units import WorkUnit, unit_of
from tests.dataset.record_kinds import tree_of

LINES = 500


@pytest.fixture(autouse=True)
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_units, "UNIT_BYTES", 1000)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(f'{{"number": {number}}}\n' for number in range(LINES)), encoding="utf-8")
    return path


def read(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return list(loader)


def write_all(source: Any, dest: Path, count: int, **options: Any) -> None:
    for index in reversed(range(count)):
        write_shard(source, dest, (index, count), durability="none", **options)


def is_first(record: bytes) -> bool:
    return int(record.split()[1][:-1]) < 300


def doubled(record: bytes) -> list[bytes]:
    return [record, record] if b"7" in record else []


def fails_on_7(record: bytes) -> bytes:
    if b"77" in record:
        raise ValueError("77")
    return record


@pytest.mark.parametrize("count", [1, 3, 50])
def test_records_and_order_are_those_of_one_process_for_every_number_of_shards(
    lines: Path, tmp_path: Path, count: int
) -> None:
    convert(lines, tmp_path / "one", where=is_first, transform=doubled)

    write_all(lines, tmp_path / "shared", count, where=is_first, transform=doubled)
    report = commit_shards(tmp_path / "shared")

    assert read(tmp_path / "shared") == read(tmp_path / "one")
    # Three further units have no records.
    assert report.num_committed == 5
    assert describe(tmp_path / "shared").metadata == describe(tmp_path / "one").metadata
    assert verify(tmp_path / "shared").is_intact


def test_files_are_equal_for_every_number_of_shards_if_reproducible(lines: Path, tmp_path: Path) -> None:
    for count in (1, 3):
        write_all(lines, tmp_path / str(count), count, reproducible=True)
        commit_shards(tmp_path / str(count), reproducible=True)

    assert tree_of(tmp_path / "1") == tree_of(tmp_path / "3")


def test_folder_keeps_its_keys_and_samples_their_codec(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:02d}.txt").write_bytes(b"x" * 300 + b"%d" % number)
    convert(folder, tmp_path / "one")
    write_all(folder, tmp_path / "shared", 4)
    commit_shards(tmp_path / "shared")
    with SplitDataLoader(tmp_path / "one") as one, SplitDataLoader(tmp_path / "shared") as shared:
        assert list(shared) == list(one)
        assert [shared.key(number) for number in range(30)] == [one.key(number) for number in range(30)]

    write_all(tmp_path / "one", tmp_path / "samples", 2, transform=lambda record: {"data": record})
    commit_shards(tmp_path / "samples")
    assert describe(tmp_path / "samples").metadata["record_codec"] == "sample"


def test_nothing_is_visible_before_all_units_are_there_and_those_that_are_missing_are_named(
    lines: Path, tmp_path: Path
) -> None:
    write_shard(lines, tmp_path / "shared", (0, 2))
    write_shard(lines, tmp_path / "shared", (1, 4))

    with pytest.raises(UnfinishedError, match=r"units are not written in .*: 3, 7; nothing was committed") as caught:
        commit_shards(tmp_path / "shared")

    assert caught.value.numbers == (3, 7)
    with pytest.raises(DatasetNotFoundError):
        SplitDataLoader(tmp_path / "shared")


def test_resume_leaves_out_units_that_are_written_and_writes_those_of_a_shard_that_died(
    lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = WorkUnit.write
    written: list[str] = []

    def dies(self: WorkUnit, progress: Any = None) -> Any:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(self.part)
        return write(self, progress)

    monkeypatch.setattr(WorkUnit, "write", dies)
    with pytest.raises(KeyboardInterrupt):
        write_shard(lines, tmp_path / "shared", (0, 1))
    monkeypatch.undo()
    monkeypatch.setattr(work_units, "UNIT_BYTES", 1000)
    with pytest.raises(DatasetExistsError, match="3 of 8 units of this conversion are written"):
        write_shard(lines, tmp_path / "shared", (0, 1))
    report = write_shard(lines, tmp_path / "shared", (0, 1), resume=True)

    assert (report.num_finished, report.num_written) == (3, report.num_units - 3)
    commit_shards(tmp_path / "shared")
    assert len(read(tmp_path / "shared")) == LINES
    finished = write_shard(lines, tmp_path / "shared", (0, 1), resume=True)
    assert (finished.num_written, finished.num_finished) == (0, finished.num_units)
    assert commit_shards(tmp_path / "shared").num_committed == 0


def test_unit_that_two_processes_have_written_counts_once(lines: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    write_all(lines, tmp_path / "shared", 2)
    shutil.copytree(tmp_path / "shared", copy)
    shutil.rmtree(tmp_path / "shared")
    write_shard(lines, tmp_path / "shared", (1, 2))
    shutil.copytree(copy / "segments", tmp_path / "shared" / "segments", dirs_exist_ok=True)

    report = commit_shards(tmp_path / "shared")

    assert len(read(tmp_path / "shared")) == report.num_records == LINES
    assert not describe(tmp_path / "shared").unlisted_segments


def test_process_that_was_called_otherwise_is_found_out(lines: Path, tmp_path: Path) -> None:
    write_shard(lines, tmp_path / "shared", (0, 2))
    write_shard(lines, tmp_path / "shared", (1, 2), transform=doubled)

    with pytest.raises(ValueError, match="units of 2 conversions wait"):
        commit_shards(tmp_path / "shared")


def test_one_of_several_conversions_is_committed_by_its_digits_and_appended(lines: Path, tmp_path: Path) -> None:
    dest = tmp_path / "shared"
    with SplitWriter(dest) as writer:
        writer.write(b"before")
    with pytest.raises(DatasetExistsError, match="append=True adds to it"):
        write_shard(lines, dest, (0, 1))
    jobs = [write_shard(lines, dest, (0, 1), append=True, bins=bins).job for bins in (1, 2)]

    commit_shards(dest, job=jobs[1][:9])

    assert len(read(dest)) == LINES + 1
    assert {unit[0] for one in waiting_parts(dest) if (unit := unit_of(one["part"]))} == {jobs[0]}


def test_failing_record_names_its_unit_and_skipping_counts_it(lines: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="77") as caught:
        write_shard(lines, tmp_path / "a", (0, 1), transform=fails_on_7)
    assert any("in work unit" in note for note in caught.value.__notes__)

    seen: list[ConversionProgress] = []
    report = write_shard(lines, tmp_path / "b", (0, 1), transform=fails_on_7, on_error="skip", progress=seen.append)

    assert report.skipped == {"failed record": 5}
    assert [one.num_records for one in seen] == sorted(one.num_records for one in seen)
    assert seen[-1].num_records == report.num_records == LINES - 5
    assert seen[-1].source_bytes == lines.stat().st_size


def test_what_cannot_be_shared_is_refused(lines: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="by one process only"):
        write_shard("-", tmp_path / "shared", (0, 2))
    for shard in ((2, 2), (-1, 2), (0, 0), (0.0, 2)):
        with pytest.raises(ValueError, match="shard must be"):
            write_shard(lines, tmp_path / "shared", shard)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inside the source"):
        write_shard(tmp_path, tmp_path / "shared", (0, 2))
    with pytest.raises(DatasetNotFoundError, match="no units wait"):
        commit_shards(tmp_path / "shared")
    assert not (tmp_path / "shared").exists()


def test_many_units_have_one_bin_each_and_few_have_several(lines: Path, tmp_path: Path) -> None:
    write_all(lines, tmp_path / "few", 1)
    commit_shards(tmp_path / "few")
    found = describe(tmp_path / "few")
    assert found.num_segments == 8
    assert found.num_bins == 64
