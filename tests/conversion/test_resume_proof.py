"""A conversion to resume whose log was changed: refused, with all records as they were, or the result is right anyway.

interrupted conversion ── one number of its log changed ──> convert(resume=True)
                                                              |- an error of splitdata's; nothing was added
                                                              `- the records of a conversion that went through
"""

from __future__ import annotations

import bz2
import copy
import gzip
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import zstandard

from splitdata import (
    ConversionProgress,
    SourceError,
    SplitDataError,
    SplitWriter,
    StateMismatchError,
    convert,
    open_source,
)
from splitdata.conversion import conversion_log
from splitdata.conversion.sources.files import input_file
from splitdata.dataset.manifests.directory import DatasetDirectory
from tests.dataset.disk import read

RECORDS = [b"%d %s" % (at, b"x" * (at * 7 % 30)) for at in range(60)]
TEXT = b"\n".join(RECORDS)
JSON = b"".join(b'{"text": "%s"}\n%s' % (record, b"\n" * (at % 5 == 0)) for at, record in enumerate(RECORDS))
CSV = b"number,text\n" + b"".join(b'%d,"%s\n"\n' % (at, record) for at, record in enumerate(RECORDS))
PREFIXED = b"".join(len(record).to_bytes(4, "little") + record for record in RECORDS)


class StopError(Exception):
    """What interrupts a conversion here."""


def made() -> Iterator[bytes]:
    """What the sources of functions call."""
    yield from RECORDS


def made_from(start: int = 0) -> Iterator[bytes]:
    """What is told how many records to leave out."""
    yield from RECORDS[start:]


def folder(root: Path, number: int = 0) -> Path:
    for at, record in enumerate(RECORDS):
        file = root / f"{number}{at % 3}" / f"{at}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        # Many of them are alike, and have nothing but their names.
        file.write_bytes(record[:1])
    return root


def listed(root: Path) -> str:
    paths = sorted(folder(root).rglob("*.bin"))
    (root / "list.txt").write_text("\n".join(map(str, paths)))
    return f"@{root / 'list.txt'}"


def file_of(name: str, data: bytes) -> Callable[[Path], str]:
    def make(root: Path) -> str:
        root.mkdir(exist_ok=True)
        (root / name).write_bytes(data)
        return str(root / name)

    return make


