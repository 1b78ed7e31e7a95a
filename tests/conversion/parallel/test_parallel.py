"""convert(workers=N): the dataset is the same for every N, and so are errors; nothing hangs, nothing is lost.

one.jsonl(.gz) two.jsonl ... ──> parts ──> workers ──> the files that one process makes
"""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from splitdata import (
    SampleDataset,
    SchemaError,
    SplitDataLoader,
    SplitWriter,
    TooManySkippedError,
    WorkerCrashedError,
    convert,
    open_source,
    verify,
)
from splitdata.conversion import conversion_log
from splitdata.conversion.parallel import parallel_source, part_pool
from tests.conversion.steps.step_functions import OwnError, exit_at_once, own_error, spread
from tests.dataset.disk import files_of, read

NUMBER = 1000


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut parts of a few hundred lines, and commit every few parts."""
    monkeypatch.setattr(parallel_source, "_PART_BYTES", 1000)
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 5_000)


def make_lines(folder: Path) -> list[str]:
    """Lines in a file that is cut, one that is not, and an empty one."""
    lines = [b"%d\n" % number for number in range(NUMBER)]
    parts = {"a.jsonl": b"".join(lines[:500]), "b.jsonl.gz": gzip.compress(b"".join(lines[500:750]))}
    for name, data in (parts | {"c.jsonl": b"", "d.jsonl": b"".join(lines[750:])}).items():
        (folder / name).write_bytes(data)
    return [str(folder / name) for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl", "d.jsonl")]


def make_files(root: Path) -> Path:
    for number in range(60):
        file = root / f"{number % 3}" / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([number]) * number)
    (root / "1" / "large").write_bytes(bytes(range(256)) * (5 << 12))
    (root / "2" / "larger").write_bytes(bytes(range(256)) * (70 << 10))
    return root


def test_files_are_those_of_one_process_with_all_that_fails_put_aside(tmp_path: Path) -> None:
    source = make_lines(tmp_path)
    reports = [
        convert(
            source,
            tmp_path / f"data{workers}",
            workers=workers,
            transform=spread,
            quarantine=tmp_path / f"aside{workers}",
            reproducible=True,
        )
        for workers in (1, 2)
    ]

    assert files_of(tmp_path / "data2") == files_of(tmp_path / "data1")
    assert files_of(tmp_path / "aside2") == files_of(tmp_path / "aside1")
    assert (reports[1].num_records, reports[1].skipped) == (reports[0].num_records, reports[0].skipped)
    assert reports[0].num_failed > NUMBER // 10


def make_samples(folder: Path) -> list[str]:
    """JSON lines, several blocks a file, whose structures are ever new, so that schemas are numbered throughout."""
    files = []
    for part in range(4):
        rows: list[dict[str, Any]] = [
            {"id": number, "text": "x" * 30_000, "x": [[1.5, number]] * (number % 4)} for number in range(150)
        ]
        for number in range(0, 150, 3):
            rows[number] |= {f"only {number % 7 * part}": 1, "x": [0.5] * (number % 4 * part)}
        files.append(folder / f"{part}.jsonl.gz")
        files[-1].write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), 1))
    return list(map(str, files))


@pytest.mark.parametrize("resume", [False, True])
def test_samples_are_bound_by_workers_to_the_same_schemas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, resume: bool
) -> None:
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 4 << 20)
    source = make_samples(tmp_path)
    reports = [
        convert(
            open_source(source, typed=True),
            tmp_path / f"data{workers}",
            workers=workers,
            reproducible=True,
            resume=resume,
        )
        for workers in (1, 2)
    ]
    files = [
        {name: data for name, data in files_of(tmp_path / dest).items() if "segments" in name or not resume}
        for dest in ("data1", "data2")
    ]

    assert files[0] == files[1]
    assert reports[0].num_bytes == reports[1].num_bytes
    assert SampleDataset(tmp_path / "data2")[598] == {"id": 148, "text": "x" * 30_000, "x": []}


def test_samples_are_bound_where_they_are_read_but_those_that_are_not_of_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = SplitWriter.bind
    bound: list[bytes] = []

    def noted(self: SplitWriter, record: bytes) -> bytes:
        bound.append(record[:4])
        return bind(self, record)

    monkeypatch.setattr(SplitWriter, "bind", noted)
    rows = [b'{"a": %d}\n' % number for number in range(400)]
    rows[300] = b'{"a": "x"}\n'
    for name, part in (("a.jsonl.gz", rows[:200]), ("b.jsonl.gz", rows[200:])):
        (tmp_path / name).write_bytes(gzip.compress(b"".join(part)))
    errors, num_bound = [], []
    for workers in (1, 2):
        bound.clear()
        source = open_source([tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"], typed=True)
        with pytest.raises(SchemaError, match="record 300 of") as caught:
            convert(source, tmp_path / "data", workers=workers, schema={"a": "int"})
        errors.append(str(caught.value))
        num_bound.append(len(bound))

    assert errors[0] == errors[1]
    assert num_bound == [1, 1]


def test_keys_and_records_larger_than_a_block_come_whole_even_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_files(tmp_path / "root")
    monkeypatch.setattr(part_pool, "_MEMORY_BYTES", 0)
    for workers in (1, 2):
        convert(root, tmp_path / f"data{workers}", workers=workers, reproducible=True, compression="zstd")

    assert files_of(tmp_path / "data2") == files_of(tmp_path / "data1")
    assert SplitDataLoader(tmp_path / "data2").find("2/larger") == 62 - 1


def test_limit_and_shuffle_go_along(tmp_path: Path) -> None:
    source = make_lines(tmp_path)
    for workers in (1, 2):
        convert(source, tmp_path / f"data{workers}", workers=workers, limit=634, shuffle=5)

    assert len(read(tmp_path / "data1")) == 634
    assert read(tmp_path / "data2") == read(tmp_path / "data1")


def test_error_of_the_user_arrives_as_itself_with_its_record(tmp_path: Path) -> None:
    source = make_lines(tmp_path)

    with pytest.raises(OwnError, match="100") as caught:
        convert(source, tmp_path / "data", workers=2, transform=own_error)

    assert caught.value.__notes__ == ["in record 100 of the source"]
    assert not (tmp_path / "data").exists()
    with pytest.raises(TooManySkippedError, match="record 600 of the source: OwnError") as skipped:
        convert(source, tmp_path / "data", workers=2, transform=own_error, on_error="skip", max_errors=2)
    assert skipped.value.num_skipped == 3


def test_damage_in_a_part_is_the_error_of_the_source(tmp_path: Path) -> None:
    source = make_lines(tmp_path)
    Path(source[1]).write_bytes(Path(source[1]).read_bytes()[:-20])
    errors = []
    for workers in (1, 2):
        with pytest.raises(ValueError, match="truncated") as caught:
            convert(source, tmp_path / "data", workers=workers)
        errors.append((type(caught.value), str(caught.value), getattr(caught.value, "position", None)))
    assert errors[0] == errors[1]


def test_worker_that_dies_is_an_error_and_what_was_committed_stays(tmp_path: Path) -> None:
    source = make_lines(tmp_path)
    options: dict[str, Any] = {"workers": 2, "resume": True, "reproducible": True}

    with pytest.raises(WorkerCrashedError, match="part"):
        convert(source, tmp_path / "data", transform=exit_at_once, **options)

    assert verify(tmp_path / "data").is_intact
    found = read(tmp_path / "data")
    assert found == [b"%d" % number for number in range(len(found))]


class StopError(Exception):
    """What interrupts a conversion here."""


def test_conversion_that_is_interrupted_goes_on_with_any_number_of_workers(tmp_path: Path) -> None:
    source = make_lines(tmp_path)

    def run(dest: str, workers: int, most: int = 1 << 30) -> Any:
        counter = count()

        def report(_: object) -> None:
            if next(counter) >= most:
                raise StopError

        return convert(
            source,
            tmp_path / dest,
            workers=workers,
            transform=spread,
            on_error="skip",
            reproducible=True,
            resume=True,
            bins=3,
            progress=report,
        )

    whole = run("whole", 1)
    with pytest.raises(StopError):
        run("data", 2, 1)
    with pytest.raises(StopError):
        run("data", 1, 0)
    report = run("data", 2)

    assert report.num_resumed > 0
    assert report.skipped == whole.skipped
    # The log in the manifest tells parts, so the files beside it are compared.
    bins = [
        {name: data for name, data in files_of(tmp_path / dest).items() if "segments" in name}
        for dest in ("data", "whole")
    ]
    assert bins[0] == bins[1]
    assert read(tmp_path / "data") == read(tmp_path / "whole")
    with pytest.raises(StopError):
        run("begun by one", 1, 1)
    assert run("begun by one", 2).num_resumed > 0
    assert read(tmp_path / "begun by one") == read(tmp_path / "whole")


SLOW = """
import time

