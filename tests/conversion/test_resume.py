"""convert(resume=True): interrupted anywhere, any number of times, it ends as if it had never been.

call 1 ── stopped       call 2 ── stopped       call 3 ── finished       call 4: nothing to do
records, and with reproducible every file, are those of one call that went through
"""

from __future__ import annotations

import bz2
import gzip
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from splitdata import (
    ConversionProgress,
    ConversionReport,
    DatasetExistsError,
    SourceError,
    SplitDataLoader,
    SplitWriter,
    StateMismatchError,
    convert,
    describe,
    open_source,
    verify,
)
from splitdata.conversion import conversion_log
from splitdata.conversion.sources.files import input_file
from splitdata.conversion.sources.seek import SeekableSource
from splitdata.conversion.sources.text.lines import JsonLineSource, LineSource
from tests.cli.processes import command_line, environment
from tests.dataset.disk import files_of, read
from tests.faults.file_faults import fast_folder
from tests.faults.kill_workloads import Workload
from tests.faults.test_kill import cost_of_all, spread, write_until_killed

COMMIT_BYTES = 20_000


@pytest.fixture
def small_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit every few records, and read few bytes at a time."""
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", COMMIT_BYTES)
    monkeypatch.setattr(input_file, "_BLOCK_BYTES", 3000)


class StopError(Exception):
    """What interrupts a conversion here."""


def stop_after(num_reports: int) -> Callable[[ConversionProgress], None]:
    counter = count()

    def report(progress: ConversionProgress) -> None:
        if next(counter) >= num_reports:
            raise StopError

    return report


def lines(number: int, seed: int = 1) -> list[bytes]:
    random_source = random.Random(seed)
    return [b"%d %s" % (at, b"x" * random_source.randrange(150)) for at in range(number)]


def make_folder(root: Path) -> Path:
    for number, line in enumerate(lines(1500)):
        file = root / f"d{number % 7}" / f"{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(line)
    (root / ".hidden").write_bytes(b"no")
    (root / "d3" / "large").write_bytes(bytes(range(256)) * 8192)
    return root


def made_records() -> Iterator[bytes]:
    """What the sources of functions call."""
    yield from lines(2500)


def made_records_from(start: int = 0) -> Iterator[bytes]:
    """What is told how many records to leave out, and makes none of them."""
    yield from lines(2500)[start:]


TEXT = b"\xef\xbb\xbf" + b"".join(line + (b"\n", b"\r\n")[at % 3 == 0] for at, line in enumerate(lines(2500))) + b"end"
JSON = b"".join(b'{"text": "%s"}\n%s' % (line, b" \n" * (at % 5 == 0)) for at, line in enumerate(lines(2000)))
CSV = b"number,text\n" + b"".join(b'%d,"%s\n"\n' % (at, line) for at, line in enumerate(lines(2000)))
PREFIXED = b"".join(
    len(line).to_bytes(4, "little") + line for line in [*lines(2000), b"L" * (1 << 20), b"M" * (1 << 20 | 1), b"end"]
)


def make_several(root: Path) -> list[str]:
    root.mkdir()
    parts = {
        "a.jsonl": JSON,
        "b.jsonl.gz": gzip.compress(JSON),
        "c.jsonl": b"",
        "d.jsonl": JSON[: len(JSON) // 2] + b"x",
    }
    for name, data in parts.items():
        (root / name).write_bytes(data)
    return [str(root / name) for name in parts]


def make_list(root: Path) -> str:
    paths = sorted(path for path in make_folder(root).rglob("*.bin"))
    (root / "list.txt").write_text("\n".join(map(str, reversed(paths))))
    return f"@{root / 'list.txt'}"


def file_maker(name: str, data: bytes) -> Callable[[Path], str]:
    def make(root: Path) -> str:
        root.mkdir()
        (root / name).write_bytes(data)
        return str(root / name)

    return make


SOURCES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "folder": (lambda root: str(make_folder(root)), "auto"),
    "list": (make_list, "auto"),
    "lines": (file_maker("a.txt", TEXT), "auto"),
    "lines.gz": (file_maker("a.txt.gz", gzip.compress(TEXT)), "auto"),
    "lines.zst": (file_maker("a.txt.zst", zstandard.compress(TEXT)), "auto"),
    "lines.bz2": (file_maker("a.txt.bz2", bz2.compress(TEXT)), "auto"),
    "jsonl": (file_maker("a.jsonl", JSON), "auto"),
    "csv": (file_maker("a.csv", CSV), "auto"),
    "prefixed": (file_maker("a.bin", PREFIXED), "prefixed"),
    "several": (make_several, "auto"),
    "csv twice": (lambda root: [file_maker("a.csv", CSV)(root)] * 2, "auto"),
    "callable": (lambda root: f"{__name__}:made_records", "callable"),
    "callable with start": (lambda root: f"{__name__}:made_records_from", "callable"),
}


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this module be found by its name, however the tests were imported."""
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])


