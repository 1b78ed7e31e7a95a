"""What the tests of this folder ask of the files of a dataset."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from splitdata import SplitDataLoader, SplitWriter


def written(path: Path, records: Iterable[bytes], bins: int | None = None) -> Path:
    """Write a dataset and return its path."""
    with SplitWriter(path, bins=bins, durability="none") as writer:
        writer.write_many(records)
    return path


def read(path: Path) -> list[bytes]:
    """Return all records of a dataset, as a new reader shows them."""
    with SplitDataLoader(path) as loader:
        return list(loader)


def files_of(path: Path) -> dict[str, str]:
    """Return name and digest of every file below a folder, and its folders."""
    return {
        str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest() if one.is_file() else "folder"
        for one in sorted(path.rglob("*"))
    }


def bins_of(path: Path) -> list[Path]:
    """Return all bin files of a dataset."""
    return sorted(path.glob("segments/*/*.bin"))


def copied(path: Path, target: Path) -> Path:
    """Return a copy of a dataset."""
    shutil.copytree(path, target)
    return target


def drop_from_page_cache(path: Path) -> None:
    """Ask the kernel to forget a file's pages, where it can be asked."""
    if not hasattr(os, "posix_fadvise"):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