def slow(record):
    time.sleep(0.008)
    return record * 40
"""


def test_killed_conversion_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    source = make_lines(tmp_path)
    (tmp_path / "slow_steps.py").write_text(SLOW)
    (tmp_path / "run.py").write_text(
        "import sys\nfrom splitdata.conversion.parallel import parallel_source\nfrom splitdata import convert\n"
        "from slow_steps import slow\nparallel_source._PART_BYTES = 2000\n"
        "convert(sys.argv[1:], 'data', workers=2, resume=True, transform=slow)\n"
    )

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "run.py", *source], cwd=tmp_path, start_new_session=True)

    process = start()
    while not committed(tmp_path / "data"):
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    num_committed = committed(tmp_path / "data")
    assert start().wait() == 0

    assert 0 < num_committed < NUMBER
    assert read(tmp_path / "data") == [b"%d" % number * 40 for number in range(NUMBER)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".splitdata")] == []
    deadline = time.monotonic() + 10
    while list(processes_of(process.pid)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def committed(path: Path) -> int:
    try:
        return len(SplitDataLoader(path))
    except FileNotFoundError:
        return 0


def processes_of(session: int) -> Iterator[int]:
    """Yield the processes of a session that have not ended."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, found = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(found) == session and state != "Z":
            yield int(path.parent.name)


def test_source_without_parts_is_read_by_one_process(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")

    report = convert(open_source(tmp_path / "a.csv"), tmp_path / "data", workers=2)

    assert report.num_records == 1
    with pytest.raises(ValueError, match="workers must be 1 or more"):
        convert(tmp_path / "a.csv", tmp_path / "more", workers=0)
