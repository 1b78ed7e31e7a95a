"""Random damage to datasets of every kind: repair twice is repair once, and verify counts the records that it counts.

one to three of   flip, overwrite, cut, delete, append      of any file      then repair, verify, repair
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import SplitDataError, repair, verify
from tests.dataset.record_kinds import KINDS, RecordKind, tree_of
from tests.faults.file_faults import fast_folder

SMALL_KINDS = [kind for kind in KINDS if kind.name != "large"]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with fast_folder(tmp_path) as fast:
        yield fast


def damage(path: Path, source: random.Random) -> str:
    """Damage one file; returns how."""
    file = source.choice(sorted(one for one in path.rglob("*") if one.is_file()))
    content = bytearray(file.read_bytes())
    how = source.choice(["flip", "flip", "flip", "overwrite", "cut", "cut a little", "append", "delete"])
    if how == "delete" and not file.name.startswith("manifest"):
        file.unlink()
    elif content:
        place = source.randrange(len(content))
        if how == "flip":
            content[place] ^= 1 << source.randrange(8)
        elif how == "overwrite":
            content[place : place + 40] = source.randbytes(len(content[place : place + 40]))
        elif how == "cut":
            del content[place:]
        elif how == "cut a little":
            del content[-source.randrange(1, 9) :]
        else:
            content += source.randbytes(source.choice([1, 8, 50]))
        file.write_bytes(bytes(content))
    return f"{how} {file.relative_to(path)}"


def check(kind: RecordKind, made: Path, path: Path, seed: int) -> None:
    """Damage a copy, repair it twice."""
    source = random.Random(seed)
    shutil.copytree(made, path)
    done = [damage(path, source) for _ in range(source.randint(1, 3))]
    adopt = source.random() < 0.5
    try:
        report = repair(path, adopt=adopt)
    except SplitDataError:
        # All manifests, or something that only a person can decide.
        shutil.rmtree(path)
        return
    assert verify(path).num_damaged_records == report.num_lost_records, (kind.name, seed, done)
    before = tree_of(path)
    again = repair(path, adopt=adopt)
    assert again.actions == (), (kind.name, seed, done)
    assert tree_of(path) == before, (kind.name, seed, done)
    assert again.findings == report.findings, (kind.name, seed, done)
    shutil.rmtree(path)


def make(kind: RecordKind, folder: Path) -> list[Path]:
    """Write a sealed dataset, an open one, and one that a killed writer left with uncommitted records."""
    kind.write_sealed(folder / "sealed")
    kind.write_open(folder / "open")
    kind.write_open(folder / "killed", uncommitted=6)
    return [folder / "sealed", folder / "open", folder / "killed"]


@pytest.mark.parametrize("kind", SMALL_KINDS, ids=lambda kind: kind.name)
def test_second_repair_has_nothing_to_do(folder: Path, kind: RecordKind) -> None:
    for number, made in enumerate(make(kind, folder)):
        for seed in range(5):
            check(kind, made, folder / "work", 1000 * number + seed)


@pytest.mark.soak
@pytest.mark.parametrize("kind", SMALL_KINDS, ids=lambda kind: kind.name)
def test_second_repair_has_nothing_to_do_after_much_damage(folder: Path, kind: RecordKind) -> None:
    for number, made in enumerate(make(kind, folder)):
        for seed in range(100, 300):
            check(kind, made, folder / "work", 1000 * number + seed)
