"""repair of indexes and headers: damage every part, repair, compare with what was there, byte for byte.

segment 0 (sealed)     header | entries | block sums | bin table | footer        flipped, cut, deleted
segment 1 (open)       header | entries
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import (
    FormatError,
    MissingBinError,
    RepairReport,
    SplitDataLoader,
    SplitWriter,
    UnsupportedVersionError,
    repair,
    verify,
)
from splitdata.format import spec
from splitdata.format.checksum import hash64
from tests.faults.file_faults import fast_folder
from tests.faults.small_dataset import RECORDS, read_everything, segment_folders, write_small
from tests.golden.make_golden import RICH_LOST, RICH_RECORDS, TINY_RECORDS, write_rich, write_tiny

Tree = dict[str, bytes]


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as folder:
        write_small(folder / "data")
        yield folder / "data"


def tree_of(path: Path) -> Tree:
    """Return the bytes of all files of a dataset."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def times_of(path: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in [path, *path.rglob("*")]}


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def repaired_twice(path: Path) -> RepairReport:
    """Repair, and check that a second run has nothing left to do."""
    report = repair(path)
    again = repair(path)
    assert again.actions == ()
    assert (again.findings, again.num_records) == (report.findings, report.num_records)
    return report


def readable(path: Path) -> dict[int, bytes]:
    """Return all records that can be read, each by its position."""
    found = {}
    with SplitDataLoader(path) as loader:
        for position in range(len(loader)):
            try:
                found[position] = loader[position]
            except FormatError:
                continue
    return found


def check_index_comes_back(path: Path, damage: list[bytes], index: Path) -> None:
    """Put each damaged content in the place of an index and have it repaired; the whole tree must be as before."""
    before = tree_of(path)
    original = index.read_bytes()
    for content in damage:
        index.write_bytes(content)
        report = repair(path)
        assert report.is_whole
        # What stands in reserved places is not read by anybody, and made zero again too.
        assert len(report.actions) == (content != original), content
        assert tree_of(path) == before


def index_of(path: Path, number: int) -> Path:
    return segment_folders(path)[number] / "index"


@pytest.mark.parametrize("number", [0, 1])
def test_index_with_a_flipped_bit_is_made_again_byte_for_byte(data: Path, number: int) -> None:
    index = index_of(data, number)
    original = index.read_bytes()
    damaged = []
    for bit in range(0, 8 * len(original), 17):
        content = bytearray(original)
        content[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(content))
    check_index_comes_back(data, damaged, index)


@pytest.mark.soak
@pytest.mark.parametrize("number", [0, 1])
def test_index_with_any_bit_flipped_is_made_again_byte_for_byte(data: Path, number: int) -> None:
    index = index_of(data, number)
    original = index.read_bytes()
    damaged = []
    for bit in range(8 * len(original)):
        content = bytearray(original)
        content[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(content))
    check_index_comes_back(data, damaged, index)


@pytest.mark.parametrize("number", [0, 1])
def test_index_cut_at_every_byte_is_made_again_byte_for_byte(data: Path, number: int) -> None:
    index = index_of(data, number)
    original = index.read_bytes()
    check_index_comes_back(data, [original[:length] for length in range(len(original))], index)


def test_sealed_index_with_bytes_behind_it_is_made_again(data: Path) -> None:
    index = index_of(data, 0)
    check_index_comes_back(data, [index.read_bytes() + b"\0", index.read_bytes() + bytes(500)], index)


@pytest.mark.parametrize("number", [0, 1])
def test_deleted_index_is_made_again_byte_for_byte(data: Path, number: int) -> None:
    before = tree_of(data)
    index_of(data, number).unlink()

    report = repaired_twice(data)

    assert report.is_whole
    assert "it was missing" in report.actions[0]
    assert tree_of(data) == before
    assert verify(data).is_intact


