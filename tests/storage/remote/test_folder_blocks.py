"""Blocks in a folder: found again by every process, proven, within the limit, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitdata.storage.remote.folder_blocks import FolderBlocks

LIMIT = 64 << 10


def name(number: int) -> str:
    return f"{(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128):032x}"


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_block_is_found_by_another_process_with_the_same_numbers(tmp_path: Path) -> None:
    FolderBlocks(str(tmp_path), LIMIT, 256).put(name(1), b"block")
    assert FolderBlocks(str(tmp_path), LIMIT, 256).get(name(1), 5) == b"block"


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 13, b"another text!"])
def test_damaged_block_is_none(tmp_path: Path, damage: bytes) -> None:
    blocks = FolderBlocks(str(tmp_path), LIMIT, 256)
    blocks.put(name(1), b"block")
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(damage)
    assert blocks.get(name(1), 5) is None


def test_block_of_another_length_is_none(tmp_path: Path) -> None:
    blocks = FolderBlocks(str(tmp_path), LIMIT, 256)
    blocks.put(name(1), b"block")
    assert blocks.get(name(1), 4) is None
    assert blocks.get(name(1), 6) is None


def test_folder_never_holds_more_than_its_limit_and_keeps_what_came_last(tmp_path: Path) -> None:
    blocks = FolderBlocks(str(tmp_path), LIMIT, 256)
    for number in range(600):
        blocks.put(name(number), bytes(256))
        if number % 50 == 0:
            assert used(tmp_path) <= LIMIT
    assert used(tmp_path) <= LIMIT
    assert used(tmp_path) > LIMIT // 2
    assert blocks.get(name(599), 256) is not None


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    blocks = FolderBlocks(str(tmp_path), 4096, 256)
    blocks.put(name(0), bytes(256))
    (folder,) = (path.parent for path in tmp_path.rglob("*") if path.is_file())
    for place in (tmp_path, folder):
        (place / "mine.bin").write_bytes(bytes(100_000))
    for number in range(100):
        blocks.put(name(number), bytes(256))
    FolderBlocks(str(tmp_path), 64 * 4096, 256)
    assert (tmp_path / "mine.bin").stat().st_size == 100_000
    assert (folder / "mine.bin").stat().st_size == 100_000


def test_blocks_of_another_limit_are_removed(tmp_path: Path) -> None:
    FolderBlocks(str(tmp_path), LIMIT, 256).put(name(1), bytes(256))
    FolderBlocks(str(tmp_path), 64 * LIMIT, 256)
    assert used(tmp_path) == 0


def test_folder_that_cannot_be_written_keeps_nothing_and_fails_nobody(tmp_path: Path) -> None:
    blocks = FolderBlocks(str(tmp_path / "cache"), LIMIT, 256)
    for path in sorted((tmp_path / "cache").rglob("*"), reverse=True):
        path.rmdir()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file now")
    blocks.put(name(1), bytes(256))
    assert blocks.get(name(1), 256) is None
