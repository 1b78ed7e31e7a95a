"""What is written while the process is killed: each workload yields after each acknowledged commit.

    workload.run(path) ── commit ── yield ── commit ── yield ...
    workload.states       [before, after the first, after the second ...]

The records are few and small, so that every byte of the whole can be the last one.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pytest

from splitdata import DatasetNotFoundError, SplitDataLoader, SplitWriter, encode_sample
from splitdata.format import spec
from splitdata.storage import files

Records = list[bytes]
Patch = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True, slots=True)
class Workload:
    """One way to write, and what a reader may see of it.

    Attributes:
        name: For messages.
        run: Writes; yields once after each acknowledged commit.
        states: The records after 0, 1, 2 ... commits, samples as `encode_sample` makes them; None where there is no
            dataset yet.
        prepare: Makes what is there before; without any fault.
        patch: What the machine of this workload cannot do.
        leaves_scratch: Whether a kill may leave an unfinished manifest behind.
    """

    name: str
    run: Callable[[Path], Iterator[None]]
    states: list[Records | None]
    prepare: Callable[[Path], None] = lambda path: None
    patch: Patch = lambda patch: None
    leaves_scratch: bool = False


def _records(seed: int, count: int, most: int) -> Records:
    random_source = random.Random(seed)
    lengths = [0, *(random_source.randrange(1, most) for _ in range(count - 1))]
    return [random_source.randbytes(length) for length in lengths]


def _text(seed: int, count: int) -> Records:
    """Return records that compress, and one that does not."""
    random_source = random.Random(seed)
    words = [b"alpha ", b"beta ", b"gamma ", b"delta "]
    texts = [b"".join(random_source.choices(words, k=40 + number)) for number in range(count - 1)]
    return [*texts, random_source.randbytes(50)]


def _states(*groups: Records, before: Records | None = None) -> list[Records | None]:
    states: list[Records | None] = [before]
    for group in groups:
        states.append([*(states[-1] or []), *group])
    return states


def _three_commits(groups: list[Records], options: dict[str, Any]) -> Callable[[Path], Iterator[None]]:
    def run(path: Path) -> Iterator[None]:
        with SplitWriter(path, **options) as writer:
            for group in groups[:-1]:
                writer.write_many(group)
                writer.commit()
                yield
            writer.write_many(groups[-1])
        yield

    return run


def three_commits(
    name: str,
    groups: list[Records],
    *,
    patch: Patch = lambda patch: None,
    leaves_scratch: bool = False,
    bins: int = 3,
    compression: Literal["zstd"] | None = None,
    metadata: dict[str, Any] | None = None,
) -> Workload:
    """Commit twice in one run, then close it, which commits and seals."""
    run = _three_commits(groups, {"bins": bins, "compression": compression, "metadata": metadata})
    return Workload(name, run, _states(*groups), patch=patch, leaves_scratch=leaves_scratch)


def with_keys() -> Workload:
    """Commit twice in one run, then close it, with keys, which are written in steps of their own."""
    groups = [_records(seed, 5, 60) for seed in (41, 42, 43)]

    def run(path: Path) -> Iterator[None]:
        with SplitWriter(path, bins=2) as writer:
            for number, group in enumerate(groups):
                writer.write_many(group, keys=[f"{number}/{place}" for place in range(len(group))])
                if number < len(groups) - 1:
                    writer.commit()
                    yield
        yield

    return Workload("keys", run, _states(*groups))


def _samples(number: int) -> list[Any]:
    """Return samples of which some have schemas that none before had, in texts and arrays of any length."""
    image = np.arange(number + 3, dtype=np.uint8)
    return [{"image": image, "label": number}, {"text": "x" * number}, {f"new {number}": image[:2]}]


def with_schemas() -> Workload:
    """Let two writers commit samples in turn, after two commits of one: schemas are added to open and new segments."""
    groups = [_samples(number) for number in range(4)]

    def run(path: Path) -> Iterator[None]:
        with SplitWriter(path, bins=2, codec="sample") as one:
            for group in groups[:2]:
                one.write_samples(group)
                one.commit()
                yield
            with SplitWriter(path, bins=2, mode="append") as other:
                for number, group in enumerate(groups[2:]):
                    writer = (other, one)[number % 2]
                    writer.write_samples(group)
                    writer.commit()
                    yield

    return Workload("schemas", run, _states(*(list(map(encode_sample, group)) for group in groups)))


def fitting(path: Path, record: bytes) -> bytes:
    """Return a record that may be added to a dataset, which may be one of samples."""
    with suppress(DatasetNotFoundError), SplitDataLoader(path) as loader:
        return encode_sample(record) if loader.record_codec == "sample" else record
    return record


def rivals() -> Workload:
    """Let two writers commit in turn, so that the first moves its pending records into a new segment."""
    groups = [_records(seed, 4, 60) for seed in (11, 12, 13, 14)]

    def run(path: Path) -> Iterator[None]:
        with SplitWriter(path, bins=2, mode="append") as one, SplitWriter(path, bins=2, mode="append") as other:
            for number, group in enumerate(groups):
                writer = (one, other)[number % 2]
                writer.write_many(group)
                writer.commit()
                yield

    return Workload("rivals", run, _states(*groups))


def appending() -> Workload:
    """Append to a sealed dataset, with a commit before that of closing."""
    before, groups = _records(21, 5, 60), [_records(seed, 4, 60) for seed in (22, 23)]

    def prepare(path: Path) -> None:
        with SplitWriter(path, bins=2) as writer:
            writer.write_many(before)

    return Workload(
        "append",
        _three_commits(groups, {"bins": 2, "mode": "append"}),
        _states(*groups, before=before),
        prepare=prepare,
    )


def overwriting() -> Workload:
    """Replace one dataset by another."""
    before, groups = _records(31, 9, 60), [_records(seed, 4, 60) for seed in (32, 33)]

    def prepare(path: Path) -> None:
        for part in (before[:5], before[5:]):
            with SplitWriter(path, bins=2, mode="append") as writer:
                writer.write_many(part)

    states: list[Records | None] = [before, groups[0], groups[0] + groups[1]]
    return Workload("overwrite", _three_commits(groups, {"bins": 2, "mode": "overwrite"}), states, prepare=prepare)


def _without_unnamed_files(patch: pytest.MonkeyPatch) -> None:
    def refuse(folder: str, **_: object) -> NoReturn:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), folder)

    patch.setattr(files, "create_unnamed", refuse)


def _without_links(patch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str, **_: object) -> NoReturn:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)

    _without_unnamed_files(patch)
    patch.setattr(files, "link", refuse)


def _with_small_large_records(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(spec, "LARGE_RECORD_BYTES", 1 << 10)
    patch.setattr(spec, "BLOCK_BYTES", 1 << 8)


PLAIN = [_records(seed, count, 120) for seed, count in ((1, 5), (2, 7), (3, 4))]
TEXTS = [_text(seed, count) for seed, count in ((4, 4), (5, 4), (6, 3))]
# Of 1 KiB and more is large where the patch says so.
BLOCKS = [_records(7, 2, 90), [bytes(range(256)) * 5 + b"tail"], [*_records(8, 2, 90), b"x" * 1024]]


def workloads() -> list[Workload]:
    """Return all workloads whose every byte can be tried."""
    return [
        three_commits("plain", PLAIN, metadata={"made": "here"}),
        three_commits("zstd", TEXTS, compression="zstd"),
        three_commits("scratch", PLAIN, patch=_without_unnamed_files, leaves_scratch=True),
        three_commits("rename", PLAIN, patch=_without_links, leaves_scratch=True),
        three_commits("blocks", BLOCKS, bins=2, patch=_with_small_large_records),
        three_commits("blocks-zstd", BLOCKS, bins=2, compression="zstd", patch=_with_small_large_records),
        with_keys(),
        with_schemas(),
        rivals(),
        appending(),
        overwriting(),
    ]


def large() -> Workload:
    """Return three commits of which the second holds a record of 16 MiB: few points of it can be tried."""
    return three_commits("large", [PLAIN[0], [bytes(spec.LARGE_RECORD_BYTES) + b"end", b"after"], PLAIN[2]], bins=2)
