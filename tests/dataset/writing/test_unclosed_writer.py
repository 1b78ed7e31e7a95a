"""A writer that is never closed: the log says how many records are lost, at collection and however the program ends."""

from __future__ import annotations

import gc
import logging
from pathlib import Path

import pytest

from splitdata import SplitDataLoader, SplitWriter
from tests.command import run_python

PROGRAM = """
import os, sys
{imports}
from splitdata import SplitWriter
writer = SplitWriter(sys.argv[1], bins=2)
writer.write_many([b"one", b"two"])
{commit}
writer.write_many([b"lost"] * 3)
{keep}
{end}
"""

# What it ends with, its exit code, and what else is on stderr.
ENDS = {
    "script end": ("", 0, ""),
    "sys.exit": ("sys.exit(3)", 3, ""),
    "error": ("raise RuntimeError('of the program')", 1, "RuntimeError: of the program"),
}


@pytest.mark.parametrize(
    ("end", "imports"), [*((end, "") for end in ENDS), pytest.param("script end", "import torch", id="with torch")]
)
def test_program_that_never_closes_its_writer_says_how_many_records_are_lost(
    end: str, imports: str, tmp_path: Path
) -> None:
    text, code, also = ENDS[end]
    # A cycle keeps it alive until the very end.
    keep = "cycle = [writer]; cycle.append(cycle)"
    program = PROGRAM.format(imports=imports, commit="writer.commit()", keep=keep, end=text)

    ended = run_python("-c", program, tmp_path / "data")

    assert ended.returncode == code, ended.stderr
    assert ended.stderr.count("3 records that it was given are not committed, and lost") == 1, ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert also in ended.stderr
    if not also:
        assert ended.stderr.count("\n") == 1, ended.stderr
    with SplitDataLoader(tmp_path / "data") as loader:
        assert list(loader) == [b"one", b"two"]


def test_program_that_has_committed_all_is_silent_and_leaves_nothing_that_blocks(tmp_path: Path) -> None:
    program = PROGRAM.format(imports="", commit="", keep="writer.commit()", end="")

    ended = run_python("-c", program, tmp_path / "data")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(SplitDataLoader(tmp_path / "data")) == 5


def test_program_that_never_commits_leaves_no_folder(tmp_path: Path) -> None:
    program = PROGRAM.format(imports="", commit="", keep="", end="")

    ended = run_python("-c", program, tmp_path / "data")

    assert ended.returncode == 0
    assert "5 records that it was given are not committed" in ended.stderr
    assert not (tmp_path / "data").exists()


def test_writer_in_use_by_a_thread_at_the_end_is_left_as_a_kill_would(tmp_path: Path) -> None:
    end = "import threading, time; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
    program = PROGRAM.format(imports="", commit="writer.commit()", keep="cycle = [writer]", end=end)

    ended = run_python("-c", program, tmp_path / "data")

    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1, ended.stderr
    with SplitDataLoader(tmp_path / "data") as loader:
        assert list(loader) == [b"one", b"two"]


def test_collected_writer_logs_what_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def forget() -> None:
        writer = SplitWriter(tmp_path / "data")
        writer.write_many([b"b", b"c"])

        gc.collect()

    with caplog.at_level(logging.WARNING, "splitdata"), pytest.warns(ResourceWarning, match="2 records"):
        forget()

    assert [record.name.split(".")[0] for record in caplog.records] == ["splitdata"]
    assert "2 records that it was given are not committed, and lost" in caplog.text
    assert not (tmp_path / "data").exists()
