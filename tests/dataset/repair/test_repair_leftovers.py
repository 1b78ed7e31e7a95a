"""What killed writers have left, what was replaced, and what is gone: who removes it, and what stands for it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitdata import ManifestError, SplitDataLoader, SplitWriter, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from tests.dataset.record_kinds import kill, overwrite, tree_of
from tests.faults.file_faults import CHANGING, READING, intercepted


def write(path: Path, records: list[bytes], mode: str = "append") -> None:
    with SplitWriter(path, mode=mode, bins=1, durability="none") as writer:  # type: ignore[arg-type]
        writer.write_many(records)


def killed(path: Path, records: list[bytes]) -> None:
    """Leave whole records that were never committed."""
    writer = SplitWriter(path, mode="append", bins=1, durability="none")
    writer.write_many(records)
    kill(writer)


def records_of(path: Path) -> list[bytes]:
    with SplitDataLoader(path) as loader:
        return list(loader)


def test_adoption_after_overwrite_brings_nothing_of_the_replaced_dataset_back(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"old"] * 3)
    killed(path, [b"old, uncommitted"] * 5)

    write(path, [b"new"], "overwrite")

    assert len(list((path / "segments").iterdir())) == 1
    assert repair(path, adopt=True).num_adopted == 0
    assert records_of(path) == [b"new"]


def test_adoption_after_overwrite_leaves_what_a_reader_still_has_open(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"old"] * 3)
    with SplitDataLoader(path) as reader:
        write(path, [b"new"], "overwrite")
        assert repair(path, adopt=True).num_adopted == 0
        assert records_of(path) == [b"new"]
        assert list(reader) == [b"old"] * 3


def test_writer_at_work_when_its_dataset_is_replaced_and_killed_later_brings_nothing_back(tmp_path: Path) -> None:
    path = tmp_path / "data"
    old = SplitWriter(path, mode="append", bins=1, durability="none")
    old.write(b"old")
    old.commit()
    old.write(b"old, uncommitted")
    old._flush()
    write(path, [b"new"], "overwrite")
    kill(old)

    report = repair(path, adopt=True)

    assert (report.num_adopted, report.num_adoptable) == (0, 0)
    assert records_of(path) == [b"new"]
    # Also when nothing speaks of the replaced dataset any more.
    for manifest in sorted(path.glob("manifest.*"))[:-1]:
        manifest.unlink()
    assert repair(path, adopt=True).num_adopted == 0
    assert records_of(path) == [b"new"]
    assert len(list((path / "segments").iterdir())) == 1


def test_overwriting_writer_killed_behind_its_commit_brings_nothing_of_the_replaced_dataset_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    write(path, [b"old"] * 3)
    killed(path, [b"old, uncommitted"] * 5)
    with monkeypatch.context() as patch:
        # All that follows the commit.
        for name in ("remove_superseded", "remove_unlisted", "remove_abandoned"):
            patch.setattr(f"splitdata.dataset.writing.commit.{name}", lambda *_, **__: None)
        write(path, [b"new"], "overwrite")
    assert len(list((path / "segments").iterdir())) == 3

    assert repair(path, adopt=True).num_adopted == 0
    assert records_of(path) == [b"new"]
    write(path, [b"more"], "append")
    # Those that are gone are listed no more.
    assert set(DatasetDirectory(path).newest().replaced) <= set(DatasetDirectory(path).segment_ids())
    assert repair(path, adopt=True).num_adopted == 0
    assert records_of(path) == [b"new", b"more"]


def test_writer_that_has_committed_begins_no_segment_in_the_dataset_that_replaced_its_own(tmp_path: Path) -> None:
    path = tmp_path / "data"
    old = SplitWriter(path, mode="append", bins=1, group=4, durability="none")
    # A commit in the middle of a group ends the segment.
    old.write(b"old")
    old.commit()
    write(path, [b"new"], "overwrite")
    old.write_many([b"old, uncommitted"] * 8)
    with pytest.raises(ManifestError, match="was replaced while this writer"):
        old._flush()
    old.abort()
    assert len(list((path / "segments").iterdir())) == 1
    assert repair(path, adopt=True).num_adopted == 0


def test_discard_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"committed"] * 3)
    before = tree_of(path)
    killed(path, [b"x" * 1000] * 50)
    kept = repair(path)
    assert kept.num_adoptable == 50
    assert "--discard" in kept.notes[0]
    told = repair(path, discard=True, dry_run=True)
    assert len(told.actions) == 1
    with SplitWriter(path, mode="append", bins=1, durability="none") as writer:
        writer.write(b"at work")
        writer._flush()
        report = repair(path, discard=True)
        assert [action.split(": ")[1] for action in report.actions] == [told.actions[0].split(": ")[1]]
        writer.abort()

    assert tree_of(path) == before
    assert repair(path, discard=True).actions == ()


def test_discard_with_a_damaged_manifest_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"committed"] * 3)
    killed(path, [b"never"])
    newest = max(path.glob("manifest.*"))
    newest.write_bytes(b"damaged")
    before = tree_of(path)

    with pytest.raises(ManifestError, match="nothing was changed"):
        repair(path, discard=True)
    with pytest.raises(ValueError, match="ask for one of them"):
        repair(path, discard=True, adopt=True)
    assert tree_of(path) == before


def test_folded_segment_that_is_gone_is_replaced_by_those_it_was_folded_from(tmp_path: Path) -> None:
    path = tmp_path / "data"
    for number in range(31):
        write(path, [b"%d" % number, b"and more"])
    parts = tmp_path / "parts"
    shutil.copytree(path, parts)
    write(path, [b"31", b"and more"])
    expected = records_of(path)
    directory = DatasetDirectory(path)
    assert len(directory.newest().segments) == 1
    # The fold kept what older manifests list; it is the folded segment that is lost.
    assert len(list((path / "segments").iterdir())) > 31
    shutil.rmtree(path / "segments" / directory.newest().segments[0].id)

    report = repair(path)

    assert report.num_lost_records == 0
    assert records_of(path) == expected
    assert verify(path).is_intact
    assert repair(path).actions == ()
    write(path, [b"goes on"])
    assert records_of(path) == [*expected, b"goes on"]


def test_segment_that_is_gone_without_others_in_its_place_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"a"] * 2)
    write(path, [b"b"] * 3)
    shutil.rmtree(path / "segments" / DatasetDirectory(path).newest().segments[1].id)

    report = repair(path)

    assert report.num_lost_records == 3
    assert report.actions == ()


# -- where nothing may be written --------------------------------------------------------------------


def refusing(name: str, real: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> object:
    """Behave as a file system that is mounted read-only."""
    if name in CHANGING or (keywords.get("writable") and Path(arguments[0]).exists()):
        raise OSError(errno.EROFS, "Read-only file system", arguments[0] if isinstance(arguments[0], str) else None)
    return real(*arguments, **keywords)


def test_repair_of_an_intact_dataset_on_a_read_only_mount_has_nothing_to_do(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"a"] * 2)
    with intercepted(refusing, CHANGING + READING):
        assert repair(path).is_whole
        assert repair(path, dry_run=True).is_whole


def test_repair_on_a_read_only_mount_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"a"] * 2)
    index = next(path.glob("segments/*/index"))
    overwrite(index, 130, b"\xff" * 8)
    before = tree_of(path)
    with intercepted(refusing, CHANGING + READING):
        with pytest.raises(OSError, match=r"cannot be changed \(Read-only file system.*mount it writable.*--dry-run"):
            repair(path)
        assert len(repair(path, dry_run=True).actions) == 1
    assert tree_of(path) == before


@pytest.mark.parametrize("is_deleted", [True, False], ids=["manifests deleted", "newest damaged"])
def test_adoption_that_was_killed_in_copying_is_finished_also_without_an_intact_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    path = tmp_path / "data"
    writer = SplitWriter(path, mode="append", bins=1, durability="none")
    writer.write(b"first")
    writer.commit()
    writer.write(b"uncommitted")
    kill(writer)
    write(path, [b"overtook"])
    for file in sorted(path.glob("manifest.*"))[0 if is_deleted else -1 :]:
        file.unlink() if is_deleted else file.write_bytes(b"damaged")

    with monkeypatch.context() as patch:
        patch.setattr("splitdata.dataset.repair.manifest_repair.publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            repair(path, adopt=True)
    report = repair(path, adopt=True)

    assert report.is_whole
    assert records_of(path) == [b"first", b"overtook", b"uncommitted"]
    assert repair(path, adopt=True).actions == ()


def interrupted(*_: object, **__: object) -> bool:
    raise KeyboardInterrupt


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["pipe", "folder", "link"])
def test_what_is_no_index_costs_its_own_segment_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "data"
    for number in range(2):
        write(path, [b"%d of it" % number] * 3)
    first, second = (path / "segments" / info.id for info in DatasetDirectory(path).newest().segments)
    (first / "index").unlink()
    if kind == "pipe":
        os.mkfifo(first / "index")
    elif kind == "folder":
        (first / "index").mkdir()
    else:
        (first / "index").symlink_to(tmp_path / "nowhere")
    (second / "index").unlink()

    report = repair(path)

    assert [finding.path for finding in report.findings] == [str(first / "index")]
    assert "move it away" in report.findings[0].problem
    with SplitDataLoader(path) as loader:
        assert loader[3:] == [b"1 of it"] * 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_has_the_name_of_a_segment_and_is_no_folder_ends_no_repair(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write(path, [b"it"] * 3)
    os.mkfifo(path / "segments" / ("b" * 32))
    (path / "segments" / DatasetDirectory(path).newest().segments[0].id / "index").unlink()

    for adopt, discard in ((False, False), (True, False), (False, True)):
        report = repair(path, adopt=adopt, discard=discard)
        assert report.is_whole
        assert any("is no folder" in note for note in report.notes)
    assert records_of(path) == [b"it"] * 3