@pytest.mark.usefixtures("small_commits", "importable")
@pytest.mark.parametrize("compression", [None, "zstd"])
@pytest.mark.parametrize("name", SOURCES)
def test_interrupted_conversion_of_any_source_ends_with_the_files_of_a_whole_one(
    tmp_path: Path, name: str, compression: Literal["zstd"] | None
) -> None:
    make, kind = SOURCES[name]
    source = make(tmp_path / "source")
    options: dict[str, Any] = {"reproducible": True, "resume": True, "compression": compression, "bins": 3}

    def run(dest: str, progress: Callable[[ConversionProgress], None] | None = None) -> ConversionReport:
        return convert(
            open_source(source, kind=kind),
            tmp_path / dest,
            progress=progress,
            **options,
        )

    whole = run("whole")
    calls, resumed = 0, 0
    while True:
        calls += 1
        try:
            report = run("data", stop_after(3 * calls))
            break
        except StopError:
            assert verify(tmp_path / "data").is_intact
            before, resumed = resumed, len(SplitDataLoader(tmp_path / "data"))
            assert resumed >= before

    assert calls > 1
    assert report.num_resumed == resumed > 0
    assert report.num_records == whole.num_records - resumed
    assert report.was_finished or report.skipped == whole.skipped
    assert files_of(tmp_path / "data") == files_of(tmp_path / "whole")
    convert(open_source(source, kind=kind), tmp_path / "plain")
    assert read(tmp_path / "data") == read(tmp_path / "plain")
    assert verify(tmp_path / "data").is_intact


