"""`compact`: bytes of deleted records are gone from every file, the rest stays; killed anywhere it loses nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from splitdata import (
    CorruptRecordError,
    SplitDataLoader,
    SplitWriter,
    compact,
    delete,
    describe,
    digest,
    repair,
    verify,
)
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.segments.segment_writer import SegmentWriter
from splitdata.storage import files
from splitdata.storage.folder import Folder
from tests.command import ROOT
from tests.dataset.deletion.kinds import ALL_KINDS
from tests.dataset.record_kinds import KINDS, RecordKind

GONE = (1, 3, 4)


def state_of(path: Path) -> tuple[object, ...]:
    """Return what nothing may change: records, positions, keys of those that are left, and the fingerprint."""
    with SplitDataLoader(path) as loader:
        left = list(loader.iterate(skip_deleted=True, with_positions=True))
        keys = [loader.key(number) for number, _ in left]
        found = [loader.find(key) for key in keys if key]
        return loader.fingerprint, loader.deleted.tolist(), left, keys, found, loader.metadata


def all_bytes(path: Path) -> bytes:
    return b"\0".join(file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file())


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)
def test_every_kind_of_record_is_compacted_and_verify_and_repair_find_nothing(tmp_path: Path, kind: RecordKind) -> None:
    path = tmp_path / "data"
    kind.write_sealed(path)
    delete(path, positions=GONE)
    before, root = state_of(path), digest(path)

    planned = compact(path, dry_run=True)
    report = compact(path, erase=True)

    assert (planned.num_erased, planned.is_erased) == (3, False)
    assert (report.num_erased, report.num_deleted, report.left, report.is_erased) == (3, 3, (), True)
    assert state_of(path) == before
    assert digest(path) == root
    assert verify(path).is_intact
    mended = repair(path)
    assert (mended.is_whole, mended.actions, mended.notes) == (True, (), ())
    assert len(list((path / "segments").iterdir())) == describe(path).num_segments
    assert compact(path, erase=True).num_erased == 0
    assert state_of(path) == before


def secret(number: int) -> bytes:
    return b"secret %d of nobody else; " % (number * 7919 % 10007) * 3


@pytest.mark.parametrize(
    "options",
    [{"group": 1}, {"compression": "zstd", "compression_level": -100, "group": 1}, {"alignment": 64}, {"group": 16}],
    ids=["plain", "zstd", "64", "groups"],
)
def test_no_file_holds_a_byte_of_a_deleted_record_or_its_key(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "data"
    for start in range(0, 300, 100):
        with SplitWriter(path, bins=3, mode="append", durability="none", **options) as writer:  # type: ignore[arg-type]
            numbers = range(start, start + 100)
            writer.write_many(map(secret, numbers), keys=[f"person-{number}@example.org" for number in numbers])
    gone = (7, 150, 299)
    marks = [secret(number)[:24] for number in gone] + [b"person-%d@example.org" % number for number in gone]
    assert all(mark in all_bytes(path) for mark in marks)
    delete(path, positions=gone)
    # Left as they were, these would hold them: an older state, a killed fold, the dictionary.
    report = compact(path, erase=True)

    assert report.is_erased
    content = all_bytes(path)
    assert [mark for mark in marks if mark in content] == []
    assert secret(8)[:24] in content
    with SplitDataLoader(path) as loader:
        assert [record for _, record in loader.iterate(skip_deleted=True, with_positions=True)] == [
            secret(number) for number in range(300) if number not in gone
        ]


def test_dictionary_is_trained_anew_without_what_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "data"
    kind = next(kind for kind in KINDS if kind.name == "dictionary")
    kind.write_sealed(path)
    before = DatasetDirectory(path).newest().segments[0]
    delete(path, positions=range(len(kind.records) // 2))
    compact(path, erase=True)
    with SplitDataLoader(path) as loader:
        left = list(loader.iterate(skip_deleted=True))

    assert left == list(kind.records[len(kind.records) // 2 :])
    assert DatasetDirectory(path).newest().segments[0].id != before.id
    assert verify(path).is_intact
    if describe(path).segments[0].dictionary_bytes:
        assert sum(file.stat().st_size for file in path.rglob("*.bin")) < sum(map(len, left))


def test_all_records_of_a_bin_or_of_the_dataset_may_be_deleted(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=4, durability="none", alignment=64, metadata={"a": 1}) as writer:
        writer.write_many([b"record %d" % number for number in range(20)])
    delete(path, positions=range(1, 20, 4))
    compact(path, erase=True)
    assert verify(path).is_intact
    assert not repair(path).actions

    delete(path, positions=slice(None))
    compact(path, erase=True)
    assert verify(path).is_intact
    assert not repair(path).actions
    assert SplitDataLoader(path).num_deleted == len(SplitDataLoader(path)) == 20


def test_what_readers_have_open_stays_for_them_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=2, durability="none") as writer:
        writer.write_many([b"record %d" % number for number in range(20)])
    reader = SplitDataLoader(path)
    delete(path, positions=[3])
    report = compact(path, erase=True)

    assert not report.is_erased
    (line,) = report.left
    assert "an older state" in line
    assert reader[3] == b"record 3"
    reader.close()
    assert compact(path, erase=True).is_erased
    assert b"record 3" not in all_bytes(path)


def test_without_erase_the_older_state_stays_for_an_hour(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=2, durability="none") as writer:
        writer.write_many([b"record %d" % number for number in range(20)])
    generation = delete(path, positions=[3]).generation
    report = compact(path)

    assert (report.num_erased, report.is_erased) == (1, False)
    assert len(SplitDataLoader(path, generation=generation)) == 20
    assert verify(path, generation=generation).is_intact


def test_segment_of_a_writer_at_work_is_left_and_named(tmp_path: Path) -> None:
    path = tmp_path / "data"
    writer = SplitWriter(path, bins=2, durability="none")
    writer.write_many([b"record %d" % number for number in range(20)])
    writer.commit()
    delete(path, positions=[3])
    report = compact(path, erase=True)

    assert (report.num_erased, report.is_erased) == (0, False)
    assert "a writer is at work" in report.left[0]
    writer.write(b"more")
    writer.close()
    assert compact(path, erase=True).is_erased
    assert len(SplitDataLoader(path)) == 21
    assert verify(path).is_intact


def test_damaged_record_stops_it_unless_that_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=2, durability="none") as writer:
        writer.write_many([b"record %d" % number for number in range(20)])
    delete(path, positions=[3])
    file = next(path.rglob("000000.bin"))
    file.write_bytes(file.read_bytes().replace(b"record 8", b"rekord 8"))
    before = all_bytes(path)

    with pytest.raises(CorruptRecordError, match="record 8"):
        compact(path, erase=True)
    assert all_bytes(path) == before

    delete(path, positions=[8])
    assert compact(path, erase=True).is_erased
    assert verify(path).is_intact


class KilledError(BaseException):
    """A kill, as a step of it: nothing behind it runs but what a process cannot help."""


STEPS: dict[str, tuple[object, str]] = {
    "stored": (SegmentWriter, "append_stored"),
    "erased": (SegmentWriter, "append_erased"),
    "list": (SegmentWriter, "list_deleted"),
    "seal": (SegmentWriter, "seal"),
    "sync": (SegmentWriter, "sync"),
    "link": (files, "link_unnamed"),
    "linked": (Folder, "sync"),
    "remove": (Folder, "remove"),
    "remove folder": (Folder, "remove_directory"),
}


@pytest.mark.parametrize("call", [1, 2, 5])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("work", ["delete", "compact"])
def test_killed_at_any_step_nothing_is_lost_and_a_second_call_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str, step: str, call: int
) -> None:
    path = tmp_path / "data"
    for start in (0, 10):
        with SplitWriter(path, bins=2, mode="append", durability="none", metadata={"n": start}) as writer:
            numbers = range(start, start + 10)
            writer.write_many([b"record %d!" % number for number in numbers], keys=[f"k{n}" for n in numbers])
    if work == "compact":
        delete(path, positions=[0, 13])
    owner, name = STEPS[step]
    real, calls = getattr(owner, name), 0

    def kill(*arguments: object, **keywords: object) -> object:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise KilledError
        return real(*arguments, **keywords)

    def do() -> object:
        return delete(path, positions=[0, 13]) if work == "delete" else compact(path, erase=True)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, kill)
        if step != "remove folder":
            patch.setattr(DatasetDirectory, "remove_segment", lambda *_, **__: False)
        with contextlib.suppress(KilledError):
            do()
    with SplitDataLoader(path) as loader:
        assert set(loader.deleted.tolist()) <= {0, 13}
        assert all(record == b"record %d!" % n for n, record in loader.iterate(skip_deleted=True, with_positions=True))
    mended = repair(path)
    assert mended.is_whole
    assert (mended.num_adoptable, mended.num_adopted) == (0, 0)
    do()

    with SplitDataLoader(path) as loader:
        assert loader.deleted.tolist() == [0, 13]
        assert len(loader) == 20
        assert [n for n, _ in loader.iterate(skip_deleted=True, with_positions=True)] == [
            n for n in range(20) if n not in (0, 13)
        ]
        assert loader.metadata == {"n": 10}
    assert verify(path).is_intact
    assert compact(path, erase=True).is_erased
    assert b"record 13!" not in all_bytes(path)
    assert not repair(path).actions


def test_killed_process_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=4, durability="none") as writer:
        writer.write_many(os.urandom(300) for _ in range(20_000))
    fingerprint = SplitDataLoader(path).fingerprint
    code = f"import splitdata; print(flush=True); splitdata.compact({os.fspath(path)!r}, erase=True)"
    for number in range(6):
        delete(path, positions=[number])
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(0.02 * number)
        except subprocess.TimeoutExpired:
            process.kill()
        process.communicate(timeout=60)
        with SplitDataLoader(path) as loader:
            assert loader.fingerprint == fingerprint
            assert loader.deleted.tolist() == list(range(number + 1))
        assert repair(path).is_whole
        assert verify(path).is_intact
    assert compact(path, erase=True).is_erased
    assert len(list((path / "segments").iterdir())) == 1
