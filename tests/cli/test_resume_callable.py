"""A resumed conversion of a function: taken up with the same code, refused with another, whatever its name.

run 1, killed after some commits     run 2, the same module   -> goes on
run 2, an edited module  -> refused, nothing is changed
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splitdata import SplitDataLoader
from tests.command import Completed, run_cli

MODULE = """
import functools, sys
from helper_of_records import encoded
FACTOR = 1

def made(factor, start=0):
    for number in range(start, 3000):
        if number == 2000 and "{fails}":
            raise RuntimeError("as if killed")
        yield encoded(number * factor * FACTOR) + b"x" * 100_000

records = functools.partial(made, 1)
"""
HELPER = "def encoded(number):\n    return b'%d' % number\n"


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """The module of a function that fails after it has given 200 MB, of which the first were committed."""
    path = tmp_path / "records_to_resume.py"
    path.write_text(MODULE.replace("{fails}", "yes"))
    (tmp_path / "helper_of_records.py").write_text(HELPER)
    return path


def write(module: Path) -> Completed:
    return run_cli(
        *["write", "records_to_resume:records", "data", "--from", "callable", "--resume"],
        *["--compression", "zstd", "--durability", "none"],
        cwd=module.parent,
    )


# The failure itself is code, so it is taken away by what the function reads from elsewhere.
FAILS = 'number == 2000 and "yes"'


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("records_to_resume.py", 'b"x"', 'b"y"'),
        ("records_to_resume.py", "FACTOR = 1", "FACTOR = 2"),
        ("records_to_resume.py", "partial(made, 1)", "partial(made, 3)"),
        ("helper_of_records.py", "b'%d'", "b'%x'"),
    ],
    ids=["body", "global", "argument", "another module"],
)
def test_conversion_of_changed_code_is_refused(module: Path, file: str, before: str, after: str) -> None:
    module.write_text(module.read_text().replace("3000", "30").replace("2000", "20"))
    assert "as if killed" in write(module).stderr
    kept = {path: path.read_bytes() for path in (module.parent / "data").rglob("*") if path.is_file()}
    changed = module.parent / file
    changed.write_text(changed.read_text().replace(before, after))
    # Python takes its compiled copy of a module for fresh if size and second of the file are as they were.
    os.utime(changed, (0, 0))

    refused = write(module)

    assert refused.returncode == 2
    assert "begun with another source or other options: code was" in refused.stderr
    assert {path: path.read_bytes() for path in kept} == kept


def test_conversion_of_the_same_code_goes_on(module: Path) -> None:
    module.write_text(module.read_text().replace(FAILS, 'number == 2000 and __import__("os").path.exists("stop")'))
    (module.parent / "stop").touch()
    assert "as if killed" in write(module).stderr
    (module.parent / "stop").unlink()
    # Where the code stands does not matter.
    module.write_text("# A comment.\n" + module.read_text())

    resumed = write(module)

    assert resumed.returncode == 0, resumed.stderr
    assert "behind the " in resumed.stdout
    with SplitDataLoader(module.parent / "data") as loader:
        assert len(loader) == 3000
        assert [loader[position][:4] for position in (0, 1999, 2999)] == [b"0xxx", b"1999", b"2999"]


def test_function_that_reaches_what_cannot_be_identified_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "records_to_resume.py").write_text(
        "import os\nopened = open(os.devnull)\ndef records():\n    yield opened.name.encode()\n"
    )

    assert write(tmp_path / "records_to_resume.py").returncode == 0
    assert "was finished before" in write(tmp_path / "records_to_resume.py").stdout
