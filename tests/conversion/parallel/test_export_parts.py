"""export(workers=N, resume=True): what is written is the same for every N, wherever an export before was killed.

dataset ──> parts ──> workers ──> put together        killed at the n-th step, and run again ──> the same files
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitdata import SchemaError, SplitDataLoader, SplitWriter, StateMismatchError, convert, delete, export
from splitdata.conversion.parallel import export_parts
from splitdata.conversion.sinks import choose_sink, export_journal
from splitdata.conversion.sinks.choose_sink import ExportFormat, PartSizes
from splitdata.conversion.sinks.staging import remove

NUMBER = 50
FORMATS: dict[ExportFormat, str] = {
    "files": "out",
    "jsonl": "out.jsonl",
    "csv": "out.csv",
    "tfrecord": "out.tfrecord",
    "webdataset": "out",
    "mds": "out",
}
ALL = pytest.mark.parametrize("to", FORMATS)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {name: PartSizes(12, 1 << 20, has_shards=sizes.has_shards) for name, sizes in choose_sink._PARTS.items()}
    monkeypatch.setattr(choose_sink, "_PARTS", small)


def make(path: Path, to: ExportFormat, bad: tuple[int, ...] = ()) -> Path:
    """Write a dataset that a format can hold, of which the first is deleted, a seam of parts, and a whole part."""
    is_bytes = to in ("files", "tfrecord")
    with SplitWriter(path, codec=None if is_bytes else "sample", bins=2) as writer:
        for number in range(NUMBER):
            key = f"{number % 3}/{number}"
            if is_bytes:
                writer.write(b"%d " % number * number, key)
            else:
                writer.write_sample({"id": str(number) if number in bad else number, "text": "x" * number}, key)
    delete(path, positions=[0, 11, 12, *range(24, 36)])
    return path


def content(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {str(found.relative_to(path)): found.read_bytes() for found in sorted(path.rglob("*")) if found.is_file()}


class Killed(BaseException):
    """Stands for a kill: what it interrupts is left as it is."""


def die_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let the n-th step that changes a file fail, before it or halfway through."""
    steps = iter(range(step + 1))

    def dying(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if next(steps, None) == step:
                raise Killed
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    dying(export_journal.ExportJournal, "_write")
    dying(export_parts, "remove")
    dying(os, "link")
    dying(shutil, "copyfileobj")
    dying(Path, "replace")
    dying(Path, "unlink")


@ALL
def test_export_that_is_killed_at_any_step_gives_the_same_when_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: ExportFormat
) -> None:
    data = make(tmp_path / "data", to)
    whole = export(data, tmp_path / "whole" / FORMATS[to], to=to)
    assert whole.num_records == NUMBER - 15
    expected = content(Path(whole.path))
    dest = tmp_path / "again" / FORMATS[to]

    def is_killed(step: int) -> bool:
        with monkeypatch.context() as patch:
            die_at(patch, step)
            try:
                export(data, dest, to=to, resume=True)
            except Killed:
                return True
            return False

    # Of a file for each record there are many, all alike.
    for step in takewhile(is_killed, range(0, 1000, 29 if to == "files" else 3)):
        # What the system had not written of a line, and of what is appended.
        journal = dest.parent / f".{dest.name}.parts" / "journal"
        if step % 3 == 0 and journal.exists():
            with journal.open("ab") as file:
                file.write(b'{"added": ')
        partial = dest.parent / f".{dest.name}.partial"
        if partial.is_file():
            with partial.open("ab") as file:
                file.write(b"torn")
        # Killed behind its last step, it has nothing to do any more.
        if not dest.exists():
            assert export(data, dest, to=to, resume=True).num_records == whole.num_records

        assert content(dest) == expected, step
        # A lock file without a lock may stay; it is of no effect.
        assert {path.name for path in dest.parent.iterdir()} <= {dest.name, f".{dest.name}.lock"}
        remove(dest)
    assert step >= 12


@pytest.mark.parametrize("to", ["files", "csv", "mds"])
def test_several_workers_write_what_one_does(tmp_path: Path, to: ExportFormat) -> None:
    data = make(tmp_path / "data", to)
    told: list[tuple[int, int]] = []
    for workers in (1, 2):
        export(
            data,
            tmp_path / f"{workers}" / FORMATS[to],
            to=to,
            workers=workers,
            limit=30,
            progress=lambda done, total: told.append((done, total)),
        )

    assert content(tmp_path / "2" / FORMATS[to]) == content(tmp_path / "1" / FORMATS[to])
    assert told[-1] == (30, 30)
    assert [path.name for path in (tmp_path / "2").iterdir()] == [FORMATS[to]]


def test_shards_of_parts_come_back_in_order(tmp_path: Path) -> None:
    export(make(tmp_path / "data", "mds"), tmp_path / "out", to="mds")
    convert(tmp_path / "out", tmp_path / "back")

    assert len(list((tmp_path / "out").glob("*.mds"))) == 4
    assert len(SplitDataLoader(tmp_path / "back")) == NUMBER - 15


def test_first_record_that_does_not_fit_is_named_whoever_finds_one(tmp_path: Path) -> None:
    data = make(tmp_path / "data", "csv", bad=(23, 47))
    errors = []
    for workers in (1, 2):
        with pytest.raises(SchemaError, match="record 23: the field 'id' is str") as caught:
            export(data, tmp_path / "out.csv", to="csv", workers=workers)
        errors.append(str(caught.value))

    assert errors[0] == errors[1]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_two_records_of_one_name_in_different_parts_are_an_error(tmp_path: Path) -> None:
    for number in (0, 40):
        with SplitWriter(tmp_path / "data", mode="append") as writer:
            keys = ["same", *map(str, range(number, number + 19))]
            writer.write_many([key.encode() for key in keys], keys=keys)

    with pytest.raises(FileExistsError, match="two records have this name"):
        export(tmp_path / "data", tmp_path / "out", to="files", resume=True)
    assert not (tmp_path / "out").exists()


def test_another_export_does_not_go_on_with_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = make(tmp_path / "data", "csv")
    with monkeypatch.context() as patch:
        die_at(patch, 5)
        with pytest.raises(Killed):
            export(data, tmp_path / "out", to="csv", resume=True)

    with pytest.raises(StateMismatchError, match="limit was None, and is 7"):
        export(data, tmp_path / "out", to="csv", resume=True, limit=7)
    delete(data, positions=[40])
    with pytest.raises(StateMismatchError, match="deleted was"):
        export(data, tmp_path / "out", to="csv", resume=True)
    assert export(data, tmp_path / "out", to="csv").num_records == NUMBER - 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_format_without_parts_is_written_by_one_process(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "data", codec="npy") as writer:
        writer.write_samples([np.full(3, number) for number in range(5)])

    report = export(tmp_path / "data", tmp_path / "out.npy", to="npy", workers=2, resume=True)

    assert report.num_records == len(np.load(tmp_path / "out.npy")) == 5
    with pytest.raises(ValueError, match="workers must be 1 or more"):
        export(tmp_path / "data", tmp_path / "more.npy", to="npy", workers=0)