@pytest.mark.usefixtures("small_commits")
@pytest.mark.parametrize("name", ["folder", "list", "lines", "jsonl", "prefixed"])
def test_what_comes_before_the_last_commit_is_not_read_again(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(input_file, "_SAMPLE_BYTES", 100)
    make, kind = SOURCES[name]
    source = make(tmp_path / "source")
    convert(open_source(source, kind=kind), tmp_path / "whole")
    with pytest.raises(StopError):
        convert(
            open_source(source, kind=kind),
            tmp_path / "data",
            progress=stop_after(5),
            reproducible=True,
            resume=True,
        )
    # What came before the last commit is overwritten without a trace: neither its size nor its ends change.
    opened = open_source(source, kind=kind)
    num_committed = len(SplitDataLoader(tmp_path / "data"))
    log = describe(tmp_path / "data").metadata["conversion"]
    num_done = log["commit_records"]
    assert num_done > 100
    if name in ("folder", "list"):
        names = [name for name, _ in opened.keyed_records()]  # type: ignore[attr-defined]  # both have it
        for path in names[:num_done]:
            file = tmp_path / "source" / path
            file.write_bytes(b"#" * file.stat().st_size)
    else:
        assert isinstance(opened, SeekableSource)
        done = log["commit_position"]["byte"]
        with Path(source).open("r+b") as file:
            file.seek(100)
            file.write(b"#" * (done - 200))

    report = convert(opened, tmp_path / "data", reproducible=True, resume=True)

    assert report.num_resumed == num_committed > num_done
    assert read(tmp_path / "data") == read(tmp_path / "whole")


@given(
    st.lists(st.sampled_from([b"", b"a", b"bc\r", b" ", b"\r"]), max_size=12),
    st.lists(st.sampled_from([b"\n", b"\r\n"]), min_size=12, max_size=12),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
    st.sampled_from([b"", b"end", b"end\r"]),
    st.integers(1, 9),
    st.sampled_from((LineSource, JsonLineSource)),
)
def test_lines_behind_every_position_are_those_that_followed(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[bytes],
    ends: list[bytes],
    mark: bytes,
    tail: bytes,
    block: int,
    kind: type[LineSource],
) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes(mark + b"".join(text + end for text, end in zip(texts, ends, strict=False)) + tail)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_file, "_BLOCK_BYTES", block)
        source = kind(str(path))
        whole, positions = [], []
        for record in source:
            whole.append(record)
            positions.append(source.position())
        skipped = dict(source.skipped)
        for at, position in enumerate(positions[1:], 1):
            # The same place is told alike however it was reached.
            again = kind(str(path))
            rest = again.records_from(positions[at // 2])
            for _ in range(at - at // 2):
                next(rest)
            assert again.position() == position
            assert list(kind(str(path)).records_from(position)) == whole[at + 1 :]
        if positions:
            last = kind(str(path))
            assert list(last.records_from(positions[-1])) == []
            assert dict(last.skipped) == skipped


def test_finished_conversion_is_a_no_op_even_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\ntwo\n")
    first = convert(tmp_path / "a.txt", tmp_path / "data", resume=True)
    before = files_of(tmp_path / "data")

    again = convert(tmp_path / "a.txt", tmp_path / "data", resume=True)

    assert (first.num_records, first.num_resumed, first.was_finished) == (2, 0, False)
    assert (again.num_records, again.num_resumed, again.was_finished) == (0, 2, True)
    assert files_of(tmp_path / "data") == before


def interrupted(tmp_path: Path, **options: Any) -> None:  # whatever convert takes
    (tmp_path / "a.jsonl").write_bytes(JSON)
    with pytest.raises(StopError):
        convert(tmp_path / "a.jsonl", tmp_path / "data", progress=stop_after(4), resume=True, **options)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "bins": ({"bins": 5}, "bins was not set, is 5"),
    "compression": ({"compression": "zstd"}, "compression was not set, is 'zstd'; level was not set, is 3"),
    "dictionary": ({"compression": "zstd", "dictionary": True}, "dictionary was False, is True"),
    "limit": ({"limit": 7}, "limit was not set, is 7"),
    "reproducible": ({"reproducible": True}, "reproducible was False, is True"),
    "metadata": ({"metadata": {"own": 1}}, "hash of metadata was '"),
}


@pytest.mark.usefixtures("small_commits")
@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize("change", [*CHANGES, "validate", "kind", "name", "size", "time", "content"])
def test_changed_source_or_option_is_refused_and_both_sides_are_said(
    tmp_path: Path, change: str, is_finished: bool
) -> None:
    interrupted(tmp_path)
    path = tmp_path / "a.jsonl"
    if is_finished:
        convert(path, tmp_path / "data", resume=True)
    before = files_of(tmp_path / "data")
    options, message = CHANGES.get(change, ({}, ""))
    source = open_source(path)
    if change == "validate":
        source, message = open_source(path, validate=True), "validate was False, is True"
    elif change == "kind":
        source, message = open_source(path, kind="lines"), "kind was 'jsonl', is 'lines'"
    elif change == "name":
        source, message = open_source(shutil.copy2(path, tmp_path / "b.jsonl")), "name was 'a.jsonl', is 'b.jsonl'"
    elif change == "size":
        path.write_bytes(JSON + b"{}\n")
        message = f"bytes was {len(JSON)}, is {len(JSON) + 3}"
    elif change == "time":
        os.utime(path, ns=(1, 1))
        message = "changed_ns was "
    elif change == "content":
        status = path.stat()
        path.write_bytes(b"[]" + JSON[2:])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        message = "hash of both ends was '"

    with pytest.raises(StateMismatchError) as raised:
        convert(source, tmp_path / "data", resume=True, **options)

    assert message in str(raised.value)
    assert f"{tmp_path / 'data'} was {'finished' if is_finished else 'begun'}" in str(raised.value)
    assert files_of(tmp_path / "data") == before


@pytest.mark.usefixtures("small_commits")
@pytest.mark.parametrize("change", ["add", "remove", "rename", "touch", "grow"])
@pytest.mark.parametrize("name", ["folder", "list"])
def test_changed_files_are_noticed(tmp_path: Path, name: str, change: str) -> None:
    source = SOURCES[name][0](tmp_path / "source")
    with pytest.raises(StopError):
        convert(source, tmp_path / "data", progress=stop_after(4), resume=True)
    file = tmp_path / "source" / "d0" / "0.bin"
    if change == "add":
        (tmp_path / "source" / "new").write_bytes(b"new")
        if name == "list":
            with (tmp_path / "source" / "list.txt").open("a") as listed:
                listed.write(f"\n{tmp_path / 'source' / 'new'}")
    elif change == "touch":
        os.utime(file, ns=(1, 1))
    elif change == "grow":
        file.write_bytes(file.read_bytes() + b"!")
    elif name == "folder":
        file.rename(tmp_path / "source" / "d0" / "name") if change == "rename" else file.unlink()
    else:
        listed_text = (tmp_path / "source" / "list.txt").read_text()
        (tmp_path / "source" / "list.txt").write_text(listed_text.replace(str(file), ""))

    with pytest.raises(StateMismatchError, match=r"hash of paths, sizes and times was '.*', is '"):
        convert(source, tmp_path / "data", resume=True)


@pytest.mark.usefixtures("small_commits")
def test_copy_of_the_source_goes_on_where_times_do_not_count(tmp_path: Path) -> None:
    interrupted(tmp_path, reproducible=True)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "a.jsonl").write_bytes(JSON)

    report = convert(tmp_path / "copy" / "a.jsonl", tmp_path / "data", resume=True, reproducible=True)

    assert report.num_resumed > 0
    assert read(tmp_path / "data") == list(open_source(tmp_path / "a.jsonl"))


@pytest.mark.usefixtures("small_commits")
def test_limit_counts_the_records_of_all_calls(tmp_path: Path) -> None:
    interrupted(tmp_path, limit=1500)

    report = convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True, limit=1500)

    assert report.num_resumed + report.num_records == 1500
    assert read(tmp_path / "data") == list(open_source(tmp_path / "a.jsonl"))[:1500]


