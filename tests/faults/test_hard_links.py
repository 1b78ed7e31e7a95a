"""Files with two names: what has the other one keeps every byte, whatever is done under this one.

cp -al data copy        each file of the copy is one of the original's, until it is written to
ln precious index.tmp   a scratch file is new, never what has its name
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from splitdata import (
    SplitDataError,
    SplitDataLoader,
    SplitWriter,
    commit_parts,
    open_part,
    repair,
    verify,
    waiting_parts,
)
from splitdata.dataset.writing import fold
from splitdata.storage import files
from tests.dataset.disk import files_of, read
from tests.dataset.record_kinds import kill, overwrite

BEFORE = [b"%d" % number * 20 for number in range(9)]


def linked_copy(path: Path, copy: Path) -> Path:
    """Copy a dataset as `cp -al` does."""
    shutil.copytree(path, copy, copy_function=os.link)
    return copy


def write_open(path: Path, *, bins: int = 3) -> None:
    """Commit some records twice in a run that is then killed, with more that are not committed."""
    writer = SplitWriter(path, bins=bins, durability="none")
    for start, stop in ((0, 4), (4, 9)):
        writer.write_many(BEFORE[start:stop], keys=[f"key {number}" for number in range(start, stop)])
        writer.commit()
    writer.write_many([b"never", b"committed"])
    kill(writer)


def resume(path: Path) -> None:
    with SplitWriter(path, bins=3, mode="resume", durability="none") as writer:
        writer.write(b"resumed", key="resumed")


def resume_and_give_up(path: Path) -> None:
    with SplitWriter(path, bins=3, mode="resume", durability="none") as writer:
        writer.write_many([b"x" * 1000] * 50)
        writer._guarded(writer._flush)
        writer.abort()


def append(path: Path) -> None:
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(b"appended")


def replace(path: Path) -> None:
    with SplitWriter(path, mode="overwrite", durability="none") as writer:
        writer.write(b"other")


def append_until_folded(path: Path) -> None:
    for _ in range(12):
        append(path)


TOOLS: dict[str, Callable[[Path], object]] = {
    "resume": resume,
    "resume, give up": resume_and_give_up,
    "append": append,
    "append until folded": append_until_folded,
    "overwrite": replace,
    "repair": repair,
    "repair --adopt": lambda path: repair(path, adopt=True),
    "repair --discard": lambda path: repair(path, discard=True),
}


def outcome(tool: Callable[[Path], object], path: Path) -> object:
    """Return the records that a dataset has behind a tool, or the kind of the error of one of both."""
    try:
        tool(path)
        return read(path)
    except (SplitDataError, OSError) as error:
        return type(error)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "none": lambda _: None,
    "index": lambda segment: overwrite(segment / "index", 20, b"\xff\xff"),
    "bin header": lambda segment: overwrite(segment / "000001.bin", 20, b"\xff\xff"),
    "frame": lambda segment: overwrite(segment / "000001.bin", 64, b"\xff\xff"),
    "padding": lambda segment: overwrite(segment / "000001.bin", 64 + 32 + 20, b"\xff"),
    "keys": lambda segment: overwrite(segment / "keys.open", 80, b"\xff\xff"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("tool", TOOLS)
def test_tool_in_a_copy_made_of_hard_links_leaves_the_original_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, damage: str
) -> None:
    monkeypatch.setattr(fold, "_FANOUT", 4)
    path = tmp_path / "data"
    write_open(path)
    (segment,) = (path / "segments").iterdir()
    DAMAGES[damage](segment)
    apart = shutil.copytree(path, tmp_path / "apart")
    copy = linked_copy(path, tmp_path / "copy")
    before = files_of(path)
    found = outcome(TOOLS[tool], copy)

    assert files_of(path) == before
    # As in a copy with files of its own.
    assert found == outcome(TOOLS[tool], apart)
    assert damage != "none" or isinstance(found, list)


def test_part_that_waits_in_a_linked_copy_too_is_committed_in_both(tmp_path: Path) -> None:
    path = tmp_path / "data"
    with open_part(path, "part", bins=2) as writer:
        writer.write_many(BEFORE)
    copy = linked_copy(path, tmp_path / "copy")
    before = files_of(copy)
    commit_parts(path, [writer.descriptor])

    assert files_of(copy) == before
    commit_parts(copy, waiting_parts(copy))
    assert read(path) == read(copy) == BEFORE
    assert verify(path).is_intact
    assert verify(copy).is_intact


@pytest.mark.parametrize("durability", ["none", "commit"])
def test_resume_in_a_linked_copy_with_an_older_manifest_keeps_the_records_of_the_original(
    tmp_path: Path, durability: str
) -> None:
    path = tmp_path / "data"
    write_open(path)
    copy = linked_copy(path, tmp_path / "copy")
    (copy / "manifest.0000000002.json").unlink()
    resume(copy)

    assert read(copy) == [*BEFORE[:4], b"resumed"]
    assert read(path) == BEFORE
    assert verify(copy).is_intact
    resume(path)
    assert read(path) == [*BEFORE, b"resumed"]
    assert verify(path).is_intact


def test_resumed_original_leaves_its_linked_copy_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write_open(path)
    copy = linked_copy(path, tmp_path / "copy")
    before = files_of(copy)
    resume(path)

    assert files_of(copy) == before
    assert read(copy) == BEFORE
    assert all(file.stat().st_nlink == 1 for file in copy.glob("segments/*/*"))


def test_copy_made_of_links_while_a_writer_is_at_work_keeps_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitdata.dataset.segments.bin_writer.descriptor_limit", lambda: 4)
    path = tmp_path / "data"
    with SplitWriter(path, bins=9, durability="none") as writer:
        writer.write_many(BEFORE)
        writer.commit()
        copy = linked_copy(path, tmp_path / "copy")
        for _ in range(5):
            writer.write_many(BEFORE)
            writer.commit()
            assert read(copy) == BEFORE
        with pytest.raises(BlockingIOError):
            SplitWriter(copy, mode="resume", bins=9)

    assert read(path) == BEFORE * 6
    assert verify(path).is_intact
    with SplitWriter(copy, mode="resume", bins=9, durability="none") as writer:
        writer.write(b"more")
    assert read(copy) == [*BEFORE, b"more"]
    assert read(path) == BEFORE * 6
    assert verify(path).is_intact


@pytest.mark.parametrize("name", ["index.tmp", "keys.tmp", "keys.open.tmp"])
@pytest.mark.parametrize("tool", ["repair", "resume"])
def test_scratch_file_that_is_somebodys_else_too_is_never_written_to(tmp_path: Path, name: str, tool: str) -> None:
    path, precious = tmp_path / "data", tmp_path / "precious"
    write_open(path)
    (segment,) = (path / "segments").iterdir()
    precious.write_bytes(b"years of work")
    os.link(precious, segment / name)
    if tool == "repair":
        DAMAGES["index"](segment)
        DAMAGES["keys"](segment)
    else:
        # So that they are copied.
        linked_copy(path, tmp_path / "copy")
    TOOLS[tool](path)

    assert precious.read_bytes() == b"years of work"
    assert read(path)[:9] == BEFORE


@pytest.mark.parametrize("name", ["index", "000000.bin", "000001.bin", "000002.bin", "keys.open"])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("tool", TOOLS)
def test_single_file_with_a_second_name_keeps_what_it_has_under_that(
    tmp_path: Path, tool: str, damage: str, name: str
) -> None:
    path = tmp_path / "data"
    write_open(path)
    (segment,) = (path / "segments").iterdir()
    DAMAGES[damage](segment)
    os.link(segment / name, tmp_path / "second")
    before = (tmp_path / "second").read_bytes()
    found = outcome(TOOLS[tool], path)

    assert damage != "none" or isinstance(found, list)
    assert (tmp_path / "second").read_bytes() == before


def test_failing_copy_leaves_both_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    write_open(path)
    copy = linked_copy(path, tmp_path / "copy")

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("rename_over", "sync_data", "create"):
        with monkeypatch.context() as patch:
            patch.setattr(files, name, fails)
            with pytest.raises(OSError, match="No space"):
                resume(copy)
        assert read(copy) == read(path) == BEFORE
    resume(copy)
    assert read(copy) == [*BEFORE, b"resumed"]
    assert read(path) == BEFORE


def test_manifest_keeps_one_name_also_where_there_are_no_unnamed_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(files, "create_unnamed", refuse)
    path = tmp_path / "data"
    write_open(path)

    assert {file.stat().st_nlink for file in path.rglob("*") if file.is_file()} == {1}
    with SplitDataLoader(path) as loader:
        assert list(loader) == BEFORE


def write_on(path: Path) -> SplitWriter:
    """Return a writer that has committed some records, and written more with keys behind them."""
    writer = SplitWriter(path, bins=3, durability="none")
    writer.write_many(BEFORE, keys=[f"key {number}" for number in range(len(BEFORE))])
    writer.commit()
    writer.write_many([b"x" * 1000] * 50, keys=[f"more {number}" for number in range(50)])
    writer._guarded(writer._flush)
    return writer


def test_writer_that_gives_up_cuts_no_file_that_a_linked_copy_has_too(tmp_path: Path) -> None:
    path = tmp_path / "data"
    writer = write_on(path)
    copy = linked_copy(path, tmp_path / "copy")
    before = files_of(copy)
    writer.abort()

    assert files_of(copy) == before
    assert read(path) == read(copy) == BEFORE
    assert verify(path).is_intact
    resume(path)
    assert read(path) == [*BEFORE, b"resumed"]
    assert verify(path).is_intact


@pytest.mark.parametrize("index", ["lost", "its own"])
def test_repair_commits_records_in_files_that_no_other_writer_has(tmp_path: Path, index: str) -> None:
    path = tmp_path / "data"
    writer = write_on(path)
    copy = linked_copy(path, tmp_path / "copy")
    (file,) = copy.glob("segments/*/index")
    content = file.read_bytes()
    file.unlink()
    if index == "its own":
        file.write_bytes(content)
    repair(copy, adopt=True)

    adopted = read(copy)
    assert adopted == [*BEFORE, *[b"x" * 1000] * 50]
    assert all(file.stat().st_nlink == 1 for file in copy.glob("segments/*/*"))
    writer.abort()
    assert read(copy) == adopted
    assert verify(copy).is_intact


@pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason="holes are not to be found there")
@pytest.mark.parametrize("tool", ["resume", "repair --adopt"])
@pytest.mark.parametrize("name", ["index", "000000.bin", "keys.open"])
def test_hole_at_the_end_of_a_file_with_a_second_name_is_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, tool: str
) -> None:
    def write_at(descriptor: int, data: bytes, offset: int) -> None:
        written.append(len(data))
        real(descriptor, data, offset)

    path = tmp_path / "data"
    write_open(path)
    (file,) = path.glob(f"segments/*/{name}")
    os.truncate(file, 64 << 20)
    linked_copy(path, tmp_path / "copy")
    written: list[int] = []
    real = files.write_at
    monkeypatch.setattr(files, "write_at", write_at)
    TOOLS[tool](path)

    assert sum(written) < 1 << 20
    assert read(path)[: len(BEFORE)] == BEFORE