SOURCES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "folder": (folder, "folder"),
    "folders": (lambda root: [folder(root / "a", 1), folder(root / "b", 2)], "folder"),
    "list": (listed, "auto"),
    "lines": (file_of("a.txt", TEXT), "lines"),
    "lines.gz": (file_of("a.txt.gz", gzip.compress(TEXT)), "lines"),
    "lines.zst": (file_of("a.txt.zst", zstandard.compress(TEXT)), "lines"),
    "lines.bz2": (file_of("a.txt.bz2", bz2.compress(TEXT)), "lines"),
    "jsonl": (file_of("a.jsonl", JSON), "jsonl"),
    "csv": (file_of("a.csv", CSV), "csv"),
    "prefixed": (file_of("a.bin", PREFIXED), "prefixed"),
    "several": (
        lambda root: [file_of(f"{one!r}.jsonl", JSON.replace(b"x", one))(root) for one in (b"a", b"b")],
        "jsonl",
    ),
    "callable": (lambda root: made, "callable"),
    "callable with start": (lambda root: made_from, "callable"),
}
VALUES: tuple[Any, ...] = (0, 1, -1, 1 << 62, "x", None, True, [1], {"a": 1})
STEPS = (1, -1, 5, -7, 200)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit every few records, and report each."""
    monkeypatch.setattr(conversion_log, "_COMMIT_BYTES", 300)
    monkeypatch.setattr(input_file, "_BLOCK_BYTES", 100)
    monkeypatch.setattr(sys.modules["splitdata.conversion.watch"], "_RECORDS_PER_REPORT", 1)


def stop_after(num_reports: int) -> Callable[[ConversionProgress], None]:
    counter = count()

    def report(progress: ConversionProgress) -> None:
        if next(counter) >= num_reports:
            raise StopError

    return report


def go_on(source: Any, kind: Any, dest: Path, **options: Any) -> None:  # whatever convert takes
    convert(open_source(source, kind=kind), dest, resume=True, bins=2, reproducible=True, **options)


def log_of(dest: Path) -> dict[str, Any]:
    """Return the log of a conversion."""
    log: dict[str, Any] = DatasetDirectory(dest).newest().metadata["conversion"]
    return copy.deepcopy(log)


def store(dest: Path, log: object) -> None:
    """Put another log into a dataset."""
    manifest = DatasetDirectory(dest).newest()
    changed = replace(manifest, metadata=manifest.metadata | {"conversion": log})
    (dest / f"manifest.{manifest.generation:010d}.json").write_bytes(changed.encode())


def places(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield where in a position something stands."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from places(part, (*path, key))
    yield path


def changed(log: dict[str, Any], path: tuple[str, ...], change: Callable[[Any], Any]) -> None:
    """Change what stands at a place, if there is one."""
    part: Any = log
    for key in path[:-1]:
        part = part.get(key)
        if not isinstance(part, dict):
            return
    if path[-1] in part:
        part[path[-1]] = change(part[path[-1]])


def always(value: object) -> Callable[[Any], Any]:
    return lambda _: value


def stepped(step: int) -> Callable[[Any], Any]:
    return lambda value: value + step if type(value) is int else value


def forgeries(log: dict[str, Any]) -> list[dict[str, Any]]:
    """Return changed logs: a value at one place, or one number moved on in both positions alike."""
    found = []
    for path in (*places(log["position"], ("position",)), ("records",), ("commit_records",)):
        for name in ("position", "commit_position"):
            for value in VALUES:
                found.append(forged := copy.deepcopy(log))
                changed(forged, (path[0].replace("position", name), *path[1:]), always(value))
        for step in STEPS:
            found.append(forged := copy.deepcopy(log))
            for name in ("position", "commit_position"):
                changed(forged, (path[0].replace("position", name), *path[1:]), stepped(step))
            found.append(forged := copy.deepcopy(forged))
            changed(forged, ("records",), stepped(step))
            changed(forged, ("commit_records",), stepped(step))
    return found


@pytest.mark.parametrize("share", [15, pytest.param(None, marks=pytest.mark.soak)], ids=["some", "all"])
@pytest.mark.parametrize("name", SOURCES)
def test_changed_log_is_refused_or_changes_nothing(tmp_path: Path, name: str, share: int | None) -> None:
    make, kind = SOURCES[name]
    source = make(tmp_path / "source")
    go_on(source, kind, tmp_path / "whole")
    with pytest.raises(StopError):
        go_on(source, kind, tmp_path / "begun", progress=stop_after(45))
    begun, whole = read(tmp_path / "begun"), read(tmp_path / "whole")
    assert 20 < len(begun) < len(whole)
    log = log_of(tmp_path / "begun")
    forged = forgeries(log)
    num_refused = 0
    for number, one in enumerate(forged if share is None else random.Random(name).sample(forged, share)):
        dest = tmp_path / f"data {number}"
        shutil.copytree(tmp_path / "begun", dest)
        store(dest, one)
        try:
            go_on(source, kind, dest)
        except SplitDataError:
            num_refused += 1
            assert read(dest) == begun
        else:
            assert read(dest) == whole, json.dumps(one)
        shutil.rmtree(dest)
    assert num_refused > (share or len(forged)) // 2


@pytest.mark.parametrize(
    ("position", "words"),
    [
        ({"byte": 10_000}, "ends elsewhere"),
        ({"byte": 303}, "ends elsewhere"),
        ({"line": 50}, "is that of another record"),
        ({"skipped": {"blank line": 1}}, "is that of another record"),
    ],
)
def test_position_behind_the_end_or_in_a_line_is_refused_with_what_to_do(
    tmp_path: Path, position: dict[str, Any], words: str
) -> None:
    source = file_of("a.txt", TEXT)(tmp_path / "source")
    with pytest.raises(StopError):
        go_on(source, "lines", tmp_path / "data", progress=stop_after(30))
    log = log_of(tmp_path / "data")
    log["position"] |= position
    store(tmp_path / "data", log)

    with pytest.raises(StateMismatchError, match=f"cannot go on behind its last commit: .*{words}.*mode='overwrite'"):
        go_on(source, "lines", tmp_path / "data")


ALIKE = [b"alike"] * 60


@pytest.mark.parametrize("name", ["csv", "jsonl", "callable", "list", "prefixed", "folder", "several"])
def test_position_of_another_record_is_refused_where_all_are_alike(tmp_path: Path, name: str) -> None:
    rows = b"\n".join([b"a", *ALIKE])
    prefixed = b"".join(len(one).to_bytes(4, "little") + one for one in ALIKE)
    paths = [file_of(f"{number}.jpg", b"alike")(tmp_path / "files") for number in range(60)]
    sources: dict[str, tuple[Any, str]] = {
        "csv": (file_of("a.csv", rows)(tmp_path / "source"), "csv"),
        "jsonl": (file_of("a.jsonl", rows)(tmp_path / "source"), "jsonl"),
        "callable": (lambda: iter(ALIKE), "callable"),
        "list": (paths, "files"),
        "prefixed": (file_of("a.bin", prefixed)(tmp_path / "source"), "prefixed"),
        "folder": (tmp_path / "files", "folder"),
        "several": ([file_of(f"{one}.csv", rows)(tmp_path / "source") for one in "bc"], "csv"),
    }
    source, kind = sources[name]
    with pytest.raises(StopError):
        go_on(source, kind, tmp_path / "data", progress=stop_after(50))
    log = log_of(tmp_path / "data")
    counter = "line" if name == "jsonl" else "record"
    changed(log, ("commit_position", *(["in source"] if name == "several" else []), counter), stepped(10))
    store(tmp_path / "data", log)

    with pytest.raises(StateMismatchError, match="nothing was"):
        go_on(source, kind, tmp_path / "data")


def test_records_that_are_not_those_of_the_source_are_refused(tmp_path: Path) -> None:
    source = file_of("a.txt", TEXT)(tmp_path / "source")
    other = file_of("b.txt", TEXT.replace(b"x", b"y"))(tmp_path / "source")
    for name, path in (("data", source), ("other", other)):
        with pytest.raises(StopError):
            go_on(path, "lines", tmp_path / name, progress=stop_after(30))
    # The whole dataset of another conversion, with this one's log.
    store(tmp_path / "other", log_of(tmp_path / "data"))

    with pytest.raises(StateMismatchError, match="are not those that were committed"):
        go_on(source, "lines", tmp_path / "other")


def test_log_of_more_records_than_there_are_is_refused_also_where_it_is_finished(tmp_path: Path) -> None:
    source = file_of("a.txt", TEXT)(tmp_path / "source")
    go_on(source, "lines", tmp_path / "data")
    store(tmp_path / "data", log_of(tmp_path / "data") | {"records": 61})

    with pytest.raises(StateMismatchError, match="counts 61 records, and there are 60"):
        go_on(source, "lines", tmp_path / "data")


def test_conversion_goes_on_behind_what_others_have_appended(tmp_path: Path) -> None:
    source = file_of("a.txt", TEXT)(tmp_path / "source")
    for _ in range(2):
        with pytest.raises(StopError):
            go_on(source, "lines", tmp_path / "data", progress=stop_after(20))
        with SplitWriter(tmp_path / "data", mode="append") as writer:
            # Of the length of the record that was committed last, so that it is looked at.
            writer.write_many([b"y" * len(record) for record in RECORDS])

    go_on(source, "lines", tmp_path / "data")

    assert [record for record in read(tmp_path / "data") if not record.startswith(b"y")] == RECORDS


def test_function_that_gives_other_records_each_time_is_refused(tmp_path: Path) -> None:
    calls = count()

    def random_records() -> Iterator[bytes]:
        call = next(calls)
        yield from (b"%d of call %d" % (number, call) for number in range(100))

    for expected in (StopError, StateMismatchError):
        with pytest.raises(expected):
            go_on(random_records, "callable", tmp_path / "data", progress=stop_after(60))


def test_source_that_cannot_be_read_again_is_told_as_itself(tmp_path: Path) -> None:
    source = Path(file_of("a.bin", PREFIXED)(tmp_path / "source"))
    with pytest.raises(StopError):
        go_on(source, "prefixed", tmp_path / "data", progress=stop_after(30))
    log = log_of(tmp_path / "data")
    log["commit_position"]["byte"] += 1
    store(tmp_path / "data", log)

    with pytest.raises((StateMismatchError, SourceError), match="cannot"):
        go_on(source, "prefixed", tmp_path / "data")
