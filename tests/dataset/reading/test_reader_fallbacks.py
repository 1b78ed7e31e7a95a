"""Every way to read gives the same records: each fallback is forced and compared."""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from splitdata import SplitDataLoader, SplitWriter
from splitdata.dataset.segments import open_files, segment_files, segment_reader
from splitdata.dataset.segments.segment_reader import SegmentReader
from splitdata.storage import file_source as source_module
from splitdata.storage import files
from tests.dataset.disk import bins_of, drop_from_page_cache

Io = Literal["mmap", "pread"]
RECORDS = [b"%d " % number * (number % 40) for number in range(400)] + [b"large " * (3 << 20), b"end"]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fallbacks") / "data"
    for start, compression in ((0, None), (200, "zstd")):
        with SplitWriter(path, mode="append", bins=4, compression=compression) as writer:  # type: ignore[arg-type]
            writer.write_many(RECORDS[start : start + 200 if start == 0 else None])
    return path


def big_endian(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(segment_files, "_IS_LITTLE_ENDIAN", False)


def no_questions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(source_module, "_RWF_NOWAIT", None)


def no_advice(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(mmap, "MADV_WILLNEED", raising=False)
    patch.delattr(os, "posix_fadvise", raising=False)


def no_positional_reads(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(files, "_has_positional", False)
    patch.delattr(os, "pread")


def few_descriptors(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(open_files, "descriptor_limit", lambda: 4)


def all_cold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SegmentReader, "_is_resident", lambda *_: False)


def unanswered(patch: pytest.MonkeyPatch) -> None:
    def preadv(*_arguments: object) -> int:
        raise OSError(95, "Operation not supported")

    patch.setattr(os, "preadv", preadv, raising=False)


def fresh_pages(_patch: pytest.MonkeyPatch) -> None:
    """As every system reads."""


WAYS = [fresh_pages, big_endian, no_questions, no_advice, no_positional_reads, few_descriptors, all_cold, unanswered]


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("io", ["auto", "mmap", "pread"])
@pytest.mark.parametrize("force", WAYS)
def test_every_way_to_read_gives_the_same_records(
    path: Path, force: Callable[[pytest.MonkeyPatch], None], io: Io, verify: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    force(monkeypatch)
    loader = SplitDataLoader(path, io=io, verify=verify)
    positions = np.random.default_rng(0).integers(-402, 402, 300)

    assert [loader[index] for index in range(402)] == RECORDS
    assert loader[positions] == [RECORDS[position] for position in positions]
    assert loader.views(positions) == [RECORDS[position] for position in positions]
    assert list(loader) == RECORDS
    assert sorted(loader.iterate_binwise(True, 0, with_positions=True)) == list(enumerate(RECORDS))
    assert [
        (at, bytes(view)) for at, view in sorted(loader.iterate_binwise(as_views=True, with_positions=True))
    ] == list(enumerate(RECORDS))
    assert [bytes(loader.view(index)) for index in (0, 39, 250, 400, 401)] == [
        RECORDS[i] for i in (0, 39, 250, 400, 401)
    ]
    assert list(loader.sizes) == [len(record) for record in RECORDS]
    loader.prefetch(slice(None))
    loader.read_ahead(slice(None))
    assert loader.read_range(400, 1 << 20, (1 << 20) + 7) == RECORDS[400][1 << 20 : (1 << 20) + 7]


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_data_that_are_not_in_memory_are_read_right(path: Path, io: Io) -> None:
    for attempt in range(2):
        for one in bins_of(path):
            drop_from_page_cache(one)
        loader = SplitDataLoader(path, io=io)
        positions = np.random.default_rng(attempt).permutation(402)

        assert loader[positions] == [RECORDS[position] for position in positions]
        assert loader.gather([7, 7]).tobytes() == RECORDS[7] * 2


@pytest.mark.parametrize("io", ["mmap", "pread"])
def test_cold_batch_is_asked_for_before_it_is_read(path: Path, io: Io, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = SplitDataLoader(path, io=io)
    events: list[str] = []
    kind = source_module.MappedSource if io == "mmap" else source_module.PreadSource
    real = kind.prefetch
    monkeypatch.setattr(kind, "prefetch", lambda self, *place: (events.append("ask"), real(self, *place))[1])  # type: ignore[func-returns-value]
    loader[[5, 100, 3, 150]]
    warm = len(events)
    monkeypatch.setattr(SegmentReader, "_is_resident", lambda *_: False)
    # A reader that has just read a batch fast does not ask after the next one.
    found = SplitDataLoader(path, io=io)[[5, 100, 3, 150]]

    assert warm == 0 or not hasattr(os, "RWF_NOWAIT")
    assert len(events) - warm == 4
    assert found == [RECORDS[5], RECORDS[100], RECORDS[3], RECORDS[150]]


def test_batch_behind_a_slow_one_is_asked_after_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = SplitDataLoader(path)
    questions: list[int] = []

    def question(self: SegmentReader, place: int) -> bool:
        questions.append(place)
        return True

    monkeypatch.setattr(SegmentReader, "_is_resident", question)
    clock = itertools.count()
    monkeypatch.setattr(segment_reader, "perf_counter", lambda: float(next(clock)))
    loader[[5, 100, 3, 150]]
    loader[[5, 100, 3, 150]]
    assert len(questions) == 8
    monkeypatch.setattr(segment_reader, "perf_counter", lambda: 0.0)
    loader[[5, 100, 3, 150]]
    loader[[5, 100, 3, 150]]
    assert len(questions) == 12
