"""Any bytes of any file changed, with checksums that are right again, or not: nothing ends a verification or a repair.

manifest, index, keys, bins of two segments ── changed ── open, walk, find, verify, repair, adopt, append, resume
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from splitdata import SplitDataError, SplitDataLoader, SplitWriter, UnsupportedVersionError, describe, repair, verify
from splitdata.format.checksum import hash64
from tests.dataset.record_kinds import kill
from tests.faults.file_faults import fast_folder
from tests.format.test_parsers import changed, manifest_sealed

DRAWS = 60


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two segments with keys and compressed records; the second open, and with records that were not committed."""
    with fast_folder(tmp_path_factory.mktemp("forged")) as folder:
        path = folder / "original"
        words = [b'{"number": %d, "words": ["some", "words", "%d"]}' % (n, n * 31 % 17) for n in range(300)]
        with SplitWriter(path, bins=2, durability="none", compression="zstd", dictionary=True) as writer:
            for number, record in enumerate(words):
                writer.write(record, f"key {number}")
        writer = SplitWriter(path, bins=2, durability="none", mode="append", metadata={"a": 1})
        for number in range(20):
            if number == 12:
                writer.commit()
            writer.write(b"x" * number, f"other {number}")
        kill(writer)
        yield path


def sealed(path: Path, data: bytes) -> bytes:
    """Return the content of a file with the checksum at its head or end made right."""
    if path.suffix == ".json":
        return manifest_sealed(data)
    length = {"index": 128, "keys": 64, "keys.open": 64}.get(path.name, 64)
    return data[: length - 8] + hash64(data[: length - 8]).to_bytes(8, "little") + data[length:]


def opens(path: Path) -> bool:
    try:
        SplitDataLoader(path).close()
    except SplitDataError:
        return False
    return True


def read_all(path: Path) -> None:
    with SplitDataLoader(path, max_record_bytes=1 << 24) as loader:
        for key in ("key 5", "other 3", "none"):
            with suppress(SplitDataError, KeyError):
                loader.find(key)
        for walk in (iter(loader), loader.iterate_binwise(shuffle=True, seed=1)):
            for _ in range(400):
                with suppress(SplitDataError, StopIteration):
                    next(walk)


def write_more(path: Path, mode: str) -> None:
    with SplitWriter(path, mode=mode, bins=2, durability="none") as writer:  # type: ignore[arg-type]
        writer.write(b"more", "key of more")


OPERATIONS: list[Callable[[Path], object]] = [
    describe,
    read_all,
    lambda path: verify(path, num_workers=1),
    lambda path: write_more(path, "resume"),
    lambda path: repair(path, dry_run=True, adopt=True),
    repair,
    lambda path: repair(path, adopt=True),
    lambda path: verify(path, num_workers=1),
    lambda path: write_more(path, "append"),
]


def check_changed(original: Path, seed: int) -> None:
    """Change some files and do everything; errors of the tree, or of the disk, may come out."""
    source = random.Random(seed)
    path = original.with_name("changed")
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(original, path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for file in source.sample(files, source.choice((1, 1, 2, 4))):
        data = changed(file.read_bytes(), source)
        file.write_bytes(sealed(file, data) if source.random() < 0.5 else data)
    if opens(path):
        # What can be opened can be verified to its end, and repaired.
        verify(path, num_workers=1)
        with suppress(UnsupportedVersionError):
            repair(path, dry_run=True)
    for operation in OPERATIONS:
        with suppress(SplitDataError, OSError):
            operation(path)


def test_changed_files_give_errors_of_the_tree_alone(original: Path) -> None:
    for seed in range(DRAWS):
        check_changed(original, seed)


@pytest.mark.soak
@pytest.mark.time_limit(600)
def test_many_changed_files_give_errors_of_the_tree_alone(original: Path) -> None:
    for seed in range(DRAWS, 3000):
        check_changed(original, seed)