def test_index_full_of_noise_or_of_another_segment_is_made_again(data: Path) -> None:
    before = tree_of(data)
    first, second = index_of(data, 0), index_of(data, 1)
    noise = random.Random(1).randbytes(5000)
    for content in (noise, b"", bytes(300), second.read_bytes()):
        first.write_bytes(content)
        assert repaired_twice(data).is_whole
        assert tree_of(data) == before


def test_index_of_many_blocks_alignments_and_bins_is_made_again(tmp_path: Path) -> None:
    source = random.Random(2)
    for number, (count, bins, alignment) in enumerate([(9000, 5, 8), (50, 64, 4096), (8192, 1, 64), (3, 7, 512)]):
        path = tmp_path / str(number)
        with SplitWriter(path, bins=bins, alignment=alignment, durability="none", metadata={"n": number}) as writer:
            writer.write_many(source.randbytes(source.randrange(30)) for _ in range(count))
        before = tree_of(path)
        index = next(path.rglob("index"))
        index.unlink()
        assert repaired_twice(path).is_whole
        assert tree_of(path) == before


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_index_of_large_records_is_made_again(tmp_path: Path, compression: None) -> None:
    records = [b"small", bytes(spec.LARGE_RECORD_BYTES + 5), b"after", os.urandom(spec.LARGE_RECORD_BYTES), b"end"]
    with SplitWriter(tmp_path / "data", bins=2, durability="none", compression=compression) as writer:
        writer.write_many(records)
    before = tree_of(tmp_path / "data")
    next((tmp_path / "data").rglob("index")).unlink()

    assert repaired_twice(tmp_path / "data").is_whole
    assert tree_of(tmp_path / "data") == before


def test_intact_golden_datasets_are_left_as_they_are(tmp_path: Path) -> None:
    for name, write, lost in (("tiny", write_tiny, 0), ("rich", write_rich, 1)):
        write(tmp_path / name)
        before, times = tree_of(tmp_path / name), times_of(tmp_path / name)
        report = repair(tmp_path / name)
        assert (report.actions, report.num_lost_records) == ((), lost)
        assert (tree_of(tmp_path / name), times_of(tmp_path / name)) == (before, times)


def test_golden_datasets_without_any_index_come_back(tmp_path: Path) -> None:
    for name, write, records in (("tiny", write_tiny, TINY_RECORDS), ("rich", write_rich, RICH_RECORDS)):
        write(tmp_path / name)
        for index in (tmp_path / name).rglob("index"):
            index.unlink()
        report = repair(tmp_path / name)
        lost = {RICH_LOST} if name == "rich" else set()
        assert report.num_lost_records == len(lost)
        assert readable(tmp_path / name) == {
            position: record for position, record in enumerate(records) if position not in lost
        }


# -- bins ----------------------------------------------------------------------------------------


def bins_of(path: Path) -> list[Path]:
    return sorted(path.glob("segments/*/*.bin"))


def test_damaged_bin_header_is_made_again_byte_for_byte(data: Path) -> None:
    before = tree_of(data)
    for file in bins_of(data):
        for bit in range(0, 8 * spec.BIN_HEADER_BYTES, 9):
            flip(file, bit)
            report = repaired_twice(data)
            assert (report.is_whole, len(report.actions)) == (True, 1)
            assert tree_of(data) == before


def test_flip_in_a_bin_is_mended_or_costs_what_it_cost_before(data: Path) -> None:
    originals = tree_of(data)
    for file in bins_of(data):
        for bit in range(0, 8 * file.stat().st_size, 17):
            flip(file, bit)
            before = readable(data)
            report = repair(data)
            after = readable(data)
            assert before.items() <= after.items(), (file, bit)
            assert report.num_lost_records == len(RECORDS) - len(after) <= 1, (file, bit)
            for name, content in originals.items():
                (data / name).write_bytes(content)


