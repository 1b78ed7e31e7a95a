"""`splitdata export` and `splitdata extract`: options, reports, and errors in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from splitdata import SplitWriter
from splitdata_cli.main import cli
from tests.command import run_cli


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two records, the first with a key."""
    with SplitWriter(tmp_path / "data") as writer:
        writer.write(b'{"a":1}', key="x/one")
        writer.write(b"[2]")
    return tmp_path / "data"


def test_export_reports_what_it_wrote_and_replaces_only_when_told(data: Path) -> None:
    done = run_cli("export", data, "out.jsonl", "--to", "jsonl", cwd=data.parent)
    again = run_cli("export", data, "out.jsonl", "--to", "jsonl", cwd=data.parent)
    told = run_cli(
        "export", data, "out.jsonl", "--to", "jsonl", "--overwrite", "--limit", "1", "--json", cwd=data.parent
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wrote 2 records to out.jsonl in ")
    assert again.returncode == 2
    assert "--overwrite replaces it" in again.stderr
    assert json.loads(told.stdout)["num_records"] == 1
    assert (data.parent / "out.jsonl").read_bytes() == b'{"a":1}\n'


def test_extract_takes_positions_keys_or_all(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run_cli("extract", data, "-1", "out", "--key", "x/one", cwd=data.parent)
    everything = run_cli("extract", data, "more", "--all", cwd=data.parent)
    monkeypatch.chdir(data.parent)
    wrong = [
        CliRunner().invoke(cli, ["extract", str(data), *arguments]).output
        for arguments in (["out"], ["a", "out"], ["out", "--key", "no"], ["1", "out", "--all"], ["7", "none"])
    ]

    for folder, completed in (("out", done), ("more", everything)):
        assert (completed.returncode, completed.stderr) == (0, "")
        files = {path.name: path.read_bytes() for path in (data.parent / folder).rglob("*.json")}
        assert files == {"one.json": b'{"a":1}', "000000001.json": b"[2]"}
    assert "give positions" in wrong[0]
    assert "a is no position" in wrong[1]
    assert "no record with the key no" in wrong[2]
    assert "give positions" in wrong[3]
    assert "no record 7" in wrong[4]
    assert not (data.parent / "none").exists()
