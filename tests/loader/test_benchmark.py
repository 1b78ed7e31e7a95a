"""measure_dataset: what it measures and on which records; how fast that is, nobody asserts.

The clock here counts the looks at it, so that a measurement ends after as many records on every machine.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from splitdata import DatasetNotFoundError, DistributedLoader, SplitWriter, Window, measure_dataset
from splitdata.loader import benchmark
from splitdata.loader.benchmark import DatasetBenchmark, Measurement
from splitdata.loader.stats.meter import num_cores

RECORDS = [b"%06d" % number * 20 for number in range(500)]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every look at the clock take a millisecond."""
    looks = itertools.count()
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(perf_counter=lambda: next(looks) / 1000))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with SplitWriter(tmp_path / "data", bins=4) as writer:
        writer.write_many(RECORDS)
    return tmp_path / "data"


def tasks(report: DatasetBenchmark) -> list[tuple[str, int | None]]:
    return [(one.task, one.num_workers) for one in report.measurements]


def length(record: bytes) -> int:
    return len(record)


def fail(record: bytes) -> int:
    raise LookupError(f"no sample in {len(record)} bytes")


def test_each_way_of_reading_is_measured_cold_and_warm(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "drop_dataset", lambda path: True)
    seen: list[tuple[int, int, str]] = []

    report = measure_dataset(
        data,
        num_workers=1,
        batch_size=8,
        transform=length,
        seconds=0.05,
        progress=lambda done, total, name: seen.append((done, total, name)),
    )

    one_kind = [("in order", None), ("at random", None), ("loader", 0), ("loader", 1)]
    assert tasks(report) == 2 * one_kind
    assert [one.is_cold for one in report.measurements] == 4 * [True] + 4 * [False]
    assert all(one.num_records and one.records_per_second > 0 for one in report.measurements)
    assert [(one.stats is None, one.first_batch_seconds is None) for one in report.measurements] == 2 * [
        *[(True, True)] * 2,
        *[(False, False)] * 2,
    ]
    assert (report.num_records, report.num_measured, report.mean_record_bytes) == (500, 500, 120.0)
    assert [done for done, _, _ in seen] == list(range(8))
    assert {total for _, total, _ in seen} == {8}
    assert seen[3][2] == "loader, 1 workers, cold"
    assert report.verdict.endswith(".")


def test_cold_measurement_ends_with_the_data(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "drop_dataset", lambda path: True)

    report = measure_dataset(data, num_workers=0, batch_size=8, seconds=0.1)

    cold = [one for one in report.measurements if one.is_cold]
    warm = [one for one in report.measurements if not one.is_cold and one.task != "in order"]
    assert [one.num_records for one in cold] == [500, 500, 492]
    assert all(one.num_records > 500 for one in warm)


def test_cache_that_cannot_be_dropped_leaves_only_warm_measurements(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)

    report = measure_dataset(data, num_workers=0, seconds=0.02)

    assert not report.has_cold
    assert tasks(report) == [("in order", None), ("at random", None), ("loader", 0)]
    assert not any(one.is_cold for one in report.measurements)


def test_large_dataset_is_measured_on_its_beginning(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "_MOST_BYTES", 120 * 100)

    report = measure_dataset(data, num_workers=0, batch_size=8, seconds=0.05)

    assert report.num_measured == 129
    assert report.measurements[-3].num_records == 129


def test_large_records_are_read_one_at_a_time_and_none_fills_a_batch(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[object] = []

    def made(*arguments: Any, **options: Any) -> DistributedLoader:  # whatever a loader takes
        sizes.append(options["batch_size"])
        return DistributedLoader(*arguments, **options)

    monkeypatch.setattr(benchmark, "DistributedLoader", made)
    monkeypatch.setattr(benchmark, "_STRIDE_BYTES", 120)
    monkeypatch.setattr(benchmark, "_MOST_BYTES", 300)

    report = measure_dataset(data, num_workers=0, batch_size=64, seconds=0.1)

    assert report.num_measured == 3
    assert set(sizes) == {3}


@pytest.mark.parametrize("shuffle", [False, "bins", Window(20)])
def test_other_orders_are_measured(data: Path, shuffle: object) -> None:
    report = measure_dataset(data, num_workers=0, shuffle=shuffle, seconds=0.01)  # type: ignore[arg-type]  # parameter

    assert report.shuffle == shuffle


def test_single_batch_has_no_rate_and_no_error(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b"alone")

    report = measure_dataset(tmp_path / "data", num_workers=0, seconds=0.01)

    assert {one.records_per_second for one in report.measurements if one.is_cold and one.task == "loader"} <= {0.0}


@pytest.mark.parametrize(
    ("most", "expected"), [(0, [0]), (1, [0, 1]), (2, [0, 1, 2]), (6, [0, 1, 2, 4, 6]), (8, [0, 1, 2, 4, 8])]
)
def test_numbers_of_workers_double_up_to_the_most(most: int, expected: list[int]) -> None:
    assert benchmark._numbers_up_to(most) == expected


def test_cores_of_this_process_are_the_most_workers(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def numbers_up_to(most: int) -> list[int]:
        asked.append(most)
        return [0]

    monkeypatch.setattr(benchmark, "_numbers_up_to", numbers_up_to)

    measure_dataset(data, seconds=0.01)

    assert asked == [num_cores()]


def measured(num_workers: int, num_records: int) -> Measurement:
    return Measurement(task="loader", num_workers=num_workers, is_cold=False, num_records=num_records, seconds=1.0)


@pytest.mark.parametrize(("rates", "fastest"), [((10, 20, 15), 1), ((30, 20, 15), 0)])
def test_fastest_of_the_warm_loaders_is_judged(rates: tuple[int, int, int], fastest: int) -> None:
    report = DatasetBenchmark(
        path="data",
        num_records=1,
        num_measured=1,
        mean_record_bytes=1.0,
        batch_size=1,
        shuffle=False,
        has_cold=False,
        measurements=tuple(itertools.starmap(measured, enumerate(rates))),
    )

    assert report.fastest.num_workers == fastest
    assert report.verdict.startswith("No number of workers was faster than none") == (fastest == 0)


def test_error_of_the_transform_arrives_as_it_is(data: Path) -> None:
    with pytest.raises(LookupError, match="no sample in 120 bytes"):
        measure_dataset(data, num_workers=0, transform=fail, seconds=0.01)


def test_what_cannot_be_measured_is_refused(tmp_path: Path, data: Path) -> None:
    with SplitWriter(tmp_path / "empty"):
        pass
    with pytest.raises(ValueError, match="has no records to measure"):
        measure_dataset(tmp_path / "empty")
    with pytest.raises(DatasetNotFoundError):
        measure_dataset(tmp_path / "missing")
    with pytest.raises(ValueError, match="seconds must be more than 0, got 0"):
        measure_dataset(data, seconds=0)
    with pytest.raises(ValueError, match="batch_size must be"):
        measure_dataset(data, batch_size=0)
    with pytest.raises(ValueError, match="num_workers must be"):
        measure_dataset(data, num_workers=-1)