def test_flip_in_a_bin_whose_index_is_lost_too_costs_at_most_one_record(data: Path) -> None:
    originals = tree_of(data)
    for file in bins_of(data):
        for bit in range(0, 8 * file.stat().st_size, 25):
            flip(file, bit)
            before = readable(data)
            (file.parent / "index").unlink()
            report = repair(data)
            # What was readable by the index is found without it: the place follows from the frame before.
            assert readable(data) == before == {p: RECORDS[p] for p in before}, (file, bit)
            assert report.num_lost_records == len(RECORDS) - len(before)
            for name, content in originals.items():
                (data / name).write_bytes(content)


def test_records_of_a_missing_bin_keep_their_places_until_it_is_back(data: Path) -> None:
    before = tree_of(data)
    for file in bins_of(data):
        content = file.read_bytes()
        file.unlink()

        report = repaired_twice(data)

        assert report.actions == ()
        assert report.num_lost_records == len(RECORDS) - len(readable(data)) > 0
        assert "does not exist" in report.findings[0].problem
        with SplitDataLoader(data) as loader, pytest.raises(MissingBinError):
            loader[report.findings[0].position or 0]
        file.write_bytes(content)
        assert tree_of(data) == before


def test_entries_of_a_missing_bin_are_kept_where_another_entry_is_damaged(data: Path) -> None:
    for number in (0, 1):
        before = tree_of(data)
        folder = segment_folders(data)[number]
        content = (folder / "000001.bin").read_bytes()
        (folder / "000001.bin").unlink()
        flip(folder / "index", 8 * (128 + 2 * 16))

        assert len(repair(data).actions) == 1
        (folder / "000001.bin").write_bytes(content)
        # No block sum says which entries are right: those may be that lie in the right order.
        assert number == 0 or tree_of(data) == before
        assert repair(data).is_whole
        assert tree_of(data) == before


def test_bin_that_is_back_after_its_index_was_made_without_it_is_found_again(data: Path) -> None:
    before = tree_of(data)
    for number in (0, 1):
        folder = segment_folders(data)[number]
        file = folder / "000001.bin"
        content = file.read_bytes()
        file.unlink()
        (folder / "index").unlink()
        assert not repaired_twice(data).is_whole
        file.write_bytes(content)
        assert repaired_twice(data).is_whole
        assert tree_of(data) == before


def test_cut_bin_costs_only_what_is_cut_off(data: Path) -> None:
    for file in bins_of(data):
        content = file.read_bytes()
        for length in range(0, len(content), 16):
            file.write_bytes(content[:length])
            before = readable(data)
            report = repair(data)
            assert readable(data) == before
            assert report.num_lost_records == len(RECORDS) - len(before)
            file.write_bytes(content)
            assert repaired_twice(data).is_whole
            assert verify(data).is_intact


def test_bin_of_another_segment_is_not_touched(data: Path) -> None:
    first, second = segment_folders(data)
    content = (first / "000000.bin").read_bytes()
    (second / "000000.bin").write_bytes(content)

    report = repaired_twice(data)

    assert not report.is_whole
    assert "another file" in report.findings[0].problem
    assert (second / "000000.bin").read_bytes() == content


def test_file_in_the_place_of_a_bin_is_not_made_to_look_like_one(data: Path) -> None:
    file = bins_of(data)[0]
    file.write_bytes(b"somebody's only copy of a text" * 50)

    assert not repaired_twice(data).is_whole
    assert file.read_bytes() == b"somebody's only copy of a text" * 50


def test_lost_record_keeps_its_position_as_a_tombstone(tmp_path: Path) -> None:
    records = [b"record %d" % number for number in range(20)]
    with SplitWriter(tmp_path / "data", bins=2, durability="none") as writer:
        writer.write_many(records)
    file = next((tmp_path / "data").rglob("000001.bin"))
    place = file.read_bytes().index(b"record 7")
    content = bytearray(file.read_bytes())
    content[place - 32 : place + 8] = bytes(40)
    file.write_bytes(content)
    index = file.parent / "index"
    index.unlink()

    report = repaired_twice(tmp_path / "data")

    assert report.findings[0].position == 7
    assert index.read_bytes()[128 + 7 * 16 : 128 + 8 * 16] == b"\xff" * 8 + bytes(8)
    assert readable(tmp_path / "data") == {p: record for p, record in enumerate(records) if p != 7}


