"""Plants each bug of `tests/planted_bugs.py` in a copy of the repository, and says which tests find it.

    python -m tests.mutations             all of them
    python -m tests.mutations sync merge  those whose names contain one of these words

For each: the bug is put in, its tests are run until the first fails, the file is put back. Exit code 1 if no test has
found one: then a test is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.command import ROOT
from tests.planted_bugs import BUGS, Bug

__all__ = ["find", "planted", "run"]

# Of the tests of one bug; past that they hang, which the watchdog of the tests should have seen.
_LIMIT_SECONDS = 500
_COPIED = ("splitdata", "cli", "tests", "docs", "examples", "benchmarks")


def planted(bug: Bug, text: str) -> str:
    """Return the text of a file with a bug in it.

    Raises:
        ValueError: If what it changes does not stand there once.
    """
    if text.count(bug.before) != 1:
        raise ValueError(f"{bug.name}: what it changes stands {text.count(bug.before)} times in {bug.file}")
    return text.replace(bug.before, bug.after)


def copy_repository(target: Path) -> None:
    """Copy what tests need."""
    for name in _COPIED:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, target)


def find(bug: Bug, copy: Path) -> str:
    """Run the tests of a bug in a copy of the repository; returns what the first to fail says, empty if none does."""
    file = copy / "splitdata" / bug.file
    whole = file.read_text()
    file.write_text(planted(bug, whole))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *bug.tests]
    path = os.pathsep.join((str(copy), str(copy / "cli")))
    try:
        ended = subprocess.run(
            command,
            cwd=copy,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "the tests did not end"
    finally:
        file.write_text(whole)
    failed = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if ended.returncode == 1:
        return failed[0]
    if ended.returncode:
        raise RuntimeError(f"{bug.name}: pytest ended with {ended.returncode}\n{ended.stdout[-2000:]}{ended.stderr}")
    return ""


def run(words: list[str]) -> int:
    """Plant all bugs whose names contain one of these words, all without words; returns how many were not found."""
    chosen = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="splitdata-mutations-") as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        copy_repository(copy)
        for number, bug in enumerate(chosen, 1):
            start = time.monotonic()
            by = find(bug, copy)
            missed += not by
            verdict = f"found by {by[:150]}" if by else "NOT FOUND"
            seconds = time.monotonic() - start
            sys.stdout.write(f"{number}/{len(chosen)} {bug.name} [{seconds:.0f} s]: {verdict}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - missed} of {len(chosen)} planted bugs were found\n")
    return missed


if __name__ == "__main__":
    sys.exit(1 if run(sys.argv[1:]) else 0)
