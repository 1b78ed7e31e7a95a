"""The reader in JavaScript, made from FORMAT.md alone, gives the verdicts of the conformance files.

node examples/javascript/conformance.js ──> how many cases agree, and what differs
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.conformance.edited_dataset import CASES

READER = ROOT / "examples" / "javascript"

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no node"),
    pytest.mark.skipif(
        not (READER / "node_modules").is_dir(), reason="`npm ci --prefix examples/javascript` was not run"
    ),
    pytest.mark.skipif(sys.platform == "win32", reason="FIFOs, and links without a privilege, are not to be had there"),
]


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["node", str(READER / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)


def test_reader_in_javascript_gives_the_verdict_of_each_conformance_case() -> None:
    ended = run("conformance.js")

    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert ended.stdout == f"{len(CASES)} of {len(CASES)} cases agree\n"


def test_reader_in_javascript_says_where_it_differs(tmp_path: Path) -> None:
    keyed = next(case for case in CASES if case["name"] == "keyed")
    wrong = keyed | {"verdict": keyed["verdict"] | {"records": ["0" * 16, *keyed["verdict"]["records"][1:]]}}
    shutil.copytree(ROOT / "tests" / "conformance" / "datasets" / "keyed", tmp_path / "datasets" / "keyed")
    (tmp_path / "verdicts.json").write_text(json.dumps([keyed, wrong]), encoding="utf-8")

    ended = run("conformance.js", tmp_path)

    assert ended.returncode == 1
    difference, summary = ended.stdout.splitlines()
    assert list(json.loads(difference)) == ["case", "what", "records"]
    assert summary == "1 of 2 cases agree"


def test_reader_in_javascript_shows_records_positions_of_keys_and_findings(tmp_path: Path) -> None:
    dataset = Path(shutil.copytree(ROOT / "tests" / "conformance" / "datasets" / "keyed", tmp_path / "keyed"))
    assert run("read.js", dataset).stdout.splitlines()[0] == '0 5 "hello"'
    assert run("read.js", dataset, "--find", "a/b.txt", "not there").stdout == '"a/b.txt" 2\n"not there" is not there\n'
    assert run("read.js", dataset, "--verify").stdout == "all 7 records are intact\n"

    [keys] = dataset.glob("segments/*/keys")
    keys.write_bytes(keys.read_bytes()[:-1])

    assert run("read.js", dataset, "--verify").returncode == 1