def test_commits_come_every_second_of_a_slow_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each look at the clock takes 0.3 seconds.
    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * 0.3)
    (tmp_path / "a.jsonl").write_bytes(JSON)
    counts = []

    def look(progress: ConversionProgress) -> None:
        counts.append(len(SplitDataLoader(tmp_path / "data")))
        if progress.num_records >= 512:
            raise StopError

    with pytest.raises(StopError):
        convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True, progress=look)
    assert max(counts) >= 500
    assert describe(tmp_path / "data").generation > 100


def test_reproducible_commits_do_not_look_at_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr(time, "monotonic", lambda: next(clock) * 100.0)
    (tmp_path / "a.jsonl").write_bytes(JSON)

    convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True, reproducible=True)

    # To begin, of all records, and to seal.
    assert describe(tmp_path / "data").generation == 3


@pytest.mark.usefixtures("small_commits")
def test_empty_records_and_an_empty_source_are_committed_too(tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_bytes(b"\n" * 5000)
    (tmp_path / "empty.txt").write_bytes(b"")
    assert convert(tmp_path / "blank.txt", tmp_path / "blank", resume=True).num_records == 5000
    assert describe(tmp_path / "blank").generation > 5
    assert convert(tmp_path / "empty.txt", tmp_path / "empty", resume=True).num_records == 0
    assert convert(tmp_path / "empty.txt", tmp_path / "empty", resume=True).was_finished
    assert verify(tmp_path / "empty").is_intact


@pytest.mark.parametrize(
    "options", [{"mode": "append"}, {"mode": "overwrite"}, {"shuffle": 1}, {"dry_run": True}], ids=str
)
def test_resume_goes_with_no_other_mode(tmp_path: Path, options: dict[str, Any]) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n")
    with pytest.raises(ValueError, match="resume goes with neither"):
        convert(tmp_path / "a.txt", tmp_path / "data", resume=True, **options)
    assert not (tmp_path / "data").exists()


def test_standard_input_and_pipes_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    for source in ("-", str(tmp_path / "pipe.txt")):
        with pytest.raises(ValueError, match="cannot be resumed, as it cannot be read again"):
            convert(source, tmp_path / "data", resume=True)
    assert not (tmp_path / "data").exists()


def test_dataset_of_another_origin_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n")
    convert(tmp_path / "a.txt", tmp_path / "data")
    before = files_of(tmp_path / "data")
    with pytest.raises(DatasetExistsError, match="no resumable conversion has begun"):
        convert(tmp_path / "a.txt", tmp_path / "data", resume=True)
    assert files_of(tmp_path / "data") == before

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_bytes(b"keep")
    with pytest.raises(DatasetExistsError, match="not splitdata's"):
        convert(tmp_path / "a.txt", tmp_path / "mine", resume=True)
    assert list(files_of(tmp_path / "mine")) == ["notes"]


@pytest.mark.parametrize(
    "stored", [7, {}, {"source": {}, "options": {}, "position": 3, "records": 1, "finished": True}]
)
def test_state_that_cannot_be_understood_is_refused(tmp_path: Path, stored: object) -> None:
    (tmp_path / "a.txt").write_bytes(b"one\n")
    with SplitWriter(tmp_path / "data", metadata={"conversion": stored}) as writer:
        writer.write(b"a")
    with pytest.raises(StateMismatchError, match="not as this splitdata writes it"):
        convert(tmp_path / "a.txt", tmp_path / "data", resume=True)


@pytest.mark.usefixtures("small_commits")
def test_running_conversion_is_not_disturbed_by_a_second_one(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(JSON)
    refused: list[BlockingIOError] = []

    def begin_another(progress: ConversionProgress) -> None:
        try:
            convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True)
        except BlockingIOError as error:
            refused.append(error)

    convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True, progress=begin_another)

    # From before the first record on, until the last report, which comes when all is done.
    assert len(refused) >= 5
    assert read(tmp_path / "data") == list(open_source(tmp_path / "a.jsonl"))