def test_nested_bin_of_the_same_dataset_is_not_taken_for_the_outer_one(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "inner", bins=1, durability="none", reproducible=True) as writer:
        writer.write_many([b"one", b"two"])
    inner = next((tmp_path / "inner").rglob("000000.bin")).read_bytes()
    with SplitWriter(tmp_path / "data", bins=1, durability="none", reproducible=True) as writer:
        writer.write_many([inner, b"own", inner])
    before = tree_of(tmp_path / "data")
    next((tmp_path / "data").rglob("index")).unlink()

    assert repair(tmp_path / "data").is_whole
    assert tree_of(tmp_path / "data") == before


# -- what repair does not do ---------------------------------------------------------------------


def test_dry_run_changes_not_one_byte_and_no_time(data: Path) -> None:
    first, second = segment_folders(data)
    (first / "index").unlink()
    flip(second / "000000.bin", 8)
    flip(second / "000001.bin", 8 * 64)
    flip(next(data.glob("manifest.*.json")), 100)
    (data / f"manifest.{'0' * 32}.tmp").write_bytes(b"left")
    before, times = tree_of(data), times_of(data)

    for adopt in (False, True):
        report = repair(data, dry_run=True, adopt=adopt)
        assert report.is_dry_run
        assert len(report.actions) == 6
        assert (tree_of(data), times_of(data)) == (before, times)

    assert repair(data).actions == report.actions
    assert read_everything(data, io="pread").errors == {}


def test_reader_that_has_the_old_index_open_keeps_it(data: Path) -> None:
    for io in ("mmap", "pread"):
        index = index_of(data, 0)
        flip(index, 8 * (128 + 4 * 16))
        with SplitDataLoader(data, io=io) as loader:
            assert loader[0] == RECORDS[0]
            repair(data)
            assert loader[1] == RECORDS[1]
            with pytest.raises(FormatError):
                loader[4]
            loader.close()
        with SplitDataLoader(data, io=io) as loader:
            assert loader[4] == RECORDS[4]


def test_intact_header_of_another_version_is_refused(data: Path) -> None:
    index = index_of(data, 0)
    content = bytearray(index.read_bytes())
    content[8] = 9
    content[120:128] = hash64(bytes(content[:120])).to_bytes(8, "little")
    index.write_bytes(content)
    before = tree_of(data)

    with pytest.raises(UnsupportedVersionError, match="index"):
        repair(data)
    assert tree_of(data) == before


def test_link_in_the_place_of_an_index_is_a_finding_and_not_followed(data: Path) -> None:
    index = index_of(data, 0)
    shutil.move(index, data.parent / "elsewhere")
    index.symlink_to(data.parent / "elsewhere")
    before = tree_of(data), (data.parent / "elsewhere").read_bytes()

    (finding,) = repair(data).findings

    assert "no regular file" in finding.problem
    assert (tree_of(data), (data.parent / "elsewhere").read_bytes()) == before


def test_scratch_file_of_a_killed_repair_is_removed(data: Path) -> None:
    before = tree_of(data)
    (index_of(data, 0).parent / "index.tmp").write_bytes(b"half an index")

    assert repair(data).is_whole
    assert tree_of(data) == before


def test_progress_reaches_all_bytes_of_all_bins(data: Path) -> None:
    seen: list[tuple[int, int]] = []
    repair(data, progress=lambda done, total: seen.append((done, total)))

    assert seen == sorted(seen)
    assert seen[-1][1] == sum(file.stat().st_size for file in bins_of(data))
