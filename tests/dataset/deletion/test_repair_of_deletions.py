"""Every kind x marked or compacted x damage: repair brings nothing back that was deleted, and loses no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from splitdata import FormatError, RepairReport, SplitDataLoader, compact, delete, repair, verify
from splitdata.format import spec
from tests.dataset.deletion.kinds import SMALL_KINDS
from tests.dataset.record_kinds import RecordKind, overwrite, place_of, segments_of, tree_of

GONE = (1, 3, 4)


def records_of(path: Path) -> tuple[list[int], list[tuple[int, bytes]], list[str | None]]:
    with SplitDataLoader(path) as loader:
        left = list(loader.iterate(skip_deleted=True, with_positions=True))
        keys = [loader.key(number) for number, _ in left]
        assert [loader.find(key) for key in keys if key] == [
            number for (number, _), key in zip(left, keys, strict=True) if key
        ]
        return loader.deleted.tolist(), left, keys


def repaired(path: Path, *, adopt: bool = False) -> RepairReport:
    report = repair(path, adopt=adopt)
    found = verify(path)
    assert found.num_damaged_records == report.num_lost_records
    assert [one.problem for one in found.findings if not one.num_records] == []
    before = tree_of(path)
    again = repair(path, adopt=adopt)
    assert (again.actions, again.num_adopted) == ((), 0)
    assert tree_of(path) == before
    return report


def index_lost(path: Path) -> None:
    for _, paths in segments_of(path):
        Path(paths.index).unlink()


def entry_damaged(path: Path) -> None:
    place = spec.INDEX_HEADER_BYTES + 2 * spec.INDEX_ENTRY_BYTES
    overwrite(Path(segments_of(path)[0][1].index), place, b"\x5a" * spec.INDEX_ENTRY_BYTES)


def sync_word_damaged(path: Path) -> None:
    overwrite(*place_of(path, 2), bytes(4))


def header_check_damaged(path: Path) -> None:
    file, offset = place_of(path, 2)
    overwrite(file, offset + 4, bytes(4))


def keys_lost(path: Path) -> None:
    for _, paths in segments_of(path):
        Path(paths.keys).unlink(missing_ok=True)


def manifests_lost(path: Path) -> None:
    for file in path.glob("manifest.*"):
        file.unlink()


def newest_manifest_damaged(path: Path) -> None:
    overwrite(max(path.glob("manifest.*.json")), 30, b"#")


def manifests_and_index_lost(path: Path) -> None:
    index_lost(path)
    manifests_lost(path)


def half_of_the_list_damaged(path: Path) -> None:
    (file,) = path.rglob("deleted.*")
    overwrite(file, 70, b"#")


DAMAGES: dict[str, Callable[[Path], None]] = {
    damage.__name__: damage
    for damage in (
        index_lost,
        entry_damaged,
        sync_word_damaged,
        header_check_damaged,
        keys_lost,
        manifests_lost,
        newest_manifest_damaged,
        half_of_the_list_damaged,
    )
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("is_compacted", [False, True], ids=["marked", "compacted"])
@pytest.mark.parametrize("kind", SMALL_KINDS, ids=lambda kind: kind.name)
def test_damage_costs_no_record_and_brings_none_back(
    tmp_path: Path, kind: RecordKind, is_compacted: bool, damage: str
) -> None:
    path = tmp_path / "data"
    kind.write_sealed(path)
    delete(path, positions=GONE)
    if is_compacted:
        compact(path, erase=True)
    before = records_of(path)
    DAMAGES[damage](path)

    report = repaired(path, adopt="manifest" in damage)

    assert report.num_lost_records == 0
    assert records_of(path) == before


@pytest.mark.parametrize("kind", SMALL_KINDS, ids=lambda kind: kind.name)
def test_frame_that_may_be_of_another_segment_is_no_record_where_erased_ones_leave_no_digest_to_say_it(
    tmp_path: Path, kind: RecordKind
) -> None:
    path = tmp_path / "data"
    kind.write_sealed(path)
    delete(path, positions=GONE)
    compact(path, erase=True)
    overwrite(*place_of(path, 2), bytes(8))

    assert repaired(path, adopt=False).num_lost_records == segments_of(path)[0][0].group
    with SplitDataLoader(path) as loader, pytest.raises(FormatError):
        loader[2]


def test_without_manifests_and_index_nothing_comes_back_that_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "data"
    kind = SMALL_KINDS[0]
    kind.write_sealed(path)
    delete(path, positions=GONE)
    before = records_of(path)
    manifests_and_index_lost(path)

    assert repaired(path, adopt=True).num_lost_records == 0
    assert records_of(path) == before

    compact(path, erase=True)
    manifests_and_index_lost(path)
    # Frames behind one that is gone are sure only by an index: those are told, and left in the file.
    report = repair(path, adopt=True)
    assert any("left in the file" in note for note in report.notes)
    with SplitDataLoader(path) as loader:
        for number in range(len(loader)):
            if number in GONE:
                with pytest.raises(FormatError):
                    loader[number]
            else:
                assert loader[number] == kind.records[number]


def both_halves_damaged(path: Path) -> None:
    half_of_the_list_damaged(path)
    (file,) = path.rglob("deleted.*")
    overwrite(file, file.stat().st_size - 2, b"#")


def test_list_that_is_lost_is_made_again_from_tombstones(tmp_path: Path) -> None:
    path = tmp_path / "data"
    SMALL_KINDS[0].write_sealed(path)
    delete(path, positions=GONE)
    compact(path, erase=True)
    before = records_of(path)
    both_halves_damaged(path)
    assert repaired(path).num_lost_records == 0
    assert records_of(path) == before

    next(path.rglob("deleted.*")).unlink()
    assert repaired(path).num_lost_records == 0
    assert records_of(path) == before


def test_list_that_is_lost_before_compacting_costs_its_segment_and_comes_back_with_it(tmp_path: Path) -> None:
    path = tmp_path / "data"
    kind = SMALL_KINDS[0]
    kind.write_sealed(path)
    delete(path, positions=GONE)
    before = records_of(path)
    (file,) = path.rglob("deleted.*")
    content = file.read_bytes()
    file.unlink()

    report = repair(path)
    assert report.num_lost_records == len(kind.records)
    assert "which 3 records of the segment were deleted is not known" in report.findings[0].problem
    with SplitDataLoader(path) as loader, pytest.raises(FormatError):
        loader[0]

    file.write_bytes(content)
    assert repaired(path).num_lost_records == 0
    assert records_of(path) == before


def test_session_of_a_killed_writer_is_adopted_and_resumed_with_what_was_deleted(tmp_path: Path) -> None:
    path = tmp_path / "data"
    kind = SMALL_KINDS[0]
    kind.write_open(path, uncommitted=3)
    half = len(kind.records) - 3
    delete(path, positions=[1])

    assert repaired(path, adopt=True).num_adopted == 3
    assert records_of(path)[0] == [1]
    with kind.writer(path, "resume") as writer:
        assert writer.num_written == len(kind.records)
    assert records_of(path)[0] == [1]
    assert half > 1
    assert verify(path).is_intact
