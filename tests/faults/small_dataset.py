"""A dataset so small that every bit of it can be damaged, and the question what a reader makes of the damage.

segment 0    sealed, 2 bins     5 records, one of them empty
segment 1    open, 2 bins       5 records, two of them compressed
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from splitdata import SplitDataError, SplitDataLoader, SplitWriter
from splitdata.dataset.manifests.directory import DatasetDirectory

RECORDS = [
    b"first",
    b"",
    b"third record",
    b"\x00" * 24,
    b"the last one of its segment",
    b"zstd " * 12,
    b"short",
    b"compress me " * 5,
    b"seven",
    b"the end",
]
FIRST_SEGMENT = 5

Io = Literal["mmap", "pread"]


def write_small(path: Path) -> list[Path]:
    """Write the dataset and return its files, the manifest first."""
    with SplitWriter(path, bins=2, durability="none", metadata={"made": "here"}) as writer:
        writer.write_many(RECORDS[:FIRST_SEGMENT])
    writer = SplitWriter(path, bins=2, mode="append", compression="zstd", durability="none")
    writer.write_many(RECORDS[FIRST_SEGMENT:])
    writer.commit()
    # Not sealed: as a writer leaves it that works on, or was killed.
    writer.abort()
    for old in sorted(path.glob("manifest.*.json"))[:-1]:
        old.unlink()
    return sorted(path.rglob("manifest.*.json")) + sorted(file for file in path.glob("segments/*/*") if file.is_file())


def segment_folders(path: Path) -> list[Path]:
    """Return the folders of both segments, by position."""
    return [path / "segments" / info.id for info in DatasetDirectory(path).newest().segments]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader made of a dataset.

    Attributes:
        refused: The error with which opening failed, None if it did not.
        errors: Of each position that could not be read.
    """

    refused: SplitDataError | None
    errors: dict[int, SplitDataError]


def read_everything(path: Path, *, io: Io, verify: bool = True, more_ways: bool = True) -> Reading:
    """Read every record in every way; fail on wrong bytes, and on any error that is none of splitdata's."""
    try:
        loader = SplitDataLoader(path, io=io, verify=verify, max_record_bytes=1 << 20)
    except SplitDataError as refusal:
        return Reading(_naming(refusal, path), {})
    errors: dict[int, SplitDataError] = {}
    with loader:
        assert len(loader) == len(RECORDS)
        for position, record in enumerate(RECORDS):
            try:
                assert loader[position] == record
            except SplitDataError as damage:
                errors[position] = _naming(damage, path)
        if more_ways:
            _read_in_other_ways(loader, errors)
    return Reading(None, errors)


def _naming(error: SplitDataError, path: Path) -> SplitDataError:
    """Return an error, whose text must say where it was met."""
    assert str(path) in str(error), error
    return error


def _same_kind(one: SplitDataError, other: SplitDataError) -> None:
    assert type(one) is type(other), (one, other)


def _read_in_other_ways(loader: SplitDataLoader, errors: dict[int, SplitDataError]) -> None:
    """Views, ranges, batches and walks must give the same records and the same errors."""
    readable = [position for position in range(len(RECORDS)) if position not in errors]
    assert loader[readable] == [RECORDS[position] for position in readable]
    loader.prefetch(range(len(RECORDS)))
    for position, record in enumerate(RECORDS):
        try:
            assert loader.view(position) == record
            assert loader.read_range(position, 1, 4) == record[1:4]
            assert position not in errors
        except SplitDataError as damage:
            _same_kind(damage, errors[position])
    walked = 0
    try:
        for walked, record in enumerate(loader, 1):
            assert record == RECORDS[walked - 1]
        assert walked == len(RECORDS)
        assert not errors
    except SplitDataError:
        assert errors
    for shuffle in (False, True):
        try:
            for position, record in loader.iterate_binwise(shuffle, seed=1, with_positions=True):
                assert record == RECORDS[position]
        except SplitDataError:
            assert errors
        else:
            assert not errors
