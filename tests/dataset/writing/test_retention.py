"""Which manifests and segments a commit leaves for readers that hold no lock: by number, and by time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from splitdata import SplitDataLoader, SplitWriter, compact, delete, describe, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.dataset.manifests.retention import ABANDONED_SECONDS, KEPT_MANIFESTS, remove_superseded
from tests.dataset.record_kinds import kill
from tests.faults.file_faults import intercepted


def append(path: Path, start: int, stop: int, **options: float) -> None:
    for number in range(start, stop):
        with SplitWriter(path, mode="append", durability="none", **options) as writer:  # type: ignore[arg-type]
            writer.write(b"record %d" % number)


def manifests(path: Path) -> list[Path]:
    return sorted(path.glob("manifest.*.json"))


def age(path: Path, seconds: float) -> None:
    for manifest in manifests(path):
        os.utime(manifest, (time.time() - seconds,) * 2)


def folders(path: Path) -> int:
    return len(list((path / "segments").iterdir()))


def test_segments_that_were_folded_stay_for_an_hour_with_the_manifest_that_lists_them(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 31)
    unlocked = describe(path).generation
    append(path, 31, 60)

    assert describe(path).num_segments < 32
    kept = [DatasetDirectory(path).read(int(one.name[9:19])) for one in manifests(path)]
    assert len(kept) == KEPT_MANIFESTS + 2
    assert len(kept[0].segments) == 32
    assert kept[0].generation == unlocked + 1
    assert folders(path) >= 32
    # What a job on another machine has open without a lock is there still.
    assert len(SplitDataLoader(path, generation=kept[0].generation)) == 32
    assert verify(path, generation=kept[0].generation).is_intact

    age(path, 3590)
    append(path, 60, 61)

    assert manifests(path)[0].name == f"manifest.{unlocked + 1:010d}.json"

    age(path, 3610)
    append(path, 61, 62)

    assert len(manifests(path)) == KEPT_MANIFESTS
    assert folders(path) == describe(path).num_segments
    assert [bytes(one) for one in SplitDataLoader(path)] == [b"record %d" % number for number in range(62)]


def test_manifests_of_which_nothing_was_replaced_go_by_number_alone(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 20)

    assert len(manifests(path)) == KEPT_MANIFESTS


def test_clock_of_the_manifest_that_replaced_segments_does_not_begin_again_with_each_commit(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 45)
    age(path, 3590)
    replaced = manifests(path)[0]
    for number in range(45, 60):
        append(path, number, number + 1)

    assert replaced.exists()

    old = [one for one in manifests(path) if one.stat().st_mtime < time.time() - 3000]
    for manifest in old:
        os.utime(manifest, (time.time() - 3610,) * 2)
    append(path, 60, 61)

    assert not replaced.exists()


def test_no_time_keeps_the_newest_by_number_alone(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 60, keep_seconds=0)

    assert len(manifests(path)) == KEPT_MANIFESTS


def test_at_most_a_thousand_manifests_are_kept_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    monkeypatch.setattr("splitdata.dataset.manifests.retention._MOST_KEPT", 3)
    append(path, 0, 60)
    newest = describe(path).generation
    old = [one for one in manifests(path) if int(one.name[9:19]) <= newest - KEPT_MANIFESTS]

    assert 0 < len(old) <= 3


def test_old_manifests_that_are_many_are_kept_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    append(path, 0, 60)
    before, newest = manifests(path), describe(path).generation
    monkeypatch.setattr("splitdata.dataset.manifests.retention._MOST_READ", 0)
    with monkeypatch.context() as patch:
        patch.setattr(DatasetDirectory, "read", lambda *_: pytest.fail("a manifest was read"))
        remove_superseded(DatasetDirectory(path), newest)

    assert manifests(path) == before


def test_an_overwrite_keeps_nothing_of_what_it_replaces(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 3)
    with SplitWriter(path, mode="overwrite") as writer:
        writer.write(b"new")

    assert folders(path) == 1


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_time_that_is_none_is_refused(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(ValueError, match="keep_seconds must be 0 or more"):
        SplitWriter(tmp_path / "data", keep_seconds=seconds)


def leave_uncommitted(path: Path) -> Path:
    """Leave what a writer leaves that is killed before its commit; returns the folder."""
    before = set((path / "segments").iterdir())
    writer = SplitWriter(path, mode="append", bins=1, durability="none")
    writer.write(b"never committed")
    kill(writer)
    (left,) = set((path / "segments").iterdir()) - before
    return left


def age_segment(folder: Path, seconds: float) -> None:
    for one in (*folder.iterdir(), folder):
        os.utime(one, (time.time() - seconds,) * 2)


def test_next_writer_reclaims_what_killed_writers_left_once_it_is_old(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 1)
    fresh, old, in_use = (leave_uncommitted(path) for _ in range(3))
    age_segment(old, ABANDONED_SECONDS + 10)
    age_segment(in_use, ABANDONED_SECONDS + 10)
    descriptor = os.open(in_use / "index", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        append(path, 1, 2)
        assert (fresh.exists(), old.exists(), in_use.exists()) == (True, False, True)
    finally:
        os.close(descriptor)
    append(path, 2, 3)
    assert (fresh.exists(), in_use.exists()) == (True, False)
    assert repair(path).num_adoptable == 1
    assert [bytes(record) for record in SplitDataLoader(path)] == [b"record 0", b"record 1", b"record 2"]


def test_old_segment_that_a_kept_manifest_lists_is_not_reclaimed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 1)
    before = describe(path).generation
    delete(path, positions=[0])
    compact(path)
    for folder in (path / "segments").iterdir():
        age_segment(folder, 10 * ABANDONED_SECONDS)
    append(path, 1, 2)

    assert list(SplitDataLoader(path, generation=before)) == [b"record 0"]


def test_compact_reclaims_after_an_hour_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 1)
    fresh, old = leave_uncommitted(path), leave_uncommitted(path)
    age_segment(old, 3610)

    assert compact(path).num_reclaimed == 1
    assert (fresh.exists(), old.exists()) == (True, False)
    assert compact(path, keep_seconds=0).num_reclaimed == 1
    # One without a header may be that of a writer which begins just now.
    torn = leave_uncommitted(path)
    (torn / "index").write_bytes(b"")
    assert compact(path, keep_seconds=0).num_reclaimed == 0
    assert verify(path).is_intact


def test_nothing_is_reclaimed_while_a_manifest_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 3)
    old = leave_uncommitted(path)
    age_segment(old, ABANDONED_SECONDS + 10)
    manifests(path)[0].write_bytes(b"damaged")
    append(path, 3, 4)
    assert old.exists()


def test_what_only_an_old_manifest_lists_goes_before_it_and_each_index_behind_its_bins(tmp_path: Path) -> None:
    path = tmp_path / "data"
    append(path, 0, 2)
    removed: list[str] = []

    def note(name: str, real: Callable[..., object], arguments: tuple[str, ...], keywords: dict[str, Any]) -> object:
        removed.append(Path(arguments[0]).name)
        return real(*arguments, **keywords)

    with intercepted(note, ("remove",)), SplitWriter(path, mode="overwrite", durability="none") as writer:
        writer.write(b"another dataset")

    # Killed in between it leaves an old manifest, and no bins of which nothing speaks. The first manifest has the first
    # of the two segments, which the second has too.
    assert removed[-6:] == [
        "manifest.0000000001.json",
        *("000000.bin", "index") * 2,
        "manifest.0000000002.json",
    ]
