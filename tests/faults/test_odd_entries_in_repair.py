"""Something that is no file by a name that repair writes or reads: it costs its own segment, all others are mended."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from splitdata import SplitDataLoader, SplitWriter, repair, verify
from splitdata.dataset.manifests.directory import DatasetDirectory
from splitdata.storage.paths import SegmentPaths
from tests.dataset.disk import files_of
from tests.dataset.record_kinds import kill
from tests.faults.file_faults import fast_folder

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")

NAMES = ("index", "index.tmp", "keys", "keys.open", "keys.tmp", "keys.open.tmp", "000000.bin")
COUNT = 5


def folder(path: Path) -> None:
    path.mkdir()


def full_folder(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_bytes(b"years of work")


def unix_socket(path: Path) -> None:
    # The name of a socket has little room.
    here = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def link_to_a_file(path: Path) -> None:
    outside = path.parents[3] / "outside"
    outside.write_bytes(b"years of work")
    path.symlink_to(outside)


def link_to_a_folder(path: Path) -> None:
    outside = path.parents[3] / "outside"
    outside.mkdir()
    path.symlink_to(outside, target_is_directory=True)


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere")


ODD = (folder, full_folder, os.mkfifo, unix_socket, link_to_a_file, link_to_a_folder, link_to_nothing)


def damage_index(segment: Path) -> None:
    overwrite(segment / "index", 200)


def damage_keys(segment: Path) -> None:
    overwrite(next(iter(segment.glob("keys*"))), 80)


def damage_bin(segment: Path) -> None:
    overwrite(segment / "000000.bin", 10)


def overwrite(path: Path, offset: int) -> None:
    if path.is_file():
        data = bytearray(path.read_bytes())
        data[offset : offset + 8] = b"\xff" * 8
        path.write_bytes(data)


DAMAGES: tuple[Callable[[Path], None], ...] = (damage_index, damage_keys, damage_bin, lambda _: None)


def write(path: Path, first: int, *, is_open: bool) -> None:
    writer = SplitWriter(path, mode="append", bins=1, durability="none")
    writer.write_many([b"%d" % (first + n) for n in range(COUNT)], keys=[f"key {first + n}" for n in range(COUNT)])
    if is_open:
        writer.commit()
        writer.abort()
    else:
        writer.close()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as made:
        yield made


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("name", NAMES)
def test_entry_that_is_no_file_costs_its_own_segment_alone(root: Path, make: Callable[[Path], None], name: str) -> None:
    # In turns: each damage meets each name, and each kind of entry, sealed or open.
    turn = ODD.index(make) + NAMES.index(name)
    for number in (turn % 4, (turn + 1) % 4):
        damage, is_open = DAMAGES[number], (turn + number) // 2 % 2 == 0
        path = root / str(number) / "data"
        path.parent.mkdir()
        write(path, 0, is_open=False)
        write(path, COUNT, is_open=is_open)
        other, segment = (path / "segments" / info.id for info in DatasetDirectory(path).newest().segments)
        damage_index(other)
        damage(segment)
        if (segment / name).exists():
            (segment / name).unlink()
        make(segment / name)
        outside = files_of(path.parent / "outside") if (path.parent / "outside").is_dir() else None

        planned = repair(path, dry_run=True)
        report = repair(path)

        # Which keys are known of a missing bin is only seen when they are made again, and then listed.
        assert planned.actions == report.actions[: len(planned.actions)]
        assert any(str(segment / name) in text for text in (*report.notes, *(one.path for one in report.findings))) or (
            name.startswith("keys") and damage is not damage_keys
        ), report
        with SplitDataLoader(path) as loader:
            assert loader[:COUNT] == [b"%d" % n for n in range(COUNT)]
        assert outside is None or files_of(path.parent / "outside") == outside
        if make is full_folder:
            assert (segment / name / "precious").read_bytes() == b"years of work"
        move_away(segment / name)
        repair(path)
        assert name == "000000.bin" or verify(path).is_intact


def move_away(path: Path) -> None:
    if os.path.lexists(path):
        path.rename(path.parents[3] / "moved")


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("name", NAMES)
def test_entry_that_is_no_file_in_what_a_killed_writer_left_costs_only_that(
    root: Path, make: Callable[[Path], None], name: str
) -> None:
    turn = ODD.index(make) + NAMES.index(name)
    path = root / "data"
    write(path, 0, is_open=False)
    writer = SplitWriter(path, mode="append", bins=1, durability="none")
    writer.write_many([b"new"] * COUNT, keys=[f"new {n}" for n in range(COUNT)])
    kill(writer)
    listed = DatasetDirectory(path).newest().segments[0].id
    (killed,) = (one for one in (path / "segments").iterdir() if one.name != listed)
    if (killed / name).exists():
        (killed / name).unlink()
    make(killed / name)
    damage_index(path / "segments" / listed)

    repair(path, adopt=turn % 3 == 0, discard=turn % 3 == 1)

    with SplitDataLoader(path) as loader:
        assert loader[:COUNT] == [b"%d" % n for n in range(COUNT)]
    assert verify(path).is_intact
    if make is full_folder:
        assert (killed / name / "precious").read_bytes() == b"years of work"


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("name", ["manifest.0000000001.json", f"manifest.{'a' * 32}.tmp"])
def test_entry_that_is_no_file_beside_the_manifest_ends_no_repair(
    root: Path, make: Callable[[Path], None], name: str
) -> None:
    path = root / "x" / "x" / "data"
    path.parent.mkdir(parents=True)
    for number in range(3):
        write(path, number * COUNT, is_open=False)
    segment = path / "segments" / DatasetDirectory(path).newest().segments[0].id
    damage_index(segment)
    if (path / name).exists():
        (path / name).unlink()
    make(path / name)

    report = repair(path)

    assert not os.path.lexists(path / name) or any(name in note for note in report.notes)
    with SplitDataLoader(path) as loader:
        assert loader[:] == [b"%d" % n for n in range(3 * COUNT)]


def test_every_name_that_a_segment_may_have_is_tried() -> None:
    assert {name for name in NAMES if SegmentPaths.is_own_name(name)} == set(NAMES)
