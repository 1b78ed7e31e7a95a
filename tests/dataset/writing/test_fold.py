"""Many small appends: folding, what readers and writers beside it see, and what stays for whom."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from splitdata import FormatError, SplitDataLoader, SplitWriter, describe, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.writing import commit
from splitdata.dataset.writing.fold import fold_small_segments, foldable_group
from splitdata.format.manifest import SegmentInfo
from splitdata.storage.folder import Folder
from splitdata.storage.publish import publish
from tests.command import ROOT


def append_one_by_one(path: Path, start: int, stop: int) -> None:
    for number in range(start, stop):
        with SplitWriter(path, mode="append", durability="none", keep_seconds=0) as writer:
            writer.write(b"record %d" % number)


def expected(stop: int) -> list[bytes]:
    return [b"record %d" % number for number in range(stop)]


def segment(number: int, num_bytes: int, *, is_sealed: bool = True) -> SegmentInfo:
    return SegmentInfo(
        id=f"{number:032x}",
        num_records=1,
        num_bins=1,
        is_sealed=is_sealed,
        digest=0,
        raw_bytes=num_bytes,
        stored_bytes=num_bytes,
    )


def test_run_of_32_small_segments_is_foldable_and_one_of_31_is_not() -> None:
    small = tuple(segment(number, 100) for number in range(32))

    assert foldable_group(small) == small
    assert foldable_group(small[:31]) == ()


def test_run_ends_at_a_large_or_an_open_segment() -> None:
    small = tuple(segment(number, 100) for number in range(40))
    large, still_open = segment(90, 1 << 30), segment(91, 100, is_sealed=False)

    assert foldable_group((*small[:20], large, *small[20:])) == ()
    assert foldable_group((*small[:20], still_open, *small[20:])) == ()
    assert foldable_group((large, *small[:35], still_open, *small[35:])) == small[:35]


def test_larger_segments_are_not_folded_again_for_a_few_small_ones_behind_them() -> None:
    larger = tuple(segment(number, 50_000) for number in range(20))
    small = tuple(segment(100 + number, 100) for number in range(31))

    assert foldable_group((*larger, *small)) == ()
    assert foldable_group((*larger, *(segment(200 + n, 50_000) for n in range(12)))) != ()


def test_many_appends_leave_few_segments_and_every_record_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 300)
    description = describe(path)

    assert list(SplitDataLoader(path)) == expected(300)
    assert description.num_segments < 64
    assert verify(path).is_intact
    # Folded segments go with the manifests that list them.
    assert len(list((path / "segments").iterdir())) < 64 + 3 * 32
    assert len(list(path.glob("manifest.*"))) == 8


def test_fingerprint_is_the_same_as_of_one_write(tmp_path: Path) -> None:
    append_one_by_one(tmp_path / "small", 0, 70)
    with SplitWriter(tmp_path / "one") as writer:
        writer.write_many(expected(70))

    assert SplitDataLoader(tmp_path / "small").fingerprint == SplitDataLoader(tmp_path / "one").fingerprint


def test_compressed_and_aligned_records_are_folded_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for number in range(40):
        with SplitWriter(path, mode="append", compression="zstd", alignment=64, metadata={"n": number}) as writer:
            writer.write(b"%d " % number * 100)
    loader = SplitDataLoader(path)

    assert describe(path).num_segments < 32
    assert list(loader) == [b"%d " % number * 100 for number in range(40)]
    assert describe(path).stored_bytes < describe(path).raw_bytes
    assert loader.metadata == {"n": 39}
    assert verify(path).is_intact


def test_reader_keeps_its_snapshot_while_segments_are_folded_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 20)
    early = SplitDataLoader(path)
    append_one_by_one(path, 20, 120)

    assert early.generation in {int(name.name.split(".")[1]) for name in path.glob("manifest.*")}
    assert list(early) == expected(20)

    copied = pickle.loads(pickle.dumps(early))
    early.close()
    append_one_by_one(path, 120, 121)

    assert list(copied) == expected(20)


def test_unpickled_reader_finds_its_records_in_what_they_were_folded_into(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 20)
    early = SplitDataLoader(path)
    pickled, fingerprint = pickle.dumps(early), early.fingerprint
    early.close()
    append_one_by_one(path, 20, 120)
    late = pickle.loads(pickled)

    assert list(late) == expected(20)
    assert late.fingerprint == fingerprint


def test_files_of_a_closed_snapshot_go_with_the_next_commit(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 20)
    early = SplitDataLoader(path)
    append_one_by_one(path, 20, 80)

    assert len(list(path.glob("manifest.*"))) == 9

    early.close()
    append_one_by_one(path, 80, 81)

    assert len(list(path.glob("manifest.*"))) == 8


def test_reader_keeps_its_snapshot_when_the_dataset_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with SplitWriter(path, bins=4) as writer:
        writer.write_many(expected(40))
    early = SplitDataLoader(path)
    with SplitWriter(path, mode="overwrite") as writer:
        writer.write(b"new")

    assert list(early) == expected(40)
    assert list(SplitDataLoader(path)) == [b"new"]

    early.close()
    append_one_by_one(path, 0, 9)

    # Its manifest has fallen out of the newest eight, and nobody holds it any more.
    assert {folder.name for folder in (path / "segments").iterdir()} == {one.id for one in describe(path).segments}


def test_open_writer_may_go_on_while_another_one_folds(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 10)
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(b"record 10")
        assert writer.commit() == range(10, 11)
        append_one_by_one(path, 11, 60)
        writer.write(b"record 60")
        assert writer.commit() == range(60, 61)

    assert list(SplitDataLoader(path)) == expected(61)
    assert verify(path).is_intact


def test_damaged_segment_is_left_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 31)
    damaged = next((path / "segments").glob("*/000000.bin"))
    data = bytearray(damaged.read_bytes())
    data[64 + 32] ^= 1
    damaged.write_bytes(data)
    append_one_by_one(path, 31, 40)

    assert describe(path).num_segments == 40
    assert "not folded" in caplog.text
    assert verify(path).num_damaged_records == 1


WRITER = """
import sys
from splitdata import SplitWriter
path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(count):
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(f"{name} {number}".encode())
"""


@pytest.mark.slow
def test_two_programs_that_append_one_by_one_lose_nothing_beside_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 1)
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, "120"], env=environment) for name in "ab"
    ]
    loader = SplitDataLoader(path)
    seen = list(loader)
    while any(writer.poll() is None for writer in writers):
        loader.refresh()
        now = list(loader)
        assert now[: len(seen)] == seen
        seen = now
    loader.refresh()

    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(loader) == sorted([b"record 0", *(b"%c %d" % (name, n) for name in b"ab" for n in range(120))])
    assert describe(path).num_segments < 100
    assert verify(path).is_intact


@pytest.mark.soak
def test_ten_thousand_appends_stay_fast_to_open_and_read(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 10_000)

    assert describe(path).num_segments < 96
    assert list(SplitDataLoader(path)) == expected(10_000)
    assert verify(path).is_intact


def test_segment_is_not_folded_before_its_writer_has_seen_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 31)
    calls: list[int] = []

    def publish_and_let_a_rival_fold(folder: Folder, generation: int, data: bytes, *, durable: bool) -> bool:
        published = publish(folder, generation, data, durable=durable)
        if not calls:
            calls.append(generation)
            fold_small_segments(DatasetDirectory(path), lambda: os.urandom(16).hex(), durable=False)
        return published

    monkeypatch.setattr(commit, "publish", publish_and_let_a_rival_fold)
    append_one_by_one(path, 31, 32)

    assert calls
    assert list(SplitDataLoader(path)) == expected(32)


def test_superseded_segments_that_could_not_be_removed_are_not_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    with monkeypatch.context() as patch:
        patch.setattr(DatasetDirectory, "remove_segment", lambda *_, **__: False)
        append_one_by_one(path, 0, 60)
    unlisted = describe(path).unlisted_segments
    repair(path, adopt=True)

    assert unlisted
    assert list(SplitDataLoader(path)) == expected(60)

    append_one_by_one(path, 60, 70)

    assert not set(unlisted) & {folder.name for folder in (path / "segments").iterdir()}
    assert list(SplitDataLoader(path)) == expected(70)


@pytest.mark.parametrize("which", ["segments", "one segment"])
def test_linked_folder_inside_a_dataset_is_refused(tmp_path: Path, which: str) -> None:
    path = tmp_path / "data"
    append_one_by_one(path, 0, 1)
    folder = path / "segments" if which == "segments" else next((path / "segments").iterdir())
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(FormatError, match="symbolic link"):
        SplitDataLoader(path)[0]