@pytest.mark.usefixtures("small_commits")
def test_records_that_another_program_appended_between_two_calls_stay(tmp_path: Path) -> None:
    interrupted(tmp_path)
    done = len(SplitDataLoader(tmp_path / "data"))
    with SplitWriter(tmp_path / "data", mode="append") as rival:
        rival.write_many([b"rival"] * 3)

    report = convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True)

    records = list(open_source(tmp_path / "a.jsonl"))
    assert read(tmp_path / "data") == [*records[:done], *[b"rival"] * 3, *records[done:]]
    assert report.positions == range(done + 3, len(records) + 3)
    assert convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True).was_finished


@pytest.mark.usefixtures("small_commits")
def test_records_that_another_program_appended_meanwhile_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(JSON)
    rivals = iter([b"rival"])

    def append(progress: ConversionProgress) -> None:
        for record in rivals:
            with SplitWriter(tmp_path / "data", mode="append") as rival:
                rival.write(record)

    report = convert(tmp_path / "a.jsonl", tmp_path / "data", resume=True, progress=append)

    records = read(tmp_path / "data")
    assert report.num_records == 2000
    assert len(report.positions) - report.num_between == 2000
    records.remove(b"rival")
    assert records == list(open_source(tmp_path / "a.jsonl"))


