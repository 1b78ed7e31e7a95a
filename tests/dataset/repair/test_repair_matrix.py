"""Every kind of record x every tool: how much one damage costs, and that what a repair has done stays done.

verify      names the one record                     repair     loses one record at most, and a second run does nothing
adopt       takes every whole record                 resume     goes on behind a repair
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import FormatError, RepairReport, SplitDataLoader, repair, verify
from splitdata.format import spec
from tests.dataset.record_kinds import (
    KINDS,
    RecordKind,
    kill,
    overwrite,
    place_of,
    segments_of,
    set_foreign_frame,
    tree_of,
)
from tests.faults.file_faults import fast_folder

VICTIM = 3
pytestmark = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        yield folder / "data"


@pytest.fixture(params=[True, False], ids=["sealed", "open"])
def data(request: pytest.FixtureRequest, kind: RecordKind, path: Path) -> Path:
    """A dataset of one kind: sealed, or as a killed writer has left it, with records that were not committed."""
    if request.param:
        kind.write_sealed(path)
    else:
        kind.write_open(path)
    return path


def repaired(path: Path, *, adopt: bool = False) -> RepairReport:
    """Repair; verify must then find what the report says and nothing else, and a second run change no byte."""
    report = repair(path, adopt=adopt)
    found = verify(path)
    assert found.num_damaged_records == report.num_lost_records
    assert [one.problem for one in found.findings if not one.num_records] == []
    before = tree_of(path)
    again = repair(path, adopt=adopt)
    assert again.actions == ()
    assert (again.findings, again.num_records, again.num_adopted) == (report.findings, report.num_records, 0)
    assert tree_of(path) == before
    return report


# -- one damage ------------------------------------------------------------------------------------------


def test_intact_dataset_needs_no_repair(data: Path, kind: RecordKind) -> None:
    before = tree_of(data)

    report = repaired(data)

    assert (report.actions, report.findings) == ((), ())
    assert tree_of(data) == before
    kind.check(data)


def test_flipped_bit_is_found_by_verify_and_costs_one_record(data: Path, kind: RecordKind) -> None:
    file, offset = place_of(data, VICTIM)
    offset += spec.FRAME_HEADER_BYTES + 1
    overwrite(file, offset, bytes([file.read_bytes()[offset] ^ 1]))
    if not kind.records[VICTIM]:
        # What stands there is a key.
        assert [(one.position, one.num_records) for one in verify(data).findings] == [(VICTIM, 0)]
        assert "1 records can be read and their keys cannot" in repair(data).notes[0]
        return

    assert verify(data).num_damaged_records == 1
    assert repaired(data).num_lost_records == 1


def test_deleted_index_costs_nothing(data: Path, kind: RecordKind) -> None:
    before = tree_of(data)
    for _, paths in segments_of(data):
        Path(paths.index).unlink()

    assert repaired(data).num_lost_records == 0
    assert tree_of(data) == before
    kind.check(data)


def test_overwritten_header_costs_its_record(data: Path, kind: RecordKind) -> None:
    overwrite(*place_of(data, VICTIM), b"\xa5" * 32)

    report = repaired(data)

    assert report.num_lost_records == 1
    kind.check(data, lost=(VICTIM,))


def test_overwritten_header_without_an_index_costs_its_record(data: Path, kind: RecordKind) -> None:
    overwrite(*place_of(data, VICTIM), b"\xa5" * 32)
    Path(segments_of(data)[0][1].index).unlink()

    report = repaired(data)

    assert report.num_lost_records == 1
    kind.check(data, lost=(VICTIM,))


def test_damaged_index_entry_costs_nothing(data: Path, kind: RecordKind) -> None:
    before = tree_of(data)
    place = spec.INDEX_HEADER_BYTES + VICTIM * spec.INDEX_ENTRY_BYTES
    overwrite(Path(segments_of(data)[0][1].index), place, b"\x5a" * spec.INDEX_ENTRY_BYTES)

    assert repaired(data).num_lost_records == 0
    assert tree_of(data) == before
    kind.check(data)


def test_damaged_first_words_of_all_frames_cost_nothing(data: Path, kind: RecordKind) -> None:
    before = tree_of(data)
    places = [place_of(data, number) for number in range(len(kind.records))]
    for file, offset in places:
        overwrite(file, offset, bytes(8))

    assert repaired(data).num_lost_records == 0
    assert tree_of(data) == before
    kind.check(data)


def test_frame_of_another_segment_costs_its_record_and_no_repair_makes_it_one(data: Path, kind: RecordKind) -> None:
    if not set_foreign_frame(data, VICTIM):
        pytest.skip("its payload is that of the record")

    report = repaired(data)

    assert report.num_lost_records == 1
    kind.check(data, lost=(VICTIM,))


def test_tombstones_of_whole_records_heal(data: Path, kind: RecordKind) -> None:
    """An earlier repair that did not know a kind of frame has given such records up."""
    before = tree_of(data)
    info, paths = segments_of(data)[0]
    index = Path(paths.index)
    for number in range(0, info.num_records, 2):
        entry = spec.TOMBSTONE.to_bytes(8, "little") + bytes(8)
        overwrite(index, spec.INDEX_HEADER_BYTES + number * spec.INDEX_ENTRY_BYTES, entry)

    report = repaired(data)

    assert report.num_lost_records == 0
    assert tree_of(data) == before
    kind.check(data)


def test_damaged_bin_headers_and_what_stands_before_the_records_are_mended(data: Path, kind: RecordKind) -> None:
    before = tree_of(data)
    info, paths = segments_of(data)[0]
    for number in range(info.num_bins):
        overwrite(Path(paths.bin(number)), 0, bytes(spec.BIN_HEADER_BYTES))
    # The first word of the dictionary or the metadata, where there is one; of the first record otherwise.
    content = Path(paths.bin(0)).read_bytes()
    first = next(place for place in range(spec.BIN_HEADER_BYTES, len(content), 8) if any(content[place : place + 8]))
    overwrite(Path(paths.bin(0)), first, bytes(8))

    assert repaired(data).num_lost_records == 0
    assert tree_of(data) == before
    kind.check(data)


@pytest.mark.parametrize("cut", [-1, 40])
def test_sealed_bin_of_another_length_is_mended(path: Path, kind: RecordKind, cut: int) -> None:
    """Only padding is missing, or something was added: no record is touched by it."""
    kind.write_sealed(path)
    before = tree_of(path)
    info, paths = segments_of(path)[0]
    bins = [Path(paths.bin(number)) for number in range(info.num_bins)]
    for file in bins:
        content = file.read_bytes()
        if cut > 0:
            file.write_bytes(content + b"\x01" * cut)
        elif not any(content[cut:]):
            file.write_bytes(content[:cut])

    assert repaired(path).num_lost_records == 0
    assert tree_of(path) == before


def test_padding_between_frames_is_made_again(data: Path, kind: RecordKind) -> None:
    before = tree_of(data)
    for number in range(4, 8):
        file, offset = place_of(data, number)
        if file.read_bytes()[offset - 1] == 0:
            overwrite(file, offset - 1, b"\x07")

    assert repaired(data).num_lost_records == 0
    assert tree_of(data) == before


def test_padding_behind_the_last_record_is_made_again(path: Path, kind: RecordKind) -> None:
    kind.write_sealed(path)
    before = tree_of(path)
    info, paths = segments_of(path)[0]
    for number in range(info.num_bins):
        file = Path(paths.bin(number))
        if file.read_bytes()[-1] == 0:
            overwrite(file, file.stat().st_size - 1, b"\x07")
    assert verify(path).is_intact == (tree_of(path) == before)

    assert repaired(path).num_lost_records == 0
    assert tree_of(path) == before


def test_missing_bin_loses_no_key_and_comes_back(data: Path, kind: RecordKind) -> None:
    before = tree_of(data)
    info, paths = segments_of(data)[0]
    bin_1 = Path(paths.bin(1))
    content = bin_1.read_bytes()
    bin_1.unlink()
    Path(paths.index).unlink()
    if kind.has_keys:
        # The header of the file of keys: it is made again, and what its blocks say of the missing bin kept.
        keys = Path(paths.keys if info.is_sealed else paths.open_keys)
        overwrite(keys, 0, b"\0")

    report = repaired(data)

    lost = tuple(range(1, info.num_records, info.num_bins))
    assert report.num_lost_records == len(lost)
    kind.check(data, lost=lost)
    if kind.has_keys:
        with SplitDataLoader(data) as loader, pytest.raises(FormatError):
            loader.has_key(str(kind.key(1)))
    bin_1.write_bytes(content)
    assert repaired(data).num_lost_records == 0
    assert tree_of(data) == before
    kind.check(data)


# -- adoption --------------------------------------------------------------------------------------------


def last_bin_cut(path: Path) -> None:
    """Tear the last frame of the last segment, as a kill in a write does."""
    _, paths = segments_of(path)[-1]
    file = Path(paths.bin(0))
    content = file.read_bytes()
    file.write_bytes(content + b"\x01\x02\x03")


def test_uncommitted_records_of_a_killed_run_are_adopted_and_the_run_resumed(path: Path, kind: RecordKind) -> None:
    kind.write_open(path, uncommitted=6)
    last_bin_cut(path)
    assert repaired(path).num_adoptable == 6

    assert repaired(path, adopt=True).num_adopted == 6

    kind.check(path)
    with kind.writer(path, "resume") as writer:
        assert writer.num_written == len(kind.records)
    kind.check(path)
    repaired(path)


def test_killed_run_resumes_behind_a_repair(path: Path, kind: RecordKind) -> None:
    half = len(kind.records) - 6
    kind.write_open(path, uncommitted=6)
    paths = segments_of(path)[0][1]
    Path(paths.index).unlink()
    if kind.has_keys:
        Path(paths.open_keys).write_bytes(b"")
    repaired(path)

    with kind.writer(path, "resume") as writer:
        assert writer.num_written == half
        kind.write(writer, half, len(kind.records))

    kind.check(path)
    assert len(segments_of(path)) == 1
    repaired(path)


def test_keys_that_an_older_repair_put_in_the_place_of_a_sealed_segments_are_moved(
    path: Path, kind: RecordKind
) -> None:
    if not kind.has_keys:
        pytest.skip("it has no keys")
    kind.write_open(path)
    paths = segments_of(path)[0][1]
    Path(paths.open_keys).rename(paths.keys)

    assert repaired(path).num_lost_records == 0

    with kind.writer(path, "resume") as writer:
        assert writer.num_written == len(kind.records)
    kind.check(path)


def test_run_that_never_committed_is_adopted_and_resumed(path: Path, kind: RecordKind) -> None:
    half = len(kind.records) - 3
    writer = kind.writer(path)
    kind.write(writer, 0, half)
    kill(writer)
    assert not list(path.glob("manifest.*"))

    assert repaired(path, adopt=True).num_records == half

    kind.check(path, count=half)
    with kind.writer(path, "resume") as resumed:
        assert resumed.num_written == half
        kind.write(resumed, half, len(kind.records))
    kind.check(path)


def test_tail_of_a_run_that_others_overtook_is_copied_to_the_end(path: Path, kind: RecordKind) -> None:
    half = len(kind.records) - 6
    kind.write_open(path, uncommitted=6)
    # Copied behind this record, which is the first one again.
    with kind.writer(path) as writer:
        kind.write_one(writer, 0)

    assert repaired(path, adopt=True).num_adopted == 6

    expected = [*kind.records[:half], kind.records[0], *kind.records[half:]]
    with SplitDataLoader(path) as loader:
        assert list(loader) == expected
        if kind.has_keys:
            assert loader.find(str(kind.key(half))) == half + 1
    assert segments_of(path)[-1][0].is_sealed


def test_deleted_manifests_and_indexes_come_back_with_adopt(data: Path, kind: RecordKind) -> None:
    for file in data.glob("manifest.*"):
        file.unlink()
    for file in data.glob("segments/*/index"):
        file.unlink()
    with pytest.raises(Exception, match="repair --adopt"):
        SplitDataLoader(data)
    with pytest.raises(Exception, match="repair --adopt"):
        verify(data)

    assert repaired(data, adopt=True).num_records == len(kind.records)
    kind.check(data)


# -- fold ------------------------------------------------------------------------------------------------


def test_fold_takes_records_of_every_kind(path: Path, kind: RecordKind) -> None:
    step = max(1, -(-len(kind.records) // 40))
    for start in range(0, len(kind.records), step):
        with kind.writer(path) as writer:
            kind.write(writer, start, min(start + step, len(kind.records)))

    kind.check(path)
    assert repaired(path).actions == ()
    for _, paths in segments_of(path):
        Path(paths.index).unlink()
    repaired(path)
    kind.check(path)


# -- rivals and copies -----------------------------------------------------------------------------------


def test_pending_records_are_moved_as_they_are_stored_when_a_rival_commits_first(path: Path, kind: RecordKind) -> None:
    half = len(kind.records) // 2
    with kind.writer(path) as writer:
        kind.write(writer, 0, 2)
        writer.commit()
        kind.write(writer, 2, half)
        # In the files, not in a manifest, when the other one commits.
        writer._flush()
        with kind.writer(path) as rival:
            kind.write_one(rival, 0)
        kind.write(writer, half, len(kind.records))

    expected = [*kind.records[:2], kind.records[0], *kind.records[2:]]
    with SplitDataLoader(path) as loader:
        assert list(loader) == expected
        if kind.has_keys:
            assert [loader.find(str(kind.key(number))) for number in (0, 1, 2, half)] == [0, 1, 3, half + 1]
    assert repaired(path).actions == ()


@pytest.mark.parametrize("linked", [False, True], ids=["copied", "hard links"])
def test_copy_of_the_folder_lives_a_life_of_its_own(path: Path, kind: RecordKind, linked: bool) -> None:
    half = len(kind.records) - 6
    kind.write_open(path, uncommitted=6)
    before = tree_of(path)
    copy = path.with_name("copy")
    shutil.copytree(path, copy, copy_function=os.link if linked else shutil.copy2)

    with kind.writer(copy, "resume") as writer:
        kind.write(writer, half, len(kind.records))
    overwrite(*place_of(copy, VICTIM), b"\xa5" * 32)
    assert repaired(copy).num_lost_records == 1

    kind.check(copy, lost=(VICTIM,))
    assert tree_of(path) == before
    kind.check(path, count=half)
