"""Modules that lie beside data are never imported, whatever is done there; see planted_modules.py.

Code of the user's is imported where it is asked for, from the working folder last of all places.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.processes import run_bytes
from tests.command import run_python
from tests.faults import planted_modules


def test_no_module_beside_data_is_imported_by_any_command_or_call(tmp_path: Path) -> None:
    ended = run_python("-P", planted_modules.__file__, tmp_path)

    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert len(list((tmp_path / "work").glob("*.py"))) >= 40


@pytest.mark.parametrize("flags", [["-P"], []], ids=["as installed", "python -m"])
def test_function_of_the_working_folder_is_found_there_and_nothing_else_is(tmp_path: Path, flags: list[str]) -> None:
    markers = tmp_path / "markers"
    markers.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    planted_modules.plant(work, markers)
    if not flags:
        # What Python looks for before a line of this program runs is not its to prevent.
        for name in ("splitdata_cli", "sitecustomize", "usercustomize", *sys.stdlib_module_names):
            (work / f"{name}.py").unlink(missing_ok=True)
    (work / "mine.py").write_text(
        "import tqdm, queue, resource, beside\n"
        "def records():\n    yield from (tqdm.__file__.encode(), queue.__file__.encode(), beside.DATA)\n"
        "def length(record):\n    return len(record)\n"
    )
    (work / "beside.py").write_text("DATA = b'beside'\n")

    written = run_bytes("write", "mine:records", "data", "--from", "callable", "--resume", cwd=work, flags=flags)
    measured = run_bytes(
        *["bench", "data", "--transform", "mine:length", "--workers", "1", "--seconds", "0.01"], cwd=work, flags=flags
    )

    assert (written.returncode, written.stderr) == (0, b"")
    assert (measured.returncode, measured.stderr) == (0, b"")
    assert list(markers.iterdir()) == []
    records = run_bytes("cat", work / "data", "0", "1", "2").stdout
    assert records.endswith(b"beside")
    assert os.fsencode(work) not in records