@pytest.mark.usefixtures("small_commits")
def test_damaged_source_keeps_what_came_before_and_names_the_record(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(JSON + b"no json\n")
    source = open_source(tmp_path / "a.jsonl", validate=True)
    for _ in range(2):
        with pytest.raises(SourceError, match="line 2401 of") as raised:
            convert(source, tmp_path / "data", resume=True)
        assert raised.value.position == 2000
    assert len(SplitDataLoader(tmp_path / "data")) > 1000


def conversions(tmp_path: Path) -> Workload:
    """Convert a small file in a few commits."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(JSON[:9000])
    records = JSON[:9000].replace(b" \n", b"").splitlines()

    def run(dest: Path) -> Iterator[None]:
        convert(path, dest, resume=True, reproducible=True, bins=2, durability="none")
        yield

    def patch(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(conversion_log, "_COMMIT_BYTES", 3000)

    return Workload("conversion", run, [None, records], patch=patch)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.usefixtures("small_process")
def test_conversion_killed_at_spread_points_three_times_ends_with_the_files_of_a_whole_one(tmp_path: Path) -> None:
    workload = conversions(tmp_path)
    with fast_folder(tmp_path) as folder:
        total = cost_of_all(workload, folder)
        killed = 0
        for number, point in enumerate(spread(total, 40)):
            dest = folder / "data"
            for budget in (point, (number * 7919) % total, total // 3):
                exit_code = write_until_killed(workload, dest, budget).exit_code
                assert exit_code in (0, -signal.SIGKILL)
                killed += exit_code != 0
            with pytest.MonkeyPatch.context() as patch:
                workload.patch(patch)
                list(workload.run(dest))
            assert read(dest) == workload.states[-1], point
            kept = {path.name for path in sorted(dest.glob("manifest.*"))[:-8]}
            found = {name: digest for name, digest in files_of(dest).items() if name not in kept}
            assert found == files_of(folder / "whole"), point
            shutil.rmtree(dest)
        assert killed > 60


def kill_and_resume(source: Path, dest: Path, *, kills: int, seconds: float, options: list[str]) -> int:
    """Run the command, kill it at random moments, run it again until it ends by itself; returns the kills."""
    random_source = random.Random(kills)
    for killed in count():
        process = subprocess.Popen(
            command_line("write", source, dest, "--resume", *options),
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if killed < kills:
            deadline = time.monotonic() + random_source.uniform(0.2, seconds)
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.005)
            process.kill()
        output = process.communicate()[0]
        if process.returncode == 0:
            return killed
        assert process.returncode == -signal.SIGKILL, output
    raise AssertionError


def write_large_source(path: Path, num_bytes: int) -> None:
    """Write lines of 0 to 4,000 bytes."""
    random_source = random.Random(3)
    noise = random_source.randbytes(1 << 20).replace(b"\n", b"").replace(b"\r", b"")
    with path.open("wb") as file:
        written = 0
        while written < num_bytes:
            start, length = random_source.randrange(len(noise) // 2), random_source.randrange(4000)
            written += file.write(b"%d " % written + noise[start : start + length] + b"\n")


def check_like_whole(tmp_path: Path, source: Path, *, kills: int, seconds: float) -> tuple[int, int]:
    """Kill conversions with and without reproducible files and compare them with whole ones."""
    env = environment()
    reproducible = ["--reproducible", "--durability", "none"]
    whole = command_line("write", source, tmp_path / "whole", "--resume", *reproducible)
    subprocess.run(whole, env=env, check=True, stdout=subprocess.PIPE)
    first = kill_and_resume(source, tmp_path / "data", kills=kills, seconds=seconds, options=reproducible)
    kept = {path.name for path in sorted((tmp_path / "data").glob("manifest.*"))[:-8]}
    found = {name: digest for name, digest in files_of(tmp_path / "data").items() if name not in kept}
    assert found == files_of(tmp_path / "whole")
    second = kill_and_resume(source, tmp_path / "timed", kills=kills, seconds=seconds, options=[])
    with SplitDataLoader(tmp_path / "whole") as one, SplitDataLoader(tmp_path / "timed") as other:
        assert one.fingerprint == other.fingerprint
        assert all(left == right for left, right in zip(one, other, strict=True))
        with source.open("rb") as file:
            assert all(record + b"\n" == line for record, line in zip(one, file, strict=True))
    assert verify(tmp_path / "timed").is_intact
    return first, second


@pytest.mark.slow
def test_command_killed_at_random_moments_ends_like_a_whole_one(tmp_path: Path) -> None:
    write_large_source(tmp_path / "a.txt", 150 << 20)

    assert sum(check_like_whole(tmp_path, tmp_path / "a.txt", kills=3, seconds=0.8)) >= 2


@pytest.mark.soak
def test_three_gigabytes_killed_ten_times_end_like_a_whole_conversion(tmp_path: Path) -> None:
    write_large_source(tmp_path / "a.txt", 3_000_000_000)

    kills = check_like_whole(tmp_path, tmp_path / "a.txt", kills=10, seconds=2.0)
    sys.stdout.write(f"{kills} kills\n")
    assert sum(kills) >= 10
