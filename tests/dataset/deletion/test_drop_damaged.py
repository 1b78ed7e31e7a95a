"""`compact(drop_damaged=True)`: what no repair can mend is left out, the rest moves forward, and all says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splitdata import (
    FormatError,
    ManifestError,
    SplitDataLoader,
    SplitWriter,
    compact,
    delete,
    describe,
    repair,
    verify,
)
from tests.dataset.merging.two_datasets import SMALL_TOOL_KINDS, TwoDatasets, contents_of
from tests.dataset.record_kinds import RecordKind, kill, overwrite, place_of, segments_of, tree_of

# What stands in the middle of a frame, behind the header.
_INSIDE = 36


def damage(path: Path, number: int) -> int:
    """Damage the payload of a record of the first segment; returns how many are lost by it."""
    file, offset = place_of(path, number)
    byte = file.read_bytes()[offset + _INSIDE]
    overwrite(file, offset + _INSIDE, bytes([byte ^ 1]))
    return verify(path).num_damaged_records


@pytest.mark.parametrize(
    "kind", [kind for kind in SMALL_TOOL_KINDS if kind.name != "empty"], ids=lambda kind: kind.name
)
def test_damaged_records_of_every_kind_are_dropped_and_all_others_stay_in_order(
    tmp_path: Path, kind: RecordKind
) -> None:
    path = TwoDatasets.written(kind, tmp_path).first
    before = contents_of(path)
    lost = damage(path, 5)
    damaged = tree_of(path)

    planned = compact(path, drop_damaged=True, dry_run=True)
    assert tree_of(path) == damaged
    report = compact(path, drop_damaged=True)

    assert report.dropped == planned.dropped
    assert 1 <= len(report.dropped) <= lost
    kept = [one for number, one in enumerate(before) if number not in report.dropped]
    assert contents_of(path) == kept
    assert verify(path).is_intact
    mended = repair(path, adopt=True)
    assert (mended.num_adopted, mended.findings) == (0, ())
    assert contents_of(path) == kept
    again = compact(path, drop_damaged=True)
    assert again.dropped == ()


def written(path: Path, parts: int = 2) -> Path:
    for part in range(parts):
        with SplitWriter(path, mode="append", bins=2, group=1, durability="none") as writer:
            writer.write_many([b"record %d of part %d" % (number, part) for number in range(20)])
    return path


def test_it_is_another_dataset_afterwards_and_whoever_has_the_old_one_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "data")
    delete(path, positions=[30])
    old, reader = describe(path), SplitDataLoader(path)
    damage(path, 3)
    compact(path, drop_damaged=True)

    new = describe(path)
    assert (old.dataset_id != new.dataset_id, new.num_records, new.num_deleted) == (True, 39, 1)
    assert reader[4] == SplitDataLoader(path)[3]
    with pytest.raises(ManifestError, match="replaced"):
        reader.refresh()


def test_segments_before_the_first_damage_stay_as_they_are(tmp_path: Path) -> None:
    path = written(tmp_path / "data", 3)
    (first, _), (second, paths), (third, _) = segments_of(path)
    overwrite(Path(paths.bin(0)), 100, b"\xff")

    compact(path, drop_damaged=True)

    ids = [info.id for info, _ in segments_of(path)]
    assert ids[0] == first.id
    assert not {second.id, third.id} & set(ids)
    assert len(SplitDataLoader(path)) == 59


def test_missing_bin_costs_its_records_and_a_segment_without_any_left_is_gone(tmp_path: Path) -> None:
    path = written(tmp_path / "data")
    (_, first), _ = segments_of(path)
    for number in range(2):
        Path(first.bin(number)).unlink()
    report = compact(path, drop_damaged=True)
    assert report.dropped == tuple(range(20))
    assert list(SplitDataLoader(path)) == [b"record %d of part 1" % number for number in range(20)]
    assert verify(path).is_intact


def test_what_a_repair_can_mend_is_not_dropped(tmp_path: Path) -> None:
    path = written(tmp_path / "data")
    (_, paths), _ = segments_of(path)
    Path(paths.index).unlink()
    before = tree_of(path)
    with pytest.raises(FormatError, match="a repair can mend some of the damage"):
        compact(path, drop_damaged=True)
    assert tree_of(path) == before
    repair(path)
    assert compact(path, drop_damaged=True).dropped == ()


def test_what_a_killed_writer_left_does_not_count_as_something_to_mend(tmp_path: Path) -> None:
    path = written(tmp_path / "data")
    before = set((path / "segments").iterdir())
    writer = SplitWriter(path, mode="append", bins=1, group=1, durability="none")
    writer.write(b"never committed")
    kill(writer)
    (left,) = set((path / "segments").iterdir()) - before
    # So far it had come when it was killed.
    (left / "000000.bin").unlink()
    os.truncate(left / "index", 128)
    damage(path, 3)
    assert repair(path, dry_run=True).actions
    assert compact(path, drop_damaged=True).dropped == (3,)


def test_writer_at_work_in_what_is_damaged_keeps_it_from_being_dropped(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=1, group=1) as writer:
        writer.write_many([b"record %d of nothing much" % number for number in range(9)])
        writer.commit()
        damage(path, 3)
        with pytest.raises((BlockingIOError, FormatError)):
            compact(path, drop_damaged=True)
