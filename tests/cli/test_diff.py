"""`splitdata diff`: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from splitdata import SplitWriter
from splitdata_cli.main import cli


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_differences_are_lines_and_json_with_exit_code_1_and_equal_datasets_end_with_0(tmp_path: Path) -> None:
    for name, keys in (("a", ["a", "b", "c\x1b"]), ("b", ["a", "c\x1b", "d"])):
        with SplitWriter(tmp_path / name) as writer:
            writer.write_many([b"1", b"2", b"3"], keys=keys)

    result = invoke("diff", tmp_path / "a", tmp_path / "b")
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    *lines, counts = result.stdout.splitlines()
    assert lines == ["removed  1  b", "added    2  d", "changed  2 -> 1  c\\x1b"]
    assert counts.endswith(", by key: 1 added, 1 removed, 1 changed, 0 moved, 1 record the same")
    report = json.loads(invoke("diff", tmp_path / "a", tmp_path / "b", "--json", "--limit", 0).stdout)
    assert (report["num_added"], report["is_equal"], report["differences"]) == (1, False, [])

    assert invoke("diff", tmp_path / "a", tmp_path / "a").exit_code == 0
    assert invoke("diff", tmp_path / "a", tmp_path / "no").exit_code == 2
