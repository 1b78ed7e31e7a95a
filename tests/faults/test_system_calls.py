"""Real system calls that fail, made to by strace: the same promises as those of the module of files.

program: write, commit, close, read, compact ── strace injects EIO, ENOSPC, EDQUOT or a kill into call k
what was acknowledged is there, whole; writing goes on
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from splitdata import DatasetNotFoundError, SplitDataLoader, SplitWriter
from tests.command import ROOT
from tests.faults.file_faults import fast_folder

# Prints a line for each acknowledged step, and the error that ended it.
PROGRAM = """
import os, sys
from splitdata import SplitDataError, SplitDataLoader, SplitWriter, compact, delete

path = sys.argv[1]
try:
    with SplitWriter(path, bins=2, mode="append", reproducible=True) as writer:
        for commit in range(3):
            writer.write_many([b"%d %d" % (commit, number) for number in range(4)])
            writer.commit()
            print("commit", flush=True)
    delete(path, positions=[1])
    print("delete", flush=True)
    compact(path)
    print("compact", flush=True)
    with SplitDataLoader(path, io="pread") as loader:
        assert loader[0] == b"0 0" and loader[11] == b"2 3", list(loader)
    print("read", flush=True)
except (SplitDataError, OSError) as error:
    print("error", type(error).__name__, flush=True)
"""
CALLS = ("pwrite64", "fdatasync", "fsync", "linkat", "pread64", "ftruncate", "mkdirat,mkdir", "unlinkat")
FAULTS = ("error=EIO", "error=ENOSPC", "error=EDQUOT", "signal=KILL", "error=EIO:when={}+")
RECORDS = [b"%d %d" % (commit, number) for commit in range(3) for number in range(4)]


def can_trace() -> bool:
    """Say whether strace is here and may trace."""
    if shutil.which("strace") is None:
        return False
    ended = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return ended.returncode == 0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    if not can_trace():
        pytest.skip("no strace here, or it may not trace")
    with fast_folder(tmp_path) as path:
        yield path


def run_injected(folder: Path, injection: str, paths: list[Path]) -> list[str]:
    """Run the program with an injection into calls, on some files alone if they are given; returns what it told."""
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", f"inject={injection}"]
    command += [f"--trace-path={path}" for path in paths]
    command += [sys.executable, "-W", "error", "-c", PROGRAM, str(folder / "data")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    assert ended.returncode in (0, -9, 137), ended.stderr[-2000:]
    assert "Traceback" not in ended.stderr, ended.stderr[-2000:]
    return ended.stdout.splitlines()


def check(folder: Path, told: list[str]) -> None:
    """Hold what is there against what was acknowledged; then go on."""
    path = folder / "data"
    commits = told.count("commit")
    try:
        with SplitDataLoader(path) as loader:
            gone = set(loader.deleted.tolist())
            assert gone <= {1}
            assert gone == {1} or "delete" not in told
            live = [position for position in range(len(loader)) if position not in gone]
            assert [loader[position] for position in live] == [RECORDS[position] for position in live]
            assert 4 * commits <= len(loader) <= 4 * (commits + 1)
    except DatasetNotFoundError:
        assert not commits
    with SplitWriter(path, mode="append", durability="none") as writer:
        writer.write(b"after")
    with SplitDataLoader(path) as loader:
        assert loader[-1] == b"after"


@pytest.mark.soak
@pytest.mark.time_limit(600)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS)
def test_failing_system_call_loses_nothing_that_was_acknowledged(call: str, fault: str, folder: Path) -> None:
    # Python itself reads so where it loads libraries. Of this dataset all names follow from its options.
    run_injected(folder, "pwrite64:error=EIO:when=65535", [])
    paths = [path for path in folder.rglob("*") if path.is_file()] if call == "pread64" else []
    ended: set[str] = set()
    for number in (1, 2, 4):
        shutil.rmtree(folder / "data", ignore_errors=True)
        when = fault.format(number) if "{}" in fault else f"{fault}:when={number}"
        told = run_injected(folder, f"{call}:{when}", paths)
        check(folder, told)
        ended.add(told[-1] if told else "nothing")
    # The end is reached where a call fails that only tidies up; a commit needs each of these.
    assert call not in ("pwrite64", "fdatasync", "linkat") or ended != {"read"}
