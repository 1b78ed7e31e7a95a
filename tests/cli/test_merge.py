"""`splitdata merge` and `append`: what they say, and how they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from splitdata import SplitDataLoader, SplitWriter
from splitdata_cli.main import cli


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two small datasets in folders with ugly names."""
    paths = [tmp_path / "o\x1bne", tmp_path / "two"]
    for number, path in enumerate(paths):
        with SplitWriter(path, metadata={"n\x1b": number}) as writer:
            writer.write_many([b"1", b"2", b"3"], keys=[f"{number} a", f"{number} b", "c\x1b"])
    return paths


def test_merge_names_shared_keys_with_exit_code_2_and_does_it_where_they_are_allowed(
    two: list[Path], tmp_path: Path
) -> None:
    refused = invoke("merge", *two, tmp_path / "all")
    assert refused.exit_code == 2
    assert r"c\x1b" in refused.stderr.replace("\\\\", "\\")
    assert "--allow-duplicate-keys" in refused.stderr

    planned = invoke("merge", *two, tmp_path / "all", "--allow-duplicate-keys", "--dry-run")
    assert "6 records would be added" in planned.stdout
    assert not (tmp_path / "all").exists()
    done = invoke("merge", *two, tmp_path / "all", "--allow-duplicate-keys")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "6 records added" in done.stdout
    assert "only the first value is kept" in done.stdout
    assert len(SplitDataLoader(tmp_path / "all")) == 6


def test_append_reports_as_json_and_adds_nothing_twice(two: list[Path], tmp_path: Path) -> None:
    invoke("merge", two[0], tmp_path / "all")
    arguments = ("append", two[1], tmp_path / "all", "--allow-duplicate-keys", "--json")
    first, second = (json.loads(invoke(*arguments).stdout) for _ in range(2))

    assert (first["positions"], first["num_linked"], first["num_there"]) == ([3, 6], 1, 0)
    assert (second["positions"], second["num_linked"], second["num_there"]) == ([6, 6], 0, 1)
    assert invoke("append", tmp_path / "no", tmp_path / "all").exit_code == 2
